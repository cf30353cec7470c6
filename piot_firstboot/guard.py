"""The boot guard: boots without a healthy report are counted, and three in a row are too many.

A release is proven when its services were healthy after a boot that came later than the switch to
it. Until then a file tells how many boots there were; only then is anything counted or written,
and a proven release costs a boot nothing. Three boots without a report bring the release before
back; three more, and the device goes into safe mode: apps stay off, PioT and SSH run.

What stays off is told by empty files named after units in /run/piot/off, which a drop-in for all
of PioT's units (units/piot-.service.d) makes a condition of their start.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, replace

from piot_firstboot import state
from piot_firstboot.apply import recorded
from piot_firstboot.system import System

BOOTS = "/var/lib/piot/boot"  # a directory: one file for each app with an unproven release
SAFE = "/var/lib/piot/safe.json"
OFF = "/run/piot/off"  # a directory: one file for each unit that must not start
MOST_BOOTS = 3
# Shown at login, pam_motd(8), and above the prompt for one, agetty(8).
_MOTD = ("/run/motd.d/piot", "/run/issue.d/piot.issue")
_UNITS = "/etc/systemd/system/"


@dataclass(frozen=True, slots=True)
class Count:
    """How often the machine booted since a commit was switched to, without a healthy report."""

    commit: str
    boots: int
    boot: str


@dataclass(frozen=True, slots=True)
class Safe:
    """Safe mode: why, and since when."""

    reason: str
    since: float


# -- counting -----------------------------------------------------------------------------------


def begin(system: System, app: str, commit: str) -> None:
    """Count boots from now on, until the release is proven; what was counted of it stays."""
    count = counted(system, app)
    if not count or count.commit != commit:
        _write(system, app, Count(commit, 0, _boot(system)))


def follow(system: System, app: str, commit: str) -> None:
    """Let the count of boots go on for the release that was gone back to."""
    count = counted(system, app)
    if count and commit:
        _write(system, app, replace(count, commit=commit))
    elif count:
        system.remove(f"{BOOTS}/{app}")


def unproven(system: System, app: str) -> bool:
    """Tell whether this boot is one that still has to show that the app's release is healthy."""
    count = counted(system, app)
    return bool(count and (count.boots or count.boot != _boot(system)))


def finisher(app: str) -> str:
    """Name the timer that finishes, and proves, what an app without polls has begun."""
    return f"piot-finish-{app}.timer"


def prove(system: System, app: str) -> None:
    """Take the healthy report of this boot: if there was a boot at all, counting ends."""
    if unproven(system, app):
        system.remove(f"{BOOTS}/{app}")


def counted(system: System, app: str) -> Count | None:
    """Read the count of an app; None for a proven release."""
    data = system.read(f"{BOOTS}/{app}")
    if data is None:
        return None
    try:
        return Count(**json.loads(data))
    except (ValueError, TypeError):
        return Count("", 0, "")


def tick(system: System, app: str) -> int:
    """Count this boot and return how many there were; 0 when it was counted before."""
    count = counted(system, app) or Count("", 0, "")
    boot = _boot(system)
    if count.boot == boot:
        return 0
    _write(system, app, replace(count, boots=count.boots + 1, boot=boot))
    return count.boots + 1


def _write(system: System, app: str, count: Count) -> None:
    """Write the count of an app."""
    system.write(f"{BOOTS}/{app}", json.dumps(asdict(count)).encode() + b"\n")


def _boot(system: System) -> str:
    """Return what names this boot; "" on a tree."""
    data = system.read("/proc/sys/kernel/random/boot_id") if system.live else None
    return (data or b"").decode().strip()


# -- what stays off -----------------------------------------------------------------------------


def keep_off(system: System, app: str) -> None:
    """Let no unit of an app start in this boot, until `admit`."""
    for path in recorded(system, f"app.{app}", "file"):
        name, dot, kind = path.removeprefix(_UNITS).rpartition(".")
        if dot and kind in ("service", "timer", "path") and "/" not in name:
            system.write(f"{OFF}/{name}", app.encode())


def admit(system: System, app: str) -> None:
    """Let the units of an app start again."""
    for name in system.names(OFF):
        if system.read(f"{OFF}/{name}") == app.encode():
            system.remove(f"{OFF}/{name}")


# -- safe mode ----------------------------------------------------------------------------------


def safe(system: System) -> Safe | None:
    """Return why the device is in safe mode, or None."""
    data = system.read(SAFE)
    if data is None:
        return None
    try:
        return Safe(**json.loads(data))
    except (ValueError, TypeError):
        return Safe("the reason cannot be read any more", 0.0)


def enter(system: System, reason: str) -> None:
    """Go into safe mode; at the next boots, too."""
    system.write(SAFE, json.dumps(asdict(Safe(reason, time.time()))).encode() + b"\n")
    keep_safe(system)


def keep_safe(system: System) -> None:
    """Keep every app off in this boot, and say so to whoever logs in."""
    for app in state.apps(system):
        keep_off(system, app)
    found = safe(system)
    if found:
        for path in _MOTD:
            system.write(path, f"{words(found)}\n".encode())


def leave(system: System) -> bool:
    """End safe mode; tell whether there was one. The caller starts the apps."""
    if not system.exists(SAFE):
        return False
    for app in state.apps(system):
        admit(system, app)
        if system.exists(f"{BOOTS}/{app}"):
            # Not proven yet, but with all its boots before it again.
            _write(system, app, Count(state.load(system, app).commit, 0, _boot(system)))
    for path in _MOTD:
        system.remove(path)
    system.remove(SAFE)
    return True


def words(found: Safe) -> str:
    """Say what safe mode is and how it ends."""
    return (
        f"PioT is in SAFE MODE, apps are off: {found.reason}. It ends with a new commit, "
        "an edit of piot.conf, or: sudo piot retry APP"
    )
