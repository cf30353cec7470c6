"""What each verb of the command line does: find its module, run it, say how it went.

Modules are imported when a verb is called, so that none pays for another.
"""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from piot_firstboot.errors import ApplyError
    from piot_firstboot.system import System
    from piot_firstboot.transaction import Outcome

# Exit codes; `cli` says what they mean.
REFUSED = 1
TEMPFAIL = 75
NOPERM = 77


def code_of(error: ApplyError) -> int:
    """Return the exit code for an error that ended a verb."""
    return TEMPFAIL if error.later else REFUSED


def firstboot(args: Namespace) -> int:
    """Apply piot.conf at boot."""
    from piot_firstboot import firstboot
    from piot_firstboot.notify import complain, say, status

    report = firstboot.converge(_system(args, "firstboot"), boot=True)
    if report.ok:
        say(report.headline)
    else:
        complain(report.text())
        status(report.headline)
    return 0 if report.ok else REFUSED


def apply(args: Namespace) -> int:
    """Apply piot.conf now."""
    from piot_firstboot import firstboot

    if args.dry_run:
        return plan(args)
    system = _system(args, "apply")
    report = firstboot.converge(system, everything=args.all)
    report = firstboot.follow_up(system, report)
    print(report.json() if args.json else report.text(), end="")
    return 0 if report.ok else REFUSED


def plan(args: Namespace) -> int:
    """Show what applying would change, or deploying a folder."""
    if getattr(args, "dir", None) or getattr(args, "host", None):
        from piot_firstboot import laptop_commands

        return laptop_commands.compare(args)
    from piot_firstboot import firstboot
    from piot_firstboot.describe import describe

    report, changes = firstboot.plan(_system(args, "plan", reads=True), everything=args.all)
    if args.json:
        print(report.json(), end="")
    else:
        print("\n".join([report.text(), *map(describe, changes)]).rstrip())
    return 0 if report.ok else REFUSED


def setup(args: Namespace) -> int:
    """Complete what needs the network."""
    from piot_firstboot import setup
    from piot_firstboot.notify import complain, say, status

    report = setup.complete(_system(args, "setup"), everything=args.all)
    if report.ok:
        say(report.headline)
        return 0
    complain(report.headline)
    status(report.headline)
    return TEMPFAIL


def clock(args: Namespace) -> int:
    """Wait for a time server."""
    from piot_firstboot import clock
    from piot_firstboot.notify import say

    known = clock.wait_for_sync(_system(args, "clock"), args.wait, say)
    said = "a time server has set the clock" if known else "no time server has set the clock yet"
    say(said)
    return 0


def ping(args: Namespace) -> int:
    """Tell an address of the start or the end of a run."""
    from piot_firstboot import ping

    return ping.tell(args.when, args.url or "", args.secret or "")


def fallback(args: Namespace) -> int:
    """Open an access point when nothing connects."""
    from piot_firstboot import fallback

    system = _system(args, "fallback")
    if args.page_only:
        fallback.page_only(system, args.listen)
    else:
        fallback.tick(system)
    return 0


def deploy(args: Namespace) -> int:
    """Deploy one app, or all."""
    from piot_firstboot import deploy

    system = _system(args, "deploy")
    do = deploy.finish if args.finish else deploy.deploy
    return _each(_apps(system, args.app), lambda app: do(system, app))


def rollback(args: Namespace) -> int:
    """Go back one release."""
    from piot_firstboot import deploy

    system = _system(args, "rollback")
    return _each(_one_app(system, args.app), lambda app: deploy.rollback(system, app))


def retry(args: Namespace) -> int:
    """Try again what failed."""
    from piot_firstboot import deploy
    from piot_firstboot.notify import say

    system = _system(args, "retry")

    def again(app: str) -> Outcome:
        for commit in deploy.forgive(system, app):
            say(f"{app}: {commit[:12]} may be tried again")
        return deploy.deploy(system, app)

    return _each(_one_app(system, args.app), again)


def status(args: Namespace) -> int:
    """Show what runs."""
    from piot_firstboot import status

    system = _system(args, "status", reads=True)
    apps = status.collect(system, args.app or "")
    print(status.as_json(system, apps) if args.json else status.as_text(system, apps))
    return 0


