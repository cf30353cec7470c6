"""What a release must show to count as good: health, few errors, the way to the git host."""

from __future__ import annotations

import time

from piot_firstboot import deadman, guard, journal, probation, release, verdict
from piot_firstboot.assess import noisier
from piot_firstboot.declared import Manifest, Service
from piot_firstboot.errors import ApplyError, ConfigError
from piot_firstboot.notify import progress, say
from piot_firstboot.state import Record, Source
from piot_firstboot.system import System

_USUAL = 600.0  # seconds before the switch from which the usual rate of errors is taken
_LONGEST = 6 * 3600.0  # seconds; a probation that seems longer is a clock that was set


class Rejected(ApplyError):
    """The commit was switched to and did not hold; it has to be rolled back."""


class Interrupted(ApplyError):
    """The machine goes down in the middle; the record says where, and the next boot goes on."""


def judge(
    system: System, app: str, declared: Manifest, before: probation.Looks, moment: float
) -> None:
    """Hold the gated services to their health gate; raises Rejected with the reason.

    `before` is what ran before the switch, `moment` when that was, in seconds of this boot.
    """
    failed = probation.watch(
        system,
        app,
        gated(declared),
        progress,
        before=before,
        rule=declared.health,
        since=moment,
    )
    if failed:
        raise Rejected(f"{failed.service}: {failed.why}")


def gated(declared: Manifest) -> tuple[Service, ...]:
    """List the services that a release is judged by: all, unless the manifest names some.

    Jobs that a timer runs later say nothing yet; those of the commit have run, and succeeded,
    before any service was started.
    """
    names = declared.update.gate
    return tuple(s for s in declared.services if names is None or s.name in names)


def compare(system: System, record: Record, began: float) -> None:
    """Hold the errors that the target writes against those of the release before it."""
    now = time.time()
    if not record.commit or not system.live or not 0 < now - began < _LONGEST:
        return
    ran = began - record.since if record.since else _USUAL
    errors = journal.errors(record.app, record.target, began, now)
    former = journal.errors(record.app, record.commit, began - _USUAL, began)
    if worse := noisier(errors, now - began, former, min(ran, _USUAL)):
        raise Rejected(worse)


def still_reached(system: System, record: Record, origin: Source) -> None:
    """Reject a release that cuts the way to the git host: no later one could mend that."""
    if record.online and (why := deadman.cut(system, origin.repo, progress)):
        raise Rejected(f"{verdict.CUT}: {why}")


def prove(system: System, record: Record) -> None:
    """Report a release healthy that had no boot behind it yet; the boot guard waits for that."""
    app = record.app
    if not record.commit or not guard.unproven(system, app):
        return
    try:
        declared = release.manifest(system, app, record.commit)
        judge(system, app, declared, probation.look(system, app, declared.services), 0.0)
    except (ApplyError, ConfigError) as error:
        say(f"{app}: no healthy report for this boot: {error}")
        return
    guard.prove(system, app)
    say(f"{app}: {record.commit[:12]} is healthy after a boot")


def unless_going_down(system: System) -> None:
    """Raise Interrupted when what failed may have failed because the machine goes down."""
    if probation.going_down(system):
        raise Interrupted("the machine goes down; the next boot goes on from here")
