"""`memory` and `cpu` → what the kernel holds a unit to, or the next best thing where it cannot."""

from __future__ import annotations

from piot_firstboot.declared import Job, Service
from piot_firstboot.render.app_release import Release
from piot_firstboot.unitfile import UnitFile

ENABLE = "cgroup_enable=memory"  # a word of cmdline.txt on a Raspberry Pi
# Without a memory controller only single processes can be held, by the data they map. A thread's
# stack counts as 8 MB of that although it is hardly touched, so twice the limit is allowed: enough
# to end what grows without bound, and not what works.
_SLACK = 2
_NICE = 10


def add_limits(file: UnitFile, unit: Service | Job, release: Release) -> None:
    """Add the limits of a unit."""
    if unit.memory is not None:
        if "memory" in release.controllers:
            # No MemoryHigh= below it: without swap a leak is then slowed down for minutes, in which
            # the service neither answers nor is restarted, and a bad release looks healthy.
            file.add("Service", "MemoryMax", unit.memory)
        else:
            file.add("Service", "LimitDATA", unit.memory * _SLACK)
            file.comment += (
                "\nmemory: this kernel cannot limit a unit. Instead each process may map twice as"
                f"\nmuch data. Add {ENABLE} to cmdline.txt, then reboot, for the real limit."
            )
    if unit.cpu is not None:
        if "cpu" in release.controllers:
            file.add("Service", "CPUQuota", f"{unit.cpu:g}%")
        else:
            file.add("Service", "Nice", _NICE)
            file.comment += "\ncpu: this kernel cannot limit a unit. Instead it yields to others."
