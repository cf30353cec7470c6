"""Quiet hours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piot_firstboot.windows import Wait, longest, quiet

NIGHT = (22 * 60, 6 * 60)
NOON = (12 * 60, 13 * 60)


@pytest.mark.parametrize(
    ("window", "now", "seconds"),
    [
        (NIGHT, 22 * 60, 8 * 3600),
        (NIGHT, 23 * 60 + 59, 6 * 3600 + 60),
        (NIGHT, 0, 6 * 3600),
        (NIGHT, 5 * 60 + 59.5, 30),
        (NIGHT, 6 * 60, None),
        (NIGHT, 12 * 60, None),
        (NOON, 12 * 60, 3600),
        (NOON, 13 * 60, None),
        (NOON, 0, None),
        (None, 0, None),
    ],
)
def test_a_window_of_the_day(
    window: tuple[int, int] | None, now: float, seconds: float | None
) -> None:
    wait = quiet(window, now)
    assert (wait.seconds if wait else None) == seconds


def test_it_says_until_when() -> None:
    assert quiet(NIGHT, 0) == Wait("quiet until 06:00", 6 * 3600)


minutes = st.integers(0, 24 * 60 - 1)


@given(minutes, minutes, minutes)
def test_after_the_wait_it_is_not_quiet(start: int, end: int, now: int) -> None:
    wait = quiet((start, end), now)
    if wait and start != end:
        assert 0 < wait.seconds <= 24 * 3600
        assert quiet((start, end), (now + wait.seconds / 60) % (24 * 60)) is None


def test_several_reasons_to_wait() -> None:
    assert longest((None, None)) is None
    assert longest((Wait("a", 5), None, Wait("b", 9))) == Wait("a and b", 9)
