"""Read the journal."""

from __future__ import annotations

from datetime import datetime


def tail(unit: str, since: float, count: int = 5) -> tuple[str, ...]:
    """Return the last messages of a unit's own processes since a time in seconds."""
    from systemd import journal

    with journal.Reader() as reader:
        reader.add_match(_SYSTEMD_UNIT=unit)
        reader.seek_realtime(datetime.fromtimestamp(since))
        messages = [str(entry.get("MESSAGE", "")) for entry in reader]
    return tuple(message for message in messages if message)[-count:]
