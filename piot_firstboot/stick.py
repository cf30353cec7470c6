"""A USB stick with git bundles on it: find those of this device's apps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from piot_firstboot import state
from piot_firstboot.errors import ApplyError
from piot_firstboot.system import System

_MOUNTS = "/run/piot/usb"
# Read only, and nothing on it is a program, a device or of a user who counts.
_OPTIONS = "ro,nosuid,nodev,noexec"


@contextmanager
def opened(system: System, place: str) -> Iterator[dict[str, str]]:
    """Look at a block device, or a directory; yield the bundles on it by the apps they are for.

    Only apps for which piot.conf says so take part. Raises ApplyError for what cannot be mounted.
    """
    there = system.entry(place)
    if there is None:
        raise ApplyError(f"there is no {place}", "see `lsblk` for what is plugged in")
    if there.kind in ("directory", "symlink"):
        yield _bundles(system, place)
        return
    if there.kind != "other":
        raise ApplyError(f"{place} is neither a block device nor a directory")
    folder = f"{_MOUNTS}/{place.rpartition('/')[2]}"
    system.mkdir(folder, 0o700)
    system.run(("mount", "-o", _OPTIONS, "--", place, system.path(folder)), check=True)
    try:
        yield _bundles(system, folder)
    finally:
        system.run(("umount", "--lazy", system.path(folder)))
        system.remove(folder)


def _bundles(system: System, folder: str) -> dict[str, str]:
    """List the bundles in a directory, or in `piot` in it, by their apps."""
    found = {}
    for app in state.apps(system):
        if not state.source(system, app).usb:
            continue
        for path in (f"{folder}/{app}.bundle", f"{folder}/piot/{app}.bundle"):
            there = system.entry(path)
            if there and there.kind == "file":  # a link would lead off the stick
                found[app] = path
                break
    return found
