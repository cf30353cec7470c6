"""New network settings on probation: they stay unless the former ones do better.

    none ── begin ──> trying ──────────────────────────────> kept: record and copies go
                       │   ^                                   ^
                       v   │ cut off                           │ the former ones do no better
                      comparing (the former ones are in place) ┤
                                                               v
                                                           reverting ──> refused

`begin` copies the set of files that is in place before the applier touches it. `judge` uses the
new set, looks how far the network reaches, and where that is less than it could be, looks what
the former set does. So a pulled cable or a dead server costs no good settings. Each step is on
disk before it is taken, and can be taken again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from piot_firstboot import link, profiles, records
from piot_firstboot.apply import recorded, scopes
from piot_firstboot.link import Look, Target
from piot_firstboot.profiles import Failure
from piot_firstboot.render.keyfile import CERTIFICATES
from piot_firstboot.system import System

SECTIONS = ("wifi", "ethernet")
HOME = "/var/lib/piot/network"
RECORD = f"{HOME}/trial.json"
REFUSED = f"{HOME}/refused.json"
_FORMER = f"{HOME}/former"
_TRIED = f"{HOME}/tried"
_LOCK = "/run/piot/network.lock"
SCHEMA = 1

# Seconds. Together with what a last look takes they end well within the two minutes in which
# someone who cut off the branch they sat on must have the machine back.
WINDOW = 45.0  # for the new settings; as long as NetworkManager waits for DHCP
FORMER_WINDOW = 30.0  # for the former ones, which worked at once when they last did
_RETURN_WINDOW = 20.0  # to bring the new ones back up, after the verdict
_TICK = 1.0
_MOST_TRIES = 2

Step = Literal["trying", "comparing", "reverting"]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a trial ended. The scores are `link`'s; `former_score` is None where not looked at.

    `details` says of each profile that failed why it did. Nothing here is secret.
    """

    kept: bool
    score: int
    former_score: int | None
    reason: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Record:
    """An open trial. `boot` is the boot in which files changed below a running NetworkManager."""

    kind: str
    step: Step
    started: float
    boot: str
    tries: int = 0
    verdict: Verdict | None = None


def is_open(system: System) -> bool:
    """Tell whether there are settings that `judge` has to judge."""
    return system.exists(RECORD)


def refused(system: System) -> Verdict | None:
    """Return why the settings that were tried last are not in force; None where they are.

    It lasts until other settings are tried.
    """
    return _verdict(records.values(system.read(REFUSED), SCHEMA))


def begin(system: System, kind: str) -> None:
    """Keep the network files that are in place, because they are about to change.

    `kind` is what the machine has, of facts.Facts. What an open trial keeps stays as it is: the
    set that it holds is the last one that worked. Waits while a judgement is under way. On a
    tree there is nothing that ever worked, and nothing is kept.
    """
    if not system.live or kind not in profiles.FOLDERS:
        return
    with system.lock(_LOCK):
        record = _load(system)
        if record and record.kind == kind:
            record = _resumed(system, record)
        boot = _boot(system) if profiles.running(system) else ""
        if record is None or record.kind != kind:
            _copy(system, _FORMER, profiles.read(system, kind))
            record = _Record(kind, "trying", time.time(), boot)
        _save(system, replace(record, boot=boot, tries=0))
        system.remove(REFUSED)
        # What came back when settings were refused, although they no longer had it.
        owned = {path for scope in scopes(system) for path in recorded(system, scope, "file")}
        for path in profiles.read(system, kind).keys() - owned:
            system.remove(path)


def judge(system: System, say: Say, targets: Sequence[Target] = ()) -> Verdict | None:
    """Try the new settings and keep them, or put the former ones back; None with none to try.

    `targets` are the servers that the apps need. Takes up a trial that was cut off. Ends within
    two minutes, with the former settings in force before that if they return.
    """
    with system.lock(_LOCK):
        record = _load(system)
        if record is None:
            _close(system, keep_refusal=True)
            return None
        if record.step == "reverting":
            return _revert(system, record, say)
        record = _resumed(system, record) or record
        present, former = profiles.read(system, record.kind), _copies(system, _FORMER, record.kind)
        if present == former:
            _close(system)
            return None
        if record.tries >= _MOST_TRIES:
            reason = f"the machine went off {record.tries} times while it tried them"
            if former:
                return _refuse(system, record, Verdict(False, 0, None, reason), say)
            return _keep(system, Verdict(True, 0, None, f"{reason}; there are no others"), say)
        record = _save(system, replace(record, tries=record.tries + 1))
        return _try(system, record, targets, say)


def _try(system: System, record: _Record, targets: Sequence[Target], say: Say) -> Verdict | None:
    """Use the new settings, and if they do not do all that can be hoped for, the former ones."""
    kind = record.kind
    present, former = profiles.read(system, kind), _copies(system, _FORMER, kind)
    say("network: trying the new settings")
    until = time.monotonic() + WINDOW
    fresh = record.boot != _boot(system)
    failures = profiles.activate(system, kind, present, former, until, fresh=fresh)
    new = _watch(system, targets, until, lambda now: now.full(targets))
    details = tuple(map(str, failures))
    fault = any(not failure.elsewhere for failure in failures)
    if (new.full(targets) and not fault) or (not former and new.score >= link.GATEWAY):
        return _keep(system, Verdict(True, new.score, None, new.words(targets), details), say)
    from piot_firstboot.probation import going_down

    if going_down(system):
        _save(system, replace(record, tries=record.tries - 1))
        return None
    said = _reason(new, targets, failures)
    say(f"network: {said}; trying the former settings")
    _copy(system, _TRIED, present)
    record = _save(system, replace(record, step="comparing"))
    profiles.put(system, kind, former)
    until = time.monotonic() + FORMER_WINDOW
    profiles.activate(system, kind, former, present, until)
    old = _watch(system, targets, until, lambda now: now.better(new))
    if old.better(new):
        return _refuse(system, record, Verdict(False, new.score, old.score, said, details), say)
    say("network: the former settings do no better")
    profiles.put(system, kind, present)
    record = _save(system, replace(record, step="trying", boot=_boot(system)))
    until = time.monotonic() + _RETURN_WINDOW
    profiles.activate(system, kind, present, former, until)
    reason = f"{said}; the former settings do no better"
    return _keep(system, Verdict(True, new.score, old.score, reason, details), say)


