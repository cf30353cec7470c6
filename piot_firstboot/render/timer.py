"""When a job runs, as the [Timer] section of its unit: the same for jobs of apps and devices."""

from __future__ import annotations

import zlib

from piot_firstboot.manifest import Job
from piot_firstboot.schedule import format_span
from piot_firstboot.unitfile import UnitFile

_FIRST_RUN = 5  # seconds after its timer started that an `every` job runs first


def add_schedule(file: UnitFile, job: Job, seed: str) -> None:
    """Add when a job with `every` or `at` runs; `seed` sets one device's job apart from others."""
    if job.every is not None:
        # RandomizedDelaySec= would be added to every interval; a later first run keeps both
        # the interval and the distance to other devices.
        later = zlib.crc32(seed.encode()) % (int(job.jitter) + 1)
        file.add("Timer", "OnActiveSec", format_span(_FIRST_RUN + later))
        file.add("Timer", "OnUnitActiveSec", format_span(job.every))
        if job.every <= 600:
            file.add("Timer", "AccuracySec", "1s" if job.every >= 10 else "100ms")
        return
    file.extend("Timer", (("OnCalendar", event) for event in job.at))
    file.add("Timer", "AccuracySec", "1s")
    if job.catch_up:
        file.add("Timer", "Persistent", "true")
    if job.jitter:
        file.add("Timer", "RandomizedDelaySec", format_span(job.jitter))
        file.add("Timer", "FixedRandomDelay", "true")
