"""One deploy is one transaction: whatever happens, the newest good release runs afterwards.

The record is written before each step, so a run that finds an unfinished one knows what to do:
up to `staged` nothing outside the app's own directory was touched, and the work is discarded;
in `switched` and `probation` the switch is repeated and judged again; `rolling-back` is finished.
docs/design.md tells why that is enough.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from piot_firstboot import (
    clock,
    deadman,
    diskspace,
    gate,
    guard,
    host,
    orders,
    probation,
    release,
    repository,
    state,
    verdict,
    windows,
)
from piot_firstboot.apply import apply
from piot_firstboot.declared import Manifest
from piot_firstboot.errors import ApplyError, ConfigError, Unfit
from piot_firstboot.items import Item
from piot_firstboot.notify import progress, say
from piot_firstboot.state import Record, Source
from piot_firstboot.system import System
from piot_firstboot.verify import verify

_MOST_RESUMES = 2


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a deploy ended: `ok`, and in words what is running and why.

    `again` is in how many seconds something is to be done that no new commit will bring.
    """

    ok: bool
    text: str
    again: float | None = None


def advance(system: System, record: Record, origin: Source, tip: repository.Tip) -> Outcome:
    """Fetch, verify, stage, switch, judge, commit; on failure restore what ran before.

    What is staged may have to wait for its time; then nothing is switched yet.
    """
    app, commit = record.app, tip.commit
    record = _step(system, replace(record, target=commit, resumes=0, online=False), "idle")
    try:
        diskspace.reserve(system)
        if record.ready != commit:
            record = diskspace.before_fetch(system, replace(record, ready="", until=0.0))
            say(f"fetching {commit[:12]} from {origin.repo}")
            repository.fetch(system, origin, tip, progress)
        record = record.arrival(commit, time.time(), right=clock.synced(system))
        record = replace(record, online=deadman.watches(origin.repo))
        record = _step(system, record, "fetched")
        verify(system, origin, tip, record.commit, progress)
        record = _step(system, record, "verified")
        record = diskspace.before_stage(system, _gather(system, record))
        say(f"staging {commit[:12]}: {repository.describe(system, app, commit)}")
        release.stage(system, app, commit)
        declared = release.manifest(system, app, commit)
        items = release.render(system, app, commit, declared)
        release.verify(system, app, items)
        record = _step(system, record, "staged")
    except (ConfigError, Unfit) as error:
        return _refuse(system, record, error, final=True)
    except (ApplyError, OSError) as error:
        return _refuse(system, record, error, final=False)
    if wait := _not_yet(system, record, origin, declared, tip):
        return _wait(system, record, wait)
    return _go_live(system, record, origin, declared, items)


def _gather(system: System, record: Record) -> Record:
    """Fetch the submodules of the target; return the record, with fewer releases if room lacked."""

    def room(mirror: str) -> None:
        nonlocal record
        record = diskspace.before_fetch(system, record, mirror)

    if not system.exists(release.place(record.app, record.target)):
        repository.gather(system, record.app, record.target, room)
    return record


def _not_yet(
    system: System, record: Record, origin: Source, declared: Manifest, tip: repository.Tip
) -> windows.Wait | None:
    """Tell whether the target must wait: for its ring's turn, or for the end of quiet hours.

    Where nothing runs yet, nothing is quiet.
    """
    now = time.time()
    said = orders.decide(
        tip.orders,
        tip.commit,
        rings=declared.fleet.rings,
        ring=origin.ring,
        hostname=host.device(system).host,
        arrived=record.came(tip.commit) or now,
        now=now,
    )
    waits = [windows.Wait(said.why, said.until - now) if said.word == "wait" else None]
    if record.commit:
        here = time.localtime(now)
        minute = here.tm_hour * 60 + here.tm_min + here.tm_sec / 60
        waits += [windows.quiet(hours, minute) for hours in (origin.quiet, declared.update.quiet)]
    return windows.longest(tuple(waits))


def _wait(system: System, record: Record, wait: windows.Wait) -> Outcome:
    """Leave the target staged until its time comes; what runs keeps running."""
    commit = record.target
    note = f"{commit[:12]} is staged and waits: {wait.why}"
    until = time.time() + wait.seconds
    step: state.Step = "committed" if record.commit else "idle"
    waiting = replace(record, step=step, target="", ready=commit, until=until, note=note)
    _save(system, replace(waiting, changed=time.time()))
    release.prune(system, record.app, waiting.kept)
    # The clock may be set, or the hours: look again before long.
    return Outcome(True, f"{record.app}: {note}", min(wait.seconds, windows.LONGEST))


def _go_live(
    system: System, record: Record, origin: Source, declared: Manifest, items: tuple[Item, ...]
) -> Outcome:
    """Switch to the target and judge it; commit, or roll back."""
    app, began = record.app, time.time()
    try:
        diskspace.insist(system, lambda: guard.begin(system, app, record.target))
        record = _step(system, record, "switched")
        _try(system, record, declared, items)
        gate.compare(system, record, began)
        gate.still_reached(system, record, origin)
    except ApplyError as error:
        gate.unless_going_down(system)
        return roll_back(system, verdict.failed(system, record, error, declared, began), origin)
    except OSError as error:
        # A full or failing disk says nothing about the commit.
        return roll_back(system, verdict.failed(system, record, error, declared, began), origin)
    return _commit(system, record, origin, declared)


