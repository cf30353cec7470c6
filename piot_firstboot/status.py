"""piot status: what runs, since when, and why not something newer."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass

from piot_firstboot import access, guard, journal, records, repository, state, verdict
from piot_firstboot.apply import recorded
from piot_firstboot.report import REPORT
from piot_firstboot.system import System

SCHEMA = 1
_PROPERTIES = "Id,ActiveState,SubState,NRestarts,MemoryMax"


@dataclass(frozen=True, slots=True)
class UnitStatus:
    """One unit of an app as systemd sees it; `failed` is its word for why it last restarted."""

    name: str
    active: str
    sub: str
    restarts: int
    failed: str = ""
    memory: int | None = None  # the limit, in bytes


@dataclass(frozen=True, slots=True)
class AppStatus:
    """One app: its source, its record and its units."""

    source: state.Source
    record: state.Record
    subject: str
    units: tuple[UnitStatus, ...]
    access: tuple[tuple[str, str], ...] = ()
    hold: state.Hold | None = None


def collect(system: System, name: str = "") -> tuple[AppStatus, ...]:
    """Gather the status of one app or of all; raises ApplyError for an app that is not there."""
    names = (state.source(system, name).name,) if name else state.apps(system)
    units = _units(system, names)
    found = []
    for app in names:
        record = state.load(system, app)
        subject = repository.describe(system, app, record.commit) if record.commit else ""
        origin, hold = state.source(system, app), state.held(system, app)
        told = access.told(system, origin)
        found.append(AppStatus(origin, record, subject, units[app], told, hold))
    return tuple(found)


def conf(system: System) -> dict[str, object]:
    """Return the last report on piot.conf, empty when there is none."""
    return records.values(system.read(REPORT))


def as_json(system: System, apps: tuple[AppStatus, ...]) -> str:
    """Render for programs.

    Keys: schema, conf (the report), safe (null, or reason and since), apps: each name, repo, ref,
    step, commit, target, good, subject, note, changed, ready (a commit that is staged and waits),
    until, access (host, key: why the server is trusted, the public key that was made here),
    hold (null, or reason and since), bad (commit, reason, deterministic, at, tries, after,
    kind, unit, lines, restored, hint, switches), units (name, active, sub, restarts, failed: why
    systemd last restarted it in this boot, as in exit-code or oom-kill).
    """
    rows = [
        {
            "name": app.source.name,
            "repo": app.source.repo,
            "ref": app.source.ref,
            "access": dict(app.access),
            "step": app.record.step,
            "commit": app.record.commit,
            "target": app.record.target,
            "good": app.record.good,
            "subject": app.subject,
            "note": app.record.note,
            "changed": app.record.changed,
            "ready": app.record.ready,
            "until": app.record.until,
            "hold": asdict(app.hold) if app.hold else None,
            "bad": [_without_basis(bad) for bad in app.record.bad],
            "units": [
                {
                    "name": u.name,
                    "active": u.active,
                    "sub": u.sub,
                    "restarts": u.restarts,
                    "failed": u.failed,
                }
                for u in app.units
            ],
        }
        for app in apps
    ]
    safe = guard.safe(system)
    said = {"conf": conf(system), "safe": asdict(safe) if safe else None, "apps": rows}
    return json.dumps({"schema": SCHEMA, **said}, indent=1)


def _without_basis(bad: state.Failure) -> dict[str, object]:
    """Return what is said of a failure; what it was judged under is PioT's own affair."""
    return {key: value for key, value in asdict(bad).items() if key != "basis"}


def as_text(system: System, apps: tuple[AppStatus, ...]) -> str:
    """Render for people: the configuration in a line, then a block for each app."""
    report = conf(system)
    blocks = [str(report.get("headline") or "piot.conf: not applied yet")]
    if safe := guard.safe(system):
        blocks.append(guard.words(safe))
    blocks += ["\n".join(_app_lines(app, time.time())) for app in apps]
    if not apps:
        blocks.append("no app: add [app] repo = … to piot.conf, then run: sudo piot apply")
    return "\n\n".join(blocks)


def _app_lines(app: AppStatus, now: float) -> list[str]:
    """Write one app's block."""
    record = app.record
    head = f"{app.source.name}: "
    if record.commit:
        head += f"{record.commit[:12]} {app.subject}".rstrip()
    else:
        head += "nothing deployed yet"
    lines = [head, f"  from   {app.source.repo} {app.source.ref}".rstrip()]
    lines += [f"  {word:5}  {line}" for word, line in app.access]
    changed = f", {_ago(now - record.changed)}" if record.changed else ""
    lines.append(f"  state  {record.step}{changed}")
    if record.note:
        lines.append(f"  note   {record.note}")
    if app.hold:
        lines.append(f"  hold   {app.hold.words(app.source.name)}")
    for bad in record.bad[:3]:
        first, *more = bad.reason.splitlines()
        lines.append(f"  bad    {bad.commit[:12]} {first}")
        lines += [f"           {line.strip()}" for line in (*more, *bad.lines)[:8]]
        lines.append(f"           {verdict.when(bad, now, app.source.name)}")
    width = max((len(unit.name) for unit in app.units), default=0)
    for unit in app.units:
        restarts = f", {unit.restarts} restarts{_last(unit)}" if unit.restarts else ""
        lines.append(f"  unit   {unit.name:{width}}  {unit.active} ({unit.sub}){restarts}")
    return lines


def _last(unit: UnitStatus) -> str:
    """Say why a unit was last restarted."""
    if unit.failed == "oom-kill" and unit.memory:
        return f" (last: killed above its memory limit of {unit.memory / 2**20:g}M)"
    return f" (last: {unit.failed})" if unit.failed else ""


def _ago(seconds: float) -> str:
    """Say a span of time as people do."""
    if seconds < -60:
        return "at a time that is still to come: the clock was ahead"
    for size, word in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {word}{'s' * (count > 1)} ago"
    return "just now"


def _units(system: System, apps: tuple[str, ...]) -> dict[str, tuple[UnitStatus, ...]]:
    """Ask systemd once for the services and timers that the apps own."""
    mine = {}
    for app in apps:
        names = recorded(system, f"app.{app}", "unit")
        # What has an @ is PioT's own, of which there is one for each app.
        kinds = (".service", ".timer")
        mine[app] = [name for name in names if name.endswith(kinds) and "@" not in name]
    every = [name for names in mine.values() for name in names]
    states: dict[str, UnitStatus] = {}
    if every and system.live:
        shown = system.run(("systemctl", "show", "-p", _PROPERTIES, *every))
        for block in shown.out.strip().split("\n\n"):
            row = dict(line.partition("=")[::2] for line in block.splitlines())
            restarts = int(row.get("NRestarts") or 0)
            name = row.get("Id", "")
            states[name] = UnitStatus(
                name,
                row.get("ActiveState", ""),
                row.get("SubState", ""),
                restarts,
                journal.result(name) if restarts else "",
                int(limit) if (limit := row.get("MemoryMax", "")).isdigit() else None,
            )
    return {a: tuple(states[n] for n in names if n in states) for a, names in mine.items()}
