"""Apply the parts of a piot.conf, each for itself: one that fails does not keep back the others."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Sequence

from piot_firstboot import deploykey, state
from piot_firstboot.apply import apply, scopes
from piot_firstboot.config import Config
from piot_firstboot.conftext import Entry
from piot_firstboot.errors import ApplyError
from piot_firstboot.found import Found
from piot_firstboot.items import Item
from piot_firstboot.ledger import Ledger, Outcome, Row
from piot_firstboot.plan import Change, Part, owned
from piot_firstboot.report import Line
from piot_firstboot.system import System
from piot_firstboot.trial import SECTIONS

_APP = "app."
# What a person can do about a file system that refuses.
_REMEDIES = {
    errno.ENOSPC: "free some space there, then run: sudo piot apply",
    errno.EROFS: "make it writable (mount -o remount,rw), then run: sudo piot apply",
    errno.EIO: "the card may be worn out: copy what is on it, and take another",
}
Say = Callable[[str], None]


def with_leaving(system: System, ledger: Ledger, parts: Iterable[Part]) -> tuple[Part, ...]:
    """Put in front of the parts, empty, those of sections that are no longer in the file.

    What leaves goes first: a key that moved from one section to another must not go last.
    """
    parts = tuple(parts)
    there = {part.scope for part in parts}
    known = dict.fromkeys((*scopes(system), *ledger.rows))
    gone = [scope for scope in known if scope.startswith(("conf.", "late.")) and scope not in there]
    return (
        *(Part(scope[5:], (), late=scope.startswith("late.")) for scope in gone),
        *parts,
    )


def pending(ledger: Ledger, parts: Iterable[Part], *, everything: bool = False) -> tuple[Part, ...]:
    """Return the parts that ask for something else than what was applied last.

    Network settings are tried together, so those that were refused with others are tried again
    when any of them changed.
    """
    parts = tuple(parts)
    todo = {part for part in parts if everything or not ledger.settled(part)}
    if any(_network(part) for part in todo):
        todo |= {p for p in parts if _network(p) and ledger.refused(p)}
    return tuple(part for part in parts if part in todo)


def _network(part: Part) -> bool:
    """Tell whether a part is judged by the network trial."""
    return part.section.startswith(SECTIONS) and not part.late


def apply_parts(
    system: System,
    ledger: Ledger,
    parts: Sequence[Part],
    todo: Iterable[Part],
    *,
    wait: bool = True,
    say: Say = lambda text: None,
) -> tuple[Outcome, ...]:
    """Apply what is to do of all parts, and tell what became of each."""
    todo = set(todo)
    outcomes = []
    for part in parts:
        row = ledger.rows.get(part.scope)
        if part not in todo:
            outcomes.append(Outcome(part, Row(row.print if row else "", "unchanged")))
            continue
        if part.obstacle:
            failed = Row("", "failed", part.obstacle.reason, part.obstacle.hint)
            outcomes.append(Outcome(part, failed))
            continue
        mark = ledger.fingerprint(part)
        try:
            changes = apply(
                system, part.scope, part.items, wait=wait, spared=spared(part, parts), say=say
            )
        except ApplyError as error:
            outcomes.append(Outcome(part, Row(mark, "failed", str(error), error.hint)))
        except OSError as error:
            reason = f"{error.filename or 'the system'}: {error.strerror}"
            hint = _REMEDIES.get(error.errno or 0, "")
            outcomes.append(Outcome(part, Row(mark, "failed", reason, hint)))
        else:
            outcomes.append(Outcome(part, Row(mark, "applied"), changes))
    return tuple(outcomes)


def preview(system: System, parts: Sequence[Part], todo: Iterable[Part]) -> tuple[Change, ...]:
    """Return the changes that applying would make."""
    todo = set(todo)
    return tuple(
        change
        for part in parts
        if part in todo and not part.obstacle
        for change in apply(
            system, part.scope, part.items, dry_run=True, spared=spared(part, parts)
        )
    )


def spared(part: Part, parts: Iterable[Part]) -> frozenset[str]:
    """List what other parts own: it must not go because this part no longer wants it."""
    items: list[Item] = [item for other in parts if other != part for item in other.items]
    return frozenset(owned(items))


def gone_apps(system: System, apps: set[str]) -> tuple[str, ...]:
    """List the apps that piot.conf no longer names."""
    names = [scope.removeprefix(_APP) for scope in scopes(system) if scope.startswith(_APP)]
    return tuple(name for name in names if name not in apps)


def remove_apps(system: System, gone: Iterable[str], say: Say) -> tuple[Change, ...]:
    """Stop and remove the units of apps that left; the data they wrote stays."""
    changes: list[Change] = []
    for app in gone:
        changes += apply(system, f"{_APP}{app}", (), say=say)
        for made in (state.folder(app), f"/var/cache/piot-{app}", f"/run/piot-{app}"):
            system.remove_tree(made)
        deploykey.drop(system, app)
        system.remove(f"/var/lib/piot-{app}")  # only if the app never wrote to it
    return tuple(changes)


# -- what became of it --------------------------------------------------------------------------

_WORST = ("failed", "refused", "waiting", "applied", "unchanged")
_IDLE = "accepted; this version does nothing with it yet"


def lines(config: Config, ledger: Ledger, outcomes: Iterable[Outcome]) -> tuple[Line, ...]:
    """Say for each line of the file what became of it; `ledger` is the one after the run."""
    rows: dict[str, list[Row]] = {}
    for outcome in outcomes:
        former = ledger.rows.get(outcome.part.scope)
        keeps = outcome.row.state == "unchanged" and former and former.state != "applied"
        for section in outcome.part.sections:
            rows.setdefault(section, []).append(former if keeps and former else outcome.row)
    return tuple(
        _line(part, entry, rows.get(part.block.name, []))
        for part in config.found
        for entry in part.block.entries
    )


def _line(part: Found, entry: Entry, rows: list[Row]) -> Line:
    """Say what became of one line."""
    at = (entry.line, part.block.name, entry.key)
    row_of = part.rows.get(entry.key) or part.rows["*"]
    if not rows or row_of.idle:
        return Line(*at, "noted", _IDLE)
    row = min(rows, key=lambda row: _WORST.index(row.state))
    return Line(*at, row.state, row.reason, row.hint)
