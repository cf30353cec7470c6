"""What a manifest names that must lie beside it in the repository, and times that never come again.

A device finds the first when it stages a commit; on a laptop it can be said before the push.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from piot_firstboot import envfile, nextrun, oncalendar
from piot_firstboot.command import Command
from piot_firstboot.errors import ConfigError, Problem
from piot_firstboot.manifest import Job, Manifest, Service
from piot_firstboot.programs import Tree, program_finder

Read = Callable[[str], bytes | None]


def missing(declared: Manifest, tree: Tree, read: Read, lines: list[str]) -> Iterator[Problem]:
    """Yield what is not there; `tree` has the repository at its root, `lines` are the file's."""
    files = [declared.env_file, declared.needs.python.file if declared.needs.python else ""]
    for name in files:
        if name and not _made(declared) and read(name) is None:
            yield Problem(declared.source, 0, 0, f"{name} is not in the repository")
    find = program_finder(tree, "")
    units: tuple[Service | Job, ...] = (*declared.services, *declared.jobs)
    for unit in units:
        # What a build makes cannot be known before it ran.
        if _made(declared):
            continue
        if unit.dir and not tree.exists(f"/{unit.dir}"):
            yield _problem(declared, unit, f"dir: {unit.dir} is not in the repository", lines)
            continue
        if unit.env_file and read(unit.env_file) is None:
            yield _problem(declared, unit, f"{unit.env_file} is not in the repository", lines)
        for command in _commands(unit):
            word = "" if command.shell else command.program
            if "/" not in word or word.startswith("/"):
                continue
            try:
                find(word, unit.dir)
            except LookupError as error:
                said = str(error.args[0]).replace("in the release", "in the repository")
                yield _problem(declared, unit, said, lines)


def variables(declared: Manifest, read: Read) -> Iterator[Problem]:
    """Yield what is wrong with an `env_file` that is there."""
    folder = declared.source.removesuffix(declared.source.replace("\\", "/").rpartition("/")[2])
    for name in dict.fromkeys((declared.env_file, *(unit.env_file for unit in declared.units))):
        data = read(name) if name else None
        if data is not None:
            try:
                envfile.parse(data, f"{folder}{name}")
            except ConfigError as error:
                yield from error.problems


def loud(declared: Manifest, lines: list[str]) -> Iterator[Problem]:
    """Yield the units that give up what protects the device from them."""
    for unit in declared.units:
        if unit.root:
            message = "root: true, so it runs without a sandbox"
            yield _problem(declared, unit, message, lines)


def past(declared: Manifest, now: datetime, lines: list[str]) -> Iterator[Problem]:
    """Yield the jobs whose time lies behind us for good."""
    for job in declared.jobs:
        events = [oncalendar.parse(event) for event in job.at]
        # Only what names its years can come to an end.
        if events and all(event.year for event in events):
            comes = (next(nextrun.following(e, now, UTC, _zone), None) for e in events)
            if not any(comes):
                message = "never runs again: its time has gone by"
                yield _problem(declared, job, message, lines)


def _zone(name: str) -> ZoneInfo:
    """Return any zone: here a day more or less does not matter."""
    return ZoneInfo("UTC")


def _made(declared: Manifest) -> bool:
    return declared.build is not None


def _commands(unit: Service | Job) -> Iterator[Command]:
    yield unit.run
    if isinstance(unit, Service) and unit.health.command:
        yield unit.health.command


def _problem(declared: Manifest, unit: Service | Job, message: str, lines: list[str]) -> Problem:
    """Put a problem at the name of its unit."""
    text = lines[unit.line - 1] if 0 < unit.line <= len(lines) else ""
    column = len(text) - len(text.lstrip()) + 1
    width = len(unit.name) if text[column - 1 :].startswith(unit.name) else 1
    shown = text if len(text) <= 200 else ""
    return Problem(
        declared.source, unit.line, column, f"{unit.name}: {message}", text=shown, width=width
    )
