"""When a release may be switched to: outside quiet hours."""

from __future__ import annotations

from dataclasses import dataclass

_DAY = 24 * 60  # minutes
# A wait is looked at again after so long, whatever the clock said when it began.
LONGEST = 3600.0  # seconds


@dataclass(frozen=True, slots=True)
class Wait:
    """Why a staged release waits, in words, and for how many seconds still."""

    why: str
    seconds: float


def quiet(window: tuple[int, int] | None, now: float) -> Wait | None:
    """Tell whether a time of day (`now`, in minutes since midnight) lies in a window.

    The window is in minutes of the day too; it may span midnight, and its end is outside.
    """
    if window is None:
        return None
    start, end = window
    if (now - start) % _DAY >= (end - start) % _DAY:
        return None
    return Wait(f"quiet until {end // 60:02}:{end % 60:02}", ((end - now) % _DAY) * 60)


def longest(waits: tuple[Wait | None, ...]) -> Wait | None:
    """Return the wait that ends last, with every reason."""
    real = [wait for wait in waits if wait]
    if not real:
        return None
    return Wait(" and ".join(wait.why for wait in real), max(wait.seconds for wait in real))
