"""When timers run next: asked of systemd where there is one, reckoned by ourselves elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice
from zoneinfo import ZoneInfo

from piot_firstboot import nextrun, oncalendar
from piot_firstboot.ask import ask
from piot_firstboot.errors import ApplyError

_STAMP = "%a %Y-%m-%d %H:%M:%S UTC"
_MOST_WORDS = 50_000  # characters of events in one call; Linux takes 2 MiB, execve(2)


class Here(tzinfo):
    """The time zone of this computer, by the C library: known everywhere, though not by name."""

    def utcoffset(self, when: datetime | None) -> timedelta | None:
        """Return the offset of a wall time."""
        return when.replace(tzinfo=None, fold=when.fold).astimezone().utcoffset() if when else None

    def dst(self, when: datetime | None) -> timedelta | None:
        """Say nothing of summer time: the offset has it."""
        return None

    def tzname(self, when: datetime | None) -> str | None:
        """Return the short name of the zone at a wall time."""
        return when.replace(tzinfo=None, fold=when.fold).astimezone().tzname() if when else None

    def fromutc(self, when: datetime) -> datetime:
        """Turn an instant into a wall time."""
        local = when.replace(tzinfo=UTC).astimezone()
        wall = local.replace(tzinfo=self)
        # Of a wall time that comes twice, the C library says which, Python does not.
        return wall if wall.utcoffset() == local.utcoffset() else wall.replace(fold=1)


def zone(name: str) -> tzinfo:
    """Return a time zone by name, that of this computer for the empty one.

    Raises ApplyError where it is unknown.
    """
    if not name:
        return Here()
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        hint = "write it like Europe/Berlin"
        if sys.platform == "win32":
            hint += "; on Windows, pip install tzdata brings the time zones"
        raise ApplyError(f"there is no time zone {name} on this computer", hint) from None


def runs(
    timers: Sequence[tuple[str, ...]], after: datetime, count: int, timezone: str = ""
) -> list[list[datetime]]:
    """Return, for the OnCalendar= lines of each timer, the next times it runs after a moment.

    Fewer than `count` where it runs so often and never again. Raises ApplyError for a time zone
    that this computer does not know.
    """
    local = zone(timezone)
    if not count:
        return [[] for _ in timers]
    events = sorted({event for timer in timers for event in timer})
    known = _by_systemd(events, after, count, timezone)
    for event in events:
        if event not in known:
            parsed = oncalendar.parse(event)
            found = islice(nextrun.following(parsed, after, local, zone), count)
            known[event] = [at.astimezone(UTC) for at in found]
    # Several events of a timer may fall on one moment: it elapses once.
    return [
        [at.astimezone(local) for at in sorted({at for event in timer for at in known[event]})]
        [:count]
        for timer in timers
    ]  # fmt: skip


def _by_systemd(
    events: list[str], after: datetime, count: int, timezone: str
) -> dict[str, list[datetime]]:
    """Let systemd reckon. What it has no answer for is left out."""
    known: dict[str, list[datetime]] = {}
    if sys.platform != "linux":
        return known
    base = f"--base-time={after.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    env = {"TZ": timezone} if timezone else {}
    for batch in _batches(events):
        answer = ask(
            ("systemd-analyze", "calendar", f"--iterations={count}", base, *batch), env=env
        )
        found = elapses(answer or "")
        if len(found) != len(batch):
            return known
        known |= zip(batch, found, strict=True)
    return known


def _batches(events: list[str]) -> Iterator[list[str]]:
    """Part a list so that each part fits into one command line."""
    batch: list[str] = []
    size = 0
    for event in events:
        if batch and size + len(event) > _MOST_WORDS:
            yield batch
            batch, size = [], 0
        batch.append(event)
        size += len(event) + 1
    if batch:
        yield batch


def elapses(answer: str) -> list[list[datetime]]:
    """Read the times out of what systemd-analyze calendar says, event by event.

    systemd 252 calls a later one `Iter. #2`, 257 `Iteration #2`; each has a line `(in UTC)` below
    it where the time zone is another.
    """
    found: list[list[datetime]] = []
    for line in answer.splitlines():
        name, _, value = line.strip().partition(": ")
        if name == "Normalized form":
            found.append([])
        elif name == "Next elapse" or name.startswith("Iter"):
            if value != "never":
                found[-1].append(_moment(value))
        elif name == "(in UTC)":
            found[-1][-1] = _moment(value)
    return found


def _moment(text: str) -> datetime:
    """Read a time in UTC; one in another zone is replaced by the line below it."""
    if not text.endswith(" UTC"):
        return datetime.min.replace(tzinfo=UTC)
    return datetime.strptime(text, _STAMP).replace(tzinfo=UTC)
