"""Tell the person at the terminal, or systemd, what is going on."""

from __future__ import annotations

import os
import sys

_STEP = 120  # seconds that each sign of progress adds to the unit's start timeout


def in_unit() -> bool:
    """Tell whether systemd runs this as a unit that may notify."""
    return "NOTIFY_SOCKET" in os.environ


def say(text: str) -> None:
    """Print one line of progress, and show it in `systemctl status` when run as a unit."""
    clear = "\r\033[K" if sys.stdout.isatty() else ""
    print(clear + text, flush=True)
    status(text)


def progress(text: str) -> None:
    """Show what passes quickly (per cents, seconds) without filling the journal with it."""
    status(text)
    if sys.stdout.isatty():
        print(f"\r\033[K{text}", end="", flush=True)


def complain(text: str) -> None:
    """Print to standard error, at the journal's priority `err` when run as a unit."""
    mark = "<3>" if in_unit() else ""  # sd-daemon(3)
    for line in text.splitlines():
        print(mark + line, file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """Print what is no failure, at the journal's priority `warning` when run as a unit."""
    mark = "<4>" if in_unit() else ""  # sd-daemon(3)
    for line in text.splitlines():
        print(mark + line, file=sys.stderr, flush=True)


def allow(seconds: float) -> None:
    """Ask systemd for this much time, before a step that says nothing while it lasts."""
    if in_unit():
        from sdnotify import SystemdNotifier

        SystemdNotifier().notify(f"EXTEND_TIMEOUT_USEC={seconds * 1_000_000:.0f}")


def status(text: str) -> None:
    """Set the unit's status line, and ask for more time; nothing when not run by systemd.

    STATUS= and EXTEND_TIMEOUT_USEC= as in sd_notify(3).
    """
    if not in_unit():
        return
    from sdnotify import SystemdNotifier

    line = " ".join(text.split())
    SystemdNotifier().notify(f"STATUS={line}\nEXTEND_TIMEOUT_USEC={_STEP * 1_000_000}")
