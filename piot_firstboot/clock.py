"""The clock of a device that has none of its own: a Raspberry Pi wakes up in its own past.

Before anything that needs TLS the clock is raised to the newest moment that is known to have
passed (`idle.clock_floor`). Time servers correct it later; how far it was off goes into the report.
"""

from __future__ import annotations

import ctypes
import struct
import time
from collections.abc import Callable
from contextlib import suppress

from piot_firstboot import idle
from piot_firstboot.schedule import format_span
from piot_firstboot.system import System

# Three numbers: wall clock minus time since boot as PioT found it, by how much it was raised, and,
# once that is known, by how much time servers moved it after that.
NOTE = "/run/piot/clock"
_CONTAINER = "/run/systemd/container"  # written by PID 1
_SYNCED = "/run/systemd/timesync/synchronized"
_SOURCES = ("systemd-timesyncd.service", "chrony.service", "ntpsec.service", "openntpd.service")
_UNKNOWN = 16.0  # seconds; the kernel's NTP_PHASE_LIMIT, where it stops to count
_LOOK = 0.5  # seconds between two looks
_WORTH = 2.0  # seconds; what is less is no news


def floor(system: System) -> float:
    """Return the newest moment that must have passed, in seconds since the epoch."""
    return idle.clock_floor(system.root.rstrip("/"))


def raise_to_floor(system: System) -> float:
    """Set a clock that is behind the floor to it; return the seconds stepped, most often 0.

    Where the clock is not ours to set it stays, and so it does where this was done in this boot:
    if it is behind again, somebody who knows better has set it back.
    """
    if not system.live:
        return 0.0
    if system.exists(NOTE):
        redate(system)
        return 0.0
    # A privileged container, or what enters one from outside, may set the clock: its host's.
    ours = not system.exists(_CONTAINER)
    step = max(0.0, floor(system) - time.time()) if ours else 0.0
    if step:
        try:
            system.set_clock(time.time() + step)
        except PermissionError:
            step = 0.0
    if not system.exists(NOTE):
        system.write(NOTE, f"{_offset():.3f} {step:.3f}\n".encode())
    return step


def redate(system: System) -> None:
    """Date files anew that a clock which was ahead dated in the future.

    Else they would take the device there at each boot. At the boot the clock was raised to the
    newest of them; where it is behind now, somebody who knows better has set it back.
    """
    now = time.time()
    if not system.exists(NOTE) or system.exists(_CONTAINER) or now < idle.modified(idle.__file__):
        return
    dates = idle.dates(system.root.rstrip("/"))
    late = [path for path, moment in dates if moment > now + idle.LAG]
    # A full or read-only file system is told of by what writes there next.
    with suppress(OSError):
        for path in late:
            if path.endswith(idle.CLOCK):
                system.write(path, _date())
    if late:
        system.run(("touch", "--no-create", "--", *map(system.path, late)))


def synced(system: System) -> bool:
    """Tell whether a time server has set the clock since the boot."""
    if system.exists(_SYNCED):
        return True
    # What timedatectl asks the kernel too; it needs D-Bus for that, which comes later in the boot.
    return system.live and _largest_error() < _UNKNOWN


def wait_for_sync(system: System, seconds: float, say: Callable[[str], None]) -> bool:
    """Wait until a time server has set the clock, at most so long; tell whether one has.

    Where nothing that asks time servers runs, nothing is waited for.
    """
    if not system.live:
        return False
    end = time.monotonic() + seconds
    if not synced(system):
        running = system.systemctl("is-active", *_SOURCES).out.split()
        if "active" not in running:
            return False
        say("waiting for a time server")
    while not synced(system):
        if time.monotonic() >= end:
            return False
        time.sleep(_LOOK)
    _note_skew(system)
    return True


def skew(system: System) -> float | None:
    """Return by how much time servers corrected the clock; None while that is not known."""
    numbers = _numbers(system)
    if len(numbers) == 2 and synced(system):
        _note_skew(system)
        numbers = _numbers(system)
    return numbers[2] if len(numbers) == 3 else None


def notes(system: System) -> tuple[str, ...]:
    """Say what was wrong with the clock, for the report; nothing when nothing was."""
    if not system.live:
        return ()
    said = []
    numbers = _numbers(system)
    if len(numbers) > 1 and numbers[1] > _WORTH:
        said.append(
            f"The clock was {_span(numbers[1])} behind the newest date on the device and was set "
            "to that."
        )
    moved = skew(system)
    if moved is not None and abs(moved) > _WORTH:
        where = "behind" if moved > 0 else "ahead"
        said.append(f"The clock was {_span(abs(moved))} {where} until a time server corrected it.")
    return tuple(said)


def stamp(system: System, folder: str) -> None:
    """Leave the time on the boot partition for the next boot, once a time server has told it.

    Called when the report is written there: an idle device writes nothing.
    """
    if not system.live or not folder.startswith("/boot") or not synced(system):
        return
    # A full or read-only partition is told of where the report is written.
    with suppress(OSError):
        system.write(f"{folder}/{idle.CLOCK}", _date())


def _date() -> bytes:
    """Write down what the clock says."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ\n", time.gmtime()).encode()


def _note_skew(system: System) -> None:
    """Remember what the correction was; later the clock is only kept in step."""
    numbers = _numbers(system)
    if len(numbers) == 2:
        before, step = numbers
        text = f"{before:.3f} {step:.3f} {_offset() - before:.3f}\n"
        system.write(NOTE, text.encode())


def _largest_error() -> float:
    """Return by how many seconds the clock may be off, as the kernel was told; adjtimex(2)."""
    timex = ctypes.create_string_buffer(512)
    if ctypes.CDLL(None).adjtimex(timex) < 0:
        return _UNKNOWN
    # struct timex begins with: int modes; long offset, freq, maxerror (in microseconds).
    return float(struct.unpack_from("@i3l", timex)[3]) / 1e6


def _offset() -> float:
    """Return what only a step of the wall clock changes: its distance from the time since boot."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def _numbers(system: System) -> tuple[float, ...]:
    """Read the note of this boot."""
    try:
        return tuple(map(float, (system.read(NOTE) or b"").split()))
    except ValueError:
        return ()


def _span(seconds: float) -> str:
    """Spell a span roughly: two units are enough for people."""
    return " ".join(format_span(round(seconds)).split()[:2])
