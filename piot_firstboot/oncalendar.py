"""systemd's calendar events: read, judged and spelled as systemd itself spells them.

The grammar and the limits are those of systemd.time(7), CALENDAR EVENTS, as systemd 252 applies
them; the tests hold this module against `systemd-analyze calendar`.
"""

from __future__ import annotations

import datetime
import difflib
import re
from dataclasses import dataclass, replace

from piot_firstboot.calendarparts import Part, Parts, closed, numbers, order, runs, spell

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_LONG_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_SECOND = 1_000_000
_WORDS = {
    "minutely": "*-*-* *:*:00",
    "hourly": "*-*-* *:00:00",
    "daily": "*-*-* 00:00:00",
    "weekly": "Mon *-*-* 00:00:00",
    "monthly": "*-*-01 00:00:00",
    "quarterly": "*-01,04,07,10-01 00:00:00",
    "yearly": "*-01-01 00:00:00",
    "annually": "*-01-01 00:00:00",
    **dict.fromkeys(
        ("semiannually", "semi-annually", "biannually", "bi-annually"), "*-01,07-01 00:00:00"
    ),
}
_PART = re.compile(
    r"([0-9]+(?:\.[0-9]+)?)(?:\.\.([0-9]+(?:\.[0-9]+)?))?(?:/([0-9]+(?:\.[0-9]+)?))?"
)
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}")
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@dataclass(frozen=True, slots=True)
class Event:
    """One calendar event; `from_end` counts days from the end of the month (`~`)."""

    weekdays: frozenset[int] = frozenset()
    year: Parts = ()
    month: Parts = ()
    day: Parts = ()
    from_end: bool = False
    hour: Parts = (Part(0),)
    minute: Parts = (Part(0),)
    second: Parts = (Part(0),)
    zone: str = ""

    def __str__(self) -> str:
        """Spell the event in systemd's normalised form."""
        days = f"{_spell_weekdays(self.weekdays)} " if 0 < len(self.weekdays) < 7 else ""
        date = f"{spell(self.year, 4)}-{spell(self.month)}{'-~'[self.from_end]}{spell(self.day)}"
        time = f"{spell(self.hour)}:{spell(self.minute)}:{spell(self.second, scale=_SECOND)}"
        return f"{days}{date} {time}" + (f" {self.zone}" if self.zone else "")

    def days(self, length: int) -> list[int]:
        """List the days of the event in a month of so many days."""
        if not self.from_end:
            return [day for day in numbers(self.day, 31) if day <= length]
        found: set[int] = set()
        for part in self.day:
            # Counted back from the end, a range runs from its far end, a step forward to the end.
            low = length + 1 - (part.start if part.stop is None else part.stop)
            high = length + 1 - part.start if part.stop is not None or not part.step else length
            found.update(range(low, high + 1, part.step or 1))
        return sorted(day for day in found if day >= 1)


def parse(text: str) -> Event:
    """Read a calendar event. Raises ValueError with a message for people."""
    words = text.split()
    first = words[0].lower()
    zone = words.pop() if len(words) > 1 and _is_zone(words[-1]) else ""
    zone = "UTC" if zone.lower() == "utc" else zone
    if first in _WORDS and len(words) == 1:
        words = _WORDS[first].split()
    elif first in _WORDS and words[1:]:
        raise ValueError(f"{words[1]} is one word too many; {first} stands alone")
    weekdays: frozenset[int] = frozenset()
    if words and words[0][0].isalpha():
        weekdays = _weekdays(words.pop(0))
    date = words.pop(0) if words and ":" not in words[0] else ""
    time = words.pop(0) if words else "00:00"
    if words:
        raise ValueError(f"{words[0]} is one word too many; write [weekday] [date] [time] [zone]")
    hour, minute, second = _time(time)
    year, month, day, from_end = _date(date) if date else ((), (), (), False)
    event = Event(weekdays, year, month, day, from_end, hour, minute, second, zone)
    if not _fires(event):
        raise ValueError(f"{text} never comes: the calendar has no such day")
    return event


