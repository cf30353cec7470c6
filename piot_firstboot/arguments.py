"""The tree of arguments: every verb with its options, its help, and an example."""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter

from piot_firstboot import __version__, commands, laptop_arguments
from piot_firstboot.options import (
    add_verb,
    address,
    all_option,
    app_argument,
    root_option,
    time_span,
)

_ABOUT = """\
Turn piot.conf on the boot partition and .piot.yaml in a git repository into a running device.

  sudo piot plan                 what piot.conf would change
  sudo piot apply                change it
  sudo piot status               what runs, and why not something newer
  systemctl list-timers 'piot-*' when things run next

On a laptop, in a repository:

  piot init                      write a first .piot.yaml
  piot check                     find its mistakes before a device does
  piot render                    the units it becomes, and when they run
"""


def parser() -> ArgumentParser:
    """Build the tree of arguments; each verb's help ends with an example."""
    raw = RawDescriptionHelpFormatter
    top = ArgumentParser("piot", description=_ABOUT, formatter_class=raw)
    top.add_argument("--version", action="version", version=f"piot {__version__}")
    verbs = top.add_subparsers(metavar="VERB", required=True)

    verb = add_verb(verbs, "firstboot", commands.firstboot, "apply piot.conf at boot if it changed")
    verb.description = (
        "What piot-firstboot.service runs at every boot. Ends at once when piot.conf is the one\n"
        "that was applied last. Does not wait for units, because the boot waits for it."
    )
    verb.epilog = "example: systemctl status piot-firstboot"
    root_option(verb)

    verb = add_verb(verbs, "apply", commands.apply, "make this device what piot.conf says, now")
    verb.description = (
        "Reads piot.conf from /boot/firmware, /boot or /etc/piot. A file with a mistake changes\n"
        "nothing; every mistake is shown at once, with its place. Sections that are as they were\n"
        "when they were applied last are left alone."
    )
    verb.epilog = "example: sudo piot apply"
    all_option(verb)
    verb.add_argument(
        "--dry-run", action="store_true", help="only say what would change: piot plan"
    )
    verb.add_argument("--json", action="store_true", help="print the report for programs")
    root_option(verb)

    verb = add_verb(
        verbs, "plan", commands.plan, "show what piot.conf, or a folder's .piot.yaml, would change"
    )
    verb.description = (
        "Every file, account, package and command that `piot apply` would touch or run now.\n"
        "Changes nothing. Secrets are not shown.\n\n"
        "With DIR, the units of the app in that folder against those that are installed here, in\n"
        "a tree, or on another machine; that works on a laptop too.\n\n"
        "  sudo piot plan --all                every section, also those that did not change\n"
        "  piot plan . --host pi@garden.local  before a push: what the device would change"
    )
    verb.epilog = "example: sudo piot plan --all"
    verb.add_argument("dir", nargs="?", metavar="DIR", help="the folder of a program")
    all_option(verb)
    verb.add_argument("--host", metavar="HOST", help="with DIR: look at this machine, by ssh")
    verb.add_argument("--app", metavar="NAME", help="with DIR: the app's name on the device")
    verb.add_argument("--json", action="store_true", help="for programs")
    root_option(verb)

    verb = add_verb(
        verbs, "setup", commands.setup, "complete what needs the network: keys, packages, trial"
    )
    verb.description = (
        "What piot-setup.service runs. Judges new network settings and brings the former ones\n"
        "back when they did better; then imports keys, installs packages, builds locales."
    )
    verb.epilog = "example: systemctl status piot-setup"
    all_option(verb)
    root_option(verb)

    verb = add_verb(
        verbs, "fallback", commands.fallback, "open an access point when nothing connects"
    )
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
    verb.add_argument("--listen", type=address, metavar="ADDR:PORT", default=where, help=text)
    root_option(verb)

    verb = add_verb(verbs, "deploy", commands.deploy, "deploy the newest commit of an app")
    verb.description = (
        "Fetches, stages, switches and judges the newest commit; restores the former release\n"
        "when it does not hold. Without APP: every app. A timer runs this for each app."
    )
    verb.epilog = "example: sudo piot deploy garden"
    app_argument(verb, "its name in piot.conf")
    text = "only end what a former run began; ask no repository"
    verb.add_argument("--finish", action="store_true", help=text)
    root_option(verb)

    verb = add_verb(verbs, "rollback", commands.rollback, "go back to the release before")
    verb.description = "The commit that was left is not deployed again until `piot retry`."
    verb.epilog = "example: sudo piot rollback garden"
    app_argument(verb, "needed when there are several")
    root_option(verb)

    verb = add_verb(verbs, "retry", commands.retry, "try commits again that failed before")
    verb.description = "Empties the list of commits that are not tried again, then deploys."
    verb.epilog = "example: sudo piot retry garden"
    app_argument(verb, "needed when there are several")
    root_option(verb)

    verb = add_verb(verbs, "hold", commands.hold, "deploy nothing newer until `piot resume`")
    verb.description = (
        "What runs goes on, and is mended when it drifts; commits that come wait. Without APP:\n"
        "every app. The reason is shown by `piot status`."
    )
    verb.epilog = 'example: sudo piot hold garden --reason "the roof is open"'
    app_argument(verb, "only this one")
    verb.add_argument("--reason", metavar="TEXT", default="", help="why, for whoever asks")
    root_option(verb)

    verb = add_verb(verbs, "resume", commands.resume, "end a hold, and look for newer commits")
    verb.epilog = "example: sudo piot resume garden"
    app_argument(verb, "only this one")
    root_option(verb)

    verb = add_verb(verbs, "why", commands.why, "explain the last commit that does not run")
    verb.description = (
        "Its commit, the unit that failed and its last lines, what was restored, when it is tried\n"
        "again, and what to do."
    )
    verb.epilog = "example: sudo piot why garden"
    app_argument(verb, "only this one")
    verb.add_argument("--json", action="store_true", help="for programs")

    verb = add_verb(verbs, "usb", commands.usb, "deploy from the git bundles on a USB stick")
    verb.description = (
        "Looks on a device, or in a directory, for APP.bundle and piot/APP.bundle of the apps for\n"
        "which piot.conf says usb = yes. piot-usb@.service runs it when a stick is plugged in."
    )
    verb.epilog = "example: sudo piot usb /dev/sda1"
    verb.add_argument("device", metavar="DEVICE", help="a block device, or a directory")
    root_option(verb)

    verb = add_verb(verbs, "bootguard", commands.bootguard, "count boots without a healthy report")
    verb.description = (
        "What piot-bootguard.service runs early in a boot while a release is not proven by one.\n"
        "Three boots in a row without a healthy report bring the release before back; three more\n"
        "are followed by safe mode: apps are off."
    )
    verb.epilog = "example: systemctl status piot-bootguard"
    root_option(verb)

    verb = add_verb(verbs, "status", commands.status, "show what runs, and why not something newer")
    verb.epilog = "example: sudo piot status --json | jq .apps[].commit"
    app_argument(verb, "only this one")
    verb.add_argument("--json", action="store_true", help="for programs")

    verb = add_verb(verbs, "peers", commands.peers, "look for other devices of an app")
    verb.description = (
        "Asks the network, by DNS-SD, which other devices run services of the app, and shows what\n"
        "its units get as PIOT_PEER_…. Needs avahi-utils. A timer does it every quarter of an hour."
    )
    verb.epilog = "example: sudo piot peers garden"
    app_argument(verb, "needed when there are several")
    root_option(verb)

    verb = add_verb(verbs, "eject", commands.eject, "leave an app as plain units, without PioT")
    verb.description = (
        "Takes PioT out of the app's unit files and the app out of piot.conf. What runs goes on\n"
        "running, also when PioT is removed from the device; nothing updates it any more."
    )
    verb.epilog = "example: sudo piot eject garden --dry-run"
    app_argument(verb, "needed when there are several")
    verb.add_argument("--dry-run", action="store_true", help="only say what would change and stay")
    verb.add_argument("--yes", action="store_true", help="do not ask")
    root_option(verb)

    laptop_arguments.add(verbs)

    verb = add_verb(verbs, "run", commands.run, "run a job now and show what it prints")
    verb.description = "Ends with the job, and with its exit status."
    verb.epilog = "example: sudo piot run garden/snap"
    verb.add_argument("job", metavar="JOB", help="JOB, or APP/JOB when several apps have it")

    verb = add_verb(verbs, "logs", commands.logs, "show what apps print")
    verb.description = "A short way to journalctl PIOT_APP=…; without NAME, all apps."
    verb.epilog = "example: sudo piot logs garden/web -f"
    verb.add_argument("name", nargs="?", metavar="NAME", help="APP, UNIT or APP/UNIT")
    verb.add_argument("-f", "--follow", action="store_true", help="go on as lines come")
    verb.add_argument("-n", "--lines", type=int, default=100, metavar="N", help="default 100")
    verb.add_argument("--commit", metavar="HASH", help="only what this commit printed")

    verb = add_verb(verbs, "clock", commands.clock, "wait until a time server has set the clock")
    verb.description = (
        "What piot-clock.service runs before jobs that have a time of day. Ends without a failure\n"
        "when none did in that time, and at once where nothing asks time servers."
    )
    verb.epilog = "example: piot clock --wait 2min"
    text = "how long at most (default: 2min)"
    verb.add_argument("--wait", type=time_span, default=120.0, metavar="SPAN", help=text)

    _ping_verb(
        add_verb(verbs, "ping", commands.ping, "tell an address of the start or end of a run")
    )
    _secret_verb(
        add_verb(verbs, "secret", commands.secret_list, "store passwords and tokens, list, remove")
    )
    return top


