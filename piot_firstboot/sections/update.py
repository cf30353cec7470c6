"""`[update]`: which updates of the system are installed, when, and what packages there shall be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from piot_firstboot import appvalues, systemvalues
from piot_firstboot.found import Found, of, only
from piot_firstboot.table import Section, Setting

if TYPE_CHECKING:
    from piot_firstboot.confkeys import Judge


SECTIONS: tuple[Section, ...] = (
    Section("update", "Updates of the system, by unattended-upgrades, and packages."),
)

SETTINGS: tuple[Setting, ...] = (
    Setting(
        "update",
        "system",
        systemvalues.system_updates,
        "Which updates are installed by themselves: off, security (those that close holes) or all "
        "of the distribution. If not given, it stays as it is.",
        "security",
    ),
    Setting(
        "update",
        "window",
        appvalues.quiet,
        "Times of day, in the device's time zone, in which updates are fetched (first half) and "
        "installed (second half). A device that is off then gets none. If not given: once a day, "
        "when Debian's own timers do it.",
        "02:00-04:00",
    ),
    Setting(
        "update",
        "reboot",
        systemvalues.reboot,
        "Whether the device restarts when an installed update asks for it: never or if-needed. If "
        "not given: never.",
        "if-needed",
        default="never",
    ),
    Setting(
        "update",
        "packages",
        systemvalues.package,
        "A Debian package that shall be installed. Repeat for more. It stays when the line goes.",
        "i2c-tools",
        default=(),
        many=True,
    ),
)


@dataclass(frozen=True, slots=True)
class Update:
    """Updates of the system: `system` None leaves things as they are, `window` in minutes."""

    system: str | None
    window: tuple[int, int] | None
    reboot: str
    packages: tuple[str, ...]


def judge(judge: Judge, found: list[Found]) -> None:
    """Refuse to say when and how nothing is installed."""
    for part in of(found, "update"):
        if part.values.get("system") in ("security", "all"):
            continue
        if "system" in part.entries and "system" not in part.values:
            continue
        for key in ("window", "reboot"):
            entry = part.entries.get(key)
            if entry:
                hint = "add system = security, or remove this line"
                judge.at_key(
                    part, entry, f"{key} says nothing where no updates are installed", hint
                )


def read(found: list[Found]) -> Update:
    """Return `[update]`, with nothing in it when it is absent."""
    return Update(**only(found, "update", SETTINGS))