def whole(event: Event) -> Event:
    """Return the same event in a form of which systemd leaves no time out."""
    return replace(
        event,
        day=event.day if event.from_end else closed(event.day, 1, 31),
        hour=closed(event.hour, 0, 23),
        minute=closed(event.minute, 0, 59),
        second=closed(event.second, 0, 60 * _SECOND - 1, _SECOND),
    )


def _is_zone(word: str) -> bool:
    """Tell a time zone from the other words an event may end with."""
    if ":" in word or not _ZONE.fullmatch(word):
        return False
    return word.lower() not in _WORDS and not all(map(_weekday, re.split(r"\.\.|,|-", word)))


def _weekday(word: str) -> int:
    """Return 1 for Monday to 7 for Sunday, 0 for what is no weekday."""
    lowered = word.lower()
    for number, name in enumerate(_LONG_DAYS, 1):
        if lowered in (name, name[:3]):
            return number
    return 0


def _weekdays(word: str) -> frozenset[int]:
    """Read `Mon..Fri,Sun`."""
    chosen: set[int] = set()
    for item in word.split(","):
        low, _, high = item.replace("..", "-").partition("-")
        first, last = _weekday(low), _weekday(high or low)
        if not first or not last:
            wrong = high if first else low
            names = [*_LONG_DAYS, *(day.lower() for day in DAYS), *_WORDS]
            close = difflib.get_close_matches(wrong.lower(), names, 1, 0.5)
            hint = f"; did you mean {close[0]}?" if close else "; weekdays are Mon to Sun"
            raise ValueError(f"{wrong or word} is neither a weekday nor a time{hint}")
        if last < first:
            rest = high if last == 1 else f"Mon..{high}"
            raise ValueError(f"{item} runs backwards; write {low}..Sun,{rest}")
        chosen.update(range(first - 1, last))
    return frozenset(chosen)


def _time(text: str) -> tuple[Parts, Parts, Parts]:
    """Read `H:M[:S]`."""
    fields = text.split(":")
    if len(fields) not in (2, 3):
        fix = _guess_time(text)
        raise ValueError(f"{text} is not a time of day{fix or ' such as 02:30'}")
    try:
        hour = _parts("hour", fields[0], 0, 23)
        minute = _parts("minute", fields[1], 0, 59)
    except ValueError as error:
        guess = _guess_time(text)
        raise ValueError(f"{text} is not a time of day{guess}" if guess else str(error)) from None
    return hour, minute, _parts("second", fields[2] if len(fields) == 3 else "0", 0, 59)


def _guess_time(text: str) -> str:
    """Suggest the 24-hour spelling of `2:30pm`, `2.30` or `14h30`."""
    match = re.fullmatch(r"(\d{1,2})(?:[:.hH](\d{2}))?\s*([ap]m)?", text, re.IGNORECASE)
    if not match:
        return ""
    hour, minute = int(match[1]), int(match[2] or 0)
    if match[3]:
        hour = hour % 12 + (12 if match[3].lower() == "pm" else 0)
    return f"; did you mean {hour:02}:{minute:02}?" if hour < 24 and minute < 60 else ""


def _date(text: str) -> tuple[Parts, Parts, Parts, bool]:
    """Read `[Y-]M-D`, with `~` instead of the last `-` to count from the end of the month."""
    from_end = "~" in text
    head, _, day = text.rpartition("~" if from_end else "-")
    fields = head.split("-")
    if not head or len(fields) > 2 or "~" in head:
        fix = _guess_time(text)
        raise ValueError(
            f"{text} is neither a date such as *-*-01 nor a time{fix or ' such as 02:30'}"
        )
    year = _parts("year", fields[0], 1970, 2199) if len(fields) == 2 else ()
    last = 28 if from_end else 31  # systemd counts back at most over the shortest month
    days = _parts("day", day, 1, last, from_end)
    return year, _parts("month", fields[-1], 1, 12), days, from_end and bool(days)


