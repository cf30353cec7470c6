"""What became of each part of piot.conf: its fingerprint and how applying it ended.

A part whose fingerprint stands here as applied is left alone until its section changes; one that
was refused is not tried again until then.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from piot_firstboot import records
from piot_firstboot.plan import Change, Part
from piot_firstboot.system import System

PATH = "/var/lib/piot/sections.json"
SCHEMA = 1

# unchanged: nothing was to do. refused: tried, and taken back. failed: tried again at the next
# run. waiting: the network, or time, has to come first.
State = Literal["applied", "unchanged", "refused", "failed", "waiting"]


@dataclass(frozen=True, slots=True)
class Row:
    """How a part ended: `print` is the fingerprint of what it asked for then."""

    print: str
    state: State
    reason: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run did with one part."""

    part: Part
    row: Row
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class Ledger:
    """All rows by scope. `salt` goes into each fingerprint: equal secrets do not look equal."""

    salt: str
    rows: Mapping[str, Row]

    def fingerprint(self, part: Part) -> str:
        """Tell what a part asks for from anything else it might ask for."""
        return part.fingerprint(bytes.fromhex(self.salt))

    def settled(self, part: Part) -> bool:
        """Tell whether just this was applied, or refused, before."""
        row = self.rows.get(part.scope)
        if row is None or row.state not in ("applied", "refused") or part.obstacle:
            return False
        return row.print == self.fingerprint(part)

    def refused(self, part: Part) -> bool:
        """Tell whether what a part asked for last was tried and taken back."""
        row = self.rows.get(part.scope)
        return row is not None and row.state == "refused"

    def noted(self, outcomes: Iterable[Outcome]) -> Ledger:
        """Add what a run did; a part that asks for nothing and got it is forgotten."""
        rows = dict(self.rows)
        for outcome in outcomes:
            if outcome.row.state == "unchanged":
                continue
            if not outcome.part.items and outcome.row.state == "applied":
                rows.pop(outcome.part.scope, None)
            else:
                rows[outcome.part.scope] = outcome.row
        return Ledger(self.salt, rows)


def load(system: System) -> Ledger:
    """Read the ledger; an empty one where there is none that can be read.

    Then all of piot.conf is looked at again, and nothing is lost by that.
    """
    values = records.values(system.read(PATH), SCHEMA)
    try:
        rows = {scope: Row(**row) for scope, row in values["parts"].items()}
        return Ledger(bytes.fromhex(values["salt"]).hex(), rows)
    except (KeyError, TypeError, ValueError, AttributeError):
        return Ledger(secrets.token_hex(16), {})


def save(system: System, ledger: Ledger) -> None:
    """Write the ledger, unless it already says the same."""
    rows = {scope: asdict(row) for scope, row in sorted(ledger.rows.items())}
    text = json.dumps({"schema": SCHEMA, "salt": ledger.salt, "parts": rows}, indent=1) + "\n"
    if system.read(PATH) != text.encode():
        system.write(PATH, text.encode(), 0o600)
