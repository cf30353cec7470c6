"""`[device]`: what the device calls itself and where it stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from piot_firstboot import values
from piot_firstboot.found import Found, only
from piot_firstboot.table import Section, Setting

if TYPE_CHECKING:
    from piot_firstboot.confkeys import Judge


SECTIONS: tuple[Section, ...] = (
    Section("device", "What the device calls itself and where it stands."),
)

SETTINGS: tuple[Setting, ...] = (
    Setting(
        "device",
        "hostname",
        values.hostname,
        "The name on the network. {serial} {serial8} {mac} {mac6} {model} stand for what is "
        "different on each device, so one file fits many.",
        "garden-{serial8}",
    ),
    Setting(
        "device",
        "timezone",
        values.timezone,
        "A name of the tz database, as `timedatectl list-timezones` prints them.",
        "Europe/Berlin",
        among="zones",
    ),
)


@dataclass(frozen=True, slots=True)
class Device:
    """What the device calls itself; `hostname` may hold placeholders."""

    hostname: str | None
    timezone: str | None


def judge(judge: Judge, found: list[Found]) -> None:
    """Find nothing: each value stands for itself."""


def read(found: list[Found]) -> Device:
    """Return `[device]`, with nothing in it when it is absent."""
    return Device(**only(found, "device", SETTINGS))
