"""When something runs: time spans, and every spelling of `at` as systemd's OnCalendar=."""

from __future__ import annotations

import difflib
import re

from piot_firstboot import crontab, oncalendar

# Units of systemd.time(7), TIME SPANS; a month is 30.44 days and a year 365.25 days.
_UNITS: dict[str, float] = {
    **dict.fromkeys(("usec", "us", "µs", "μs"), 1e-6),
    **dict.fromkeys(("msec", "ms"), 1e-3),
    **dict.fromkeys(("seconds", "second", "sec", "s"), 1),
    **dict.fromkeys(("minutes", "minute", "min", "m"), 60),
    **dict.fromkeys(("hours", "hour", "hr", "h"), 3600),
    **dict.fromkeys(("days", "day", "d"), 86400),
    **dict.fromkeys(("weeks", "week", "w"), 604800),
    **dict.fromkeys(("months", "month", "M"), 2629800),
    **dict.fromkeys(("years", "year", "y"), 31557600),
}
# No schedule or limit of an app is longer than this; what is longer is a slip of the pen.
MAX_SPAN = 10 * 31557600.0
_TERM = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([^\W\d_]*)")
_SHOWN = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def span_seconds(text: str) -> float:
    """Return the seconds of a time span as systemd.time(7) spells it: `5min`, `1h 30s`, `90`.

    A number without a unit counts seconds. Raises ValueError with a message for people.
    """
    total, at = 0.0, 0
    text = text.strip()
    if not text or len(text) > 100:
        raise ValueError("a time span is needed, such as 30s, 5min or 1h 30min")
    if text.lower() in ("infinity", "never", "forever"):
        raise ValueError(f"{text} is not a time span; give an upper bound such as 30d")
    while at < len(text):
        match = _TERM.match(text, at)
        if not match:
            sign = "; it cannot be negative" if text[at] == "-" else ""
            raise ValueError(f"{text} is not a time span such as 30s, 5min or 1h 30min{sign}")
        number, unit = match.groups()
        if unit and unit not in _UNITS:
            raise ValueError(f"{unit} is not a unit of time{_unit_hint(unit)}")
        total += float(number) * _UNITS[unit or "s"]
        at = match.end()
    if total > MAX_SPAN:
        raise ValueError(f"{text} is more than ten years")
    return round(total, 6)


def _unit_hint(unit: str) -> str:
    """Name the unit that was probably meant."""
    lowered = unit.lower()
    if lowered in _UNITS:
        return f"; did you mean {lowered}?"
    close = difflib.get_close_matches(lowered, [u for u in _UNITS if len(u) > 2], 1)
    return f"; did you mean {close[0]}?" if close else "; use s, min, h, d or w"


def format_span(seconds: float) -> str:
    """Spell seconds as the shortest systemd time span: 5400 is `1h 30min`, 0.25 is `250ms`."""
    micros = round(seconds * 1_000_000)
    words = []
    for size, unit in _SHOWN:
        count, micros = divmod(micros, size * 1_000_000)
        if count:
            words.append(f"{count}{unit}")
    millis, micros = divmod(micros, 1000)
    words += [f"{millis}ms"] if millis else []
    words += [f"{micros}us"] if micros else []
    return " ".join(words) or "0s"


def calendar(text: str) -> tuple[str, ...]:
    """Turn one `at` value into normalised OnCalendar= expressions: one, or two from cron.

    Takes systemd calendar events (systemd.time(7)), the five fields of crontab(5) and cron's
    `@daily` forms. Raises ValueError with a message for people. Whether a time zone exists on the
    device is not looked up here.
    """
    if "\n" in text.strip():
        raise ValueError("a time is one line; several are a list: [02:30, 14:30]")
    text = " ".join(text.split())
    if not text or len(text) > 500:
        raise ValueError("a time is needed, such as 02:30, Mon 09:00, daily or 30 2 * * *")
    if text.startswith("@"):
        events = crontab.nickname(text)
    elif crontab.looks_like(text):
        events = crontab.parse(text)
    else:
        _refuse_span(text)
        events = (oncalendar.parse(text),)
    return tuple(str(oncalendar.whole(event)) for event in events)


def _refuse_span(text: str) -> None:
    """Point from `at: 5min` or `at: every 5m` to `every:`."""
    span = re.sub(r"^every\s+", "", text, flags=re.IGNORECASE)
    if ":" in span or not any(char.isalpha() for char in span):
        return
    try:
        span_seconds(span)
    except ValueError:
        return
    raise ValueError(f"{text} is a time span, not a time of day; did you mean every: {span}?")
