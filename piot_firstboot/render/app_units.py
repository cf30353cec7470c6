"""An app's manifest → its systemd units, as plain files that name the release directory.

Never a `current` link: after a flip of such a link systemd would not see that a unit changed.
"""

from __future__ import annotations

from collections.abc import Iterator

from piot_firstboot import credential
from piot_firstboot.errors import ConfigError, Problem
from piot_firstboot.items import File, Item, Symlink, Unit
from piot_firstboot.manifest import Job, Manifest, Service
from piot_firstboot.render import app_exec
from piot_firstboot.render.app_process import Release, add_process, note
from piot_firstboot.render.timer import add_schedule
from piot_firstboot.schedule import format_span
from piot_firstboot.unitfile import UnitFile, specifiers

__all__ = ["Release", "render_app"]

UNITS = "/etc/systemd/system"
_RESTART_STEPS = 254  # the first systemd with RestartSteps=: systemd.service(5)
_STOP = 95.0  # seconds for systemd to end what ran too long, its own 90 included


def render_app(
    manifest: Manifest,
    release: Release,
    *,
    source: str = ".piot.yaml",
    run_commit_jobs: bool = True,
) -> tuple[Item, ...]:
    """Render everything that an app needs from systemd, its units in the order to start them.

    Without `run_commit_jobs` (a rollback) the jobs of a commit are written but not started.
    Raises ConfigError with every program that was not found.
    """
    rendering = _Rendering(manifest, release, source, run_commit_jobs)
    items = tuple(rendering.items())
    if rendering.problems:
        raise ConfigError(rendering.problems)
    return items


