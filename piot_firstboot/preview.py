"""piot render: the units that a repository becomes, and when its timers run; changes nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from piot_firstboot import source, timetable, yamlvalues
from piot_firstboot.errors import ApplyError
from piot_firstboot.folder import Folder
from piot_firstboot.items import File, Symlink
from piot_firstboot.manifest import Job, Manifest
from piot_firstboot.programs import SYSTEMD, program_finder
from piot_firstboot.render.app_units import UNITS, Release, render_app
from piot_firstboot.schedule import format_span

RUNS = 5  # how many of a timer's next runs are shown
_COMMIT, _HOSTNAME = "COMMIT", "HOSTNAME"  # what a laptop cannot know
# What a Python environment brings in any case.
_OF_VENV = ("python", "python3", "pip", "pip3")


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
    timezone: str = "",
    now: datetime | None = None,
) -> Preview:
    """Render the app in a directory for a Debian release.

    Programs of the repository are looked up in it; those of the system are assumed where Debian
    has them. Raises ConfigError for a wrong manifest, ApplyError when there is none.
    """
    folder = Folder(directory)
    declared = declaration(folder)
    name = app_name(folder, declared, app)
    place = f"/var/lib/piot/apps/{name}/releases/{_COMMIT}"
    where = Release(
        app=name,
        commit=_COMMIT,
        path=place,
        hostname=_HOSTNAME,
        manifest_path=declared.source,
        systemd=SYSTEMD[release],
        resolve=resolver(folder, declared, place, lambda word: f"/usr/bin/{word}"),
    )
    items = render_app(declared, where, source=declared.source)
    return Preview(
        name,
        release,
        {item.path: item.content.decode() for item in items if isinstance(item, File)},
        {item.path: item.target for item in items if isinstance(item, Symlink)},
        _timers(declared, f"piot-{name}", timezone, now or datetime.now(UTC)),
    )


def declaration(folder: Folder) -> Manifest:
    """Read what a folder declares. Raises ConfigError, and ApplyError when it declares nothing."""
    try:
        declared = source.read(folder.read)
    except OSError as error:
        raise ApplyError(f"{error.filename}: {error.strerror}") from error
    if declared is None:
        message = f"{folder.path / source.MANIFEST}: No such file, and no Procfile beside it"
        raise ApplyError(message, "write one with: piot init")
    return declared


def app_name(folder: Folder, declared: Manifest, wanted: str) -> str:
    """Return what the app is called: as wanted, else as declared, else like its folder."""
    name = wanted or declared.name or folder.path.resolve().name
    try:
        return yamlvalues.app_name(name)
    except ValueError as error:
        hint = "give it a name: in .piot.yaml, or --app" if not wanted else ""
        raise ApplyError(str(error.args[0]), hint) from error


def resolver(
    folder: Folder, declared: Manifest, place: str, elsewhere: Callable[[str], str]
) -> Callable[[str, str], str]:
    """Return what finds a program: in the repository, in the environment to come, elsewhere."""
    find = program_finder(folder, "")
    packages = _packages(folder, declared)

    def resolve(word: str, inside: str) -> str:
        if word.startswith("/"):
            return word
        if "/" in word:
            # What a build makes is not there yet.
            found = f"/{inside}/{word}" if declared.build else find(word, inside)
            return place + found.replace("/./", "/").replace("//", "/")
        if word in packages:
            return f"{place}/.venv/bin/{word}"
        try:
            return elsewhere("python3" if word == "python" else word)
        except LookupError:
            if not packages:
                raise
            # A package may bring programs that are not called like it.
            return f"{place}/.venv/bin/{word}"

    return resolve


def _packages(folder: Folder, declared: Manifest) -> frozenset[str]:
    """Return words that name programs of the Python environment, as far as files tell."""
    python = declared.needs.python
    if python is None:
        return frozenset()
    data = folder.read(python.file) if python.file else None
    lines = (*python.requirements, (data or b"").decode("utf-8", "replace"))
    return frozenset((*_OF_VENV, *re.findall(r"[a-z0-9][a-z0-9_-]*", " ".join(lines).lower())))


def write(shown: Preview, directory: str) -> list[str]:
    """Write the units into a directory and return the names of what was written."""
    out = Folder(directory)
    written = []
    for path, text in shown.files.items():
        name = path.removeprefix(f"{UNITS}/")
        out.write(name, text.encode())
        written.append(name)
    return written


def _timers(declared: Manifest, prefix: str, timezone: str, now: datetime) -> tuple[Timer, ...]:
    jobs = [job for job in declared.jobs if not job.once]
    found = timetable.runs([job.at for job in jobs], now, RUNS, timezone)
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
