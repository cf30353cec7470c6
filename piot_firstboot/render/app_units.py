"""An app's manifest → its systemd units, as plain files that name the release directory.

Never a `current` link: after a flip of such a link systemd would not see that a unit changed.
"""

from __future__ import annotations

from collections.abc import Iterator

from piot_firstboot import fleet
from piot_firstboot.declared import Manifest
from piot_firstboot.errors import ConfigError
from piot_firstboot.items import File, Item, Symlink, Unit
from piot_firstboot.render.app_advert import advert
from piot_firstboot.render.app_context import UNITS as UNITS
from piot_firstboot.render.app_context import Context, link, path
from piot_firstboot.render.app_devices import awaited
from piot_firstboot.render.app_jobs import (
    commit_unit,
    in_order,
    job_file,
    path_file,
    starter,
    timer_file,
)
from piot_firstboot.render.app_release import Release
from piot_firstboot.render.app_services import check_file, service_file, service_unit
from piot_firstboot.unitfile import UnitFile

__all__ = ["Release", "render_app"]

# A start of a timer waits for the clock, if that is not known yet: units/piot-clock.service.
_TIMER_WAIT = 180.0
# What looks for other devices of an app.
_PEERS = "/usr/lib/systemd/system/piot-peers@.timer"


def render_app(
    manifest: Manifest,
    release: Release,
    *,
    source: str = ".piot.yaml",
    run_commit_jobs: bool = True,
) -> tuple[Item, ...]:
    """Render everything that an app needs from systemd, its units in the order to start them.

    Units that are for other devices (`when`) are left out. Without `run_commit_jobs` (a rollback)
    the jobs of a commit are written but not started. Raises ConfigError with every program that
    was not found and every mistake in an `env_file`.
    """
    role = fleet.role(manifest.fleet, release.device)
    context = Context(fleet.pick(manifest, release.device), release, source, role)
    items = tuple(_items(context, run_commit_jobs))
    if context.problems:
        raise ConfigError(context.problems)
    return items


def _items(context: Context, run_commit_jobs: bool) -> Iterator[Item]:
    """Yield the files, the links, then what the units shall be doing."""
    manifest, target = context.manifest, context.target
    files = [_target_file(context), _slice_file(context)]
    linked: list[str] = []
    units: list[Unit] = []
    queued: list[str] = []
    commit_jobs = in_order(job for job in manifest.jobs if job.once == "commit")
    names = [context.unit(job.name) for job in commit_jobs]
    for number, job in enumerate(commit_jobs):
        file = job_file(context, job, names[:number])
        files.append(file)
        units.append(commit_unit(context, job, file, run=run_commit_jobs))
    for job in manifest.jobs:
        if job.once != "commit":
            # Else the target, and so the boot, would wait for a job that runs once.
            file = job_file(context, job, (target,) if job.once else ())
            files.append(file)
            if job.once:
                linked.append(starter(context, job))
                queued.append(path(file))
        if awaited(job):
            files.append(path_file(context, job))
    for service in manifest.services:
        file = service_file(context, service, names)
        files.append(file)
        linked.append(file.name)
        units.append(service_unit(context, service, file))
        if service.health.command:
            files.append(check_file(context, service))
    for job in manifest.jobs:
        if not job.once:
            timer = timer_file(context, job)
            files.append(timer)
            linked.append(timer.name)
            # A daemon-reload is enough for a new schedule; a restart could fire a catch-up.
            wait = _TIMER_WAIT if job.at else Unit(timer.name).wait
            units.append(Unit(timer.name, active=True, wait=wait))
    yield from (File(path(file), file.text().encode()) for file in files)
    yield from (advert(s, context.release) for s in manifest.services if s.port is not None)
    yield link("multi-user.target", target)
    yield from (link(target, name) for name in linked)
    yield from units
    if manifest.advertised:
        name = f"piot-peers@{context.release.app}.timer"
        yield Symlink(f"{UNITS}/{target}.wants/{name}", _PEERS)
        yield Unit(name, active=True)
    # Starting the target again queues the wanted jobs that have not run yet, and does not
    # wait for them nor fail with them.
    yield Unit(target, active=True, on_change="start", because=tuple(queued))


def _target_file(context: Context) -> UnitFile:
    file = context.file(context.target, f"Services and timers of {context.release.app}")
    file.add("Install", "WantedBy", "multi-user.target")
    return file


def _slice_file(context: Context) -> UnitFile:
    release = context.release
    return context.file(f"{release.prefix}.slice", f"All processes of {release.app}")
