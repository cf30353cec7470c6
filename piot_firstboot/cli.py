"""The command line. Units and people run the same verbs; only here an exit code is picked.

0: done, or nothing to do. 1: refused, rolled back, or a wrong file. 2: wrong usage.
75: the repository did not answer, try later (EX_TEMPFAIL). 77: needs root (EX_NOPERM; both as
in sysexits.h).
"""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable
from typing import TYPE_CHECKING

from piot_firstboot import __version__

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from piot_firstboot.system import System
    from piot_firstboot.transaction import Outcome

_REFUSED = 1
_TEMPFAIL = 75
_NOPERM = 77


def main(argv: list[str]) -> int:
    """Run one verb and return its exit code."""
    from piot_firstboot.errors import ApplyError, ConfigError
    from piot_firstboot.notify import complain, status

    if not argv:
        parser().print_help()
        return 2
    args = parser().parse_args(argv)
    # Apps must be able to read their releases, whatever the umask of the one who typed this.
    os.umask(0o022)
    try:
        code: int = args.run(args)
    except ConfigError as error:
        complain(str(error))
        return _REFUSED
    except ApplyError as error:
        status(str(error))
        complain(f"piot: {error}" + (f"\nhint: {error.hint}" if error.hint else ""))
        return _code_of(error)
    except PermissionError as error:
        complain(f"piot: {error.filename}: permission denied\nhint: sudo piot {' '.join(argv)}")
        return _NOPERM
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        complain(f"piot: {where}{error.strerror or error}")
        return _REFUSED
    except KeyboardInterrupt:
        return 130
    return code


def _code_of(error: Exception) -> int:
    """Return the exit code for an error that ended a verb."""
    from piot_firstboot.repository import Unreachable

    return _TEMPFAIL if isinstance(error, Unreachable) else _REFUSED


# -- verbs --------------------------------------------------------------------------------------


def _firstboot(args: Namespace) -> int:
    from piot_firstboot import firstboot
    from piot_firstboot.notify import complain, say, status

    report = firstboot.converge(_system(args, "firstboot"), boot=True)
    if report.ok:
        say(report.headline)
    else:
        complain(report.text())
        status(report.headline)
    return 0 if report.ok else _REFUSED


def _apply(args: Namespace) -> int:
    from piot_firstboot import firstboot

    system = _system(args, "apply", reads=args.dry_run)
    report = firstboot.converge(system, dry_run=args.dry_run)
    print(report.json() if args.json else report.text(), end="")
    return 0 if report.ok else _REFUSED


def _deploy(args: Namespace) -> int:
    from piot_firstboot import deploy, state
    from piot_firstboot.errors import ApplyError

    system = _system(args, "deploy")
    apps = (args.app,) if args.app else state.apps(system)
    if not apps:
        hint = "add [app] repo = … to piot.conf, then run: sudo piot apply"
        raise ApplyError("there is no app on this device", hint)
    return _each(apps, lambda app: deploy.deploy(system, app))


def _rollback(args: Namespace) -> int:
    from piot_firstboot import deploy

    system = _system(args, "rollback")
    return _each(_one_app(system, args.app), lambda app: deploy.rollback(system, app))


def _retry(args: Namespace) -> int:
    from piot_firstboot import deploy
    from piot_firstboot.notify import say

    system = _system(args, "retry")

    def again(app: str) -> Outcome:
        for commit in deploy.forgive(system, app):
            say(f"{app}: {commit[:12]} may be tried again")
        return deploy.deploy(system, app)

    return _each(_one_app(system, args.app), again)


def _status(args: Namespace) -> int:
    from piot_firstboot import status

    system = _system(args, "status", reads=True)
    apps = status.collect(system, args.app or "")
    print(status.as_json(system, apps) if args.json else status.as_text(system, apps))
    return 0


def _check(args: Namespace) -> int:
    from piot_firstboot import check

    problems = check.check(args.file)
    if args.json:
        print(check.problems_json(problems))
    elif problems:
        print("\n".join(str(problem) for problem in problems))
        print(f"{len(problems)} problem{'s' * (len(problems) > 1)}")
    else:
        print("no problems")
    return _REFUSED if problems else 0


def _render(args: Namespace) -> int:
    from piot_firstboot import check

    for path, text in check.render(args.dir, release=args.release, app=args.app or "").items():
        print(f"### {path}\n{text}")
    return 0


def _run(args: Namespace) -> int:
    from piot_firstboot import logs

    return logs.run_job(_system(args, "run"), args.job)


def _logs(args: Namespace) -> int:
    from piot_firstboot import logs

    system = _system(args, "logs")
    options = {"follow": args.follow, "lines": args.lines, "commit": args.commit or ""}
    logs.follow(system, args.name or "", **options)


# -- small parts --------------------------------------------------------------------------------


def _system(args: Namespace, verb: str, *, reads: bool = False) -> System:
    """Return the system that a verb works on; a verb that writes needs root."""
    from piot_firstboot.system import System

    if not reads and os.geteuid() != 0:
        raise PermissionError(1, "", f"piot {verb} changes the system")
    return System(getattr(args, "root", "/"))


def _one_app(system: System, app: str | None) -> tuple[str, ...]:
    """Return the app that was named, or the only one there is."""
    from piot_firstboot import state
    from piot_firstboot.errors import ApplyError

    if app:
        return (app,)
    apps = state.apps(system)
    if len(apps) != 1:
        raise ApplyError(f"say which app: {', '.join(apps) or 'there is none'}")
    return apps


