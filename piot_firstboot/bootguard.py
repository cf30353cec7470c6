"""piot bootguard: count the boots of a release that is not proven yet, and act on three.

Early in the boot and without waiting for anything. Nothing is restored here: the app is kept off,
and its deploy, which comes when the machine is up, finds a rollback to finish.
"""

from __future__ import annotations

import random
import time
from dataclasses import replace

from piot_firstboot import guard, idle, state
from piot_firstboot.errors import ApplyError
from piot_firstboot.notify import say
from piot_firstboot.state import Record
from piot_firstboot.system import System

_KIND = "boot"


def watch(system: System) -> None:
    """Count this boot for each app whose release is unproven; go back, or into safe mode."""
    if guard.safe(system):
        if idle.unchanged(system.root.rstrip("/")):
            guard.keep_safe(system)
            say("safe mode: apps stay off")
            return
        # Applied by piot-firstboot, which comes next.
        guard.leave(system)
        say("piot.conf was edited: safe mode ends")
        return
    for app in system.names(guard.BOOTS):
        try:
            _count(system, app)
        except (ApplyError, OSError, KeyError) as error:
            # One app's record must not keep the others from being looked at.
            say(f"{app}: {error}")


def _count(system: System, app: str) -> None:
    """Count this boot for one app."""
    if app not in state.apps(system):
        system.remove(f"{guard.BOOTS}/{app}")
        return
    boots = guard.tick(system, app)
    record = state.load(system, app)
    if boots < guard.MOST_BOOTS:
        if state.source(system, app).poll is None:
            _finish_soon(system, app)
        return
    reason = f"{boots} boots in a row without a healthy report"
    if boots == guard.MOST_BOOTS and (record.target or record.good):
        if record.step != "rolling-back":
            record = state.save(system, _rolling_back(record, reason))
        say(f"{app}: {reason}: going back to {record.commit[:12] or 'nothing'}")
    elif boots == guard.MOST_BOOTS or boots >= 2 * guard.MOST_BOOTS:
        guard.enter(system, f"{app}: {reason}")
        say(f"{app}: {reason}: safe mode")
    if record.step == "rolling-back":
        guard.keep_off(system, app)
        _finish_soon(system, app)


def _finish_soon(system: System, app: str) -> None:
    """Let what was begun be finished when the boot is over, and health be reported.

    For an app that is polled its timer does that, later. Asked for every few minutes: what an app
    needs may come late. The deploy stops the timer when it has its report.
    """
    if not system.live:
        return
    # By default a timer starts after sysinit.target, which waits for this very program; and
    # systemd-run waits for the timer, --no-block or not.
    when = ("--on-active=5", "--on-unit-inactive=300", "--timer-property=DefaultDependencies=no")
    unit = guard.finisher(app).removesuffix(".timer")
    name = ("--quiet", "--collect", f"--unit={unit}", f"--description=Finish the deploy of {app}")
    system.run(("systemd-run", *when, *name, "/usr/bin/piot", "deploy", "--finish", app))


def _rolling_back(record: Record, reason: str) -> Record:
    """Return the record of a rollback that has begun, for the next deploy to finish."""
    left = record.target or record.commit
    if not record.target:
        record = replace(record, commit=record.good[0], good=record.good[1:], target=left)
    record = record.failed(
        left,
        reason,
        deterministic=True,
        now=time.time(),
        jitter=random.random(),
        kind=_KIND,
    )
    return replace(record, step="rolling-back", changed=time.time())
