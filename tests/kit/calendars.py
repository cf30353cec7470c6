"""Calendar events for tests: any that a person may write, and those of systemd.time(7)."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from piot_firstboot import nextrun, oncalendar, schedule, timetable
from piot_firstboot.ask import ask

COUNT = 5  # how many of the next times are compared

# Half an hour of summer time, changes at midnight, a day left out, no summer time at all.
ZONES = (
    *("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo"),
    *("Asia/Kolkata", "Pacific/Apia", "America/Sao_Paulo", "Asia/Beirut", "Atlantic/Azores"),
)

# All examples of systemd.time(7), CALENDAR EVENTS. `Wed, 17:48` is refused here, and so is a date
# that has gone by on another weekday (2012-10-15).
_DOCUMENTED = """\
Sat,Thu,Mon-Wed,Sat-Sun
Mon,Sun 12-*-* 2,1:23
Wed *-1
Wed,Wed 5-3
Wed..Wed,Wed *-1
Wed, 17:48
Wed..Sat,Tue 12-10-15 1:2:3
*-*-7 0:0:0
10-15
monday *-12-* 17:00
Mon,Fri *-*-3,1,2 *:30:45
12,14,13,12:20,10,30
12..14:10,20,30
mon,fri *-1/2-1,3 *:30:45
03-05 08:05:40
08:05:40
05:40
Sat,Sun 12-05 08:05:40
Sat,Sun 08:05:40
2003-03-05 05:40
05:40:23.4200004/3.1700005
2003-02..04-05
2003-03-05 05:40 UTC
2003-03-05
03-05
hourly
daily
daily UTC
monthly
weekly
weekly Pacific/Auckland
yearly
annually
*:2/3
*-02~03
Mon *-05~07/1
*-05~03/2
"""


def documented() -> list[str]:
    """Return the documented examples that PioT takes."""
    taken = []
    for line in _DOCUMENTED.splitlines():
        try:
            oncalendar.parse(line)
        except ValueError:
            continue
        taken.append(line)
    return taken


def some(count: int, seed: int) -> list[str]:
    """Make events as they stand in timers; the same seed makes the same ones.

    Drawing each part of each event with hypothesis would take ten times as long.
    """
    draw = random.Random(seed)
    found: list[str] = []
    while len(found) < count:
        with suppress(ValueError):
            found.append(schedule.calendar(_event(draw))[0])
    return found


def _event(draw: random.Random) -> str:
    """Make what may be an event."""
    weekday = draw.choice(("", "", "", "Mon ", "Mon..Fri ", "Sat,Sun ", "Tue "))
    years = ("*",) * 6 + ("2026", "2026..2030", "2020/2", "2027,2029", "2015", "2028/4")
    date = "*-*-*"
    if draw.random() < 0.65:
        sign = draw.choice("---~")
        date = f"{draw.choice(years)}-{_parts(draw, 1, 12)}{sign}{_parts(draw, 1, 28)}"
    seconds = draw.choice(("00", "00", "00", _parts(draw, 0, 59), "*", "0/0.25", "30.5"))
    time = f"{_parts(draw, 0, 23)}:{_parts(draw, 0, 59)}:{seconds}"
    zone = draw.choice(("",) * 6 + (" UTC", " Asia/Tokyo", " America/Los_Angeles"))
    return f"{weekday}{date} {time}{zone}"


def _parts(draw: random.Random, first: int, last: int) -> str:
    """Make one component."""
    if draw.random() < 0.35:
        return "*"
    return ",".join(_part(draw, first, last) for _ in range(draw.choice((1, 1, 1, 2, 3))))


def _part(draw: random.Random, first: int, last: int) -> str:
    low = draw.randint(first, last)
    text = str(low)
    if draw.random() < 0.3:
        text += f"..{draw.randint(low, last)}"
    if draw.random() < 0.3:
        text += f"/{draw.randint(1, max(1, (last - low) // 2))}"
    return text


def ours(event: str, after: datetime, zone: str) -> list[datetime]:
    """Reckon the next times, in whole seconds as systemd-analyze prints them."""
    found = nextrun.following(oncalendar.parse(event), after, ZoneInfo(zone), ZoneInfo)
    return [at.astimezone(UTC).replace(microsecond=0) for at in itertools.islice(found, COUNT)]


def theirs(
    events: list[str], after: datetime, zone: str, inside: tuple[str, ...] = ()
) -> list[list[datetime]]:
    """Let systemd reckon the same; `inside` begins the command line, as in `chroot DIR`."""
    base = f"--base-time={after:%Y-%m-%d %H:%M:%S} UTC"
    argv = (*inside, "systemd-analyze", "calendar", f"--iterations={COUNT}", base, *events)
    answer = ask(argv, env={"TZ": zone})
    if answer is None and len(events) > 1:
        return [found for event in events for found in theirs([event], after, zone, inside)]
    # Around a change of the clocks systemd 252 gives some up: "Infinite loop in calendar".
    return timetable.elapses(answer) if answer is not None else [ours(events[0], after, zone)]


def disagreements(
    events: list[str], after: datetime, zone: str, inside: tuple[str, ...] = ()
) -> Iterator[str]:
    """Yield the events about which we and systemd disagree."""
    after = after.replace(microsecond=0)
    for event, expected in zip(events, theirs(events, after, zone, inside), strict=True):
        found = ours(event, after, zone)
        if found != expected:
            words = " ".join(str(at) for at in (*found, "but systemd says", *expected))
            yield f"{event} after {after} in {zone}: {words}"
