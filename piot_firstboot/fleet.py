"""Which device is what: its role, and which units of an app it has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from piot_firstboot.declared import Fleet, Manifest, When


@dataclass(frozen=True, slots=True)
class Device:
    """What tells one device from another; `labels` as `name=value`, `role` of piot.conf."""

    host: str = ""
    model: str = ""
    role: str = ""
    labels: tuple[str, ...] = ()


def role(fleet: Fleet, device: Device) -> str:
    """Return a device's role: that of piot.conf, else the first of the fleet that fits it."""
    if device.role:
        return device.role
    for candidate in fleet.roles:
        given = candidate.hosts or candidate.models
        hosts = not candidate.hosts or _any(candidate.hosts, (device.host,))
        models = not candidate.models or _any(candidate.models, (device.model,))
        if given and hosts and models:
            return candidate.name
    return ""


def pick(manifest: Manifest, device: Device) -> Manifest:
    """Return what a device has of a manifest: the units whose `when` it meets.

    Secrets that only other units see are not asked of it, and nothing names a unit it lacks.
    """
    units = manifest.units
    if not any(unit.when != When() for unit in units):
        return manifest
    role_ = role(manifest.fleet, device)
    has = {unit.name for unit in units if _meets(unit.when, device, role_)}

    def known(names: Iterable[str]) -> tuple[str, ...]:
        return tuple(name for name in names if name in has)

    seen = {name for unit in units if unit.name in has for name in unit.secrets}
    foreign = {name for unit in units for name in unit.secrets} - seen
    update = manifest.update
    gate = None if update.gate is None else known(update.gate)
    reload = tuple((name, signal) for name, signal in update.reload if name in has)
    return replace(
        manifest,
        secrets=tuple(name for name in manifest.secrets if name not in foreign),
        services=tuple(
            replace(service, after=known(service.after))
            for service in manifest.services
            if service.name in has
        ),
        jobs=tuple(
            replace(job, after=known(job.after)) for job in manifest.jobs if job.name in has
        ),
        update=replace(update, gate=gate, reload=reload),
    )


def _meets(when: When, device: Device, role_: str) -> bool:
    """Tell whether a device meets every condition that is given."""
    names = tuple(label.partition("=")[0] for label in device.labels)
    conditions = (
        (when.role, (role_,)),
        (when.host, (device.host,)),
        (when.model, (device.model,)),
        (when.label, (*device.labels, *names)),
    )
    return all(not globs or _any(globs, values) for globs, values in conditions)


def _any(globs: Iterable[str], values: Iterable[str]) -> bool:
    """Tell whether one of the values matches one of the globs; what is not known matches none."""
    known = [value for value in values if value]
    return any(fnmatchcase(value, glob) for glob in globs for value in known)
