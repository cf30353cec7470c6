"""What a Python environment is made of, as far as it can be told from files.

The lines of requirements.txt are pip's own (pip.pypa.io, Requirements File Format); here it is
only found out what else they depend on.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from posixpath import dirname, normpath

_OTHER = re.compile(r"(?:-r|-c|--requirement|--constraint)(?:\s+|=|(?<=-[rc]))(\S+)")
_PLACE = re.compile(
    r"(?:-f|--find-links|-e|--editable|-i|--index-url|--extra-index-url)[\s=]*(\S+)"
)
_MOST_FILES = 100


@dataclass(frozen=True, slots=True)
class Sources:
    """What an environment depends on besides pip's index.

    `texts` are the files read, by path; `missing` those that are not there; `local` the places
    within the release that something is installed from, "" for all of it.
    """

    texts: tuple[tuple[str, bytes], ...]
    missing: tuple[str, ...]
    local: tuple[str, ...]


def follow(path: str, read: Callable[[str], bytes | None]) -> Sources:
    """Read a requirements file and those that it includes; `read` gives None for no such file."""
    texts: dict[str, bytes] = {}
    missing: list[str] = []
    local: set[str] = set()
    left = [normpath(path)]
    while left and len(texts) < _MOST_FILES:
        name = left.pop()
        if name in texts or name in missing:
            continue
        data = read(name) if _inside(name) else None
        if data is None:
            missing.append(name)
            continue
        texts[name] = data
        for line in _lines(data):
            if match := _OTHER.match(line):
                # Taken from the file that names it, unlike all other paths.
                if "://" not in match[1]:
                    left.append(normpath(f"{dirname(name)}/{match[1]}".lstrip("/")))
            elif (place := _place(line)) is not None:
                local.add(place)
    return Sources(tuple(sorted(texts.items())), tuple(missing), tuple(sorted(local)))


def _lines(data: bytes) -> Iterator[str]:
    """Yield what is no comment, continued lines joined."""
    text = data.decode("utf-8", "replace").replace("\\\n", " ")
    for line in text.splitlines():
        if words := re.sub(r"(^|\s)#.*", "", line).strip():
            yield words


def _place(line: str) -> str | None:
    """Return the place in the release that a line installs from, None when it names no place."""
    match = _PLACE.match(line)
    word = match[1] if match else line.split(" @ ", 1)[-1].split(";")[0].split("[")[0].strip()
    if word.startswith("file:"):
        return ""
    if "://" in word or not (match or "/" in word or word.startswith(".")):
        return None
    place = normpath(word)
    return place if _inside(place) and place != "." else ""


def _inside(path: str) -> bool:
    """Tell whether a path stays below the release."""
    return not path.startswith(("/", "../")) and path != ".."


def project(data: bytes) -> tuple[bool, tuple[str, ...]]:
    """Read pyproject.toml: whether it builds a package, and what it depends on.

    Raises ValueError when it is no TOML, or the dependencies are no list of texts.
    """
    try:
        table = tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError("it is no UTF-8") from error
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    part = table.get("project", {})
    needed = part.get("dependencies", []) if isinstance(part, dict) else None
    if not isinstance(needed, list) or not all(isinstance(text, str) for text in needed):
        raise ValueError("[project] dependencies is no list of texts")
    return "build-system" in table, tuple(needed)
