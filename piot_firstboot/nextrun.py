"""When a calendar event comes next, as systemd reckons, on machines that have no systemd.

The wall clock only goes forward: a time that the change to summer time leaves out does not come
that day, and one that the change back brings twice comes once, the first time. The tests hold
this module against `systemd-analyze calendar --iterations=`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo

from piot_firstboot.calendarparts import Part, Parts, numbers
from piot_firstboot.oncalendar import Event

LAST_YEAR = 2199  # MAX_YEAR of systemd's calendarspec.c; there the search ends
_SECOND = 1_000_000
_LAST = (23, 59, 60 * _SECOND - 1)  # of the hours, the minutes, and the seconds in µs
# A wall time as hour, minute, and second in µs.
_Time = tuple[int, int, int]
_MIDNIGHT = (0, 0, 0)


def following(
    event: Event, after: datetime, local: tzinfo, zone: Callable[[str], tzinfo]
) -> Iterator[datetime]:
    """Yield, in the event's time zone, the times it comes after a moment; none means never again.

    `local` is the time zone of the device, `zone` finds one by name and may raise LookupError.
    """
    here: tzinfo = zone(event.zone) if event.zone else local
    moment = after.astimezone(here)
    while True:
        found = _next(event, moment)
        if found is None:
            return
        yield found
        moment = found


def _next(event: Event, moment: datetime) -> datetime | None:
    """Return the next time after a moment, in the moment's time zone."""
    wall = moment.replace(tzinfo=None) + timedelta(microseconds=1)
    first: _Time = (wall.hour, wall.minute, wall.second * _SECOND + wall.microsecond)
    for day in _days(event, wall.date()):
        time = _time(event, first if day == wall.date() else _MIDNIGHT)
        while time is not None:
            found = _at(day, time, moment)
            # What stands on the clock at that instant is another time where this one is left out.
            back = found.astimezone(UTC).astimezone(moment.tzinfo).replace(tzinfo=None)
            if back == found.replace(tzinfo=None):
                return found
            if back.date() != day:
                break
            time = _time(event, _resume(time, back))
    return None


def _at(day: date, time: _Time, moment: datetime) -> datetime:
    """Put a day and a time together. While the hour that comes twice lasts, its half goes on."""
    second, micros = divmod(time[2], _SECOND)
    return datetime(
        day.year, day.month, day.day, time[0], time[1], second, micros, moment.tzinfo,
        fold=moment.fold,
    )  # fmt: skip


def _resume(time: _Time, back: datetime) -> _Time:
    """Return where the search goes on behind a gap, which is where systemd does."""
    if back.hour != time[0]:
        return back.hour, 0, back.second * _SECOND + back.microsecond
    return back.hour, back.minute, 0


def _days(event: Event, first: date) -> Iterator[date]:
    """Yield the days of an event from a day on."""
    years = range(first.year, LAST_YEAR + 1) if not event.year else numbers(event.year, LAST_YEAR)
    months = numbers(event.month, 12)
    for year in years:
        for month in months:
            if (year, month) < (first.year, first.month):
                continue
            for number in event.days(_length(year, month)):
                day = date(year, month, number)
                if day >= first and (not event.weekdays or day.weekday() in event.weekdays):
                    yield day


def _length(year: int, month: int) -> int:
    return ((date(year, month, 28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)).day


def _time(event: Event, least: _Time) -> _Time | None:
    """Return the first time of day of the event that is not before another."""
    hour, minute, second = least
    while True:
        at = _member(event.hour, hour, _LAST[0])
        if at is None:
            return None
        if at != hour:
            hour, minute, second = at, 0, 0
        at = _member(event.minute, minute, _LAST[1])
        if at is None:
            hour, minute, second = hour + 1, 0, 0
            continue
        if at != minute:
            minute, second = at, 0
        at = _member(event.second or (Part(0, None, _SECOND),), second, _LAST[2], _SECOND)
        if at is not None:
            return hour, minute, at
        minute, second = minute + 1, 0


def _member(parts: Parts, least: int, last: int, unit: int = 1) -> int | None:
    """Return the smallest value of a component that is not below another."""
    if not parts:
        return least if least <= last else None
    found = [_least(part, least, unit) for part in parts]
    return min((value for value in found if value is not None and value <= last), default=None)


def _least(part: Part, least: int, unit: int) -> int | None:
    """Return the smallest value of an element that is not below another."""
    if least <= part.start:
        return part.start
    if part.stop is None and not part.step:
        return None
    step = part.step or unit  # a range without a step goes by whole seconds
    value = part.start - (part.start - least) // step * step
    return None if part.stop is not None and value > part.stop else value
