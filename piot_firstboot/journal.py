"""Read the journal, and write to it under another name."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

_NOTICE = 5  # the least that piot-deploy@.service lets through (LogLevelMax=), syslog(3)


def send(text: str, identifier: str, fields: Mapping[str, str]) -> None:
    """Write one line with fields of its own, as LogExtraFields= would add them."""
    from systemd import journal

    journal.send(text, SYSLOG_IDENTIFIER=identifier, PRIORITY=_NOTICE, **fields)


def tail(unit: str, since: float, count: int = 5) -> tuple[str, ...]:
    """Return the last messages of a unit's own processes since a time in seconds."""
    from systemd import journal

    with journal.Reader() as reader:
        reader.add_match(_SYSTEMD_UNIT=unit)
        reader.seek_realtime(datetime.fromtimestamp(since))
        messages = [str(entry.get("MESSAGE", "")) for entry in reader]
    return tuple(message for message in messages if message)[-count:]


def recent(count: int = 200) -> tuple[str, ...]:
    """Return the last lines that PioT itself printed, each with its time."""
    from systemd import journal

    with journal.Reader() as reader:
        reader.add_match(SYSLOG_IDENTIFIER="piot")
        reader.seek_tail()
        entries: list[dict[str, object]] = []
        while len(entries) < count and (entry := reader.get_previous()):
            entries.append(entry)
    return tuple(
        f"{entry['__REALTIME_TIMESTAMP']:%Y-%m-%d %H:%M:%S} {entry.get('MESSAGE', '')}"
        for entry in reversed(entries)
    )
