"""A full disk is a state that was thought of: forecast, refuse, prune, and keep a reserve.

What a fetch or a stage will take is estimated before it begins, and refused with figures when it
does not fit. Before that, room is made in a fixed order: old releases, then caches. A small
reserve file is given up when the record cannot be written otherwise; so a rollback can always be
brought to its end.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from piot_firstboot import confined, environment, files, lfs, release, repository, state
from piot_firstboot.errors import ApplyError
from piot_firstboot.state import Record
from piot_firstboot.system import System

RESERVE = "/var/lib/piot/reserve"
_RESERVED = 1 << 20  # bytes
_SPARE = 16 << 20  # bytes that stay free for the apps and the journal
_SPARE_FILES = 200
_FIRST_FETCH = 4 << 20  # bytes; what a repository will be is not known before it is here
_FIRST_ENVIRONMENT = 16 << 20  # bytes; nor is what pip will bring
_WHEELS = 4 / 3  # of an environment, while the archives that it comes from lie in pip's cache
_BLOCK = 4096  # bytes
_OVERHEAD = 1.1  # directories, indexes, the journal of the file system
_CACHES = ("/var/cache/piot",)

T = TypeVar("T")


_HINT = "make room: see `df -h` and `df -i`; older releases and caches are gone already"


class Full(ApplyError):
    """There is not enough room, and none is left to be made."""


@dataclass(frozen=True, slots=True)
class Need:
    """What a step will take of a file system: bytes and files."""

    size: int
    files: int

    def fits(self, free: tuple[int, int]) -> bool:
        """Tell whether so much is free that the spare stays untouched."""
        return self.size + _SPARE <= free[0] and self.files + _SPARE_FILES <= free[1]


def before_fetch(system: System, record: Record, mirror: str = "") -> Record:
    """Make room for a fetch; return the record, with fewer releases where some had to go.

    Into the app's own mirror, if not into that of a submodule. Each fetch adds one pack. All of a
    commit fits into what all packs take so far, most likely. Raises Full.
    """
    packs = f"{mirror or repository.place(record.app)}/objects/pack"
    size, _ = files.usage(system.path(packs))
    need = Need(size or _FIRST_FETCH, 10)
    return _make_room(system, record, need, "fetching")


def before_stage(system: System, record: Record) -> Record:
    """Make room for the release of the target; return the record as `before_fetch` does.

    git knows the size of its tree and of those of its submodules, which must be here, and the
    pointers of LFS that of large files, which lie in the mirror as well. What a build and packages
    add is taken to be what they added to the release before. Raises Full.
    """
    app = record.app
    if system.exists(release.place(app, record.target)):
        return record
    trees, stored = _trees(system, app, record.target)
    parts = (trees, stored, _added(system, app, record.commit), _environment(system, record))
    need = Need(sum(part.size for part in parts), sum(part.files for part in parts))
    return _make_room(system, record, need, "staging")


def _trees(system: System, app: str, commit: str) -> tuple[Need, Need]:
    """Ask git what a commit takes checked out, and what large files its mirrors still lack take."""
    small = large = count = 0
    lacking: dict[str, int] = {}
    wanted = state.source(system, app).lfs
    for place, found in repository.trees(system, app, commit):
        small += found.size + found.files * _BLOCK  # the last block of each is not full
        count += found.files
        for name, size in lfs.pointed(system, place, found.pointers) if wanted else ():
            large += size
            if not lfs.kept(system, place, name):
                lacking[f"{place}/{name}"] = size + _BLOCK
    stored = Need(sum(lacking.values()), len(lacking))
    return Need(round(small * _OVERHEAD) + large, count), stored


def _added(system: System, app: str, commit: str) -> Need:
    """Measure what was added to the tree of a release; nothing where git no longer knows that."""
    if not commit:
        return Need(0, 0)
    try:
        tree, _ = _trees(system, app, commit)
    except ApplyError:
        return Need(0, 0)
    whole = Need(*files.usage(system.path(release.place(app, commit))))
    return Need(max(0, whole.size - tree.size), max(0, whole.files - tree.files))


def _environment(system: System, record: Record) -> Need:
    """Estimate a Python environment that must be made: as large as the one before it, if any."""
    app, running = record.app, release.place(record.app, record.commit)
    wanted = release.python(system, app, record.target) if system.live else ()
    if not wanted or (record.commit and wanted == release.python(system, app, record.commit)):
        return Need(0, 0)
    key = environment.key(system, running) if record.commit else ""
    size, count = files.usage(system.path(f"{environment.place(app)}/{key}")) if key else (0, 0)
    return Need(round((size or _FIRST_ENVIRONMENT) * _WHEELS), count)


def _make_room(system: System, record: Record, need: Need, doing: str) -> Record:
    """Prune in a fixed order until the need fits: old releases with their environments, caches."""

    def fits() -> bool:
        return need.fits(files.space(system.path(state.folder(record.app))))

    while record.good and not fits():
        # The oldest first. The release that runs is the one to go back to from here.
        record = state.save(system, replace(record, good=record.good[:-1]))
        release.prune(system, record.app, record.kept)
    for cache in (*_CACHES, confined.cache(record.app)):
        if not fits():
            system.remove_tree(cache)
    if not fits():
        raise Full(_refusal(system, record, need, doing), _HINT)
    return record


def _refusal(system: System, record: Record, need: Need, doing: str) -> str:
    """Say with figures what does not fit."""
    size, count = files.space(system.path(state.folder(record.app)))
    if need.size + _SPARE > size:
        wants, there, stay = (spell(n) for n in (need.size, size, _SPARE))
        figures = f"needs about {wants}; {there} are free, of which {stay} stay so"
    else:
        figures = (
            f"needs about {need.files} files; {count} more are possible (inodes), of which "
            f"{_SPARE_FILES} stay so"
        )
    return f"not enough free space in /var/lib/piot: {doing} {record.target[:12]} {figures}"


def spell(size: int) -> str:
    """Spell a number of bytes as `df -h` does, to the tenth."""
    for unit, step in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= step:
            return f"{size / step:.1f} {unit}"
    return f"{size} bytes"


# -- the reserve --------------------------------------------------------------------------------


def reserve(system: System) -> None:
    """Set the reserve aside while there is room for it."""
    if system.exists(RESERVE):
        return
    if files.space(system.path("/var/lib"))[0] < 4 * _RESERVED + _SPARE:
        return
    try:
        # Not zeros: some file systems keep none.
        system.write(RESERVE, random.randbytes(_RESERVED), 0o600)
    except OSError:
        system.remove(RESERVE)


def insist(system: System, write: Callable[[], T]) -> T:
    """Write; when the disk is full, give the reserve up and write again."""
    try:
        return write()
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not system.remove(RESERVE):
            raise
    return write()
