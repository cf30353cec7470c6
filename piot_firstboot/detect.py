"""A first .piot.yaml from what lies in a repository, with the reasons for all that is in it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from piot_firstboot import languages, procfile, source, yamlvalues, yamlwrite
from piot_firstboot.languages import Guess
from piot_firstboot.manifest import judge
from piot_firstboot.yamltext import Mapping

_HEAD = "What runs here, and when: man piot.yaml, or piot check --help."
_DETECTORS = (
    languages.python,
    languages.node,
    languages.go,
    languages.rust,
    languages.shell,
)


@dataclass(frozen=True, slots=True)
class Draft:
    """The text of a .piot.yaml, what was found, and where it was written."""

    text: str
    told: tuple[str, ...]
    path: str = ""

    def report(self) -> str:
        """Say it to people."""
        found = [f"  {line}" for line in self.told]
        shown = [f"    {line}".rstrip() for line in self.text.splitlines()]
        end = "next: piot check, then commit it and push"
        return "\n".join(["found", *found, f"written {self.path}", "", *shown, "", end])

    def json(self) -> str:
        """Render it for programs."""
        shown = {"path": self.path, "found": self.told, "text": self.text}
        return json.dumps(shown, indent=1, ensure_ascii=False)


def from_procfile(contents: source.Read, name: str) -> Draft:
    """Say what a Procfile says. Raises ConfigError with its problems."""
    data = contents(procfile.NAME) or b""
    beside = source.beside(contents)
    reading = procfile.read(data, procfile.NAME, *beside)
    judge(reading)
    root = reading.root
    assert isinstance(root, Mapping)
    named = _named(name)
    pairs = (root.pairs[0], *yamlwrite.nodes(named).pairs, *root.pairs[1:])
    told = [f"Procfile: {_counted(root)}"]
    if beside[0][0]:
        told.append(f"{beside[0][0]}: its variables are under env; the file is not read any more")
    if beside[1]:
        told.append(f"{beside[1]}: its packages are installed for each release that needs them")
    text = yamlwrite.text(Mapping(pairs, root.place), {"piot": _HEAD})
    return Draft(text, tuple(told))


def detect(
    inside: Callable[[str], list[str]],
    read: Callable[[str], bytes | None],
    runnable: Callable[[str], bool],
    name: str,
) -> Draft:
    """Guess what a repository runs; `inside` lists one of its folders, "" its top."""
    names = inside("")
    if procfile.NAME in names:
        return from_procfile(read, name)

    def text(file: str) -> str | None:
        data = read(file) if file in names else None
        return None if data is None else data.decode("utf-8-sig", "replace")

    guess = Guess(names, inside, text, runnable)
    for look in _DETECTORS:
        # The first language wins: a Node tool beside a Python app does not make it a Node app.
        if not guess.services:
            look(guess)
    languages.compose(guess)
    if not guess.services and not guess.jobs:
        _template(guess)
    rows = _rows(guess, name)
    return Draft(yamlwrite.text(yamlwrite.nodes(rows), guess.comments), tuple(guess.told))


def _template(guess: Guess) -> None:
    """Begin with something that runs, where nothing was found."""
    guess.tell("nothing that says what to run; hello prints a line each minute until you change it")
    guess.jobs["hello"] = {"run": "echo hello from the device", "every": "1min"}
    guess.comments["jobs.hello"] = (
        "a program of yours instead, such as ./measure.sh; under services: if it never ends"
    )


def _rows(guess: Guess, name: str) -> dict[str, Any]:
    """Put a guess in the order of the manual."""
    needs: dict[str, Any] = {"apt": list(dict.fromkeys(guess.apt))} if guess.apt else {}
    if guess.python:
        needs["python"] = guess.python
    build: Any = guess.build[0] if len(guess.build) == 1 else None
    if len(guess.build) > 1:
        build = ["sh", "-c", " && ".join(guess.build)]
    guess.comments["piot"] = _HEAD
    rows = {"piot": "1", **_named(name), "needs": needs, "build": build}
    rows |= {"services": guess.services, "jobs": guess.jobs}
    return {key: value for key, value in rows.items() if value}


def _named(name: str) -> dict[str, str]:
    """Return the line that names the app, where the folder's name is fit for it."""
    fit = re.sub(r"[^a-z0-9_]+", "-", name.lower()).strip("-")[: yamlvalues.MAX_APP].rstrip("-")
    try:
        return {"name": yamlvalues.app_name(fit)}
    except ValueError:
        return {}


def _counted(root: Mapping) -> str:
    """Count what a manifest has."""
    counts = [
        f"{len(value.pairs)} {key.text[: -1 if len(value.pairs) == 1 else None]}"
        for key, value in root.pairs
        if key.text in ("services", "jobs") and isinstance(value, Mapping)
    ]
    return " and ".join(counts)
