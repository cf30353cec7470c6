"""Bare repositories that hold what was fetched, by its commit, and nothing else of the remote.

No remote name, no address, no credential, no refs to go stale. A mirror is a cache: whatever is
wrong with it, a fresh one is fetched beside it and takes its place.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from piot_firstboot import gitwords
from piot_firstboot.access import Access
from piot_firstboot.errors import ApplyError, Missing
from piot_firstboot.git import CONTAINED, ENVIRONMENT
from piot_firstboot.state import folder
from piot_firstboot.system import Result, System

Say = Callable[[str], None]

# A default fetch of a few commits writes loose objects and syncs none of them: empty objects
# after a power cut. One pack, synced, instead. git-config(1): fetch.unpackLimit, core.fsync.
_DURABLE = ("-c", "fetch.unpackLimit=1", "-c", "core.fsync=all", "-c", "core.fsyncMethod=fsync")
# Objects that git itself would not make are refused before they are stored. These are the slips of
# old programs, which many honest repositories have in their history: git-fsck(1).
_SLIPS = (
    "badDate badDateOverflow badEmail badName badTimezone missingEmail missingNameBeforeEmail "
    "missingSpaceBeforeDate missingSpaceBeforeEmail multipleAuthors zeroPaddedDate "
    "zeroPaddedFilemode"
).split()
_CHECKED = (
    "-c",
    "fetch.fsckObjects=true",
    *(word for slip in _SLIPS for word in ("-c", f"fetch.fsck.{slip}=ignore")),
)
_FETCH_TIMEOUT = 1800.0  # seconds
_MOST_PACKS = 20  # each deploy adds one; past this the mirror is fetched anew, with one commit
# How far back the branches are searched for a commit that the server gives out by no other way.
_DEPTHS = (1, 100, 2000)
_SPARED = 32 << 20  # bytes of the file system that a fetch leaves free
_LEAST = 1 << 20
_TIP = "refs/piot/tip"
_SHA256 = "sha256"  # git-init(1), --object-format


class Damaged(ApplyError):
    """A mirror cannot give what it should hold."""


def place(app: str) -> str:
    """Return the directory of an app's own mirror."""
    return f"{folder(app)}/mirror.git"


def run(
    system: System,
    mirror: str,
    *args: str,
    timeout: float = 60.0,
    more: dict[str, str] | None = None,
    stdin: bytes = b"",
) -> Result:
    """Run git in a mirror, without any network."""
    words = ("git", *CONTAINED, f"--git-dir={system.path(mirror)}", *args)
    return system.run(words, env={**ENVIRONMENT, **(more or {})}, timeout=timeout, stdin=stdin)


def holds(system: System, mirror: str, commit: str) -> bool:
    """Tell whether a mirror has a commit and its tree."""
    return run(system, mirror, "cat-file", "-e", f"{commit}^{{tree}}").code == 0


def bring(system: System, way: Access, mirror: str, ref: str, commit: str, say: Say) -> Result:
    """Fetch one ref (or, without one, the commit) into a mirror and return how that ended.

    Raises Missing for a commit that the server has on no branch.
    """
    sweep(system, mirror)
    system.remove_tree(_fresh(mirror))  # left by a run that was stopped as it swapped the two
    # Asked for by name where there is one: not every server gives out bare commits.
    wanted = ref or commit
    result = None
    usable = system.exists(f"{mirror}/HEAD")
    if usable and _names(system, mirror, commit) and _packs(system, mirror) <= _MOST_PACKS:
        # Of what is there, git looks at no more than it must: a run that was stopped may have come
        # this far with a mirror that is damaged otherwise.
        again = holds(system, mirror, commit)
        result = fetch(system, way, mirror, (f"{wanted}:{_TIP}",), say)
        if result.code != 0 or _complains(result) or again:
            usable = sound(system, mirror) and not _complains(result)
    if result is None or not usable:
        result = _anew(system, way, mirror, wanted, commit, say)
        if result.code != 0 and usable:
            # A bundle with the newest commits only needs the older ones that lie here.
            result = fetch(system, way, mirror, (f"{wanted}:{_TIP}",), say)
    if result.code != 0 and not ref and gitwords.withheld(result.err):
        return _search(system, way, mirror, commit, say)
    return result