def _watch(
    system: System, targets: Sequence[Target], until: float, enough: Callable[[Look], bool]
) -> Look:
    """Look until it is enough or the time is up; return the last look."""
    while True:
        now = link.look(system, targets, until)
        if enough(now) or time.monotonic() >= until:
            return now
        time.sleep(_TICK)


def _reason(new: Look, targets: Sequence[Target], failures: Sequence[Failure]) -> str:
    """Say why settings are doubted: profiles that failed, else how far the network reaches."""
    if new.full(targets) or (failures and new.score == link.NOTHING):
        return ", ".join(map(str, failures))
    return new.words(targets)


# -- ends ---------------------------------------------------------------------------------------


def _keep(system: System, verdict: Verdict, say: Say) -> Verdict:
    """Commit the settings that are in place."""
    _close(system)
    say(f"network: the new settings stay: {verdict.reason}")
    return verdict


def _refuse(system: System, record: _Record, verdict: Verdict, say: Say) -> Verdict:
    """Decide against the new settings."""
    record = replace(record, step="reverting", verdict=verdict)
    return _revert(system, _save(system, record), say)


def _revert(system: System, record: _Record, say: Say) -> Verdict:
    """Put the former settings back, in force as well, and note why."""
    kind, verdict = record.kind, record.verdict
    assert verdict  # the step is never written without
    present, former = profiles.read(system, kind), _copies(system, _FORMER, kind)
    if present != former or verdict.former_score is None:
        profiles.put(system, kind, former)
        tried = present if present != former else {}
        profiles.activate(system, kind, former, tried, time.monotonic() + FORMER_WINDOW)
    _write(system, REFUSED, asdict(verdict))
    _close(system, keep_refusal=True)
    say(f"network: the former settings are back: {verdict.reason}")
    return verdict


def _resumed(system: System, record: _Record) -> _Record | None:
    """Take up what was cut off, files only; None when that ended the trial."""
    if record.step == "comparing":
        profiles.put(system, record.kind, _copies(system, _TRIED, record.kind))
        # The system came up with the former ones.
        return _save(system, replace(record, step="trying", boot=_boot(system)))
    if record.step == "reverting":
        profiles.put(system, record.kind, _copies(system, _FORMER, record.kind))
        _close(system)
        return None
    return record


# -- what lies on disk --------------------------------------------------------------------------


def _load(system: System) -> _Record | None:
    """Read the record of the open trial; one of another version, or damaged, is none."""
    values = records.values(system.read(RECORD), SCHEMA)
    values.pop("schema", None)
    try:
        return _Record(**{**values, "verdict": _verdict(values.pop("verdict", None))})
    except TypeError:
        return None


def _verdict(values: dict[str, Any] | None) -> Verdict | None:
    """Make a verdict of what was written of it, if anything was."""
    if not values:
        return None
    given = {name: value for name, value in values.items() if name != "schema"}
    try:
        return Verdict(**{**given, "details": tuple(given.get("details", ()))})
    except TypeError:
        return None


def _save(system: System, record: _Record) -> _Record:
    """Write the record so that it lasts, and return it."""
    _write(system, RECORD, asdict(record))
    return record


def _write(system: System, path: str, values: dict[str, object]) -> None:
    """Write a small JSON file."""
    text = json.dumps({"schema": SCHEMA, **values}, indent=1) + "\n"
    system.write(path, text.encode(), 0o600)


def _copy(system: System, folder: str, files: profiles.Files) -> None:
    """Keep a set of files; it counts once the record says so."""
    system.remove_tree(folder)
    system.mkdir(folder, 0o700)
    for path, data in files.items():
        system.write(f"{folder}{path}", data, 0o600)


def _copies(system: System, folder: str, kind: str) -> dict[str, bytes]:
    """Read a set of files that was kept, by the paths that they came from."""
    places = (profiles.FOLDERS[kind], CERTIFICATES)
    paths = (f"{place}/{name}" for place in places for name in system.names(f"{folder}{place}"))
    return {path: system.read(f"{folder}{path}") or b"" for path in paths if "/." not in path}


def _close(system: System, *, keep_refusal: bool = False) -> None:
    """End the trial: what is in place is what counts."""
    if not keep_refusal:
        system.remove(REFUSED)
    system.remove(RECORD)
    _tidy(system)


def _tidy(system: System) -> None:
    """Remove copies that no record speaks of: they hold passwords."""
    system.remove_tree(_FORMER)
    system.remove_tree(_TRIED)


def _boot(system: System) -> str:
    """Return the kernel's name for this boot, random(4)."""
    return (system.read("/proc/sys/kernel/random/boot_id") or b"").decode().strip()
