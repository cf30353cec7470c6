"""Bounded waiting."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(condition: Callable[[], T], timeout: float, what: str, interval: float = 0.05) -> T:
    """Return the first true value of `condition`; after `timeout` s raise TimeoutError."""
    until = time.monotonic() + timeout
    while True:
        if value := condition():
            return value
        if time.monotonic() > until:
            raise TimeoutError(f"{what}: not within {timeout:g} s")
        time.sleep(interval)