def _parts(what: str, text: str, first: int, last: int, from_end: bool = False) -> Parts:
    """Read one component. The limits on steps are those of chain_valid() in systemd."""
    if text == "*":
        return ()
    scale = _SECOND if what == "second" else 1
    low, high = first * scale, last * scale + scale - 1
    found: set[Part] = set()
    for item in text.split(","):
        match = _PART.fullmatch(item)
        if not match or (scale == 1 and "." in item.replace("..", "")):
            step = item[2:] if item.startswith("*/") else ""
            fix = f"; write {first if what != 'year' else 2000}/{step}" if step else ""
            raise ValueError(f"{item or 'nothing'} is not a valid {what}{fix}")
        start, stop, step_size = (
            None if group is None else round(float(group) * scale) for group in match.groups()
        )
        assert start is not None
        if what == "year":
            start, stop = _century(start), None if stop is None else _century(stop)
        for value in (start, low if stop is None else stop):
            if not low <= value <= high:
                shown = f"{value / scale:g}"
                raise ValueError(f"{what} {shown} is out of range, {first} to {last}")
        found.add(_part(what, item, Part(start, stop, step_size or 0), (low, high), from_end))
        if step_size == 0:
            raise ValueError(f"{item}: a step of 0 never moves on")
    for number, part in enumerate(sorted(found, key=order) if from_end else ()):
        # systemd 252 and 257 take three days more off with every further element.
        if max(part.start, part.stop or 0) > last - 3 * number:
            raise ValueError(
                f"{text}: systemd cannot count so far back in a list; use a list of at"
            )
    every_second = what == "second" and Part(0, None, _SECOND) in found
    return () if every_second else tuple(sorted(found, key=order))


def _part(what: str, item: str, part: Part, bounds: tuple[int, int], from_end: bool) -> Part:
    """Judge one element and bring it to normal form, as systemd does."""
    low, high = bounds
    if part.stop is not None:
        if part.stop < part.start:
            raise ValueError(f"{item} runs backwards")
        unit = _SECOND if what == "second" else 1
        if what == "second" and (part.start % unit or part.stop % unit):
            raise ValueError(f"{item}: a range of seconds has no fractions")
        step = part.step or unit
        stop = part.start + (part.stop - part.start) // step * step
        return (
            Part(part.start, stop, part.step if step != unit else 0)
            if stop > part.start
            else Part(part.start)
        )
    if part.step:
        over = part.start - part.step < low if from_end else part.start + part.step > high
        if over or part.step > high - low:
            raise ValueError(f"{item}: the step is longer than the {what}s that are left")
    return part


def _century(year: int) -> int:
    """Complete a year of two digits, as systemd does."""
    return year + (2000 if year < 70 else 1900) if year < 100 else year


def _fires(event: Event) -> bool:
    """Tell whether there is a day such an event falls on."""
    months = numbers(event.month, 12)
    if not event.year:
        # Over the years every date of the calendar falls on every weekday.
        low = min(numbers(event.day, 31))
        return event.from_end or any(low <= _LONGEST[month - 1] for month in months)
    for year in numbers(event.year, 2199):
        for month in months:
            length = _LONGEST[month - 1] - (month == 2 and not _leap(year))
            for day in event.days(length):
                if (
                    not event.weekdays
                    or datetime.date(year, month, day).weekday() in event.weekdays
                ):
                    return True
    return False


def _leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def _spell_weekdays(days: frozenset[int]) -> str:
    """Spell weekdays with ranges where three or more follow each other."""
    words = []
    for low, high in runs(sorted(days)):
        glue = ".." if high - low > 1 else ","
        words.append(DAYS[low] if low == high else f"{DAYS[low]}{glue}{DAYS[high]}")
    return ",".join(words)