def _each(apps: tuple[str, ...], do: Callable[[str], Outcome]) -> int:
    """Do one thing for each app, going on after a failure, and return the worst exit code."""
    from piot_firstboot.errors import ApplyError
    from piot_firstboot.notify import complain, say, status

    worst = 0
    for app in apps:
        try:
            outcome = do(app)
        except ApplyError as error:
            complain(f"{app}: {error}" + (f"\nhint: {error.hint}" if error.hint else ""))
            status(str(error))
            worst = max(worst, _code_of(error))
            continue
        if outcome.ok:
            say(outcome.text)
        else:
            complain(outcome.text)
            status(outcome.text.splitlines()[0])
            worst = max(worst, _REFUSED)
    return worst


# -- the tree of arguments ----------------------------------------------------------------------

_ABOUT = """\
Turn piot.conf on the boot partition and .piot.yaml in a git repository into a running device.

  sudo piot apply --dry-run      what piot.conf would change
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

    verb = _verb(verbs, "firstboot", _firstboot, "apply piot.conf at boot if it changed")
    verb.description = (
        "What piot-firstboot.service runs at every boot. Ends at once when piot.conf is the one\n"
        "that was applied last. Does not wait for units, because the boot waits for it."
    )
    verb.epilog = "example: systemctl status piot-firstboot"
    _root_option(verb)

    verb = _verb(verbs, "apply", _apply, "make this device what piot.conf says, now")
    verb.description = (
        "Reads piot.conf from /boot/firmware, /boot or /etc/piot. A file with a mistake changes\n"
        "nothing; every mistake is shown at once, with its place."
    )
    verb.epilog = "example: sudo piot apply --dry-run"
    verb.add_argument("--dry-run", action="store_true", help="only say what would change")
    verb.add_argument("--json", action="store_true", help="print the report for programs")
    _root_option(verb)

    verb = _verb(verbs, "deploy", _deploy, "deploy the newest commit of an app")
    verb.description = (
        "Fetches, stages, switches and judges the newest commit; restores the former release\n"
        "when it does not hold. Without APP: every app. A timer runs this for each app."
    )
    verb.epilog = "example: sudo piot deploy garden"
    _app_argument(verb, "its name in piot.conf")
    _root_option(verb)

    verb = _verb(verbs, "rollback", _rollback, "go back to the release before")
    verb.description = "The commit that was left is not deployed again until `piot retry`."
    verb.epilog = "example: sudo piot rollback garden"
    _app_argument(verb, "needed when there are several")
    _root_option(verb)

    verb = _verb(verbs, "retry", _retry, "try commits again that failed before")
    verb.description = "Empties the list of commits that are not tried again, then deploys."
    verb.epilog = "example: sudo piot retry garden"
    _app_argument(verb, "needed when there are several")
    _root_option(verb)

    verb = _verb(verbs, "status", _status, "show what runs, and why not something newer")
    verb.epilog = "example: sudo piot status --json | jq .apps[].commit"
    _app_argument(verb, "only this one")
    verb.add_argument("--json", action="store_true", help="for programs")

    verb = _verb(verbs, "check", _check, "find the mistakes in piot.conf and .piot.yaml files")
    verb.description = (
        "Changes nothing and needs no Pi. Exit code 0: no problem; 1: problems, all shown."
    )
    verb.epilog = "example: piot check .piot.yaml /boot/firmware/piot.conf"
    verb.add_argument("file", nargs="+", metavar="FILE", help="a file, or a directory with one")
    verb.add_argument("--json", action="store_true", help="for programs")

    verb = _verb(verbs, "render", _render, "show the systemd units that a .piot.yaml becomes")
    verb.description = "Changes nothing and needs no Pi."
    verb.epilog = "example: piot render . --release bookworm"
    verb.add_argument("dir", metavar="DIR", help="the app's directory")
    verb.add_argument("--release", choices=("bookworm", "trixie"), default="trixie")
    verb.add_argument("--app", metavar="NAME", help="the app's name on the device")

    verb = _verb(verbs, "run", _run, "run a job now and show what it prints")
    verb.description = "Ends with the job, and with its exit status."
    verb.epilog = "example: sudo piot run garden/snap"
    verb.add_argument("job", metavar="JOB", help="JOB, or APP/JOB when several apps have it")

    verb = _verb(verbs, "logs", _logs, "show what apps print")
    verb.description = "A short way to journalctl PIOT_APP=…; without NAME, all apps."
    verb.epilog = "example: sudo piot logs garden/web -f"
    verb.add_argument("name", nargs="?", metavar="NAME", help="APP, UNIT or APP/UNIT")
    verb.add_argument("-f", "--follow", action="store_true", help="go on as lines come")
    verb.add_argument("-n", "--lines", type=int, default=100, metavar="N", help="default 100")
    verb.add_argument("--commit", metavar="HASH", help="only what this commit printed")
    return top


def _verb(
    verbs: _SubParsersAction[ArgumentParser], name: str, run: Callable[[Namespace], int], help: str
) -> ArgumentParser:
    """Add a verb that runs a function."""
    parser = verbs.add_parser(name, help=help, formatter_class=RawDescriptionHelpFormatter)
    parser.set_defaults(run=run)
    return parser


def _app_argument(parser: ArgumentParser, text: str) -> None:
    """Let a verb be told which app it is about."""
    parser.add_argument("app", nargs="?", metavar="APP", help=text)


def _root_option(parser: ArgumentParser) -> None:
    """Let a verb work on a tree instead of the running system."""
    text = "work on the tree in DIR, files only, instead of the running system"
    parser.add_argument("--root", metavar="DIR", default="/", help=text)
