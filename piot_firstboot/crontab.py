"""The five fields of crontab(5), as calendar events of systemd."""

from __future__ import annotations

import re

from piot_firstboot.calendarparts import Part, values_as_parts
from piot_firstboot.oncalendar import Event

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
# name, first, last, names of the values from the first on: crontab(5)
_FIELDS: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 7, _DAYS),
)
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
# crontab(5): @weekly is Sunday, unlike systemd's `weekly`, which is Monday.
_NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_ITEM = re.compile(r"(\*|\w+)(?:-(\w+))?(?:/([0-9]+))?", re.ASCII)


def looks_like(text: str) -> bool:
    """Tell a line of crontab fields from a systemd calendar event."""
    words = text.split()
    numbers = len(words) > 1 and all(re.fullmatch(r"[0-9*/,]+", word) for word in words)
    return numbers or (len(words) in (5, 6) and ":" not in text)


def nickname(text: str) -> tuple[Event, ...]:
    """Read `@daily` and its like. Raises ValueError with a message for people."""
    lowered = text.lower()
    if lowered in _NICKNAMES:
        return parse(_NICKNAMES[lowered])
    if lowered == "@reboot":
        raise ValueError("@reboot is not a time; use once: boot instead of at")
    if lowered.startswith("@every "):
        raise ValueError(f"{text} is not a time; use every: {text[7:]} instead of at")
    raise ValueError(f"{text} is unknown; crontab has {' '.join(_NICKNAMES)}")


def parse(text: str) -> tuple[Event, ...]:
    """Read five crontab fields; two events where cron means either day. Raises ValueError.

    crontab(5): where both the day of the month and the day of the week are restricted (neither
    starts with `*`), either is enough; otherwise both must match.
    """
    words = text.split()
    if len(words) != 5:
        raise ValueError(f"{text} has {len(words)} fields; crontab has five (no seconds, no user)")
    minutes, hours, days, months, weekdays = (
        _values(word, *field) for word, field in zip(words, _FIELDS, strict=True)
    )
    # Cron counts Sunday as 0 or 7, Monday as 1; here Monday is 0.
    week = frozenset((day - 1) % 7 for day in weekdays)
    hour, minute = values_as_parts(hours, 0, 23), values_as_parts(minutes, 0, 59)
    month, day = values_as_parts(months, 1, 12), values_as_parts(days, 1, 31)

    def event(chosen: frozenset[int], of_month: tuple[Part, ...]) -> Event:
        return Event(
            weekdays=chosen if len(chosen) < 7 else frozenset(),
            month=month,
            day=of_month,
            hour=hour,
            minute=minute,
        )

    comes = any(d <= _LONGEST[m - 1] for m in months for d in days)
    if not words[2].startswith("*") and not words[4].startswith("*"):
        if not day or len(week) == 7:  # a day spelled out as every day
            return (event(frozenset(), ()),)
        by_week = event(week, ())
        return (event(frozenset(), day), by_week) if comes else (by_week,)
    if not comes:
        raise ValueError(f"{text} never comes: the calendar has no such day")
    return (event(week, day),)


def _values(word: str, what: str, first: int, last: int, names: tuple[str, ...]) -> set[int]:
    """Read one field into the values it stands for."""
    chosen: set[int] = set()
    for item in word.split(","):
        match = _ITEM.fullmatch(item)
        if not match or (match[1] == "*" and match[2]):
            raise ValueError(f"{item or 'nothing'} is not a valid {what}{_extension(item)}")
        step = int(match[3]) if match[3] else 1
        if not 1 <= step <= last:
            raise ValueError(f"{item}: the step of a {what} is 1 to {last}")
        if match[1] == "*":
            low, high = first, last if what != "day of the week" else 6
        else:
            low = _number(match[1], what, first, last, names)
            high = _number(match[2], what, first, last, names) if match[2] else low
            if match[3] and not match[2]:
                high = last if what != "day of the week" else 6
            if what == "day of the week" and match[2] and high == 0:
                high = 7  # sat-sun
        if high < low:
            raise ValueError(f"{item} runs backwards; write it as two ranges, {match[1]}-… and …")
        chosen.update(range(low, high + 1, step))
    return chosen


def _number(word: str, what: str, first: int, last: int, names: tuple[str, ...]) -> int:
    """Read a number or a name."""
    lowered = word.lower()
    if lowered in names:
        return names.index(lowered) + first
    if not word.isdigit():
        known = f"; names are {' '.join(names)}" if names else _extension(word)
        raise ValueError(f"{word} is not a valid {what}{known}")
    if not first <= int(word[:9]) <= last:
        raise ValueError(f"{what} {word} is out of range, {first} to {last}")
    return int(word)


def _extension(item: str) -> str:
    """Say what is foreign about fields of other schedulers."""
    if re.search(r"[LW#?H~]", item):
        return "; L, W, #, ?, H and ~ are extensions of other schedulers"
    return ""
