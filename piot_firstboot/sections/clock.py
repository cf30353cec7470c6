"""`[time]`: who tells the device what time it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from piot_firstboot import systemvalues
from piot_firstboot.found import Found, only
from piot_firstboot.table import Section, Setting

if TYPE_CHECKING:
    from piot_firstboot.confkeys import Judge


SECTIONS: tuple[Section, ...] = (
    Section("time", "Who tells the device what time it is; for the time zone see [device]."),
)

SETTINGS: tuple[Setting, ...] = (
    Setting(
        "time",
        "ntp",
        systemvalues.ntp_server,
        "The name or address of a time server, where those of Debian cannot be reached. Repeat for "
        "more.",
        "time.example.org",
        default=(),
        many=True,
    ),
)


@dataclass(frozen=True, slots=True)
class Time:
    """The time servers to ask; none leaves things as they are."""

    ntp: tuple[str, ...]


def judge(judge: Judge, found: list[Found]) -> None:
    """Find nothing: each value stands for itself."""


def read(found: list[Found]) -> Time:
    """Return `[time]`, with nothing in it when it is absent."""
    return Time(**only(found, "time", SETTINGS))
