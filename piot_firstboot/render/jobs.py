"""Jobs of the device itself → their systemd units, `piot-device-NAME`.

No app can be called `device` (remote.py), so that no app has units of these names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

from piot_firstboot.config import Config
from piot_firstboot.errors import ApplyError
from piot_firstboot.facts import Facts, host_name
from piot_firstboot.items import File, Item, Symlink, Unit
from piot_firstboot.manifest import Job
from piot_firstboot.plan import Obstacle, Part
from piot_firstboot.render import app_exec
from piot_firstboot.render.origin import COMMENT
from piot_firstboot.render.timer import add_schedule
from piot_firstboot.schedule import format_span
from piot_firstboot.sections.job import DeviceJob
from piot_firstboot.unitfile import UnitFile, assignment, specifiers

_UNITS = "/etc/systemd/system"
_PREFIX = "piot-device"
_DONE = "/var/lib/piot/jobs"  # one empty file for each job that is not to run again

# What a job has no business with when it does not run as root. Its home and the devices that its
# groups may open stay as they are for the person.
_CONFINED = (
    ("NoNewPrivileges", "yes"),
    ("ProtectSystem", "full"),
    ("PrivateTmp", "yes"),
    ("ProtectClock", "yes"),
    ("ProtectHostname", "yes"),
    ("ProtectKernelLogs", "yes"),
    ("ProtectKernelModules", "yes"),
    ("ProtectKernelTunables", "yes"),
    ("ProtectControlGroups", "yes"),
    ("RestrictSUIDSGID", "yes"),
    ("LockPersonality", "yes"),
)


def render(config: Config, facts: Facts) -> Iterable[Part]:
    """Render `[job.NAME]`."""
    host = facts.host
    # A name that this device cannot make is [device]'s to report; it keeps the one it has.
    with suppress(ApplyError):
        host = host_name(config.device.hostname or facts.host, facts)
    people = {account.name for account in config.accounts} | set(facts.people)
    people |= {f"piot-{app.name}" for app in config.apps}
    for entry in config.jobs:
        if facts.people and entry.user not in people:
            stranger = Obstacle(
                f"there is no user {entry.user}",
                f"add [user.{entry.user}] to piot.conf, or write user = root",
            )
            yield Part(entry.section, (), obstacle=stranger)
            continue
        yield Part(entry.section, tuple(_items(entry, host, config.device.role or "")))


def _items(entry: DeviceJob, host: str, role: str) -> Iterator[Item]:
    """Yield the files of a job, then what systemd shall do with them."""
    service, timer = _service(entry, host, role), _timer(entry.job, host)
    for file in (service, timer):
        yield File(f"{_UNITS}/{file.name}", file.text().encode())
    yield Symlink(f"{_UNITS}/timers.target.wants/{timer.name}", f"{_UNITS}/{timer.name}")
    if entry.job.once:
        # One that failed is tried again when it was edited.
        because = (f"{_UNITS}/{service.name}",)
        yield Unit(timer.name, active=True, on_change="restart", because=because)
    else:
        # A daemon-reload is enough for a new schedule; a restart could fire a catch-up.
        yield Unit(timer.name, active=True)


def _file(name: str, description: str) -> UnitFile:
    """Begin a unit file."""
    file = UnitFile(name, COMMENT.removeprefix("# "))
    file.add("Unit", "Description", description)
    return file


def _service(entry: DeviceJob, host: str, role: str) -> UnitFile:
    """Render what a job does."""
    job = entry.job
    file = _file(f"{_PREFIX}-{job.name}.service", f"Job {job.name} of the device")
    file.add("Unit", "After", "network.target time-set.target piot-firstboot.service")
    # The default limit would stop a job that runs every second.
    file.add("Unit", "StartLimitIntervalSec", 0)
    done = f"{_DONE}/{job.name}"
    if job.once == "device":
        file.add("Unit", "ConditionPathExists", f"!{done}")
    file.add("Service", "Type", "oneshot")
    if job.once == "boot":
        # Active until the next boot, so that no start before it runs the job again.
        file.add("Service", "RemainAfterExit", "yes")
    file.add("Service", "TimeoutStartSec", format_span(job.timeout))
    file.add("Service", "ExecStart", app_exec.line(job.run.words))
    if job.once == "device":
        # Runs only after success, as root (+), whoever runs the job.
        mark = app_exec.line(("/usr/bin/install", "-D", "-m", "0644", "/dev/null", done))
        file.add("Service", "ExecStartPost", f"+{mark}")
    # Named even if it is root: only then does systemd set HOME.
    file.add("Service", "User", entry.user)
    file.add("Service", "WorkingDirectory", "~")
    # Else Python holds lines back for kilobytes, and the journal is late.
    for name, value in (
        ("PYTHONUNBUFFERED", "1"),
        ("PIOT_ROLE", role),
        ("PIOT_HOSTNAME", host),
        ("PIOT_UNIT", job.name),
    ):
        file.add("Service", "Environment", assignment(name, value))
    file.add("Service", "SyslogIdentifier", specifiers(f"device-{job.name}"))
    if not job.root:
        file.extend("Service", _CONFINED)
    return file


def _timer(job: Job, host: str) -> UnitFile:
    """Render when a job runs."""
    file = _file(f"{_PREFIX}-{job.name}.timer", f"When job {job.name} of the device runs")
    if job.once:
        # Not a unit that the boot wants itself: the boot would wait for it to end.
        file.extend("Timer", (("OnActiveSec", "1s"), ("AccuracySec", "1s")))
    else:
        add_schedule(file, job, f"{host}/device/{job.name}")
    file.add("Install", "WantedBy", "timers.target")
    return file
