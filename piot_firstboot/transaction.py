"""One deploy is one transaction: whatever happens, the newest good release runs afterwards.

The record is written before each step, so a run that finds an unfinished one knows what to do:
up to `staged` nothing outside the app's own directory was touched, and the work is discarded;
in `switched` and `probation` the switch is repeated and judged again; `rolling-back` is finished.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, replace

from piot_firstboot import journal, probation, release, repository, state, vault
from piot_firstboot.apply import apply
from piot_firstboot.errors import ApplyError, ConfigError, Unfit
from piot_firstboot.items import Item
from piot_firstboot.manifest import Manifest
from piot_firstboot.notify import progress, say
from piot_firstboot.redact import redact
from piot_firstboot.state import Record
from piot_firstboot.system import System
from piot_firstboot.verify import verify

KEEP = 3  # releases on disk: the running one and two to go back to
BY_HAND = "rolled back by hand"
_MOST_RESUMES = 2


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a deploy ended: `ok`, and in words what is running and why."""

    ok: bool
    text: str


class Rejected(ApplyError):
    """The commit was switched to and did not hold; it has to be rolled back."""


class Interrupted(ApplyError):
    """The machine goes down in the middle; the record says where, and the next boot goes on."""


def advance(system: System, record: Record, origin: state.Source, tip: repository.Tip) -> Outcome:
    """Fetch, verify, stage, switch, judge, commit; on failure restore what ran before."""
    app, commit = record.app, tip.commit
    record = _step(system, replace(record, target=commit, resumes=0), "idle")
    try:
        say(f"fetching {commit[:12]} from {origin.repo}")
        repository.fetch(system, origin, tip, progress)
        record = _step(system, record, "fetched")
        verify(system, origin, tip, record.commit, progress)
        record = _step(system, record, "verified")
        say(f"staging {commit[:12]}: {repository.describe(system, app, commit)}")
        release.stage(system, app, commit)
        declared = release.manifest(system, app, commit)
        items = release.render(system, app, commit, declared)
        release.verify(system, app, items)
        record = _step(system, record, "staged")
    except (ConfigError, Unfit) as error:
        return _refuse(system, record, str(error), _hint(error), final=True)
    except (ApplyError, OSError) as error:
        return _refuse(system, record, str(error), _hint(error), final=False)
    return _go_live(system, record, declared, items)


def _go_live(
    system: System, record: Record, declared: Manifest, items: tuple[Item, ...]
) -> Outcome:
    """Switch to the target and judge it; commit, or roll back."""
    began = time.time()
    try:
        record = _step(system, record, "switched")
        _switch(system, record.app, items)
        record = _step(system, record, "probation")
        _judge(system, record.app, declared)
    except ApplyError as error:
        _unless_going_down(system)
        reason = f"{error}{_last_words(system, record.app, declared, error, began)}"
        return roll_back(system, fail(record, record.target, reason, final=True))
    except OSError as error:
        # A full or failing disk says nothing about the commit.
        return roll_back(system, fail(record, record.target, str(error), final=False))
    return _commit(system, record)


def _switch(system: System, app: str, items: tuple[Item, ...]) -> None:
    """Make the app's units those of the release, and start what changed."""
    apply(system, f"app.{app}", items, say=say)


def _judge(system: System, app: str, declared: Manifest) -> None:
    """Hold the services to their health gate; raises Rejected with the reason."""
    failed = probation.watch(system, app, declared.services, progress)
    if failed:
        raise Rejected(f"{failed.service}: {failed.why}")


def _unless_going_down(system: System) -> None:
    """Raise Interrupted when what failed may have failed because the machine goes down."""
    if probation.going_down(system):
        raise Interrupted("the machine goes down; the next boot goes on from here")


def _commit(system: System, record: Record) -> Outcome:
    """Mark the target good and clear away what no one needs any more."""
    former = tuple(c for c in (record.commit, *record.good) if c and c != record.target)
    record = replace(
        record.forgiven(record.target),
        commit=record.target,
        good=former[: KEEP - 1],
        target="",
        resumes=0,
        note="",
    )
    record = _step(system, record, "committed")
    release.prune(system, record.app, {record.commit, *record.good})
    return Outcome(True, f"{record.app}: {record.commit[:12]} deployed")


def _refuse(system: System, record: Record, reason: str, hint: str, *, final: bool) -> Outcome:
    """Give the target up before anything was touched; what ran before keeps running."""
    failed = fail(record, record.target, reason, final=final)
    commit = record.target
    kept = f"{record.commit[:12]} keeps running" if record.commit else "nothing is deployed yet"
    note = f"{commit[:12]} refused; {kept}"
    step: state.Step = "committed" if record.commit else "idle"
    state.save(system, replace(failed, step=step, target="", note=note, changed=time.time()))
    release.prune(system, record.app, {record.commit, *record.good})
    when = "it is not tried again" if final else _when(failed, commit)
    lines = [f"{record.app}: {note}; {when}", reason, *([f"hint: {hint}"] if hint else [])]
    return Outcome(False, "\n".join(lines))


