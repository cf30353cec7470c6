"""`[job.NAME]`: a job of the device itself, without any repository."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from piot_firstboot import jobvalues, values
from piot_firstboot.found import Found, of
from piot_firstboot.manifest import Job
from piot_firstboot.table import Section, Setting

if TYPE_CHECKING:
    from piot_firstboot.confkeys import Judge

_DAY = 86400.0
_WHEN = ("every", "at", "once")

SECTIONS: tuple[Section, ...] = (
    Section(
        "job",
        "A job of the device itself: [job.NAME]. It has run, and one of every, at and once.",
        jobvalues.name,
    ),
)

SETTINGS: tuple[Setting, ...] = (
    Setting(
        "job",
        "run",
        jobvalues.run,
        "The command line, split as a shell would; $NAME is replaced from the job's environment. A "
        "pipe or a redirection belongs into a script.",
        "/usr/local/bin/backup --to /mnt/usb",
        required=True,
    ),
    Setting("job", "every", jobvalues.span(1, 366 * _DAY), "A time span between two runs.", "5min"),
    Setting(
        "job",
        "at",
        jobvalues.at,
        "A time of day or week, as systemd or cron spell it, in the device's time zone. Repeat for "
        "more.",
        "02:30",
        default=(),
        many=True,
    ),
    Setting(
        "job",
        "once",
        jobvalues.once,
        "boot: at each boot. device: until it has succeeded once.",
        "boot",
        default="",
    ),
    Setting(
        "job",
        "jitter",
        jobvalues.span(0, _DAY),
        "Up to so much later, always the same on one device. If not given: none.",
        "20min",
        default=0.0,
    ),
    Setting(
        "job",
        "catch_up",
        values.boolean,
        "With at: whether a run that was missed while the device was off is made up for. If not "
        "given: no.",
        "yes",
        default=False,
    ),
    Setting(
        "job",
        "timeout",
        jobvalues.span(1, 30 * _DAY),
        "Ended after so long. If not given: 1h.",
        "10min",
        default=3600.0,
    ),
    Setting(
        "job",
        "user",
        jobvalues.user,
        "The account it runs as. If not given: root, which may do anything.",
        "anna",
        default="root",
    ),
)


@dataclass(frozen=True, slots=True)
class DeviceJob:
    """A job as an app may have one, the account that runs it, and its header in the file."""

    job: Job
    user: str
    section: str


def judge(judge: Judge, found: list[Found]) -> None:
    """Ask for a name and for one way to say when; the rules are those of .piot.yaml."""
    for part in of(found, "job"):
        if "." not in part.block.name:
            judge.at_header(part, "a job needs a name", "write [job.NAME]")
        chosen = [key for key in _WHEN if key in part.entries]
        if not chosen:
            hint = "add every = 5min, at = 02:30 or once = boot"
            judge.at_header(part, "this does not say when the job runs", hint)
        for key in chosen[1:]:
            message = f"a job has one of every, at and once; {chosen[0]} is given too"
            judge.at_key(part, part.entries[key], message, "keep one of them")
        if chosen == ["once"] and "jitter" in part.entries:
            message = "jitter belongs to every and at, not to once"
            judge.at_key(part, part.entries["jitter"], message, "remove this line")
        if chosen and chosen[0] != "at" and "catch_up" in part.entries:
            message = f"catch_up belongs to at, not to {chosen[0]}"
            judge.at_key(part, part.entries["catch_up"], message, "remove this line")
    judge.names(of(found, "job"), "jobs")


def read(found: list[Found]) -> tuple[DeviceJob, ...]:
    """Return the jobs in the order of the file."""
    return tuple(_job(part) for part in of(found, "job"))


def _job(part: Found) -> DeviceJob:
    """Make a job as .piot.yaml has them, with nothing of an app in it."""
    given = part.arguments()
    user = given.pop("user")
    given["at"] = tuple(dict.fromkeys(event for events in given["at"] for event in events))
    job = Job(
        name=part.values["name"],
        **given,
        retry=None,
        env=(),
        secrets=(),
        dir="",
        root=user == "root",
        systemd=(),
        line=part.block.line,
    )
    return DeviceJob(job, user, part.block.name)
