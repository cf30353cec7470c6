"""`needs: devices:` → groups that may open a device, and the holes in the sandbox for it.

Device groups are named as /proc/devices lists them, so that a device that is plugged in later is
open as well: systemd.resource-control(5), DeviceAllow=. Groups of accounts are those of Debian and
Raspberry Pi OS.
"""

from __future__ import annotations

from piot_firstboot.declared import Job, Service
from piot_firstboot.render.app_release import Release
from piot_firstboot.unitfile import UnitFile

# Kind → groups of accounts, groups of devices.
_KINDS: dict[str, tuple[str, str]] = {
    # libcamera takes its buffers from a heap.
    "camera": ("video", "video4linux media dma_heap"),
    "gpio": ("gpio", "gpiochip *gpiomem*"),
    "i2c": ("i2c", "i2c"),
    "spi": ("spi", "spi"),
    "serial": ("dialout", "ttyS ttyAMA ttyUSB ttyACM"),
    "audio": ("audio", "alsa"),
    "video": ("video render", "video4linux media drm fb"),
    "input": ("input", "input"),
    "usb": ("plugdev", "usb_device hidraw"),
}
# How a path begins → the kind whose groups may open it.
_PATHS: tuple[tuple[str, str], ...] = (
    ("/dev/tty", "serial"),
    ("/dev/serial", "serial"),
    ("/dev/video", "video"),
    ("/dev/v4l/", "video"),
    ("/dev/media", "camera"),
    ("/dev/dri/", "video"),
    ("/dev/fb", "video"),
    ("/dev/snd/", "audio"),
    ("/dev/input/", "input"),
    ("/dev/i2c-", "i2c"),
    ("/dev/spidev", "spi"),
    ("/dev/gpio", "gpio"),
    ("/dev/bus/usb/", "usb"),
    ("/dev/hidraw", "usb"),
)


def groups(devices: tuple[str, ...]) -> tuple[str, ...]:
    """Return the groups whose members may open these devices."""
    kinds = [_kind(device) for device in devices]
    return tuple(dict.fromkeys(g for kind in kinds if kind for g in _KINDS[kind][0].split()))


def missing_groups(devices: tuple[str, ...], release: Release) -> tuple[str, ...]:
    """Return those of the groups that the device does not have."""
    return tuple(
        g for g in groups(devices) if release.groups is not None and g not in release.groups
    )


def awaited(job: Job) -> str:
    """Return the path of the device that a job waits for, or ""."""
    return next((device for device in job.devices if device.startswith("/")), "")


def add_devices(file: UnitFile, unit: Service | Job, release: Release) -> None:
    """Open a unit's devices; a root unit is not confined and needs nothing of it."""
    lost = missing_groups(unit.devices, release)
    # systemd refuses to start a unit that names a group which is not there.
    there = [group for group in groups(unit.devices) if group not in lost]
    if there:
        file.add("Service", "SupplementaryGroups", " ".join(there))
    if lost:
        file.comment += f"\nLeft out: group {', '.join(lost)}, which this device does not have."
    allowed: list[str] = []
    for device in unit.devices:
        if device.startswith("/"):
            allowed.append(device)
        else:
            allowed += [f"char-{group}" for group in _KINDS[device][1].split()]
    for name in dict.fromkeys(allowed):
        file.add("Service", "DeviceAllow", f"{name} rw")


def _kind(device: str) -> str:
    """Return the kind of a device, "" for a path of none."""
    if not device.startswith("/"):
        return device
    return next((kind for start, kind in _PATHS if device.startswith(start)), "")