def roll_back(system: System, record: Record) -> Outcome:
    """Restore the last good release and judge it too; without one, leave the app stopped."""
    app, back, left = record.app, record.commit, record.target
    failure = record.failure(left)
    reason = failure.reason if failure else "unknown"
    say(f"rolling back {left[:12]}: {reason.splitlines()[0]}")
    record = _step(system, record, "rolling-back")
    ok = True
    if back:
        try:
            declared = release.manifest(system, app, back)
            items = release.render(system, app, back, declared, run_commit_jobs=False)
            _switch(system, app, items)
            _judge(system, app, declared)
            note = f"{left[:12]} rolled back; {back[:12]} runs and is healthy"
        except (ApplyError, ConfigError, OSError) as error:
            _unless_going_down(system)
            # Said, and ended all the same: the next commit must get its chance.
            ok = False
            note = f"{left[:12]} rolled back; {back[:12]} does not run either: {error}"
    else:
        _switch(system, app, ())
        note = f"{left[:12]} stopped; there is no earlier release to go back to"
    record = _step(system, replace(record, target="", resumes=0, note=note), "rolled-back")
    release.prune(system, app, {record.commit, *record.good})
    by_hand = bool(failure and failure.reason == BY_HAND)
    return Outcome(by_hand and ok, f"{app}: {note}\n{reason}")


def recover(system: System, record: Record) -> Record:
    """Bring an interrupted transaction to an end before a new one begins."""
    match record.step:
        case "fetched" | "verified" | "staged":
            say(f"discarding the unfinished deploy of {record.target[:12]}")
            record = replace(record, target="")
            return _step(system, record, "committed" if record.commit else "idle")
        case "switched" | "probation":
            if record.resumes >= _MOST_RESUMES:
                reason = f"still on probation after {record.resumes + 1} starts"
                roll_back(system, fail(record, record.target, reason, final=True))
            else:
                record = replace(record, resumes=record.resumes + 1)
                say(f"resuming the deploy of {record.target[:12]}")
                _resume(system, _step(system, record, record.step))
            return state.load(system, record.app)
        case "rolling-back":
            roll_back(system, record)
            return state.load(system, record.app)
    # A run that ended between its last record and the end of its clearing away left something.
    release.prune(system, record.app, {record.commit, *record.good})
    return record


def _resume(system: System, record: Record) -> None:
    """Repeat an interrupted switch; a target that cannot be read any more is rolled back."""
    try:
        declared = release.manifest(system, record.app, record.target)
        items = release.render(system, record.app, record.target, declared)
    except (ApplyError, ConfigError, OSError) as error:
        roll_back(system, fail(record, record.target, str(error), final=True))
        return
    _go_live(system, record, declared, items)


def reconcile(system: System, record: Record) -> None:
    """Mend what drifted from the deployed release: once a boot, and after settings changed."""
    declared = release.manifest(system, record.app, record.commit)
    items = release.render(system, record.app, record.commit, declared, run_commit_jobs=False)
    for change in apply(system, f"app.{record.app}", items, say=progress):
        say(f"{record.app}: {change}")


# -- small parts --------------------------------------------------------------------------------


def _step(system: System, record: Record, step: state.Step) -> Record:
    """Write the record before the step that it names."""
    return state.save(system, replace(record, step=step, changed=time.time()))


def fail(record: Record, commit: str, reason: str, *, final: bool) -> Record:
    """Put a commit on the bad list."""
    now = time.time()
    return record.failed(commit, reason, deterministic=final, now=now, jitter=random.random())


def _hint(error: Exception) -> str:
    """Return an error's advice, if it has any."""
    return error.hint if isinstance(error, ApplyError) else ""


def _when(record: Record, commit: str) -> str:
    """Say when a commit is tried again."""
    failure = record.failure(commit)
    wait = failure.after - time.time() if failure else 0.0
    return f"tried again in {max(1, round(wait / 60))} min"


def _last_words(
    system: System, app: str, declared: Manifest, error: Exception, since: float
) -> str:
    """Return the last journal lines of the unit that an error names."""
    names = [s.name for s in declared.services] + [j.name for j in declared.jobs]
    named = [n for n in names if str(error).startswith(f"{n}:") or f"piot-{app}-{n}." in str(error)]
    if not named or not system.live:
        return ""
    lines = journal.tail(probation.unit_name(app, named[0]), since)
    # The reason goes into the record and the status, where an app's own slip must not last.
    return redact("".join(f"\n  {line}" for line in lines), vault.values(system))
