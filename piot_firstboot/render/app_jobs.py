"""A job → its unit, what starts it (a timer, a device), and the order of jobs of a commit."""

from __future__ import annotations

from collections.abc import Iterable

from piot_firstboot.declared import Job
from piot_firstboot.items import Unit
from piot_firstboot.render import app_exec
from piot_firstboot.render.app_context import STOP, Context, add_order, path
from piot_firstboot.render.app_devices import awaited
from piot_firstboot.render.app_process import add_process
from piot_firstboot.render.timer import add_schedule
from piot_firstboot.schedule import format_span
from piot_firstboot.unitfile import UnitFile, specifiers

_CLOCK = "piot-clock.service"  # a unit of PioT's own: waits for a time server, not for ever


def in_order(jobs: Iterable[Job]) -> tuple[Job, ...]:
    """Sort jobs of a commit: behind those that their `after` names, else as in the file."""
    waiting = {job.name: job for job in jobs}
    found: list[Job] = []
    while waiting:
        free = (j for j in waiting.values() if not any(name in waiting for name in j.after))
        job = next(free)  # `after` has no circles: references.py
        found.append(waiting.pop(job.name))
    return tuple(found)


def starter(context: Context, job: Job) -> str:
    """Return the unit that whoever starts a job by itself has to start."""
    return context.unit(job.name, "path" if awaited(job) else "service")


def job_file(context: Context, job: Job, before: Iterable[str]) -> UnitFile:
    """Render what a job does; `before` are the units that it comes after in any case."""
    release = context.release
    file = context.file(context.unit(job.name), f"{release.app} {job.name}")
    # No PartOf=: a stop of the target must not kill a job in flight.
    add_order(file, *before, *(context.unit(name) for name in job.after))
    done = _done(context, job)
    if done:
        file.add("Unit", "ConditionPathExists", f"!{specifiers(done)}")
    file.add("Service", "Type", "oneshot")
    if job.once == "boot":
        # Active until the next boot, so that no start before it runs the job again.
        file.add("Service", "RemainAfterExit", "yes")
    file.add("Service", "TimeoutStartSec", format_span(app_exec.longest(job)))
    if awaited(job):
        # Else the device that is still there would start the job over and over.
        stop = app_exec.line(("/usr/bin/systemctl", "stop", context.unit(job.name, "path")))
        file.add("Service", "ExecStartPre", f"-+{stop}")
    if job.ping:
        # The `-`: whoever listens may be down, which is nothing to the job.
        file.add("Service", "ExecStartPre", f"-{_ping(job, '--start')}")
    words = context.found(job, job.run)
    if job.retry:
        words = app_exec.retried(job, words)
    file.add("Service", "ExecStart", app_exec.line(words))
    if done:
        # Runs only after success, as root (+), because the mark is not the app's to make.
        mark = app_exec.line(("/usr/bin/install", "-D", "-m", "0644", "/dev/null", done))
        file.add("Service", "ExecStartPost", f"+{mark}")
    if job.ping:
        # systemd has taken the credentials away by then: as root (+) it is read from the store.
        root = "" if "://" in job.ping else "+"
        file.add("Service", "ExecStopPost", f"-{root}{_ping(job, '--end')}")
    add_process(context, file, job)
    if job.once in ("device", "boot") and not awaited(job):
        file.add("Install", "WantedBy", context.target)
    return file


def commit_unit(context: Context, job: Job, file: UnitFile, *, run: bool) -> Unit:
    """Say when a job of a commit is started: when its unit is another, and so at each commit."""
    name = starter(context, job)
    if not run:
        return Unit(name)
    if name != file.name:
        # The path unit starts at once, and the job when its device is there.
        return Unit(name, on_change="start", because=(path(file),))
    return Unit(name, on_change="start", because=(path(file),), wait=app_exec.longest(job) + STOP)


def path_file(context: Context, job: Job) -> UnitFile:
    """Render what starts a job once its device is there."""
    device = awaited(job)
    name = context.unit(job.name, "path")
    file = context.file(name, f"{context.release.app} {job.name} waits for {device}")
    file.add("Unit", "PartOf", context.target)
    done = _done(context, job)
    if done:
        file.add("Unit", "ConditionPathExists", f"!{specifiers(done)}")
    file.add("Path", "PathExists", specifiers(device))
    # A job that cannot even be started does not get the processor for itself.
    file.extend("Path", (("TriggerLimitIntervalSec", "1min"), ("TriggerLimitBurst", 5)))
    if job.once in ("device", "boot"):
        file.add("Install", "WantedBy", context.target)
    return file


def timer_file(context: Context, job: Job) -> UnitFile:
    """Render when a job runs."""
    release = context.release
    title = f"When {release.app} {job.name} runs"
    file = context.file(context.unit(job.name, "timer"), title)
    file.add("Unit", "PartOf", context.target)
    if job.at:
        # A Raspberry Pi wakes up in its own past: what the clock says then is not the time. The
        # target is reached without the timer, for the boot waits for the target.
        file.add("Unit", "Wants", _CLOCK)
        file.add("Unit", "After", f"{_CLOCK} {context.target}")
    add_schedule(file, job, f"{release.hostname}/{release.app}/{job.name}")
    if awaited(job):
        file.add("Timer", "Unit", starter(context, job))
    file.add("Install", "WantedBy", context.target)
    return file


def _done(context: Context, job: Job) -> str:
    """Return the file that says that a job is not to run again, "" for one that may."""
    if job.once != "device":
        return ""
    return f"/var/lib/piot/apps/{context.release.app}/done/{job.name}"


def _ping(job: Job, what: str) -> str:
    """Render how the start or end of a run is told."""
    where = ("--", job.ping) if "://" in job.ping else ("--secret", job.ping)
    return app_exec.line(("/usr/bin/piot", "ping", what, *where))
