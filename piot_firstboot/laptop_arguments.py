"""The verbs for a laptop: no Pi, no root, no systemd, and any operating system."""

from __future__ import annotations

from typing import TYPE_CHECKING

from piot_firstboot import laptop_commands
from piot_firstboot.options import add_verb

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from piot_firstboot.options import Verbs


def add(verbs: Verbs) -> None:
    """Add them to the tree of arguments."""
    verb = add_verb(
        verbs, "init", laptop_commands.init, "write a first .piot.yaml for the program in a folder"
    )
    verb.description = (
        "Looks at what lies in DIR (requirements.txt, pyproject.toml, manage.py, package.json,\n"
        "go.mod, Cargo.toml, shell scripts, a Procfile, a compose file), writes DIR/.piot.yaml\n"
        "and says what it was made of. What it writes passes `piot check`. A .piot.yaml that is\n"
        "there stays as it is, unless --force is given."
    )
    verb.epilog = "example: piot init my-program"
    _dir_argument(verb)
    verb.add_argument(
        "--from-procfile", action="store_true", help="say in .piot.yaml what the Procfile says"
    )
    verb.add_argument("--force", action="store_true", help="replace the .piot.yaml that is there")
    verb.add_argument("--json", action="store_true", help="for programs")

    verb = add_verb(
        verbs, "check", laptop_commands.check, "find the mistakes in piot.conf and .piot.yaml files"
    )
    verb.description = (
        "All mistakes at once, each with its line, what is wrong and what to write instead; also\n"
        "programs that the repository lacks. Changes nothing and needs no Pi.\n\n"
        "exit code: 0 no problem (there may be warnings), 1 problems\n\n"
        "  piot check                              .piot.yaml or Procfile, and piot.conf, here\n"
        "  piot check /boot/firmware/piot.conf     one file\n"
        "  piot check --format sarif > piot.sarif  for code scanning and editors"
    )
    verb.epilog = "example: piot check --format github"
    text = "a file, or a directory with one (default: here)"
    verb.add_argument("path", nargs="*", metavar="PATH", help=text)
    verb.add_argument(
        "--format",
        choices=("text", "json", "github", "sarif"),
        default="text",
        help="text for people; github marks lines of a pull request; json and sarif for programs",
    )
    verb.add_argument("--json", action="store_true", help="the same as --format json")

    verb = add_verb(
        verbs, "render", laptop_commands.render, "show the systemd units that a .piot.yaml becomes"
    )
    verb.description = (
        "The units as a device would get them, and the next five runs of each timer: by\n"
        "systemd's own reckoning where this computer has it. Changes nothing and needs no Pi.\n\n"
        "  piot render                      for Debian 13, the newest Raspberry Pi OS\n"
        "  piot render --release bookworm   for Debian 12\n"
        "  piot render --json | jq .timers  when the jobs run\n"
        "  piot render --out units          a directory with the unit files"
    )
    verb.epilog = "example: piot render --timezone Europe/Berlin"
    _dir_argument(verb)
    verb.add_argument("--release", choices=("bookworm", "trixie"), default="trixie")
    verb.add_argument("--app", metavar="NAME", help="the app's name on the device")
    text = "only the units of the device with this host name (default: those of all)"
    verb.add_argument("--host", metavar="NAME", help=text)
    verb.add_argument("--role", metavar="ROLE", help="only those of a device with this role")
    text = "the time zone of the device (default: that of this computer)"
    verb.add_argument("--timezone", metavar="ZONE", help=text)
    verb.add_argument("--out", metavar="OUT", help="write the unit files into this directory")
    verb.add_argument("--json", action="store_true", help="for programs")

    verb = add_verb(
        verbs, "import", laptop_commands.convert, "make a piot.conf of files of other tools"
    )
    verb.description = (
        "Reads custom.toml of Raspberry Pi Imager, rpi-preseed.toml, user-data and network-config\n"
        "of cloud-init, dietpi.txt, dietpi-wifi.txt and wpa_supplicant.conf; several at once\n"
        "become one piot.conf. What it cannot say is listed. Changes nothing and needs no Pi."
    )
    verb.epilog = "example: piot import user-data network-config -o piot.conf"
    verb.add_argument("file", nargs="+", metavar="FILE", help="a file of one of these tools")
    verb.add_argument("-o", "--output", metavar="FILE", help="write it there, readable by you only")
    verb.add_argument("--force", action="store_true", help="replace the file that is there")
    verb.add_argument("--json", action="store_true", help="for programs; shows passwords too")


def _dir_argument(verb: ArgumentParser) -> None:
    """Let a verb be told where the program is."""
    text = "the folder of the program (default: here)"
    verb.add_argument("dir", nargs="?", default=".", metavar="DIR", help=text)
