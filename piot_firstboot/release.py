"""Releases on disk: stage, render, verify, prune.

A release is the tree of one commit in releases/COMMIT, published by rename once it is whole and
flushed. Units name that directory, so the old release stays whole while the new one starts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from piot_firstboot import (
    build,
    environment,
    fleet,
    host,
    neighbours,
    repository,
    source,
    untouched,
    vault,
)
from piot_firstboot.errors import ApplyError, ConfigError
from piot_firstboot.errors import Lacking as Lacking
from piot_firstboot.errors import Unfit as Unfit
from piot_firstboot.items import File, Item
from piot_firstboot.manifest import Manifest
from piot_firstboot.notify import warn
from piot_firstboot.programs import SYSTEMD, program_finder
from piot_firstboot.render.app_notices import notices
from piot_firstboot.render.app_units import Release, render_app
from piot_firstboot.state import folder
from piot_firstboot.state import source as origin
from piot_firstboot.system import System

_PARTIAL = ".partial"


def place(app: str, commit: str) -> str:
    """Return the directory of a release."""
    return f"{folder(app)}/releases/{commit}"


def stage(system: System, app: str, commit: str) -> None:
    """Check a commit out, build it, flush it, then publish it by rename; nothing is done twice.

    Raises ConfigError and Unfit when the commit is at fault, other ApplyErrors when it is not.
    """
    final = place(app, commit)
    if system.exists(final):
        return
    partial = f"{final}{_PARTIAL}"
    system.remove_tree(partial)
    repository.check_out(system, app, commit, partial)
    declared = _manifest(system, app, partial, commit)
    # Before the long work, which would be done anew at each try.
    _need(system, declared.secrets)
    read = _file_reader(system, partial)
    build.prepare(system, app, commit, partial, final, declared, read)
    if _manifest(system, app, partial, commit) != declared:
        # What builds and installs is often not the author's own, and a unit may run as root.
        hint = "units come from what was committed: write there what the build would"
        raise Unfit(f"the build changed {declared.source}", hint)
    system.sync(partial)
    system.rename(partial, final)


def manifest(system: System, app: str, commit: str) -> Manifest:
    """Read and judge the manifest of a staged release.

    Raises Unfit when there is none, ConfigError with all its problems when it is wrong.
    """
    return _manifest(system, app, place(app, commit), commit)


def python(system: System, app: str, commit: str) -> tuple[str, ...]:
    """Return what a commit's Python environment is made of, before it is checked out; () for none.

    What is wrong with it is told when it is staged.
    """

    def contents(name: str) -> bytes | None:
        return repository.text(system, app, commit, name)

    try:
        needs = _judged(system, app, contents, commit).needs
        return environment.foreseen(needs, contents, commit)
    except (ConfigError, Unfit):
        return ()


def _manifest(system: System, app: str, directory: str, commit: str) -> Manifest:
    def contents(name: str) -> bytes | None:
        there = system.entry(f"{directory}/{name}")
        return system.read(f"{directory}/{name}") if there and there.kind == "file" else None

    return _judged(system, app, contents, commit)


def _judged(system: System, app: str, contents: source.Read, commit: str) -> Manifest:
    path = origin(system, app).path
    found = source.read(contents, path=path)
    if found is None:
        hint = "write one with piot init; it lies at the top of the repository"
        if path != source.MANIFEST:
            hint = "look at `path` in piot.conf"
        raise Unfit(f"commit {commit[:12]} has no {path}", hint)
    # What is for other devices is not this one's to judge, to build for or to have secrets of.
    return fleet.pick(found, host.device(system))


def render(
    system: System, app: str, commit: str, declared: Manifest, *, run_commit_jobs: bool = True
) -> tuple[Item, ...]:
    """Render a release's units for this device; a service that it does not change keeps its own.

    Raises ConfigError when programs are not found, Lacking when a secret is not on the device.
    """
    _need(system, declared.secrets)
    path = place(app, commit)
    device = host.device(system)
    release = Release(
        app=app,
        commit=commit,
        path=path,
        manifest_path=declared.source,
        hostname=device.host,
        role=device.role,
        model=device.model,
        labels=device.labels,
        systemd=systemd_version(system),
        resolve=program_finder(system, path),
        read=_file_reader(system, path),
        plain=vault.plain(system),
        groups=host.groups(system),
        controllers=host.controllers(system),
    )
    neighbours.note(system, app, declared)
    for notice in notices(declared, release):
        warn(f"{app}: {notice.message}" + (f" ({notice.hint})" if notice.hint else ""))
    items = render_app(declared, release, source=declared.source, run_commit_jobs=run_commit_jobs)
    return untouched.keep(system, declared, release, items)


def _file_reader(system: System, release: str) -> Callable[[str], bytes]:
    """Return what reads a file of a release, and nothing that a link in it leads to."""

    def read(path: str) -> bytes:
        parts = path.split("/")
        for number in range(1, len(parts) + 1):
            there = system.entry(f"{release}/{'/'.join(parts[:number])}")
            if there is None or (number == len(parts) and there.kind == "directory"):
                raise LookupError(f"there is no file {path} in the release")
            if there.kind not in ("file", "directory"):
                raise LookupError(f"{path} is a link, or behind one, which is not followed")
        return system.read(f"{release}/{path}") or b""

    return read


def _need(system: System, secrets: Iterable[str]) -> None:
    """Make sure that a unit can be given these secrets; raises Lacking."""
    missing = sorted(set(secrets) - set(vault.names(system)))
    if missing:
        hint = (
            f"add to piot.conf: [secrets] {missing[0]} = …, then run: sudo piot apply; "
            f"or run: sudo piot secret set {missing[0]}"
        )
        raise Lacking(f"secrets not on this device: {', '.join(missing)}", hint)
    try:
        for name in secrets:
            vault.get(system, name)
    except vault.Unopenable as error:
        # Else the unit would fail for want of it, and its commit be blamed.
        if system.live:
            raise Lacking(str(error), error.hint) from None


def systemd_version(system: System) -> int:
    """Return systemd's major version, such as 252; for a tree, that of its Debian release.

    Raises ApplyError where it cannot be told.
    """
    if not system.live:
        text = (system.read("/usr/lib/os-release") or b"").decode("utf-8", "replace")
        name = re.search(r"^VERSION_CODENAME=(\w+)$", text, re.MULTILINE)
        if name and name[1] in SYSTEMD:
            return SYSTEMD[name[1]]
    match = re.match(r"systemd (\d+)", system.run(("systemctl", "--version")).out)
    if not match:
        raise ApplyError("there is no systemd on this machine")
    return int(match[1])


def verify(system: System, app: str, items: Iterable[Item]) -> None:
    """Let systemd read the units before they are installed; raises Unfit with its words.

    `systemd-analyze verify` exits 0 on unknown keys, so anything it prints counts.
    """
    if not system.live:
        return
    scratch = f"/run/piot/verify-{app}"
    units = [i for i in items if isinstance(i, File) and i.path.startswith("/etc/systemd/system/")]
    system.remove_tree(scratch)
    try:
        for unit in units:
            system.write(f"{scratch}/{unit.path.rpartition('/')[2]}", unit.content)
        paths = [system.path(f"{scratch}/{name}") for name in system.names(scratch)]
        # Only our directory and the system's: what is installed now must not answer for it.
        env = {"SYSTEMD_UNIT_PATH": f"{system.path(scratch)}:/usr/lib/systemd/system"}
        words = ("systemd-analyze", "verify", "--man=no", "--recursive-errors=no")
        result = system.run((*words, *paths), env=env, timeout=120)
    finally:
        system.remove_tree(scratch)
    if result.code != 0 or result.err.strip():
        raise Unfit(f"systemd refuses the units: {result.err.strip() or result.reason}")


def prune(system: System, app: str, keep: Iterable[str]) -> None:
    """Remove the releases that are not to be kept, and what an interrupted stage left.

    Those that a unit names or a process runs in stay in any case.
    """
    releases = f"{folder(app)}/releases"
    kept = set(keep)
    if set(system.names(releases)) - kept:
        kept |= untouched.in_use(system, app)
    for name in system.names(releases):
        if name not in kept:
            _discard(system, f"{releases}/{name}")
    build.prune(system, app, kept)


def _discard(system: System, path: str) -> None:
    """Remove a release, out of its name first: cut off half-way, it must not be taken for whole."""
    partial = path if path.endswith(_PARTIAL) else f"{path}{_PARTIAL}"
    if partial != path:
        system.remove_tree(partial)
        system.rename(path, partial)
    system.remove_tree(partial)
    system.remove(partial)  # a file, if git was cut off
