"""Services that a deploy leaves alone, and the releases that are still in use because of it.

A service that a new release changes nothing for keeps running in the release that it was started
from, and its unit goes on naming that one. What is installed says so itself: there is no record
that could disagree with it after a power cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from piot_firstboot import build
from piot_firstboot.errors import ConfigError
from piot_firstboot.items import File, Item, Unit
from piot_firstboot.manifest import Manifest
from piot_firstboot.render.app_units import UNITS, Release, render_app
from piot_firstboot.state import folder
from piot_firstboot.system import System

_COMMIT = re.compile(rb"^Environment=PIOT_COMMIT=([0-9a-f]{40,64})$", re.MULTILINE)


def keep(
    system: System, declared: Manifest, release: Release, items: tuple[Item, ...]
) -> tuple[Item, ...]:
    """Put in the installed unit of each service that this release does not change.

    Such a unit is what the new manifest gives for the release that it names, to the letter, and
    what the service watches is the same in both. Where only the latter differs a reload will do, if
    the service knows one.
    """
    reloads = dict(declared.update.reload)
    reloaded: set[str] = set()
    kept: dict[str, bytes] = {}
    rendered: dict[str, dict[str, bytes]] = {}
    known = _Known(system, release.app)
    for service in declared.services:
        path = f"{UNITS}/{release.prefix}-{service.name}.service"
        installed = system.read(path) or b""
        named = _COMMIT.search(installed)
        commit = named[1].decode() if named else release.commit
        if commit == release.commit:
            continue
        same = known.same(service.watch, release.commit, commit)
        if not same and service.name not in reloads:
            continue
        if commit not in rendered:
            rendered[commit] = _at(declared, release, commit)
        if rendered[commit].get(path) == installed:
            if same:
                kept[path] = installed
            else:
                reloaded.add(path)
    return tuple(_settled(item, kept, reloaded) for item in items)


def _settled(item: Item, kept: dict[str, bytes], reloaded: set[str]) -> Item:
    """Return an item as it is to be, knowing what stays and what a reload is enough for."""
    match item:
        case File(path=path) if path in kept:
            return replace(item, content=kept[path])
        case Unit(on_change="reload") if not reloaded.intersection(item.because):
            return replace(item, on_change="restart")
    return item


class _Known:
    """What releases were made of, read and compared once for all services."""

    def __init__(self, system: System, app: str) -> None:
        self._system, self._app = system, app
        self._made: dict[str, build.Made | None] = {}
        self._prints: dict[tuple[str, tuple[str, ...]], str] = {}

    def same(self, globs: tuple[str, ...], one: str, other: str) -> bool:
        """Tell whether what a service runs on is there in both releases, and the same."""
        return self._print(globs, one) == self._print(globs, other) != ""

    def _print(self, globs: tuple[str, ...], commit: str) -> str:
        if commit not in self._made:
            place = _place(self._app, commit)
            self._made[commit] = build.made(self._system, self._app, commit, place)
        made = self._made[commit]
        if made is None:
            return ""
        if (commit, globs) not in self._prints:
            self._prints[commit, globs] = made.fingerprint(globs)
        return self._prints[commit, globs]


def _at(declared: Manifest, release: Release, commit: str) -> dict[str, bytes]:
    """Render a manifest as if it was that of another commit; return the files by path."""
    path = _place(release.app, commit)

    def resolve(word: str, directory: str) -> str:
        # What was found in the new release was found in the same place of the old one, or the
        # texts differ.
        return release.resolve(word, directory).replace(f"{release.path}/", f"{path}/")

    there = replace(release, commit=commit, path=path, resolve=resolve)
    with suppress(ConfigError):
        items = render_app(declared, there)
        return {item.path: item.content for item in items if isinstance(item, File)}
    return {}


def _place(app: str, commit: str) -> str:
    """Return the directory of a release."""
    return f"{folder(app)}/releases/{commit}"


def in_use(system: System, app: str) -> frozenset[str]:
    """Name the releases that a unit names, or that a process was started in."""
    releases = f"{folder(app)}/releases/"
    pattern = re.compile(re.escape(releases.encode()) + rb"([0-9a-f]{40,64})")
    found = set()
    for name in system.names(UNITS):
        if name.startswith(f"piot-{app}") and name.endswith(".service"):
            found |= set(pattern.findall(system.read(f"{UNITS}/{name}") or b""))
    for text in _processes(system) if system.live else ():
        found |= set(pattern.findall(text))
    return frozenset(commit.decode() for commit in found)


def _processes(system: System) -> Iterator[bytes]:
    """Yield the environment of each process, and where it is: a job may outlive two deploys."""
    for name in system.names("/proc"):
        if name.isdigit():
            # It may end while it is looked at.
            with suppress(OSError):
                yield system.read(f"/proc/{name}/environ") or b""
            with suppress(OSError):
                where = system.entry(f"/proc/{name}/cwd")
                yield where.target.encode("utf-8", "surrogateescape") if where else b""
