"""piot render: the units that a repository becomes, and when its timers run; changes nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from piot_firstboot import fleet, timetable
from piot_firstboot.checkout import app_name, declaration, everywhere, reader, resolver
from piot_firstboot.folder import Folder
from piot_firstboot.items import File, Symlink
from piot_firstboot.manifest import Job, Manifest
from piot_firstboot.programs import SYSTEMD
from piot_firstboot.render.app_units import UNITS, Release, render_app
from piot_firstboot.schedule import format_span

RUNS = 5  # how many of a timer's next runs are shown
_COMMIT, _HOSTNAME = "COMMIT", "HOSTNAME"  # what a laptop cannot know


@dataclass(frozen=True, slots=True)
class Timer:
    """One timer: its unit, when it runs in words, and its next runs (none for `every`)."""

    unit: str
    job: str
    words: str
    runs: tuple[datetime, ...]


@dataclass(frozen=True, slots=True)
class Preview:
    """What an app becomes: unit files and links by path, and its timers."""

    app: str
    release: str
    files: dict[str, str]
    links: dict[str, str]
    timers: tuple[Timer, ...]

    def text(self) -> str:
        """Show it to people."""
        shown = {**self.files, **{path: f"-> {target}\n" for path, target in self.links.items()}}
        parts = [f"### {path}\n{text}" for path, text in shown.items()]
        if self.timers:
            rows = [_row(timer) for timer in self.timers]
            parts.append("### next runs\n" + "".join(f"{row}\n" for row in rows))
        return "\n".join(parts)

    def json(self) -> str:
        """Render it for programs."""
        timers = [
            {
                "unit": timer.unit,
                "job": timer.job,
                "schedule": timer.words,
                "next": [at.isoformat() for at in timer.runs],
            }
            for timer in self.timers
        ]
        shown = {
            "app": self.app,
            "release": self.release,
            "units": self.files,
            "links": self.links,
            "timers": timers,
        }
        return json.dumps(shown, indent=1, ensure_ascii=False)


def preview(
    directory: str,
    *,
    release: str,
    app: str = "",
    host: str = "",
    role: str = "",
    timezone: str = "",
    runs: int = RUNS,
    now: datetime | None = None,
) -> Preview:
    """Render the app in a directory for a Debian release; with so many next runs of each timer.

    Programs of the repository are looked up in it; those of the system are assumed where Debian
    has them. Without a host or a role, the units of all devices are shown. Raises ConfigError for
    a wrong manifest, ApplyError when there is none.
    """
    folder = Folder(directory)
    declared = declaration(folder)
    if host or role:
        declared = fleet.pick(declared, fleet.Device(host=host, role=role))
    else:
        declared = everywhere(declared)
    name = app_name(folder, declared, app)
    place = f"/var/lib/piot/apps/{name}/releases/{_COMMIT}"
    where = Release(
        app=name,
        commit=_COMMIT,
        path=place,
        hostname=host or _HOSTNAME,
        role=role,
        manifest_path=declared.source,
        systemd=SYSTEMD[release],
        resolve=resolver(folder, declared, place, lambda word: f"/usr/bin/{word}"),
        read=reader(folder),
    )
    items = render_app(declared, where, source=declared.source)
    return Preview(
        name,
        release,
        {item.path: item.content.decode() for item in items if isinstance(item, File)},
        {item.path: item.target for item in items if isinstance(item, Symlink)},
        _timers(declared, f"piot-{name}", runs, timezone, now or datetime.now(UTC)),
    )


def write(shown: Preview, directory: str) -> list[str]:
    """Write the units into a directory and return the names of what was written."""
    out = Folder(directory)
    written = []
    for path, text in shown.files.items():
        name = path.removeprefix(f"{UNITS}/")
        out.write(name, text.encode(), lasting=False)
        written.append(name)
    return written


def _timers(
    declared: Manifest, prefix: str, count: int, timezone: str, now: datetime
) -> tuple[Timer, ...]:
    jobs = [job for job in declared.jobs if not job.once]
    found = timetable.runs([job.at for job in jobs], now, count, timezone)
    return tuple(
        Timer(f"{prefix}-{job.name}.timer", job.name, _words(job), tuple(runs))
        for job, runs in zip(jobs, found, strict=True)
    )


def _words(job: Job) -> str:
    """Say when a job runs."""
    words = f"every {format_span(job.every)}" if job.every is not None else ", ".join(job.at)
    if job.jitter:
        words += f", up to {format_span(job.jitter)} later"
    return words + (", caught up" if job.catch_up else "")


def _row(timer: Timer) -> str:
    lines = [f"{timer.unit}: {timer.words}"]
    if not timer.runs:
        first = "first when it starts" if timer.words.startswith("every ") else "never again"
        lines.append(first)
    lines += [f"{at:%a %Y-%m-%d %H:%M:%S %Z}" for at in timer.runs]
    return "\n    ".join(lines)
