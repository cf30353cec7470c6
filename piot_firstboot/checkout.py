"""An app as it lies in a folder on a laptop: what it declares, what it is called, its programs."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from piot_firstboot import source, yamlvalues
from piot_firstboot.errors import ApplyError
from piot_firstboot.folder import Folder
from piot_firstboot.manifest import Manifest, When
from piot_firstboot.programs import program_finder

# What a Python environment brings in any case.
_OF_VENV = ("python", "python3", "pip", "pip3")


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


def reader(folder: Folder) -> Callable[[str], bytes]:
    """Return what reads a file of the repository; raises LookupError in words."""

    def read(path: str) -> bytes:
        data = folder.read(path)
        if data is None:
            raise LookupError(f"there is no file {path} in the repository")
        return data

    return read


def everywhere(declared: Manifest) -> Manifest:
    """Return the same app with all units on every device."""
    return replace(
        declared,
        services=tuple(replace(service, when=When()) for service in declared.services),
        jobs=tuple(replace(job, when=When()) for job in declared.jobs),
    )


def _packages(folder: Folder, declared: Manifest) -> frozenset[str]:
    """Return words that name programs of the Python environment, as far as files tell."""
    python = declared.needs.python
    if python is None:
        return frozenset()
    data = folder.read(python.file) if python.file else None
    lines = (*python.requirements, (data or b"").decode("utf-8", "replace"))
    return frozenset((*_OF_VENV, *re.findall(r"[a-z0-9][a-z0-9_-]*", " ".join(lines).lower())))