def _ping_verb(verb: ArgumentParser) -> None:
    """Add how a run is told."""
    verb.description = (
        "What the unit of a job with `ping` runs before and after it, as healthchecks.io has it:\n"
        "URL/start, then URL/STATUS, or URL/fail when it was killed. Never takes longer than ten\n"
        "seconds; the address is shown nowhere."
    )
    verb.epilog = "example: piot ping --start --secret HC_URL"
    when = verb.add_mutually_exclusive_group(required=True)
    when.add_argument("--start", action="store_const", const="start", dest="when", help="it starts")
    text = "it ended, as systemd's $SERVICE_RESULT and $EXIT_STATUS say"
    when.add_argument("--end", action="store_const", const="end", dest="when", help=text)
    where = verb.add_mutually_exclusive_group(required=True)
    where.add_argument("--secret", metavar="NAME", help="the credential that holds the address")
    where.add_argument("url", nargs="?", metavar="URL", help="the address, https only")


def _secret_verb(verb: ArgumentParser) -> None:
    """Add what one may do with secrets."""
    verb.description = (
        "The store of secrets: what piot.conf gave, and what is set here. A NAME is that of an\n"
        "app's secret, or SECTION.KEY of a setting for which piot.conf says @stored."
    )
    verb.epilog = "example: sudo piot secret list"
    actions = verb.add_subparsers(metavar="ACTION", required=True)

    action = add_verb(
        actions, "set", commands.secret_set, "store a secret, from standard input or asked for"
    )
    action.description = "Apps that use it look again, and their units restart."
    action.epilog = "example: sudo piot secret set wifi.home.password < password.txt"
    action.add_argument("name", metavar="NAME", help="API_TOKEN, wifi.home.password, …")
    action.add_argument("--raw", action="store_true", help="keep the newline at the input's end")
    root_option(action)

    action = add_verb(
        actions, "list", commands.secret_list, "show which secrets there are, never a value"
    )
    action.epilog = "example: sudo piot secret list --json"
    action.add_argument("--json", action="store_true", help="for programs")
    root_option(action)

    action = add_verb(
        actions, "rm", commands.secret_rm, "remove a secret that piot.conf does not name"
    )
    action.epilog = "example: sudo piot secret rm API_TOKEN"
    action.add_argument("name", metavar="NAME", help="as `piot secret list` shows it")
    root_option(action)
