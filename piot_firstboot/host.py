"""What a device is to the apps on it: what tells it from others, and what its kernel can do."""

from __future__ import annotations

from piot_firstboot import records
from piot_firstboot.fleet import Device
from piot_firstboot.render.device import SAID
from piot_firstboot.system import System

_CGROUPS = "/sys/fs/cgroup"
ALL = frozenset(("cpu", "memory"))


def device(system: System) -> Device:
    """Return what tells this device from others: its name and model, and what piot.conf says."""
    said = records.values(system.read(SAID))
    return Device(
        host=_text(system, "/etc/hostname"),
        model=_text(system, "/proc/device-tree/model"),
        role=str(said.get("role", "")),
        labels=tuple(f"{name}={value}" for name, value in said.get("labels", {}).items()),
    )


def groups(system: System) -> frozenset[str]:
    """Return the groups of accounts that there are."""
    return frozenset(system.accounts("group"))


def controllers(system: System) -> frozenset[str]:
    """Return what the kernel can limit of a unit; on a tree, which says nothing of it, all."""
    if not system.live:
        return ALL
    unified = system.read(f"{_CGROUPS}/cgroup.controllers")
    if unified is not None:
        return ALL & set(unified.decode().split())
    # The older way, where each controller is a tree of its own.
    return frozenset(name for name in ALL if system.exists(f"{_CGROUPS}/{name}"))


def _text(system: System, path: str) -> str:
    """Read a file of one line."""
    return (system.read(path) or b"").decode("utf-8", "replace").strip("\0\n ")
