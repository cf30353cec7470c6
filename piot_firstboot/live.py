"""Pieces of the running system that are no files: how each is read and set."""

from __future__ import annotations

from collections.abc import Callable

from piot_firstboot import locales, radio
from piot_firstboot.system import System

_Way = tuple[Callable[[System], str], Callable[[System, str], None]]

STATES: dict[str, _Way] = {
    "hostname": (System.hostname, System.set_hostname),
    "locale": (locales.current, locales.build),
    "radio": (radio.switch, radio.set_switch),
    "regdom": (radio.country, radio.set_country),
}


def read(system: System, name: str) -> str:
    """Return what a state is now."""
    return STATES[name][0](system)


def write(system: System, name: str, value: str) -> None:
    """Set a state; raises ApplyError or OSError when that is refused."""
    STATES[name][1](system, value)