def _try(system: System, record: Record, declared: Manifest, items: tuple[Item, ...]) -> None:
    """Make the app's units those of a release, and hold its services to their health gate.

    Raises gate.Rejected with the reason.
    """
    app, moment = record.app, time.monotonic()
    guard.admit(system, app)
    before = probation.look(system, app, declared.services)
    apply(system, f"app.{app}", items, say=say)
    if record.step == "switched":
        _step(system, record, "probation")
    gate.judge(system, app, declared, before, moment)


def _commit(system: System, record: Record, origin: Source, declared: Manifest) -> Outcome:
    """Mark the target good and clear away what no one needs any more."""
    keep = declared.update.keep or origin.keep
    former = tuple(c for c in (record.commit, *record.good) if c and c != record.target)
    record = replace(
        record.forgiven(record.target),
        commit=record.target,
        since=time.time(),
        good=former[: keep - 1],
        target="",
        ready="",
        until=0.0,
        resumes=0,
        note="",
    )
    record = _step(system, record, "committed")
    guard.prove(system, record.app)
    release.prune(system, record.app, record.kept)
    diskspace.reserve(system)
    return Outcome(True, f"{record.app}: {record.commit[:12]} deployed")


def _refuse(system: System, record: Record, error: Exception, *, final: bool) -> Outcome:
    """Give the target up before anything was touched; what ran before keeps running."""
    commit = record.target
    record = verdict.refused(system, replace(record, ready="", until=0.0), error, final=final)
    kept = f"{record.commit[:12]} keeps running" if record.commit else "nothing is deployed yet"
    note = f"{commit[:12]} refused; {kept}"
    record = replace(record.amended(commit, restored=kept), target="", note=note)
    record = _step(system, record, "committed" if record.commit else "idle")
    release.prune(system, record.app, record.kept)
    failure = record.failure(commit)
    assert failure
    when = verdict.when(failure, time.time(), record.app)
    hint = [f"hint: {failure.hint}"] if failure.hint else []
    return Outcome(False, "\n".join([f"{record.app}: {note}; {when}", failure.reason, *hint]))


def roll_back(system: System, record: Record, origin: Source) -> Outcome:
    """Restore the last good release and judge it too; without one, leave the app stopped."""
    app, back, left = record.app, record.commit, record.target
    failure = record.failure(left)
    reason = failure.reason if failure else "unknown"
    say(f"rolling back {left[:12]}: {reason}")
    record = _step(system, record, "rolling-back")
    ok = True
    if back:
        try:
            declared = release.manifest(system, app, back)
            items = release.render(system, app, back, declared, run_commit_jobs=False)
            diskspace.insist(system, lambda: _try(system, record, declared, items))
            what = f"{back[:12]} runs and is healthy"
        except (ApplyError, ConfigError, OSError) as error:
            gate.unless_going_down(system)
            # Said, and ended all the same: the next commit must get its chance.
            ok, what = False, f"{back[:12]} does not run either: {error}"
        note = f"{left[:12]} rolled back; {what}"
    else:
        guard.admit(system, app)
        apply(system, f"app.{app}", (), say=say)
        what = "there is no earlier release to go back to"
        note = f"{left[:12]} stopped; {what}"
    diskspace.insist(system, lambda: guard.follow(system, app, back))
    record = verdict.after_rollback(system, record.amended(left, restored=what), origin)
    record = _step(system, replace(record, target="", resumes=0, note=note), "rolled-back")
    release.prune(system, app, record.kept)
    diskspace.reserve(system)
    by_hand = bool(failure and failure.reason == verdict.BY_HAND)
    said = [f"  {line}" for line in (failure.lines if failure else ())]
    return Outcome(by_hand and ok, "\n".join([f"{app}: {note}", reason, *said]))


def recover(system: System, record: Record, origin: Source) -> Record:
    """Bring an interrupted transaction to an end before a new one begins."""
    match record.step:
        case "fetched" | "verified" | "staged":
            say(f"discarding the unfinished deploy of {record.target[:12]}")
            record = replace(record, target="")
            record = _step(system, record, "committed" if record.commit else "idle")
        case "switched" | "probation":
            if record.resumes >= _MOST_RESUMES:
                reason = f"still on probation after {record.resumes + 1} starts"
                roll_back(system, verdict.left(record, record.target, reason, "boot"), origin)
            else:
                record = replace(record, resumes=record.resumes + 1)
                say(f"resuming the deploy of {record.target[:12]}")
                _resume(system, _step(system, record, record.step), origin)
            return state.load(system, record.app)
        case "rolling-back":
            roll_back(system, record, origin)
            return state.load(system, record.app)
    # A run that ended between its last record and the end of its clearing away left something.
    release.prune(system, record.app, record.kept)
    return record


def _resume(system: System, record: Record, origin: Source) -> None:
    """Repeat an interrupted switch; a target that cannot be read any more is rolled back."""
    try:
        declared = release.manifest(system, record.app, record.target)
        items = release.render(system, record.app, record.target, declared)
    except (ApplyError, ConfigError, OSError) as error:
        roll_back(system, verdict.refused(system, record, error, final=True), origin)
        return
    _go_live(system, record, origin, declared, items)


def reconcile(system: System, record: Record) -> None:
    """Mend what drifted from the deployed release: once a boot, and after settings changed."""
    declared = release.manifest(system, record.app, record.commit)
    items = release.render(system, record.app, record.commit, declared, run_commit_jobs=False)
    for change in apply(system, f"app.{record.app}", items, say=progress):
        say(f"{record.app}: {change}")


def _step(system: System, record: Record, step: state.Step) -> Record:
    """Write the record before the step that it names."""
    return _save(system, replace(record, step=step, changed=time.time()))


def _save(system: System, record: Record) -> Record:
    """Write the record, from the reserve if need be."""
    return diskspace.insist(system, lambda: state.save(system, record))
