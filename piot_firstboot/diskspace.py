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

from piot_firstboot import confined, files, release, repository, state
from piot_firstboot.errors import ApplyError
from piot_firstboot.state import Record
from piot_firstboot.system import System

RESERVE = "/var/lib/piot/reserve"
_RESERVED = 1 << 20  # bytes
_SPARE = 16 << 20  # bytes that stay free for the apps and the journal
_SPARE_FILES = 200
_FIRST_FETCH = 4 << 20  # bytes; what a repository will be is not known before it is here
_BLOCK = 4096  # bytes; the last one of a file is not full
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


def before_fetch(system: System, record: Record) -> Record:
    """Make room for a fetch; return the record, with fewer releases where some had to go.

    Each adds one pack. All of a commit fits into what all packs take so far, most likely.
    Raises Full.
    """
    packs = f"{repository.place(record.app)}/objects/pack"
    size, _ = files.usage(system.path(packs))
    need = Need(size or _FIRST_FETCH, 10)
    return _make_room(system, record, need, "fetching")


def before_stage(system: System, record: Record) -> Record:
    """Make room for the release of the target; return the record as `before_fetch` does.

    The tree's size is known to git; what a build and packages add is taken to be what they added
    to the release before. Raises Full.
    """
    if system.exists(release.place(record.app, record.target)):
        return record
    tree = _tree(system, record.app, record.target)
    more = _added(system, record.app, record.commit)
    need = Need(tree.size + more.size, tree.files + more.files)
    return _make_room(system, record, need, "staging")


def _tree(system: System, app: str, commit: str) -> Need:
    """Ask git what the tree of a commit takes, each file in whole blocks."""
    found = repository.weigh(system, app, commit)
    return Need(round((found.size + found.files * _BLOCK) * _OVERHEAD), found.files)


def _added(system: System, app: str, commit: str) -> Need:
    """Measure what was added to the tree of a release; nothing where git no longer knows that."""
    if not commit:
        return Need(0, 0)
    try:
        tree = _tree(system, app, commit)
    except ApplyError:
        return Need(0, 0)
    whole = Need(*files.usage(system.path(release.place(app, commit))))
    return Need(max(0, whole.size - tree.size), max(0, whole.files - tree.files))


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
