"""`[fallback]`: an access point of the device's own, when nothing else connects."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from piot_firstboot.found import Found, of
from piot_firstboot.schedule import span_seconds
from piot_firstboot.table import Section, Setting
from piot_firstboot.values import BadValue

if TYPE_CHECKING:
    from piot_firstboot.confkeys import Judge

_LEAST = 60.0  # seconds; DHCP alone may take 45


def _after(text: str) -> float:
    """Read how long nothing may be connected before the access point opens, in seconds."""
    try:
        seconds = span_seconds(text)
    except ValueError as problem:
        raise BadValue(str(problem), "write a time span such as 5min") from None
    if seconds < _LEAST:
        raise BadValue("this must be at least 1min", "write 1min or more")
    return seconds


def _password(text: str) -> str:
    """Read the password of the access point, of WPA2's length."""
    if not 8 <= len(text.encode()) <= 63:
        raise BadValue("the password of an access point has 8 to 63 bytes")
    return text


SECTIONS: tuple[Section, ...] = (
    Section(
        "fallback",
        "When nothing connects, the device opens a Wi-Fi network called by its host name, with a "
        "page to enter the right one.",
    ),
)

SETTINGS: tuple[Setting, ...] = (
    Setting(
        "fallback",
        "wifi_ap_after",
        _after,
        "How long nothing must be connected first, at least 1min.",
        "5min",
        required=True,
    ),
    Setting(
        "fallback",
        "wifi_ap_password",
        _password,
        "The password of that network, 8 to 63 bytes.",
        "correct horse",
        required=True,
        sensitivity="secret",
        stored=True,
    ),
)


@dataclass(frozen=True, slots=True)
class Fallback:
    """When to open the access point (seconds without a connection), and its password."""

    wifi_ap_after: float
    wifi_ap_password: str = field(repr=False)


def judge(judge: Judge, found: list[Found]) -> None:
    """Find nothing: each value stands for itself."""


def read(found: list[Found]) -> Fallback | None:
    """Return `[fallback]`, or None when it is absent."""
    return next((Fallback(**part.arguments()) for part in of(found, "fallback")), None)