class _Rendering:
    """One manifest being rendered; problems are collected."""

    def __init__(
        self, manifest: Manifest, release: Release, source: str, run_commit_jobs: bool
    ) -> None:
        self.problems: list[Problem] = []
        self._manifest, self._release = manifest, release
        self._source, self._run_commit_jobs = source, run_commit_jobs
        self._target = f"{release.prefix}.target"
        self._commit_jobs = [self._unit(j.name) for j in manifest.jobs if j.once == "commit"]

    def items(self) -> Iterator[Item]:
        """Yield the files, the links, then what the units shall be doing."""
        manifest = self._manifest
        files = [self._target_file(), self._slice_file()]
        linked, units, queued = [], [], []
        for job in manifest.jobs:
            service = self._job_file(job)
            files.append(service)
            if job.once == "commit":
                units.append(self._commit_unit(job, service))
            elif job.once:
                linked.append(service.name)
                queued.append(_path(service))
        for web in manifest.services:
            service = self._service_file(web)
            files.append(service)
            linked.append(service.name)
            units.append(self._service_unit(web, service))
            if web.health.command:
                files.append(self._check_file(web))
        for job in manifest.jobs:
            if not job.once:
                timer = self._timer_file(job)
                files.append(timer)
                linked.append(timer.name)
                # A daemon-reload is enough for a new schedule; a restart could fire a catch-up.
                units.append(Unit(timer.name, active=True))
        yield from (File(_path(file), file.text().encode()) for file in files)
        yield _link("multi-user.target", self._target)
        yield from (_link(self._target, name) for name in linked)
        yield from units
        # Starting the target again queues the wanted jobs that have not run yet, and does not
        # wait for them nor fail with them.
        yield Unit(self._target, active=True, on_change="start", because=tuple(queued))

    def _unit(self, name: str, kind: str = "service") -> str:
        return f"{self._release.prefix}-{name}.{kind}"

    def _commit_unit(self, job: Job, file: UnitFile) -> Unit:
        if not self._run_commit_jobs:
            return Unit(file.name)
        wait = app_exec.longest(job) + _STOP
        return Unit(file.name, on_change="start", because=(_path(file),), wait=wait)

    def _service_unit(self, service: Service, file: UnitFile) -> Unit:
        # Named as if none was sealed: what is stored anew is noted under that name (wake.py).
        secrets = tuple(credential.path(name, sealed=False) for name in service.secrets)
        wait = (service.health.within if service.notify else 90.0) + _STOP
        return Unit(
            file.name, active=True, on_change="restart", because=(_path(file), *secrets), wait=wait
        )

    # -- files ------------------------------------------------------------------------------------

    def _file(self, name: str, description: str) -> UnitFile:
        """Begin a unit file: where it came from."""
        release = self._release
        comment = f"Made by PioT from {self._source} of {release.app}, commit {release.commit}."
        file = UnitFile(name, f"{comment}\nThe next deploy replaces this file.")
        file.add("Unit", "Description", specifiers(description))
        origin = f"{release.path}/{release.manifest_path}"
        file.add("Unit", "SourcePath", specifiers(origin))
        return file

    def _target_file(self) -> UnitFile:
        app = self._release.app
        file = self._file(self._target, f"Services and timers of {app}")
        file.add("Install", "WantedBy", "multi-user.target")
        return file

    def _slice_file(self) -> UnitFile:
        app = self._release.app
        return self._file(f"{self._release.prefix}.slice", f"All processes of {app}")

    def _service_file(self, service: Service) -> UnitFile:
        release = self._release
        file = self._file(self._unit(service.name), f"{release.app} {service.name}")
        others = [self._unit(name) for name in service.after]
        file.add("Unit", "PartOf", self._target)
        self._after(file, *others, *self._commit_jobs)
        if others:
            file.add("Unit", "Wants", " ".join(others))
        file.add("Service", "Type", "notify" if service.notify else "exec")
        if service.notify:
            # A wrapper such as npm passes the socket on: let any process of the unit speak.
            file.add("Service", "NotifyAccess", "all")
            file.add("Service", "TimeoutStartSec", format_span(service.health.within))
        if service.watchdog is not None:
            file.add("Service", "WatchdogSec", format_span(service.watchdog))
        file.add("Service", "ExecStart", self._exec(service))
        self._restart(file, service)
        add_process(file, service, self._manifest, release)
        file.add("Install", "WantedBy", self._target)
        return file

    def _restart(self, file: UnitFile, service: Service) -> None:
        file.add("Service", "Restart", service.restart)
        if service.restart == "no":
            return
        if self._release.systemd >= _RESTART_STEPS:
            rows = (("RestartSec", "1s"), ("RestartSteps", "5"), ("RestartMaxDelaySec", "30s"))
            file.extend("Service", rows)
        else:
            file.add("Service", "RestartSec", "10s")
            note(file, self._release, "RestartSteps= and RestartMaxDelaySec=", _RESTART_STEPS)

    def _check_file(self, service: Service) -> UnitFile:
        """Render the unit that a deploy starts to ask a service's own health command."""
        assert service.health.command is not None
        release = self._release
        title = f"Health check of {release.app} {service.name}"
        file = self._file(self._unit(f"{service.name}-check"), title)
        file.add("Unit", "CollectMode", "inactive-or-failed")
        file.add("Unit", "StartLimitIntervalSec", 0)
        file.add("Service", "Type", "oneshot")
        file.add("Service", "TimeoutStartSec", format_span(min(service.health.within, 30.0)))
        words = self._found(service, service.health.command)
        file.add("Service", "ExecStart", app_exec.line(words))
        add_process(file, service, self._manifest, release, f"{service.name}-check")
        return file

    def _job_file(self, job: Job) -> UnitFile:
        release = self._release
        file = self._file(self._unit(job.name), f"{release.app} {job.name}")
        # No PartOf=: a stop of the target must not kill a job in flight.
        before: tuple[str, ...] = ()
        if job.once == "commit":
            mine = self._commit_jobs.index(file.name)
            before = tuple(self._commit_jobs[:mine])
        elif job.once:
            before = (self._target,)  # else the target, and so the boot, would wait for the job
        self._after(file, *before)
        done = f"/var/lib/piot/apps/{release.app}/done/{job.name}"
        if job.once == "device":
            file.add("Unit", "ConditionPathExists", f"!{specifiers(done)}")
        file.add("Service", "Type", "oneshot")
        if job.once == "boot":
            # Active until the next boot, so that no start before it runs the job again.
            file.add("Service", "RemainAfterExit", "yes")
        file.add("Service", "TimeoutStartSec", format_span(app_exec.longest(job)))
        file.add("Service", "ExecStart", self._exec(job))
        if job.once == "device":
            # Runs only after success, as root (+), because the mark is not the app's to make.
            mark = app_exec.line(("/usr/bin/install", "-D", "-m", "0644", "/dev/null", done))
            file.add("Service", "ExecStartPost", f"+{mark}")
        add_process(file, job, self._manifest, release)
        if job.once in ("device", "boot"):
            file.add("Install", "WantedBy", self._target)
        return file

    def _timer_file(self, job: Job) -> UnitFile:
        release = self._release
        file = self._file(self._unit(job.name, "timer"), f"When {release.app} {job.name} runs")
        file.add("Unit", "PartOf", self._target)
        add_schedule(file, job, f"{release.hostname}/{release.app}/{job.name}")
        file.add("Install", "WantedBy", self._target)
        return file

    # -- parts of a [Service] section --------------------------------------------------------------

    def _after(self, file: UnitFile, *others: str) -> None:
        first = ("network.target", "time-set.target", "piot-firstboot.service")
        file.add("Unit", "After", " ".join((*first, *others)))
        # The default limit stops a service for good when the network is late, and a job that
        # runs every second.
        file.add("Unit", "StartLimitIntervalSec", 0)

    def _exec(self, unit: Service | Job) -> str:
        """Render ExecStart= of a service or job."""
        words = self._found(unit, unit.run)
        if isinstance(unit, Job) and unit.retry:
            words = app_exec.retried(unit, words)
        return app_exec.line(words)

    def _found(self, unit: Service | Job, command: app_exec.Command) -> app_exec.Argv:
        """Return a command's words, its program looked up."""
        if command.shell:
            return ("/bin/sh", "-c", *command.words)
        try:
            program = self._release.resolve(command.program, unit.dir)
        except LookupError as error:
            message = f"{unit.name}: {error.args[0] if error.args else command.program}"
            self.problems.append(Problem(self._source, unit.line, 1, message))
            program = "/bin/false"
        return (program, *command.words[1:])


def _path(file: UnitFile) -> str:
    return f"{UNITS}/{file.name}"


def _link(wanting: str, name: str) -> Symlink:
    return Symlink(f"{UNITS}/{wanting}.wants/{name}", f"{UNITS}/{name}")
