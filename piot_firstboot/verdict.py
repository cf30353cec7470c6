"""Put a commit that failed on the bad list, with all that a person will want to know of it."""

from __future__ import annotations

import random
import time
from hashlib import blake2b
from typing import Any

from piot_firstboot import __version__, causes, deadman, host, journal, probation, release, vault
from piot_firstboot.declared import Job, Manifest, Service
from piot_firstboot.errors import ApplyError
from piot_firstboot.notify import progress
from piot_firstboot.redact import redact
from piot_firstboot.state import Failure, Record, Source
from piot_firstboot.system import System

BY_HAND = "rolled back by hand"
CUT = "the way to the git host is cut"  # begins the reason
_ROUTE = "route"


def refused(system: System, record: Record, error: Exception, *, final: bool) -> Record:
    """Note what failed before anything was touched.

    `final` tells whether the commit is to blame unless the error names something else.
    """
    cause = causes.before_switch(error, final=final)
    hint = (error.hint if isinstance(error, ApplyError) else "") or cause.hint
    known = record.failure(record.target)
    about: dict[str, Any] = {"hint": hint, "switches": known.switches if known else 0}
    reason = _masked(system, str(error))
    return _failed(record, reason, cause, basis=basis(system, refused=True), **about)


def failed(
    system: System, record: Record, error: Exception, declared: Manifest, since: float
) -> Record:
    """Note what failed once the release was switched to.

    What is the device's fault is tried again, but not for ever: each try costs the app a restart.
    """
    name = _named(record.app, declared, str(error))
    unit = probation.unit_name(record.app, name) if name else ""
    lines = _last_words(system, unit, since)
    limited = any(unit.name == name and unit.memory for unit in _units(declared))
    cause = causes.after_switch(error, lines, limited=limited)
    if str(error).startswith(CUT):
        # Until it is known whether the way comes back with the release before.
        cause = causes.Cause(_ROUTE, False, "is the server up? does the app touch the network?")
    known = record.failure(record.target)
    switches = 1 + (known.switches if known else 0)
    if switches >= causes.MOST_SWITCHES:
        cause = causes.Cause(cause.kind, True, cause.hint)
    about: dict[str, Any] = {"hint": cause.hint, "basis": basis(system), "switches": switches}
    # A journal rule quotes what it objects to.
    return _failed(record, _masked(system, str(error)), cause, unit=unit, lines=lines, **about)


def left(record: Record, commit: str, reason: str, kind: str) -> Record:
    """Note a commit that is not to come back, without any doubt about its release."""
    return _failed(record, reason, causes.Cause(kind, True), commit=commit)


def after_rollback(system: System, record: Record, origin: Source) -> Record:
    """Say whose fault a cut was, now that the release before is back.

    When the way came back with it, the one that was left had cut it. Else a cable or the server
    is gone, and the commit may be tried again.
    """
    failure = record.failure(record.target)
    if not failure or failure.kind != _ROUTE or failure.deterministic:
        return record
    if why := deadman.cut(system, origin.repo, progress):
        return record.amended(failure.commit, reason=f"{failure.reason}; and still: {why}")
    return record.amended(failure.commit, deterministic=True, after=0.0, hint="")


def when(failure: Failure, now: float, app: str) -> str:
    """Say when a commit is tried again."""
    if failure.deterministic:
        return f"not tried again until a new commit or: sudo piot retry {app}"
    if not failure.waits(now):
        return "next try at the next poll"
    return f"next try in {max(1, round((failure.after - now) / 60))} min"


def basis(system: System, *, refused: bool = False) -> str:
    """Name what decides how a manifest is rendered here, beside the manifest itself.

    A commit that failed under another basis is another question: a device with another role may
    run what this one could not. What PioT `refused`, another version of it may understand; what
    was switched to and crashed is not tried again for that.
    """
    parts = [repr(host.device(system)), str(release.systemd_version(system))]
    text = "\n".join([*parts, __version__ if refused else ""])
    return blake2b(text.encode(), digest_size=6).hexdigest()


def _failed(
    record: Record, reason: str, cause: causes.Cause, *, commit: str = "", **about: Any
) -> Record:
    """Put a commit on the bad list; the target, if no other is named."""
    return record.failed(
        commit or record.target,
        reason,
        deterministic=cause.final,
        now=time.time(),
        jitter=random.random(),
        kind=cause.kind,
        **about,
    )


def _units(declared: Manifest) -> tuple[Service | Job, ...]:
    """List services and jobs."""
    return (*declared.services, *declared.jobs)


def _named(app: str, declared: Manifest, reason: str) -> str:
    """Return the service or job that a reason names, or ""."""
    names = [unit.name for unit in _units(declared)]
    return next(
        (n for n in names if reason.startswith(f"{n}:") or f"piot-{app}-{n}." in reason), ""
    )


def _last_words(system: System, unit: str, since: float) -> tuple[str, ...]:
    """Return the last journal lines of a unit."""
    if not unit or not system.live:
        return ()
    text = "\n".join(line[:500] for line in journal.tail(unit, since))
    return tuple(_masked(system, text).splitlines())


def _masked(system: System, text: str) -> str:
    """Take secrets out: an app's own slips with them must not last in the record."""
    return redact(text, vault.values(system)) if system.live else text
