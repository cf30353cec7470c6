"""The tree of arguments: every verb with its options, its help, and an example."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable
from typing import TYPE_CHECKING

from piot_firstboot import __version__, commands

if TYPE_CHECKING:
    from argparse import _SubParsersAction

_ABOUT = """\
Turn piot.conf on the boot partition and .piot.yaml in a git repository into a running device.

  sudo piot plan                 what piot.conf would change
  sudo piot apply                change it
  sudo piot status               what runs, and why not something newer
  systemctl list-timers 'piot-*' when things run next
"""


def parser() -> ArgumentParser:
    """Build the tree of arguments; each verb's help ends with an example."""
    raw = RawDescriptionHelpFormatter
    top = ArgumentParser("piot", description=_ABOUT, formatter_class=raw)
    top.add_argument("--version", action="version", version=f"piot {__version__}")
    verbs = top.add_subparsers(metavar="VERB", required=True)

    verb = _verb(verbs, "firstboot", commands.firstboot, "apply piot.conf at boot if it changed")
    verb.description = (
        "What piot-firstboot.service runs at every boot. Ends at once when piot.conf is the one\n"
        "that was applied last. Does not wait for units, because the boot waits for it."
    )
    verb.epilog = "example: systemctl status piot-firstboot"
    _root_option(verb)

    verb = _verb(verbs, "apply", commands.apply, "make this device what piot.conf says, now")
    verb.description = (
        "Reads piot.conf from /boot/firmware, /boot or /etc/piot. A file with a mistake changes\n"
        "nothing; every mistake is shown at once, with its place. Sections that are as they were\n"
        "when they were applied last are left alone."
    )
    verb.epilog = "example: sudo piot apply"
    _all_option(verb)
    verb.add_argument(
        "--dry-run", action="store_true", help="only say what would change: piot plan"
    )
    verb.add_argument("--json", action="store_true", help="print the report for programs")
    _root_option(verb)

    verb = _verb(verbs, "plan", commands.plan, "show what piot.conf would change, to the line")
    verb.description = (
        "Every file, account, package and command that `piot apply` would touch or run now.\n"
        "Changes nothing. Secrets are not shown."
    )
    verb.epilog = "example: sudo piot plan --all"
    _all_option(verb)
    verb.add_argument("--json", action="store_true", help="for programs")
    _root_option(verb)

    verb = _verb(
        verbs, "setup", commands.setup, "complete what needs the network: keys, packages, trial"
    )
    verb.description = (
        "What piot-setup.service runs. Judges new network settings and brings the former ones\n"
        "back when they did better; then imports keys, installs packages, builds locales."
    )
    verb.epilog = "example: systemctl status piot-setup"
    _all_option(verb)
    _root_option(verb)

    verb = _verb(verbs, "fallback", commands.fallback, "open an access point when nothing connects")
    verb.description = (
        "What piot-fallback.timer runs once a minute where piot.conf has [fallback]. The access\n"
        "point shows a page to enter Wi-Fi, and closes when something connects."
    )
    verb.epilog = "example: sudo piot fallback --page-only --root tree"
    verb.add_argument(
        "--page-only", action="store_true", help="show just the page, until it is used"
    )
    text = "where --page-only shows it (default: 127.0.0.1:8080)"
    where = ("127.0.0.1", 8080)
    verb.add_argument("--listen", type=_address, metavar="ADDR:PORT", default=where, help=text)
    _root_option(verb)

    verb = _verb(verbs, "deploy", commands.deploy, "deploy the newest commit of an app")
    verb.description = (
        "Fetches, stages, switches and judges the newest commit; restores the former release\n"
        "when it does not hold. Without APP: every app. A timer runs this for each app."
    )
    verb.epilog = "example: sudo piot deploy garden"
    _app_argument(verb, "its name in piot.conf")
    _root_option(verb)

    verb = _verb(verbs, "rollback", commands.rollback, "go back to the release before")
    verb.description = "The commit that was left is not deployed again until `piot retry`."
    verb.epilog = "example: sudo piot rollback garden"
    _app_argument(verb, "needed when there are several")
    _root_option(verb)

    verb = _verb(verbs, "retry", commands.retry, "try commits again that failed before")
    verb.description = "Empties the list of commits that are not tried again, then deploys."
    verb.epilog = "example: sudo piot retry garden"
    _app_argument(verb, "needed when there are several")
    _root_option(verb)

    verb = _verb(verbs, "status", commands.status, "show what runs, and why not something newer")
    verb.epilog = "example: sudo piot status --json | jq .apps[].commit"
    _app_argument(verb, "only this one")
    verb.add_argument("--json", action="store_true", help="for programs")

    verb = _verb(
        verbs, "check", commands.check, "find the mistakes in piot.conf and .piot.yaml files"
    )
    verb.description = (
        "Changes nothing and needs no Pi. Exit code 0: no problem; 1: problems, all shown."
    )
    verb.epilog = "example: piot check .piot.yaml /boot/firmware/piot.conf"
    verb.add_argument("file", nargs="+", metavar="FILE", help="a file, or a directory with one")
    verb.add_argument("--json", action="store_true", help="for programs")

    verb = _verb(
        verbs, "render", commands.render, "show the systemd units that a .piot.yaml becomes"
    )
    verb.description = "Changes nothing and needs no Pi."
    verb.epilog = "example: piot render . --release bookworm"
    verb.add_argument("dir", metavar="DIR", help="the app's directory")
    verb.add_argument("--release", choices=("bookworm", "trixie"), default="trixie")
    verb.add_argument("--app", metavar="NAME", help="the app's name on the device")

    verb = _verb(verbs, "import", commands.convert, "make a piot.conf of files of other tools")
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

    verb = _verb(verbs, "run", commands.run, "run a job now and show what it prints")
    verb.description = "Ends with the job, and with its exit status."
    verb.epilog = "example: sudo piot run garden/snap"
    verb.add_argument("job", metavar="JOB", help="JOB, or APP/JOB when several apps have it")

    verb = _verb(verbs, "logs", commands.logs, "show what apps print")
    verb.description = "A short way to journalctl PIOT_APP=…; without NAME, all apps."
    verb.epilog = "example: sudo piot logs garden/web -f"
    verb.add_argument("name", nargs="?", metavar="NAME", help="APP, UNIT or APP/UNIT")
    verb.add_argument("-f", "--follow", action="store_true", help="go on as lines come")
    verb.add_argument("-n", "--lines", type=int, default=100, metavar="N", help="default 100")
    verb.add_argument("--commit", metavar="HASH", help="only what this commit printed")

    _secret_verb(
        _verb(verbs, "secret", commands.secret_list, "store passwords and tokens, list, remove")
    )
    return top


