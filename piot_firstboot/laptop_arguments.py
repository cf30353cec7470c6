"""The verbs for a laptop: no Pi, no root, no systemd, and any operating system."""

from __future__ import annotations

from typing import TYPE_CHECKING

from piot_firstboot import laptop_commands
from piot_firstboot.options import add_verb

if TYPE_CHECKING:
    from piot_firstboot.options import Verbs


def add(verbs: Verbs) -> None:
    """Add them to the tree of arguments."""
    verb = add_verb(
        verbs, "check", laptop_commands.check, "find the mistakes in piot.conf and .piot.yaml files"
    )
    verb.description = (
        "Changes nothing and needs no Pi. Exit code 0: no problem; 1: problems, all shown."
    )
    verb.epilog = "example: piot check .piot.yaml /boot/firmware/piot.conf"
    verb.add_argument("file", nargs="+", metavar="FILE", help="a file, or a directory with one")
    verb.add_argument("--json", action="store_true", help="for programs")

    verb = add_verb(
        verbs, "render", laptop_commands.render, "show the systemd units that a .piot.yaml becomes"
    )
    verb.description = "Changes nothing and needs no Pi."
    verb.epilog = "example: piot render . --release bookworm"
    verb.add_argument("dir", metavar="DIR", help="the app's directory")
    verb.add_argument("--release", choices=("bookworm", "trixie"), default="trixie")
    verb.add_argument("--app", metavar="NAME", help="the app's name on the device")

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
