"""Time spans and calendar events, held against the real systemd-analyze."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piot_firstboot.oncalendar import parse, whole
from piot_firstboot.schedule import MAX_SPAN, calendar, format_span, span_seconds

needs_systemd = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="needs systemd-analyze"
)

SPANS = {
    "90": 90,
    "5min": 300,
    "5m": 300,
    "1h 30s": 3630,
    "1h30min": 5400,
    "2.5h": 9000,
    ".5s": 0.5,
    "250ms": 0.25,
    "10us": 0.00001,
    "1d 2h 3min 4s": 93784,
    "2 weeks": 1209600,
    "1 month": 2629800,
    "1M": 2629800,
    "1y": 31557600,
    " 3 seconds ": 3,
    "0": 0,
}


@pytest.mark.parametrize(("text", "seconds"), SPANS.items())
def test_span(text: str, seconds: float) -> None:
    """Every unit of systemd.time(7) counts."""
    assert span_seconds(text) == seconds


@needs_systemd
@pytest.mark.parametrize("text", SPANS)
def test_span_as_systemd_reads_it(text: str) -> None:
    """systemd reads the same number of microseconds, from our spelling too."""
    micros = round(SPANS[text] * 1_000_000)
    for spelled in (text.strip(), format_span(SPANS[text])):
        said = subprocess.check_output(("systemd-analyze", "timespan", spelled), text=True)
        assert re.search(r"(?:μs|us): (\d+)", said)[1] == str(micros)  # type: ignore[index]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is needed"),
        ("5 bananas", "bananas is not a unit of time"),
        ("5 minuts", "did you mean minutes?"),
        ("5 Min", "did you mean min?"),
        ("-5m", "cannot be negative"),
        ("5m!", "is not a time span"),
        ("infinity", "upper bound"),
        ("11y", "more than ten years"),
        ("9" * 99, "more than ten years"),
        ("1 " * 200, "is needed"),
        ("٣m", "is not a time span"),
    ],
)
def test_bad_span(text: str, said: str) -> None:
    """A wrong span says what is wrong."""
    with pytest.raises(ValueError, match=re.escape(said)):
        span_seconds(text)


def test_format_span() -> None:
    """Spans are spelled as systemd spells them."""
    assert [format_span(s) for s in (0, 1, 60, 5400, 86400, 0.25, 3630.5, 0.00001)] == [
        "0s", "1s", "1min", "1h 30min", "1d", "250ms", "1h 30s 500ms", "10us",
    ]  # fmt: skip


@given(st.integers(min_value=0, max_value=int(MAX_SPAN * 1_000_000)))
def test_span_round_trip(micros: int) -> None:
    """A spelled span is read back to the microsecond."""
    assert round(span_seconds(format_span(micros / 1_000_000)) * 1_000_000) == micros


# Text → what it becomes; None where that is what systemd says of the same text.
GOOD: dict[str, tuple[str, ...] | None] = {
    **dict.fromkeys(
        """minutely|hourly|daily|weekly|monthly|quarterly|yearly|annually|semiannually|biannually
        |bi-annually|semi-annually|Daily|weekly UTC|hourly Europe/Berlin|monthly Asia/Tokyo
        |02:30|2:30|02:30:15|*:0/5|*:*|*:*:*|*:*:0/15|*:*:0.5|*:*:59.999999|12:00:00.000
        |*:*:1.5/2.25|*:*:0..30|12,13:30|1..3:00|*:0..30/5|*:00/07|*:5/54|*:0..10/3|*:0..10/1
        |*:0..30/31|*:5..5|*:30,0|*:0,0|*:0..10,5|*:0/59
        |Mon|monday|Mon..Fri|Mon-Fri|MON..fri,SUN|Sat,Sun|Mon,Tue 1:1|Mon..Sun|Mon,Mon 1:1
        |Mon,Tue..Thu 2:30|Mon..Wed,Tue..Fri|Mon..Mon|Mon..tuesday|Mon 10:00 Asia/Tokyo
        |*-*-*|*-*-01|05-10|*-2-29|*-02-29 04:00|2028-02-29|2024-1-1 0:0|99-1-1|69-1-1|70-1-1
        |2020..2030-1-1|2020/2-1-1|2020,2021-1-1|*-1/3-1|*-*-1/5|*-*-1/30|*-*-1..5/2 0:0:0
        |*-*-1,2..5/3,7|*-*~1|*-*~3 10:00|*-*~28|*-*~5/2|*-*~1..3|*-*~10..20/3|*-*~2..2|2~1|*~1
        |1,2~1,2|Mon *-*~7/1|Mon *-*-* *:*:* UTC|12:30 utc|12:30 Asia/Tokyo|10:00 Etc/GMT+5
        |Sat *-*-1..7 18:00:00|Mon,Fri *-01/2-01,03 *:30:45|2199-12-31 23:59:59""".replace(
            "\n        ", ""
        ).split("|"),
    ),
    "Mon  10:00": ("Mon *-*-* 10:00:00",),
    "@hourly": ("*-*-* *:00:00",),
    "@daily": ("*-*-* 00:00:00",),
    "@midnight": ("*-*-* 00:00:00",),
    "@weekly": ("Sun *-*-* 00:00:00",),
    "@monthly": ("*-*-01 00:00:00",),
    "@yearly": ("*-01-01 00:00:00",),
    "@Annually": ("*-01-01 00:00:00",),
    "* * * * *": ("*-*-* *:*:00",),
    "30 2 * * *": ("*-*-* 02:30:00",),
    "*/15 * * * *": ("*-*-* *:00/15:00",),
    "*/7 * * * *": ("*-*-* *:00..56/7:00",),
    "5-59/20 * * * *": ("*-*-* *:05/20:00",),
    "5-40/10 * * * *": ("*-*-* *:05..35/10:00",),
    "5/20 * * * *": ("*-*-* *:05/20:00",),
    "0,10,20,21,22,40 * * * *": ("*-*-* *:00,10,20..22,40:00",),
    "0 9-17 * * mon-fri": ("Mon..Fri *-*-* 09..17:00:00",),
    "0 0 1 1 *": ("*-01-01 00:00:00",),
    "0 0 1 jan,JUL *": ("*-01,07-01 00:00:00",),
    "0 0 * * 0": ("Sun *-*-* 00:00:00",),
    "0 0 * * 7": ("Sun *-*-* 00:00:00",),
    "0 0 * * 5-7": ("Fri..Sun *-*-* 00:00:00",),
    "0 0 * * sat-sun": ("Sat,Sun *-*-* 00:00:00",),
    "0 0 * * 0-6": ("*-*-* 00:00:00",),
    "0 0 * * */2": ("Tue,Thu,Sat,Sun *-*-* 00:00:00",),
    # Either day is enough, unless one of the fields starts with a star: crontab(5).
    "0 0 13 * 5": ("*-*-13 00:00:00", "Fri *-*-* 00:00:00"),
    "0 0 */2 * 1": ("Mon *-*-01..31/2 00:00:00",),
    "0 0 13 * */2": ("Tue,Thu,Sat,Sun *-*-13 00:00:00",),
    "0 0 1-31 * 5": ("*-*-* 00:00:00",),
    "0 0 30 2 1": ("Mon *-02-* 00:00:00",),
    "0 0 29 2 *": ("*-02-29 00:00:00",),
    "0 0 31 * *": ("*-*-31 00:00:00",),
}

BAD = {
    "": "is needed",
    "5m": "did you mean every: 5m?",
    "every 5 minutes": "did you mean every: 5 minutes?",
    "@reboot": "use once: boot",
    "@every 5m": "use every: 5m",
    "@fortnightly": "is unknown",
    "@1700000000": "is unknown",
    "dayly": "did you mean daily?",
    "daily 10:00": "10:00 is one word too many; daily stands alone",
    "daily\nUnit=x": "a time is one line",
    "02:30\n14:30": "a time is one line",
    "Mondy 10:00": "did you mean monday?",
    "25:00": "hour 25 is out of range, 0 to 23",
    "24:00": "hour 24 is out of range",
    "*:60": "minute 60 is out of range",
    "*:*:60": "second 60 is out of range",
    "*:*:60.5": "second 60.5 is out of range",
    "10": "did you mean 10:00?",
    "2:30pm": "did you mean 14:30?",
    "14.30": "did you mean 14:30?",
    "10:": "is not a valid minute",
    "1:2:3:4": "is not a time of day",
    "+5:00": "is not a valid hour",
    "1-3:00": "is not a valid hour",
    "Fri..Mon": "write Fri..Sun,Mon",
    "Mon..Fri/2": "is neither a weekday nor a time",
    "Mon Tue 10:00": "neither a date",
    "10:00 12:00": "one word too many",
    "Mon *-*-* 10:00 Europe/Berlin extra": "one word too many",
    "UTC 10:00": "is neither a weekday",
    "*-*-*T02:30": "is not a valid hour",
    "*-13-1": "month 13 is out of range",
    "*-0-1": "month 0 is out of range",
    "*-*-0": "day 0 is out of range",
    "*-*-32": "day 32 is out of range",
    "*-*~1,26": "use a list of at",
    "*-*~29": "day 29 is out of range",
    "*-1-3-5": "is neither a date",
    "1000-1-1": "year 1000 is out of range",
    "2300-1-1": "year 2300 is out of range",
    "*:*/5": "write 0/5",
    "*/3-1-1": "write 2000/3",
    "0/0:00": "a step of 0",
    "1/70:00": "the step is longer",
    "*:1/59": "the step is longer",
    "*-*-1/31": "the step is longer",
    "*-*~1/2": "the step is longer",
    "5..1:00": "runs backwards",
    "*-*~3..1": "runs backwards",
    "*-*-1,~2": "is neither",
    "*:*:0.1..0.5": "no fractions",
    "*-02-30": "never comes",
    "*-2,4-31": "never comes",
    "2023-02-29": "never comes",
    "Mon 2024-01-02": "never comes",
    "0 0 30 2 *": "never comes",
    "0 0 31 4,6,9,11 *": "never comes",
    "0 0 * * * *": "crontab has five",
    "0 0 *": "crontab has five",
    "60 * * * *": "minute 60 is out of range",
    "0 24 * * *": "hour 24 is out of range",
    "0 0 0 * *": "day of the month 0",
    "0 0 * 13 *": "month 13",
    "0 0 * * 8": "day of the week 8",
    "0 0 * * fry": "names are sun mon",
    "0 0 * foo *": "names are jan feb",
    "*/0 * * * *": "the step of a minute",
    "*/99 * * * *": "the step of a minute",
    "30-10 * * * *": "runs backwards",
    "0 0 L * *": "extensions of other schedulers",
    "0 0 ? * *": "extensions of other schedulers",
    "0 0 * * 5#2": "extensions of other schedulers",
    "1,,2 * * * *": "nothing is not a valid minute",
    "*-5 * * * *": "is not a valid minute",
}


def systemd(*events: str) -> dict[str, str] | None:
    """Return what systemd-analyze says of calendar events, None where it refuses one."""
    base = "--base-time=2024-02-01 12:00:00"
    words = ("systemd-analyze", "calendar", base, *events)
    result = subprocess.run(words, capture_output=True, text=True)
    if result.returncode:
        return None
    pairs = [line.strip().partition(": ")[::2] for line in result.stdout.splitlines()]
    # Without "Original form" where that is the normalised one.
    return dict(pairs)


@needs_systemd
@pytest.mark.parametrize("text", GOOD)
def test_calendar(text: str) -> None:
    """What comes out is what was meant, and in systemd's own normal form."""
    events = calendar(text)
    expected = GOOD[text]
    if expected is not None:
        assert events == expected
    else:
        ours, theirs = systemd(events[0]), systemd(text)
        assert theirs is not None
        assert events == (str(whole(parse(theirs["Normalized form"]))),)
        assert ours is not None
        assert ours.get("Next elapse") == theirs.get("Next elapse")
    for event in events:
        said = systemd(event)
        assert said is not None
        assert said["Normalized form"] == event
        assert calendar(event) == (event,)


