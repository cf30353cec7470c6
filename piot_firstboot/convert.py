"""piot import: turn the first-boot files of other tools into a piot.conf, on any machine."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from piot_firstboot import config, conftext
from piot_firstboot.errors import ApplyError, ConfigError, Problem
from piot_firstboot.folder import Folder
from piot_firstboot.foreign import formats
from piot_firstboot.foreign.carried import Carried, Left
from piot_firstboot.foreign.compose import compose

_PRIVATE = 0o600  # there may be passwords in it


@dataclass(frozen=True, slots=True)
class Conversion:
    """A piot.conf made of other files, or the problems that stand against it.

    `left` is what it does not say, `open` what `piot check` would say of it.
    """

    problems: tuple[Problem, ...]
    left: tuple[Left, ...] = ()
    text: str = field(default="", repr=False)
    sections: dict[str, dict[str, str | list[str]]] = field(default_factory=dict, repr=False)
    open: tuple[Problem, ...] = ()

    def report(self) -> str:
        """Say what stands against it, or what is left to do."""
        lines = [str(problem) for problem in self.problems]
        if self.left:
            lines += ["not carried over:", *(f"  {left}" for left in self.left)]
        if self.open:
            lines += ["still to be mended in it:", *map(str, self.open)]
        return "\n".join(lines)

    def json(self) -> str:
        """Render for programs: the sections with their values, what is left, what is open."""
        values = {
            "sections": self.sections,
            "left": [left.values() for left in self.left],
            "open": [problem.values() for problem in self.open],
            "problems": [problem.values() for problem in self.problems],
        }
        return json.dumps(values, indent=1, ensure_ascii=False)


def convert(paths: list[str]) -> Conversion:
    """Read files of any known format and say in one piot.conf what they say.

    Raises OSError when a file cannot be read.
    """
    names = _names(paths)
    files: list[Carried] = []
    problems: list[Problem] = []
    for path, name in zip(paths, names, strict=True):
        try:
            files.append(_carry(Path(path), name))
        except ConfigError as error:
            problems += error.problems
    if problems:
        return Conversion(tuple(problems))
    composed = compose(files)
    text = composed.text(names)
    return Conversion((), tuple(composed.left), text, composed.values(), _judged(text))


def write(path: str, text: str, *, force: bool) -> None:
    """Write a new piot.conf whole or not at all. Raises ApplyError when there is one already."""
    full = Path(path).absolute()
    if not full.parent.is_dir():
        raise ApplyError(f"{path}: there is no such directory")
    if full.is_dir():
        raise ApplyError(f"{path}: this is a directory", f"write -o {path.rstrip('/')}/piot.conf")
    if (full.is_symlink() or full.exists()) and not force:
        raise ApplyError(f"{path}: there is such a file already", "add --force to replace it")
    Folder(full.parent).write(full.name, text.encode(), _PRIVATE)


def _judged(text: str) -> tuple[Problem, ...]:
    """Return what is wrong with the piot.conf as a whole, such as that nobody could log in."""
    try:
        config.parse(text.encode())
    except ConfigError as error:
        return error.problems
    return ()


def _names(paths: list[str]) -> tuple[str, ...]:
    """Call each file by its last name if that tells them apart, else by its path."""
    last = [Path(path).name for path in paths]
    names = last if len(set(last)) == len(last) else paths
    return tuple("".join(c if c.isprintable() else "\ufffd" for c in name) for name in names)


def _carry(path: Path, name: str) -> Carried:
    """Read one file."""
    with path.open("rb") as file:
        data = file.read(conftext.MAX_SIZE + 1)
    found = formats.recognize(data, path.name)
    if found is None:
        hint = f"piot import knows {', '.join(formats.NAMES)}"
        raise ConfigError(
            [Problem(name, 0, 0, "this is none of the files that can be imported", hint)]
        )
    return found.carry(data, name)
