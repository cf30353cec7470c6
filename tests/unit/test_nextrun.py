"""When events come next, held against systemd-analyze: thousands of them in few calls."""

from __future__ import annotations

import os
import shutil
import sys
import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piot_firstboot import nextrun, oncalendar, schedule, timetable
from piot_firstboot.ask import ask
from piot_firstboot.calendarparts import Part
from piot_firstboot.errors import ApplyError
from tests.kit.calendars import ZONES, disagreements, documented, ours, some

needs_systemd = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="needs systemd-analyze"
)
SEEDS = st.integers(0, 2**32)
# From midwinter over both changes of the clocks of both hemispheres.
MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2029, 1, 1), timezones=st.just(UTC))


@needs_systemd
@settings(max_examples=int(os.environ.get("PIOT_EXAMPLES", "25")), deadline=None)
@given(SEEDS, MOMENTS, st.sampled_from(ZONES))
def test_events_come_when_systemd_says(seed: int, after: datetime, zone: str) -> None:
    """Thousands of events, in zones too that change their clocks oddly."""
    assert not list(disagreements(some(100, seed), after, zone))


@needs_systemd
@pytest.mark.parametrize(
    "after",
    [
        datetime(2026, 3, 29, 0, 30, tzinfo=UTC),  # half an hour before a spring forward
        datetime(2026, 10, 25, 0, 10, tzinfo=UTC),  # in the hour that comes twice, first time
        datetime(2026, 10, 25, 1, 10, tzinfo=UTC),  # and second time
    ],
)
@settings(max_examples=3, deadline=None)
@given(seed=SEEDS)
def test_events_around_a_change_of_the_clocks(after: datetime, seed: int) -> None:
    """The hours that are missing, and those that come twice.

    Without days counted from the end of the month: for them systemd asks the C library about
    other days in between, and that takes of two hours the one with the offset it saw last.
    """
    events = [event for event in some(100, seed) if "~" not in event]
    assert not list(disagreements([*events, "hourly", "02:30"], after, "Europe/Berlin"))


@needs_systemd
def test_documented_examples() -> None:
    """systemd.time(7) lists these."""
    events = [event for text in documented() for event in schedule.calendar(text)]
    assert len(events) >= 28
    after = datetime(2026, 2, 27, 12, 34, 56, tzinfo=UTC)
    assert not list(disagreements(events, after, "Europe/Berlin"))


def test_a_time_that_is_left_out_does_not_come() -> None:
    """systemd does the same, which the tests above show; here it is spelled out."""
    before = datetime(2026, 3, 28, 12, tzinfo=UTC)
    assert ours("02:30", before, "Europe/Berlin")[0] == datetime(2026, 3, 30, 0, 30, tzinfo=UTC)
    before = datetime(2026, 10, 24, 12, tzinfo=UTC)
    twice = ours("02:30", before, "Europe/Berlin")[:2]
    assert twice == [
        datetime(2026, 10, 25, 0, 30, tzinfo=UTC),
        datetime(2026, 10, 26, 1, 30, tzinfo=UTC),
    ]


def test_never_again_is_found_at_once() -> None:
    """The search ends, and soon."""
    began = time.process_time()
    for event in ("2020-01-01", "*-02-30..31", "Mon 2027-01-02", "2100-02-29", "*-2,4,6,9,11-31"):
        try:
            parsed = oncalendar.parse(event)
        except ValueError:
            parsed = oncalendar.Event(month=(Part(2),), day=(Part(30, 31),))
        now = datetime(2026, 1, 1, tzinfo=UTC)
        assert next(nextrun.following(parsed, now, UTC, ZoneInfo), None) is None
    assert time.process_time() - began < 1


@given(
    st.sampled_from(("", "Mon ", "Sat,Sun ")),
    st.sampled_from(("2024", "2025", "2027/2", "2096..2100", "2100")),
    st.integers(1, 12),
    st.sampled_from("-~"),
    st.integers(1, 28),
    st.integers(0, 9),
)
def test_what_never_comes_is_refused(
    weekday: str, year: str, month: int, sign: str, day: int, step: int
) -> None:
    """The judge and the reckoning agree about which day there is."""
    text = f"{weekday}{year}-{month}{sign}{day}" + (f"/{step}" if step else "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(oncalendar, "_fires", lambda event: True)
        try:
            event = oncalendar.parse(text)
        except ValueError:
            return  # wrong for another reason
    after = datetime(1970, 1, 1, tzinfo=UTC)
    comes = next(nextrun.following(event, after, UTC, ZoneInfo), None)
    try:
        oncalendar.parse(text)
    except ValueError as error:
        assert "never comes" in str(error) and comes is None
    else:
        assert comes is not None


# -- several events of a timer, with systemd and without -------------------------------------------


@pytest.mark.parametrize("systemd", [pytest.param(True, marks=needs_systemd), False])
def test_a_timer_with_several_events(systemd: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways give the same; what falls together counts once."""
    if not systemd:
        monkeypatch.setattr(sys, "platform", "darwin")
    after = datetime(2026, 6, 1, tzinfo=UTC)
    timers = [("*-*-* 06:30:00", "Mon *-*-* 06:30:00", "*-*-* 18:00:00"), ("2020-01-01 00:00:00",)]
    found = timetable.runs(timers, after, 3, "Europe/Berlin")
    assert [at.isoformat() for at in found[0]] == [
        "2026-06-01T06:30:00+02:00",
        "2026-06-01T18:00:00+02:00",
        "2026-06-02T06:30:00+02:00",
    ]
    assert found[1] == []


def test_the_zone_of_this_computer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a name it is the C library's, with both halves of the hour that comes twice."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        here, berlin = timetable.zone(""), ZoneInfo("Europe/Berlin")
        for hours in range(24 * 370):
            at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hours / 2)
            assert at.astimezone(here).isoformat() == at.astimezone(berlin).isoformat()
            assert at.astimezone(here).astimezone(UTC) == at
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("name", ["Europe/Berlim", "../etc/passwd", "\0"])
def test_an_unknown_zone(name: str) -> None:
    """Said in words."""
    with pytest.raises(ApplyError, match="no time zone"):
        timetable.zone(name)


def test_ask_without_an_answer() -> None:
    """A program that is missing, fails or hangs is no error."""
    assert ask(("piot-no-such-program",)) is None
    assert ask(("false",)) is None
    assert ask(("sleep", "9"), timeout=0.05) is None
    assert ask(("cat",), input="told\n") == "told\n"