@pytest.mark.parametrize(("text", "said"), BAD.items())
def test_bad_calendar(text: str, said: str) -> None:
    """A wrong time says what is wrong."""
    with pytest.raises(ValueError, match=re.escape(said)):
        calendar(text)


_NUMBER = st.integers(0, 70).map(str)
_PART = st.builds(
    lambda low, high, step: low + (f"..{high}" if high else "") + (f"/{step}" if step else ""),
    _NUMBER,
    st.one_of(st.just(""), _NUMBER),
    st.one_of(st.just(""), _NUMBER),
)
_FIELD = st.one_of(st.just("*"), st.lists(_PART, min_size=1, max_size=3).map(",".join))
_DATE = st.builds(lambda m, sign, d: f"*-{m}{sign}{d}", _FIELD, st.sampled_from("-~"), _FIELD)
_TIME = st.lists(_FIELD, min_size=2, max_size=3).map(":".join)


@needs_systemd
@settings(max_examples=int(os.environ.get("PIOT_EXAMPLES", "100")))
@given(st.builds(lambda date, time: f"{date} {time}", _DATE, _TIME))
def test_calendar_agrees_with_systemd(text: str) -> None:
    """What comes out is in systemd's normal form; what is refused, systemd refuses too.

    Two exceptions: systemd takes 60 for the last minute of a range, and days that never come.
    """
    try:
        ours = calendar(text)[0]
    except ValueError as error:
        stricter = re.search("never comes|out of range", str(error))
        assert stricter or systemd(text) is None, error
        return
    # A range of one second is fine here and not in systemd, which then sees it as one second.
    normal = systemd(ours)
    theirs = systemd(text) or normal
    assert theirs is not None and normal is not None
    # Overlapping parts may be spelled in more than one way; they must mean the same.
    assert ours == theirs["Normalized form"] or normal["Next elapse"] == theirs["Next elapse"]