def fetch(
    system: System,
    way: Access,
    mirror: str,
    refspecs: tuple[str, ...],
    say: Say,
    depth: int = 1,
    filtered: str = "",
) -> Result:
    """Fetch refs, shallow, reporting git's own progress; a pack that does not fit is cut off."""
    shown = ""

    def on_line(line: str) -> None:
        nonlocal shown
        # "Receiving objects:  43% (430/1000), 1.20 MiB | 600 KiB/s"
        if (match := re.search(r"(\d+)%", line)) and match[1] != shown:
            shown = match[1]
            say(f"fetching {shown} %")

    # Only the pack is kept: no FETCH_HEAD, no refs to go stale. gc is off, so nothing is lost.
    at = f"--git-dir={system.path(mirror)}"
    most = _room(system.path(mirror))
    words = ["fetch", "--progress", f"--depth={depth}", "--no-tags", "--no-write-fetch-head"]
    words += ["--force", "--no-recurse-submodules"]
    words += [f"--filter={filtered}"] if filtered else []
    git = ("prlimit", f"--fsize={most}", "git", *way.options, *_DURABLE, *_CHECKED, at)
    result = system.run(
        (*git, *words, "--", way.url, *refspecs),
        env=way.environment,
        timeout=_FETCH_TIMEOUT,
        on_line=on_line,
    )
    if result.code != 0 and _largest(system.path(mirror)) >= most:
        # git knows only that the program which wrote the pack came to its end.
        sweep(system, mirror)
        full = f"fatal: what comes is larger than the {most >> 20} MiB that are free on the device"
        return Result(result.code, "", f"{full}\n{result.err}")
    return result


def make(system: System, mirror: str, commit: str) -> None:
    """Make an empty bare repository, in place of what an interrupted run left there.

    It names objects as the commit is named that is to be fetched: by SHA-1, or by SHA-256.
    """
    system.remove_tree(mirror)
    system.mkdir(mirror, 0o700)
    kind = f"--object-format={_SHA256 if len(commit) == 64 else 'sha1'}"
    result = run(system, mirror, "init", "--bare", "--quiet", "--template=", kind)
    if result.code != 0:
        raise ApplyError(f"git init: {result.reason}")


def sweep(system: System, mirror: str) -> None:
    """Remove what a git that was killed left: its lock files, and half of a pack.

    Whoever calls this holds the lock of the app, so no other git is at work here.
    """
    for part in ("", "/refs", "/refs/piot", "/objects", "/objects/pack", "/objects/info"):
        for name in system.names(f"{mirror}{part}"):
            if name.endswith(".lock") or name.startswith("tmp_"):
                system.remove(f"{mirror}{part}/{name}")


def sound(system: System, mirror: str) -> bool:
    """Tell whether git can read what the mirror claims to hold."""
    result = run(system, mirror, "fsck", "--connectivity-only", timeout=600)
    return result.code == 0 and not _complains(result)  # of a pack that nothing refers to any more


def _complains(result: Result) -> bool:
    """Tell whether git succeeded only because it could do without something that is damaged."""
    said = any(line.startswith("error:") for line in result.err.splitlines())
    return result.code == 0 and said


def _fresh(mirror: str) -> str:
    """Return where a new mirror is fetched, beside the one whose place it takes."""
    return f"{mirror}.new"


def _names(system: System, mirror: str, commit: str) -> bool:
    """Tell whether a mirror names objects as this commit is named."""
    said = system.read(f"{mirror}/config") or b""
    return (_SHA256.encode() in said) == (len(commit) == 64)


def _packs(system: System, mirror: str) -> int:
    """Count the packs of a mirror."""
    return sum(name.endswith(".pack") for name in system.names(f"{mirror}/objects/pack"))


def _anew(system: System, way: Access, mirror: str, wanted: str, commit: str, say: Say) -> Result:
    """Fetch into a new mirror beside the old one, which is replaced only by one that works."""
    fresh = _fresh(mirror)
    make(system, fresh, commit)
    result = fetch(system, way, fresh, (f"{wanted}:{_TIP}",), say)
    if result.code == 0 or not system.exists(f"{mirror}/HEAD"):
        system.remove_tree(mirror)
        system.remove(mirror)
        system.rename(fresh, mirror)
    else:
        system.remove_tree(fresh)
    return result


def _search(system: System, way: Access, mirror: str, commit: str, say: Say) -> Result:
    """Look for a commit on the branches, further and further back; raises Missing."""
    heads = "refs/piot/heads"
    try:
        for depth in _DEPTHS:
            result = fetch(system, way, mirror, (f"+refs/heads/*:{heads}/*",), say, depth)
            if result.code != 0:
                return result
            if holds(system, mirror, commit):
                return run(system, mirror, "update-ref", _TIP, commit)
    finally:
        system.remove_tree(f"{mirror}/{heads}")
    message = f"{way.url} does not give out {commit[:12]}, and no branch has it in its last "
    raise Missing(f"{message}{_DEPTHS[-1]} commits", "name a branch or a tag: ref = …")


def _room(path: str) -> int:
    """Return how large a file may become on the file system that holds a path."""
    disk = os.statvfs(path)
    return max(disk.f_bavail * disk.f_frsize - _SPARED, _LEAST)


def _largest(path: str) -> int:
    """Return the size of the largest file among the packs of a mirror."""
    try:
        return max(
            (entry.stat().st_size for entry in os.scandir(f"{path}/objects/pack")), default=0
        )
    except OSError:
        return 0  # the mirror is damaged, and is made anew
