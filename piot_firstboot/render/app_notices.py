"""What a person should know of a manifest on a device, although nothing is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator

from piot_firstboot import fleet
from piot_firstboot.declared import Manifest
from piot_firstboot.errors import Problem
from piot_firstboot.render.app_devices import missing_groups
from piot_firstboot.render.app_limits import ENABLE
from piot_firstboot.render.app_release import Release


def notices(manifest: Manifest, release: Release) -> tuple[Problem, ...]:
    """Return what is worth a warning: units run as root, limits that do not hold, lost groups."""
    return tuple(_notices(fleet.pick(manifest, release.device), release))


def _notices(manifest: Manifest, release: Release) -> Iterator[Problem]:
    source = release.manifest_path
    for unit in manifest.units:
        name, line = unit.name, unit.line
        if unit.root:
            hint = "needs: devices:, port: and systemd: open what a unit needs"
            message = f"{name} runs as root, without a sandbox"
            yield Problem(source, line, 1, message, hint)
        if unit.memory is not None and "memory" not in release.controllers:
            message = f"{name}: memory cannot be held by this kernel; each process is limited"
            yield Problem(source, line, 1, message, f"add {ENABLE} to cmdline.txt, then reboot")
        if unit.cpu is not None and "cpu" not in release.controllers:
            message = f"{name}: cpu cannot be held by this kernel; it yields to others"
            yield Problem(source, line, 1, message)
        for group in missing_groups(unit.devices, release):
            message = f"{name}: there is no group {group} on this device to open its devices"
            yield Problem(source, line, 1, message)
