"""Read the journal, and write to it under another name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

# Of the message with which systemd says why a unit failed: SD_MESSAGE_UNIT_FAILURE_RESULT.
_FAILED = "d9b373ed55a64feb8242e02dbe79a49c"
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


def result(unit: str) -> str:
    """Return systemd's word for why a unit last failed in this boot; "" when it did not.

    systemd itself forgets it when the unit starts again.
    """
    from systemd import journal

    with journal.Reader() as reader:
        reader.this_boot()
        reader.add_match(MESSAGE_ID=_FAILED)
        reader.add_match(UNIT=unit)
        reader.seek_tail()
        return str(reader.get_previous().get("UNIT_RESULT", ""))


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


class Listener:
    """Follows what some units' own processes write."""

    _MOST = 5000  # entries at one time; whoever writes more is heard the next time

    def __init__(self, units: Iterable[str], since: float) -> None:
        """Begin with what was written from a moment on, in seconds of this boot.

        Not by the wall clock: time servers may move it by years in the middle of a probation.
        """
        from systemd import journal

        self._reader = journal.Reader()
        for unit in units:
            self._reader.add_match(_SYSTEMD_UNIT=unit)
        self._since = timedelta(seconds=since)
        self._reader.seek_monotonic(since)

    def take(self) -> list[tuple[str, int, str]]:
        """Return unit, priority and message of each new entry."""
        self._reader.process()  # notices files that were rotated
        found: list[tuple[str, int, str]] = []
        while len(found) < self._MOST and (entry := self._reader.get_next()):
            # Where matches and several files come together, seeking may end before the place.
            if entry["__MONOTONIC_TIMESTAMP"].timestamp < self._since:
                continue
            message = entry.get("MESSAGE", "")
            unit = str(entry.get("_SYSTEMD_UNIT", ""))
            found.append((unit, int(entry.get("PRIORITY", 6)), str(message)))
        return found


def errors(app: str, commit: str, since: float, until: float, most: int = 1000) -> int:
    """Count the lines of priority err or worse that a release wrote in a span of time."""
    from systemd import journal

    count = 0
    with journal.Reader() as reader:
        reader.log_level(journal.LOG_ERR)
        reader.add_match(PIOT_APP=app)
        reader.add_match(PIOT_COMMIT=commit)
        reader.seek_realtime(datetime.fromtimestamp(since))
        for entry in reader:
            if count >= most or entry["__REALTIME_TIMESTAMP"].timestamp() > until:
                break
            count += 1
    return count
