"""piot check: judge files on any machine, changing nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from piot_firstboot import beside, config, manifest, procfile, source
from piot_firstboot.errors import ConfigError, Problem
from piot_firstboot.findings import Findings
from piot_firstboot.folder import Folder
from piot_firstboot.manifest import Manifest

_CONF = ("piot.conf", "piot.conf.txt")


def check(paths: list[str], now: datetime | None = None) -> Findings:
    """Judge each file by its name and return every problem in all of them.

    A directory stands for the .piot.yaml in it, or the Procfile, and for a piot.conf. Without
    paths, the current directory is judged.
    """
    problems: list[Problem] = []
    warnings: list[Problem] = []
    for path in [Path(name) for name in paths or ["."]]:
        try:
            found = _judge(path, now or datetime.now(UTC))
        except ConfigError as error:
            found = Findings(error.problems)
        except OSError as error:
            found = Findings((Problem(str(path), 0, 0, error.strerror or str(error)),))
        problems += found.problems
        warnings += found.warnings
    return Findings(tuple(problems), tuple(warnings))


def _judge(path: Path, now: datetime) -> Findings:
    if path.is_dir():
        return _directory(path, now)
    if path.exists() and not path.is_file():
        # To read a pipe would be to wait for whoever writes.
        return Findings((Problem(str(path), 0, 0, "neither a file nor a directory"),))
    name = path.name
    if name.lower() in _CONF:
        return _conf(path)
    if path.suffix in (".yaml", ".yml"):
        # Of another name, it is a manifest on its own: nothing has to lie beside it.
        folder = Folder(path.parent) if name == source.MANIFEST else None
        return _app(lambda: manifest.parse(path.read_bytes(), str(path)), path, folder, now)
    if name == procfile.NAME:
        folder = Folder(path.parent)
        return _app(lambda: _procfile(path, folder), path, folder, now)
    if not path.exists():
        return Findings((Problem(str(path), 0, 0, "No such file or directory"),))
    hint = "piot check knows piot.conf, .piot.yaml and Procfile"
    return Findings((Problem(str(path), 0, 0, "neither a piot.conf nor a .yaml file", hint),))


def _directory(path: Path, now: datetime) -> Findings:
    """Judge what a directory holds."""
    names = [entry.name for entry in sorted(path.iterdir()) if entry.is_file()]
    app = next((n for n in (source.MANIFEST, procfile.NAME) if n in names), None)
    wanted = [name for name in names if name.lower() in _CONF] + ([app] if app else [])
    if not wanted:
        hint = "write one with: piot init"
        message = "there is no .piot.yaml here, no Procfile and no piot.conf"
        return Findings((Problem(str(path), 0, 0, message, hint),))
    parts = [_judge(path / name, now) for name in wanted]
    return Findings(
        tuple(p for part in parts for p in part.problems),
        tuple(p for part in parts for p in part.warnings),
    )


def _procfile(path: Path, folder: Folder) -> Manifest:
    """Judge a Procfile with what belongs to it."""
    prefix = str(path).removesuffix(procfile.NAME)
    return procfile.parse(path.read_bytes(), str(path), *source.beside(folder.read, prefix))


def _app(
    parse: Callable[[], Manifest], path: Path, folder: Folder | None, now: datetime
) -> Findings:
    """Judge a manifest, then what it names in its folder."""
    try:
        declared = parse()
    except ConfigError as error:
        return Findings(error.problems)
    lines = path.read_bytes().decode("utf-8-sig", "replace").splitlines()
    declared = replace(declared, source=str(path))
    problems: tuple[Problem, ...] = ()
    if folder:
        missing = beside.missing(declared, folder, folder.read, lines)
        problems = (*missing, *beside.variables(declared, folder.read))
    warnings = (*beside.loud(declared, lines), *beside.past(declared, now, lines))
    return Findings(problems, warnings)


def _conf(path: Path) -> Findings:
    """Judge a piot.conf, and name what is accepted and has no effect."""
    try:
        judged = config.parse(path.read_bytes(), str(path))
    except ConfigError as error:
        return Findings(error.problems)
    message = "this version does nothing with {} yet"
    return Findings(
        warnings=tuple(
            Problem(str(path), entry.line, entry.key_column, message.format(entry.key))
            for _, entry in judged.idle()
        )
    )