def _secret_verb(verb: ArgumentParser) -> None:
    """Add what one may do with secrets."""
    verb.description = (
        "The store of secrets: what piot.conf gave, and what is set here. A NAME is that of an\n"
        "app's secret, or SECTION.KEY of a setting for which piot.conf says @stored."
    )
    verb.epilog = "example: sudo piot secret list"
    actions = verb.add_subparsers(metavar="ACTION", required=True)

    action = _verb(
        actions, "set", commands.secret_set, "store a secret, from standard input or asked for"
    )
    action.description = "Apps that use it look again, and their units restart."
    action.epilog = "example: sudo piot secret set wifi.home.password < password.txt"
    action.add_argument("name", metavar="NAME", help="API_TOKEN, wifi.home.password, …")
    action.add_argument("--raw", action="store_true", help="keep the newline at the input's end")
    _root_option(action)

    action = _verb(
        actions, "list", commands.secret_list, "show which secrets there are, never a value"
    )
    action.epilog = "example: sudo piot secret list --json"
    action.add_argument("--json", action="store_true", help="for programs")
    _root_option(action)

    action = _verb(
        actions, "rm", commands.secret_rm, "remove a secret that piot.conf does not name"
    )
    action.epilog = "example: sudo piot secret rm API_TOKEN"
    action.add_argument("name", metavar="NAME", help="as `piot secret list` shows it")
    _root_option(action)


def _verb(
    verbs: _SubParsersAction[ArgumentParser], name: str, run: Callable[[Namespace], int], help: str
) -> ArgumentParser:
    """Add a verb that runs a function."""
    parser = verbs.add_parser(name, help=help, formatter_class=RawDescriptionHelpFormatter)
    parser.set_defaults(run=run)
    return parser


def _address(text: str) -> tuple[str, int]:
    """Read ADDR:PORT."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def _app_argument(parser: ArgumentParser, text: str) -> None:
    """Let a verb be told which app it is about."""
    parser.add_argument("app", nargs="?", metavar="APP", help=text)


def _all_option(parser: ArgumentParser) -> None:
    """Let a verb look at sections that did not change, too."""
    text = "look at every section, also those that are as they were when last applied"
    parser.add_argument("--all", action="store_true", help=text)


def _root_option(parser: ArgumentParser) -> None:
    """Let a verb work on a tree instead of the running system."""
    text = "work on the tree in DIR, files only, instead of the running system"
    parser.add_argument("--root", metavar="DIR", default="/", help=text)
