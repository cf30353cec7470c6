"""piot check, piot render: judge files and show units, on any machine, changing nothing."""

from __future__ import annotations

import json
from pathlib import Path

from piot_firstboot import config, idle, manifest
from piot_firstboot.errors import ApplyError, ConfigError, Problem
from piot_firstboot.items import File, Symlink
from piot_firstboot.programs import SYSTEMD, program_finder
from piot_firstboot.render.app_units import Release, render_app
from piot_firstboot.system import System


def check(paths: list[str]) -> tuple[Problem, ...]:
    """Judge each file by its name and return every problem in all of them.

    A directory stands for the .piot.yaml in it.
    """
    problems: list[Problem] = []
    for name in paths:
        path = Path(name)
        if path.is_dir():
            path = path / ".piot.yaml"
        is_manifest = path.suffix in (".yaml", ".yml")
        if not is_manifest and not idle.pick_name([path.name]):
            hint = "piot check knows piot.conf and .piot.yaml"
            problems.append(Problem(str(path), 0, 0, "neither a piot.conf nor a .yaml file", hint))
            continue
        try:
            if is_manifest:
                manifest.parse(path.read_bytes(), str(path))
            else:
                config.parse(path.read_bytes(), str(path))
        except ConfigError as error:
            problems += error.problems
        except OSError as error:
            problems.append(Problem(str(path), 0, 0, error.strerror or str(error)))
    return tuple(problems)


def problems_json(problems: tuple[Problem, ...]) -> str:
    """Render problems for programs: source, line, column, message, hint each."""
    return json.dumps({"problems": [problem.values() for problem in problems]}, indent=1)


def render(directory: str, *, release: str, app: str = "") -> dict[str, str]:
    """Render the units of the app in a directory, as path → text (links as `-> target`).

    Programs are looked up in the directory; those of the system are assumed where they would
    be on the device. Raises ConfigError for a wrong manifest, ApplyError when there is none.
    """
    folder = Path(directory).resolve()
    source = folder / ".piot.yaml"
    try:
        data = source.read_bytes()
    except OSError as error:
        raise ApplyError(f"{source}: {error.strerror}") from error
    declared = manifest.parse(data, ".piot.yaml")
    name = app or declared.name or folder.name
    place = f"/var/lib/piot/apps/{name}/releases/COMMIT"
    find = program_finder(System(str(folder)), "")

    def resolve(word: str, inside: str) -> str:
        # In the release: looked up here, named as on the device. Elsewhere: as Debian has it.
        if "/" in word and not word.startswith("/"):
            return f"{place}{find(word, inside)}"
        if word.startswith("/"):
            return word
        return f"/usr/bin/{'python3' if word == 'python' else word}"

    where = Release(
        app=name,
        commit="COMMIT",
        path=place,
        hostname="HOSTNAME",
        systemd=SYSTEMD[release],
        resolve=resolve,
    )
    items = render_app(declared, where)
    shown = {i.path: i.content.decode() for i in items if isinstance(i, File)}
    links = {i.path: f"-> {i.target}\n" for i in items if isinstance(i, Symlink)}
    return {**shown, **links}
