"""The tree of a commit: what is in it, whether it stays within itself, and onto disk with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from piot_firstboot import mirror, symlinks
from piot_firstboot.errors import ApplyError, Unfit, Unreachable
from piot_firstboot.system import System

_PATIENCE = 1800.0  # seconds; LFS fetches meanwhile
_LINK, _MODULE = "120000", "160000"
_POINTER = range(100, 1024)  # bytes; Git LFS Specification, The Pointer


@dataclass(frozen=True, slots=True)
class Listing:
    """What a tree holds: files and their bytes, the largest of them, links, submodules.

    `modules` are the paths of submodules with their commits, `pointers` the objects that may stand
    for a large file of LFS.
    """

    files: int
    size: int
    largest: tuple[str, int]
    links: tuple[str, ...]
    modules: tuple[tuple[str, str], ...]
    pointers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Filters:
    """Options and environment for git while it writes files, such as those that LFS needs."""

    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


NOTHING = Filters()


def listing(system: System, place: str, commit: str) -> Listing:
    """List the tree of a commit; raises Unfit for names that no honest file has, or Damaged."""
    words = ("ls-tree", "-r", "-l", "-z", "--full-tree", commit)
    result = mirror.run(system, place, *words, timeout=300)
    if result.code != 0:
        raise mirror.Damaged(f"git ls-tree: {result.reason}")
    files = size = 0
    largest = ("", 0)
    linked, modules, pointers = [], [], []
    for row in result.out.split("\0")[:-1]:
        what, _, path = row.partition("\t")
        mode, _, name, length = what.split()
        _judge_name(path)
        if mode == _MODULE:
            modules.append((path, name))
            continue
        if mode == _LINK:
            linked.append(path)
        elif int(length) in _POINTER:
            pointers.append(name)
        files += 1
        size += int(length)
        largest = max(largest, (path, int(length)), key=lambda pair: pair[1])
    return Listing(files, size, largest, tuple(linked), tuple(modules), tuple(pointers))


def write(system: System, place: str, commit: str, where: str, filters: Filters = NOTHING) -> None:
    """Check a commit out into a directory; raises Damaged, Unfit or ApplyError."""
    found = listing(system, place, commit)
    # Not beside the tree: in a submodule's case that would be within its parent.
    scratch = f"{place}/checkout.index"
    index = {"GIT_INDEX_FILE": system.path(scratch)}
    system.mkdir(where, 0o755)
    # Left by a git that was cut off; there is no other, whoever works on an app holds its lock.
    system.remove(f"{where}.index.lock")
    try:
        # read-tree and checkout-index know no hooks; attributes find no filter configured.
        for step in (("read-tree", commit), ("checkout-index", "--all", "--quiet")):
            words = (*filters.options, f"--work-tree={system.path(where)}", *step)
            more = {**filters.environment, **index}
            result = mirror.run(system, place, *words, timeout=_PATIENCE, more=more)
            if result.code != 0:
                raise _refused(step[0], result.err)
    finally:
        system.remove(scratch)
    _judge_links(system, found, where)


def _refused(step: str, said: str) -> ApplyError:
    """Tell a tree that git will not write from a full disk and from a damaged mirror."""
    last = said.strip().splitlines()[-1] if said.strip() else "it failed"
    if "invalid path" in said:
        return Unfit(f"git {step}: {last}", "git itself takes no file of that name")
    if re.search(r"smudge filter|external filter|git-lfs|batch request", said):
        return Unreachable(f"Git LFS: {_lfs_words(said) or last}", "is the file on the server?")
    if re.search(r"No space left|Disk quota|Read-only file system|Input/output error", said):
        return ApplyError(f"git {step}: {last}")
    return mirror.Damaged(f"git {step}: {last}")


def _lfs_words(said: str) -> str:
    """Return the line in which git-lfs says why it has no file."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return next((line for line in lines if re.search(r"batch|[Ee]rror|not found", line)), "")


def _judge_name(path: str) -> None:
    """Refuse invisible characters: such a name would forge lines of logs and records."""
    odd = next((c for c in path if c < " " or c == "\x7f"), "")
    if odd:
        raise Unfit(f"{path!r}: a file's name has an invisible character in it", "rename it")


def _judge_links(system: System, found: Listing, where: str) -> None:
    """Refuse symbolic links that lead out of the tree; PioT itself would follow them as root."""
    targets = {}
    for path in found.links:
        there = system.entry(f"{where}/{path}")
        if there is None:
            raise Unfit(f"{path!r}: the name of a link is not UTF-8", "rename it")
        targets[path] = there.target
    for path in targets:
        if symlinks.escapes(targets, path):
            message = f"{path} is a link to {targets[path]}, out of the repository"
            raise Unfit(message, "link to something in it, or name the path in the app itself")
