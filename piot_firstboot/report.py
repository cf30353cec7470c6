"""What PioT did, for a person with the SD card in a laptop, and for programs."""

from __future__ import annotations

import json
from dataclasses import dataclass

from piot_firstboot.errors import Problem
from piot_firstboot.system import System

REPORT = "/var/lib/piot/report.json"
SCHEMA = 1
_MOST = 64 * 1024  # bytes on the boot partition


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of applying one piot.conf. `changes` are in words, secrets never in them."""

    ok: bool
    headline: str
    source: str = ""
    problems: tuple[Problem, ...] = ()
    changes: tuple[str, ...] = ()
    next_step: str = ""

    def text(self) -> str:
        """Render for people: the headline first, then problems, changes and what to do."""
        blocks = [self.headline]
        blocks += [str(problem) for problem in self.problems]
        if self.changes:
            blocks.append("\n".join(["Changes:", *(f"  {change}" for change in self.changes)]))
        if self.next_step:
            blocks.append(f"Next: {self.next_step}")
        return "\n\n".join(blocks) + "\n"

    def json(self) -> str:
        """Render for programs.

        Keys: schema, ok, headline, source, problems (source, line, column, message, hint),
        changes, next.
        """
        values = {
            "schema": SCHEMA,
            "ok": self.ok,
            "headline": self.headline,
            "source": self.source,
            "problems": [problem.values() for problem in self.problems],
            "changes": self.changes,
            "next": self.next_step,
        }
        return json.dumps(values, indent=1) + "\n"


def publish(system: System, report: Report) -> str:
    """Write the report where people and programs look; nothing is written when it is the same.

    Returns "" or why the boot partition did not take it (full or read-only): no reason to fail.
    """
    _write(system, REPORT, report.json().encode())
    if not report.source.startswith("/boot"):
        return ""
    folder = report.source.rpartition("/")[0]
    # CRLF, because people open it with whatever their laptop has.
    data = report.text().replace("\n", "\r\n").encode()[:_MOST]
    try:
        _write(system, f"{folder}/piot-report.txt", data)
    except OSError as error:
        return f"{folder}/piot-report.txt: {error.strerror}"
    return ""


def _write(system: System, path: str, data: bytes) -> None:
    """Replace a file unless it already says the same."""
    if system.read(path) != data:
        system.write(path, data)