def eject(args: Namespace) -> int:
    """Leave an app as plain units."""
    from piot_firstboot import eject
    from piot_firstboot.errors import ApplyError

    system = _system(args, "eject")
    (app,) = _one_app(system, args.app)
    going = eject.plan(system, app)
    print(*going.lines(), sep="\n")
    if args.dry_run:
        return 0
    if not args.yes:
        try:
            answer = input(f"{app} will not be updated any more. Eject it? [y/N] ")
        except EOFError:
            raise ApplyError("nobody is here to say yes", "sudo piot eject --yes") from None
        if answer.strip().lower() not in ("y", "yes"):
            print("nothing was changed")
            return REFUSED
    eject.leave(system, app)
    print(f"{app} runs without PioT; to stop it: sudo systemctl disable --now piot-{app}.target")
    return 0


def peers(args: Namespace) -> int:
    """Look for other devices of an app."""
    from piot_firstboot import heard

    system = _system(args, "peers")
    (app,) = _one_app(system, args.app)
    print(heard.listen(system, app), end="")
    return 0


def hold(args: Namespace) -> int:
    """Keep apps as they are."""
    from piot_firstboot import hold

    system = _system(args, "hold")
    for app in _apps(system, args.app):
        print(hold.hold(system, app, args.reason))
    return 0


def resume(args: Namespace) -> int:
    """Let apps go on."""
    from piot_firstboot import hold

    system = _system(args, "resume")
    for app in _apps(system, args.app):
        print(hold.resume(system, app))
    return 0


def why(args: Namespace) -> int:
    """Explain why something newer does not run."""
    from piot_firstboot import why

    system = _system(args, "why", reads=True)
    answers = tuple(why.explain(system, app) for app in _apps(system, args.app))
    print(why.as_json(answers) if args.json else why.as_text(answers))
    return 0


def usb(args: Namespace) -> int:
    """Deploy from the bundles on a stick."""
    from piot_firstboot import deploy, stick
    from piot_firstboot.notify import say

    system = _system(args, "usb")
    with stick.opened(system, args.device) as bundles:
        if not bundles:
            say(f"{args.device}: no bundle for an app with usb = yes")
        return _each(tuple(bundles), lambda app: deploy.deploy(system, app, bundle=bundles[app]))


def bootguard(args: Namespace) -> int:
    """Count boots without a healthy report."""
    from piot_firstboot import bootguard

    bootguard.watch(_system(args, "bootguard"))
    return 0


def run(args: Namespace) -> int:
    """Run a job."""
    from piot_firstboot import logs

    return logs.run_job(_system(args, "run"), args.job)


def logs(args: Namespace) -> int:
    """Show what apps print."""
    from piot_firstboot import logs

    system = _system(args, "logs")
    options = {"follow": args.follow, "lines": args.lines, "commit": args.commit or ""}
    logs.follow(system, args.name or "", **options)


def secret_set(args: Namespace) -> int:
    """Store a secret."""
    from piot_firstboot import secret

    system = _system(args, "secret set")
    secret.judge(args.name)
    print(secret.put(system, args.name, secret.ask(args.name, raw=args.raw)))
    return 0


def secret_list(args: Namespace) -> int:
    """List secrets."""
    from piot_firstboot import secret

    rows = secret.collect(_system(args, "secret list"))
    print(secret.as_json(rows) if args.json else secret.as_text(rows))
    return 0


def secret_rm(args: Namespace) -> int:
    """Remove a secret."""
    from piot_firstboot import secret

    print(secret.remove(_system(args, "secret rm"), args.name))
    return 0


# -- small parts --------------------------------------------------------------------------------


def _system(args: Namespace, verb: str, *, reads: bool = False) -> System:
    """Return the system that a verb works on; a verb that writes needs root."""
    from piot_firstboot.system import System

    if not reads and os.geteuid() != 0:
        raise PermissionError(1, "", f"piot {verb} changes the system")
    return System(getattr(args, "root", "/"))


def _apps(system: System, app: str | None) -> tuple[str, ...]:
    """Return the app that was named, or all there are; raises ApplyError when there is none."""
    from piot_firstboot import state
    from piot_firstboot.errors import ApplyError

    apps = (state.source(system, app).name,) if app else state.apps(system)
    if not apps:
        hint = "add [app] repo = … to piot.conf, then run: sudo piot apply"
        raise ApplyError("there is no app on this device", hint)
    return apps


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
            worst = max(worst, code_of(error))
            continue
        if outcome.ok:
            say(outcome.text)
        else:
            complain(outcome.text)
            status(outcome.text.splitlines()[0])
            worst = max(worst, REFUSED)
    return worst
