"""Steer a fleet by tags and rings: may a commit go live on this device, and when.

Tags, pushed with `git push --tags`: `piot/hold` holds every new commit back, `piot/block/COMMIT`
that one, `piot/go/COMMIT` spares it the soak of its ring. A block beats a hold, a hold beats a go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal, Protocol

_SHORTEST = 7  # digits of a commit in a tag; less could mean many


class Ring(Protocol):
    """A group of devices that gets a commit `soak` seconds after it came."""

    @property
    def name(self) -> str:
        """The word that piot.conf and the manifest call it."""

    @property
    def hosts(self) -> Sequence[str]:
        """Patterns of host names."""

    @property
    def soak(self) -> float:
        """Seconds."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done with a commit: `now`, `wait` until a moment, or kept back by a tag."""

    word: Literal["now", "wait", "held", "blocked"]
    until: float = 0.0
    why: str = ""


def by_tags(orders: str, commit: str) -> Decision:
    """Decide by the fleet's tags alone, as `repository.Tip` has them."""
    names = orders.split()
    if _names(names, "block", commit):
        return Decision("blocked", why=f"the tag piot/block/{commit[:12]} keeps it back")
    if any(name == "hold" or name.startswith("hold/") for name in names):
        return Decision("held", why="the tag piot/hold keeps every new commit back")
    return Decision("now")


def decide(
    orders: str,
    commit: str,
    *,
    rings: Sequence[Ring],
    ring: str,
    hostname: str,
    arrived: float,
    now: float,
) -> Decision:
    """Decide by tags and rings; `arrived` is when the commit came into the mirror.

    A device belongs to the ring that piot.conf names, else to the first whose patterns its host
    name fits. One that belongs to none waits as long as the most patient ring: nobody meant it to
    be the first.
    """
    said = by_tags(orders, commit)
    if said.word != "now" or not rings or _names(orders.split(), "go", commit):
        return said
    mine = _mine(rings, ring, hostname)
    soak = mine.soak if mine else max(r.soak for r in rings)
    # A clock that jumped back must not make the wait longer than it was.
    left = min(arrived + soak - now, soak)
    if left <= 0:
        return said
    who = f"ring {mine.name}" if mine else "no ring is this device's, so it waits for the last"
    return Decision("wait", now + left, f"{who}: it soaks for {_span(soak)} after it came")


def _mine(rings: Sequence[Ring], ring: str, hostname: str) -> Ring | None:
    """Find the device's ring."""
    if ring:
        return next((r for r in rings if r.name == ring), None)
    return next((r for r in rings if any(fnmatchcase(hostname, p) for p in r.hosts)), None)


def _names(names: Sequence[str], order: str, commit: str) -> bool:
    """Tell whether a tag gives this order for a commit, in full or by its first digits."""
    given = (name.partition("/") for name in names)
    return any(
        word == order and len(digits) >= _SHORTEST and commit.startswith(digits.lower())
        for word, _, digits in given
    )


def _span(seconds: float) -> str:
    """Say a soak in its largest unit."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"
