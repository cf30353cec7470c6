"""`[device]`: what the device calls itself and where it stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from piot_firstboot import systemvalues, values
from piot_firstboot.found import Found, of, only
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
    Setting(
        "device",
        "locale",
        systemvalues.locale,
        "Language and formats, a UTF-8 locale as in /usr/share/i18n/SUPPORTED. It is built on the "
        "device.",
        "de_DE.UTF-8",
        among="locales",
    ),
    Setting(
        "device",
        "keyboard",
        systemvalues.keyboard,
        "The layout of the keyboard, or layout and variant, as xkeyboard-config(7) has them.",
        "us intl",
        among="keyboards",
    ),
    Setting(
        "device",
        "role",
        systemvalues.role,
        "What the device is among others, a word; apps see it as PIOT_ROLE.",
        "gateway",
    ),
    Setting(
        "device",
        "labels",
        systemvalues.label,
        "A name and a value that tell this device from others. Repeat for more.",
        "room=kitchen",
        default=(),
        many=True,
    ),
)


@dataclass(frozen=True, slots=True)
class Device:
    """What the device calls itself; `hostname` may hold placeholders, `keyboard` a variant."""

    hostname: str | None
    timezone: str | None
    locale: str | None
    keyboard: str | None
    role: str | None
    labels: tuple[tuple[str, str], ...]


def judge(judge: Judge, found: list[Found]) -> None:
    """Refuse two values for one label."""
    for part in of(found, "device"):
        names = [name for name, _ in part.values.get("labels", ())]
        for name in sorted({name for name in names if names.count(name) > 1}):
            message = f"the label {name} is given two values"
            judge.at_key(part, part.entries["labels"], message, "keep one of them")


def read(found: list[Found]) -> Device:
    """Return `[device]`, with nothing in it when it is absent."""
    return Device(**only(found, "device", SETTINGS))
