"""What PioT did, for a person with the SD card in a laptop, and for programs.

The report on the boot partition is made anew after each phase: piot.conf, what needed the
network, and each deployment.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from piot_firstboot import access, clock, guard, idle, journal, records, state, vault
from piot_firstboot.config import Config
from piot_firstboot.errors import Problem
from piot_firstboot.redact import redact, secret_values
from piot_firstboot.system import System

REPORT = idle.REPORT
TEXT = "piot-report.txt"
SCHEMA = 2
_MOST = 64 * 1024  # bytes on the boot partition
_LOG_LINES = 200
_LOG_HEAD = "Log:"
_REFUSED = "This report could not be written to "


@dataclass(frozen=True, slots=True)
class Line:
    """What became of one line of piot.conf; `next_step` says what to do about it."""

    line: int
    section: str
    key: str
    state: str
    why: str = ""
    next_step: str = ""

    def __str__(self) -> str:
        """Write it for people."""
        text = f"{self.line:5}  [{self.section}] {self.key}: {self.state}"
        if self.why:
            text += f": {self.why}"
        return f"{text}\n       {self.next_step}" if self.next_step else text


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of applying one piot.conf. `changes` are in words, secrets never in them.

    `notes` are facts that belong to no line, such as how far the clock was off.
    """

    ok: bool
    headline: str
    source: str = ""
    problems: tuple[Problem, ...] = ()
    lines: tuple[Line, ...] = ()
    changes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    next_step: str = ""

    def text(self) -> str:
        """Render for people: the headline first, then problems, lines, changes, what to do."""
        blocks = [self.headline]
        blocks += [str(problem) for problem in self.problems]
        if self.lines:
            name = self.source.rpartition("/")[2]
            blocks.append("\n".join([f"{name}, line by line:", *map(str, self.lines)]))
        if self.changes:
            blocks.append("\n".join(["Changes:", *(f"  {change}" for change in self.changes)]))
        blocks += self.notes
        if self.next_step:
            blocks.append(f"Next: {self.next_step}")
        return "\n\n".join(blocks) + "\n"

    def values(self) -> dict[str, Any]:
        """Return what programs read.

        Keys: schema, ok, headline, source, problems (source, line, column, message, hint), lines
        (line, section, key, state, why, next), changes, notes, next. A state is applied,
        unchanged, refused, failed, waiting or noted.
        """
        rows = [asdict(line) for line in self.lines]
        for row in rows:
            row["next"] = row.pop("next_step")
        return {
            "schema": SCHEMA,
            "ok": self.ok,
            "headline": self.headline,
            "source": self.source,
            "problems": [problem.values() for problem in self.problems],
            "lines": rows,
            "changes": self.changes,
            "notes": self.notes,
            "next": self.next_step,
        }

    def json(self) -> str:
        """Render for programs."""
        return json.dumps(self.values(), indent=1) + "\n"


def publish(system: System, report: Report, log: Iterable[str] = ()) -> str:
    """Write the report where people and programs look; nothing is written when it is the same.

    `log` is set below the rest, secrets already taken out. Returns "" or why the boot partition
    did not take it (full or read-only): no reason to fail, but programs are told too.
    """
    refused = _put_text(system, report.source, report.text(), log)
    if refused:
        report = replace(report, notes=(*report.notes, f"{_REFUSED}{refused}"))
    _write(system, REPORT, report.json().encode())
    return refused


def refresh(system: System, log: Iterable[str] = ()) -> str:
    """Write the report on the boot partition again, after a deployment."""
    report = last(system)
    if report is None:
        return ""
    report = replace(report, notes=tuple(n for n in report.notes if not n.startswith(_REFUSED)))
    return _put_text(system, report.source, report.text(), log)


def log(system: System, config: Config | None = None) -> Iterator[str]:
    """Yield what PioT printed last, without any secret that the file or the store holds.

    The journal is read at the first line that is asked for.
    """
    if not system.live:
        return
    secrets = (*(secret_values(config) if config else ()), *vault.values(system))
    yield from (redact(line, secrets) for line in journal.recent(_LOG_LINES))


def last(system: System) -> Report | None:
    """Return the last report on piot.conf."""
    values = records.values(system.read(REPORT), SCHEMA)
    try:
        lines = [{**row, "next_step": row["next"]} for row in values["lines"]]
        for row in lines:
            del row["next"]
        return Report(
            values["ok"],
            values["headline"],
            values["source"],
            tuple(Problem(**row) for row in values["problems"]),
            tuple(Line(**row) for row in lines),
            tuple(values["changes"]),
            tuple(values["notes"]),
            values["next"],
        )
    except (KeyError, TypeError):
        return None


def with_lines(report: Report, lines: Iterable[Line]) -> Report:
    """Return the report with what became of each line, in the order of the file."""
    return replace(report, lines=tuple(sorted(lines, key=lambda line: line.line)))


def _put_text(system: System, source: str, text: str, log: Iterable[str]) -> str:
    """Write the report on the boot partition, unless all but its log is the same."""
    if not source.startswith("/boot"):
        return ""
    safe = guard.safe(system)
    first = [f"{guard.words(safe)}\n"] if safe else []
    apps = [_app(system, app) for app in state.apps(system)]
    text = "\n".join([*first, text, *apps])
    path = f"{source.rpartition('/')[0]}/{TEXT}"
    former = (system.read(path) or b"").decode("utf-8", "replace").replace("\r\n", "\n")
    if former.partition(f"\n{_LOG_HEAD}\n")[0].rstrip("\n") == text.rstrip("\n"):
        return ""
    lines = list(log)[-_LOG_LINES:]
    # CRLF, because people open it with whatever their laptop has.
    data = _encoded(text, lines)
    while len(data) > _MOST and lines:
        lines = lines[len(lines) // 4 + 1 :]
        data = _encoded(text, lines)
    try:
        system.write(path, data[:_MOST])
    except OSError as error:
        return f"{path}: {error.strerror}"
    clock.stamp(system, path.rpartition("/")[0])
    return ""


def _encoded(text: str, log: list[str]) -> bytes:
    """Join text and log, with the line ends that every laptop shows well."""
    whole = "\n".join([text.rstrip("\n"), "", _LOG_HEAD, *log]) + "\n" if log else text
    return whole.replace("\n", "\r\n").encode()


def _app(system: System, app: str) -> str:
    """Write what became of an app's deployments, and how its repository is reached."""
    record = state.load(system, app)
    lines = [f"App {app}: {record.step}"]
    lines += [f"  {word}: {line}" for word, line in access.told(system, state.source(system, app))]
    if record.commit:
        lines.append(f"  runs {record.commit[:12]}")
    if record.note:
        lines.append(f"  {record.note}")
    if hold := state.held(system, app):
        lines.append(f"  {hold.words(app)}")
    for bad in record.bad[:3]:
        first = bad.reason.splitlines()[0]
        lines.append(f"  {bad.commit[:12]} failed: {first}")
    return "\n".join(lines) + "\n"


def _write(system: System, path: str, data: bytes) -> None:
    """Replace a file unless it already says the same."""
    if system.read(path) != data:
        system.write(path, data)
