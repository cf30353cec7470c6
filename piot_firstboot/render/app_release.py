"""What a rendering depends on beside the manifest: one commit of an app on one device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from piot_firstboot.fleet import Device
from piot_firstboot.unitfile import UnitFile


def _no_file(path: str) -> bytes:
    raise LookupError(f"{path} is not in the release")


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One commit of an app on one device, for one version of systemd.

    `path` is the release's directory on the device. `resolve(word, dir)` returns the absolute
    path of a program, and `read(path)` the bytes of a file of the release; both raise LookupError
    with a message for people. `plain` names the secrets that the device could not seal, `groups`
    the groups it has (None: not known, all are taken to be there), `controllers` what its kernel
    can limit of a unit. `labels` are `name=value`.
    """

    app: str
    commit: str
    path: str
    hostname: str
    manifest_path: str = ".piot.yaml"
    role: str = ""
    model: str = ""
    labels: tuple[str, ...] = ()
    systemd: int = 257
    resolve: Callable[[str, str], str] = field(repr=False, compare=False)
    read: Callable[[str], bytes] = field(default=_no_file, repr=False, compare=False)
    plain: frozenset[str] = frozenset()
    groups: frozenset[str] | None = None
    controllers: frozenset[str] = frozenset(("cpu", "memory"))

    @property
    def prefix(self) -> str:
        """Return what the names of the app's user and units begin with."""
        return f"piot-{self.app}"

    @property
    def device(self) -> Device:
        """Return what tells the device from others."""
        return Device(self.hostname, self.model, self.role, self.labels)


def note(file: UnitFile, release: Release, what: str, version: int) -> None:
    """Say in a unit's header what this systemd is too old for."""
    found = release.systemd
    file.comment += f"\nLeft out: {what} (systemd {version}; this is for {found})."
