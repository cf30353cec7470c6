"""Components of calendar events: values, ranges and steps, `*` for all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Part:
    """One element of a component: a value, a range, or either with a step. Seconds are in µs."""

    start: int
    stop: int | None = None
    step: int = 0

    def values(self, last: int) -> range:
        """Return what the part stands for, up to the component's last value."""
        if self.stop is None and not self.step:
            return range(self.start, self.start + 1)
        return range(self.start, (last if self.stop is None else self.stop) + 1, self.step or 1)


# A component of a calendar event; empty stands for `*`.
Parts = tuple[Part, ...]


def values_as_parts(values: Iterable[int], first: int, last: int) -> Parts:
    """Spell a set of whole values as briefly as possible: `*`, steps, ranges or a list."""
    members = sorted(set(values))
    if members == list(range(first, last + 1)):
        return ()
    step = members[1] - members[0] if len(members) > 2 else 0
    if step > 1 and members == list(range(members[0], members[-1] + 1, step)):
        open_ended = members[-1] + step > last
        return (Part(members[0], None if open_ended else members[-1], step),)
    parts: list[Part] = []
    for low, high in runs(members):
        whole = high - low > 1
        parts += [Part(low, high)] if whole else [Part(v) for v in range(low, high + 1)]
    return tuple(parts)


def closed(parts: Parts, first: int, last: int, unit: int = 1) -> Parts:
    """Give a step its last value where systemd would lose the first one behind it.

    systemd 252 and 257 step over the end and go on from what that comes to: after 23:56, the next
    of `*:00/7` is for them 00:07, not 00:00. A range ends the step in time.
    """
    lowest = min((part.start for part in parts), default=first)
    return tuple(_closed(part, last, last + 1 - first + lowest, unit) for part in parts)


def _closed(part: Part, last: int, lost: int, unit: int) -> Part:
    """Close one element if its step leads beyond `lost`, where the first value is in the next."""
    if not part.step or part.stop is not None:
        return part
    stop = part.start + (last - part.start) // part.step * part.step
    # In a range of seconds systemd takes no fractions.
    if stop + part.step <= lost or part.start % unit or stop % unit:
        return part
    return Part(part.start, stop, part.step if part.step != unit else 0)


def runs(members: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield the first and last of every unbroken run of sorted whole numbers."""
    low = high = None
    for value in members:
        if low is None or high is None:
            low = value
        elif value != high + 1:
            yield low, high
            low = value
        high = value
    if low is not None and high is not None:
        yield low, high


def numbers(parts: Parts, last: int) -> list[int]:
    """List the values of a component of the date."""
    return sorted({v for part in parts or (Part(1, last),) for v in part.values(last)})


def order(part: Part) -> tuple[int, int, int]:
    """Sort as systemd does."""
    return part.start, part.stop or 0, part.step


def spell(parts: Parts, width: int = 2, scale: int = 1) -> str:
    """Spell a component, digits padded as systemd does."""

    def number(value: int, digits: int) -> str:
        whole, rest = divmod(value, scale)
        return f"{whole:0{digits}}" + (f".{rest:06}" if rest else "")

    return (
        ",".join(
            number(part.start, width)
            + ("" if part.stop is None else f"..{number(part.stop, width)}")
            + (f"/{number(part.step, 1)}" if part.step else "")
            for part in parts
        )
        or "*"
    )
