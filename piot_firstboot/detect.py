"""A first .piot.yaml from what lies in a repository, with the reasons for all that is in it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from piot_firstboot import languages, procfile, source, yamlvalues, yamlwrite
from piot_firstboot.languages import Guess
from piot_firstboot.manifest import judge
from piot_firstboot.yamltext import Mapping

_HEAD = "What runs here, and when: man piot.yaml, or piot check --help."
_SECRET = re.compile(r"(?i)secret|token|passw|pass$|api_?key|private|credential")
_SAFER = (
    "{0} sounds like a secret, so its value is not written down: on the device, store it with sudo"
    " piot secret set {0}, and read it from $CREDENTIALS_DIRECTORY/{0}"
)
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
    told: list[str] = []

    def committed(file: str) -> bytes | None:
        return None if file in procfile.ENV_NAMES and _ignored(file, contents) else contents(file)

    hidden = [n for n in procfile.ENV_NAMES if contents(n) is not None and committed(n) is None]
    told += [f"{n}: left out, as .gitignore keeps it from the device" for n in hidden]
    beside = source.beside(committed)
    reading = procfile.read(data, procfile.NAME, *beside)
    judge(reading)
    root = reading.root
    assert isinstance(root, Mapping)
    root, secrets = _without_secrets(root)
    rows: dict[str, Any] = {**_named(name), **({"secrets": secrets} if secrets else {})}
    pairs = (root.pairs[0], *yamlwrite.nodes(rows).pairs, *root.pairs[1:])
    told.insert(0, f"Procfile: {_counted(root)}")
    file = beside[0][0]
    if any(key.text == "env" for key, _ in root.pairs):
        told.append(f"{file}: its variables are under env; the file is not read any more")
    told += [f"{file}: {_SAFER.format(key)}" for key in secrets]
    if beside[1]:
        told.append(f"{beside[1]}: its packages are installed for each release that needs them")
    text = yamlwrite.text(Mapping(pairs, root.place), {"piot": _HEAD})
    return Draft(text, tuple(told))


def _ignored(name: str, contents: source.Read) -> bool:
    """Tell whether .gitignore names a file at the top, in the ways that people write it."""
    lines = (contents(".gitignore") or b"").decode("utf-8", "replace").splitlines()
    words = [line.strip().removeprefix("/") for line in lines if not line.startswith(("#", "!"))]
    return any(word and fnmatchcase(name, word) for word in words)


def _without_secrets(root: Mapping) -> tuple[Mapping, list[str]]:
    """Take out the variables that sound like secrets: what is written goes into git."""
    env = next((value for key, value in root.pairs if key.text == "env"), None)
    if not isinstance(env, Mapping):
        return root, []
    secret = [key.text for key, _ in env.pairs if _SECRET.search(key.text)]
    kept = Mapping(tuple(row for row in env.pairs if row[0].text not in secret), env.place)
    pairs = tuple((key, kept if value is env else value) for key, value in root.pairs)
    pairs = tuple((key, value) for key, value in pairs if value is not kept or kept.pairs)
    return Mapping(pairs, root.place), secret


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
    """Return the line that names the app: like its folder, where there is a letter in that."""
    fit = re.sub(r"[^a-z0-9_]+", "-", name.lower()).strip("-")[: yamlvalues.MAX_APP].rstrip("-")
    try:
        return {"name": yamlvalues.app_name(fit)}
    except ValueError:
        return {"name": "app"}


def _counted(root: Mapping) -> str:
    """Count what a manifest has."""
    counts = [
        f"{len(value.pairs)} {key.text[: -1 if len(value.pairs) == 1 else None]}"
        for key, value in root.pairs
        if key.text in ("services", "jobs") and isinstance(value, Mapping)
    ]
    return " and ".join(counts)