def _brute(field: str, first: int, last: int) -> set[int]:
    """Read a crontab field of numbers the simplest way there is."""
    chosen = set()
    for item in field.split(","):
        whole, _, step = item.partition("/")
        low, _, high = whole.partition("-")
        start, stop = (first, last) if whole == "*" else (int(low), int(high or low))
        chosen |= set(range(start, stop + 1, int(step or 1)))
    return chosen


def _minutes(event: str, last: int) -> set[int]:
    """Read the minutes of a normalised event."""
    field = event.split(":")[1]
    field = field.replace("..", "-")
    full = [f"{i.partition('/')[0]}-{last}/{i.partition('/')[2]}" for i in field.split(",")]
    parts = [
        new if "/" in old and "-" not in old else old
        for old, new in zip(field.split(","), full, strict=True)
    ]
    return _brute(",".join(parts), 0, last)


_CRON_ITEM = st.one_of(
    st.integers(0, 59).map(str),
    st.tuples(st.integers(0, 30), st.integers(30, 59)).map(lambda p: f"{p[0]}-{p[1]}"),
    st.tuples(st.integers(0, 30), st.integers(30, 59), st.integers(1, 30)).map(
        lambda p: f"{p[0]}-{p[1]}/{p[2]}"
    ),
    st.integers(1, 59).map(lambda n: f"*/{n}"),
)


@given(st.lists(_CRON_ITEM, min_size=1, max_size=4).map(",".join))
def test_cron_minutes(field: str) -> None:
    """However briefly a set of minutes is spelled, it is the same set."""
    (event,) = calendar(f"{field} * * * *")
    assert _minutes(event, 59) == _brute(field, 0, 59)


@given(st.text(max_size=60))
def test_any_text_is_a_time_or_an_error(text: str) -> None:
    """Nothing but ValueError comes out of nonsense."""
    for read in (calendar, span_seconds):
        try:
            read(text)
        except ValueError as error:
            assert str(error)
