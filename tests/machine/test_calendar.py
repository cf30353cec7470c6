"""When timers run next, held against the systemd of each release, in its tree and not booted."""

from datetime import UTC, datetime

from piot_firstboot import schedule
from tests.kit import roots
from tests.kit.calendars import ZONES, disagreements, documented, some


def test_events_come_when_this_systemd_says(root: roots.Root) -> None:
    """Two thousand events and the documented ones, in ten time zones."""
    inside = ("chroot", str(root.layers[0]))
    known = [event for text in documented() for event in schedule.calendar(text)]
    for number, zone in enumerate(ZONES):
        after = datetime(2026, 1 + number, 3 * number + 1, 2 * number, 31, tzinfo=UTC)
        events = [*some(200, number), *known]
        assert not list(disagreements(events, after, zone, inside))
