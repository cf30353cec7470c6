"""Files kept by Git LFS: fetched while a tree is checked out, by the program git-lfs.

It speaks to the repository's own server and no other, whatever .lfsconfig says; it finds user name
and token as git does, through git, and its key in the same place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from piot_firstboot import access, git, mirror
from piot_firstboot.errors import Lacking
from piot_firstboot.state import Source
from piot_firstboot.system import System
from piot_firstboot.tree import NOTHING, Filters

# What git has of a large file: Git LFS Specification, The Pointer. Extensions may stand between.
_POINTER = re.compile(
    r"^version https://git-lfs\.github\.com/spec/v1\n(?:ext-.*\n)*"
    r"oid sha256:([0-9a-f]{64})\nsize (\d{1,15})\n",
    re.MULTILINE,
)


@contextmanager
def filters(system: System, origin: Source, url: str = "") -> Iterator[Filters]:
    """Yield what git needs to fill in the files that a repository keeps by LFS, if that is wanted.

    Raises Lacking where git-lfs is not installed.
    """
    if not origin.lfs:
        yield NOTHING
        return
    if system.run(("git-lfs", "version")).code != 0:
        hint = "add to piot.conf: [update] packages = git-lfs; or run: sudo apt install git-lfs"
        raise Lacking("lfs is set, and git-lfs is not on this device", hint)
    with access.opened(system, origin, url) as way:
        settings = (
            f"lfs.url={server(way.url)}",
            "lfs.standalonetransferagent=",
            "lfs.concurrenttransfers=3",
            "filter.lfs.process=git-lfs filter-process",
            "filter.lfs.smudge=git-lfs smudge -- %f",
            "filter.lfs.required=true",
        )
        words = tuple(word for setting in settings for word in ("-c", setting))
        # Each is for one server; LFS asks the same one as git.
        yield Filters((*way.options, *words), dict(way.environment))


def prune(system: System, place: str, commit: str) -> None:
    """Keep, of the large files in a mirror, those of one commit: the next one may need them."""
    objects = f"{place}/lfs/objects"
    if not system.exists(objects):
        return
    listed = mirror.run(system, place, "lfs", "ls-files", "--long", commit)
    if listed.code != 0:
        return
    kept = {line.split()[0] for line in listed.out.splitlines() if line.strip()}
    for first in system.names(objects):
        for second in system.names(f"{objects}/{first}"):
            for name in system.names(f"{objects}/{first}/{second}"):
                if name not in kept:
                    system.remove(f"{objects}/{first}/{second}/{name}")


def pointed(system: System, place: str, objects: Iterable[str]) -> tuple[tuple[str, int], ...]:
    """Return hash and size of each large file that objects of a mirror point at, if they do."""
    asked = "".join(f"{name}\n" for name in objects).encode()
    if not asked:
        return ()
    result = mirror.run(system, place, "cat-file", "--batch", stdin=asked, timeout=300)
    return tuple((match[1], int(match[2])) for match in _POINTER.finditer(result.out))


def kept(system: System, place: str, name: str) -> bool:
    """Tell whether a mirror has a large file, by its hash."""
    return system.exists(f"{place}/lfs/objects/{name[:2]}/{name[2:4]}/{name}")


def server(url: str) -> str:
    """Return where LFS finds the files of a repository, as its own documentation says."""
    if git.kind(url) in ("http", "https"):
        base = url.rstrip("/")
        return f"{base}/info/lfs" if base.endswith(".git") else f"{base}.git/info/lfs"
    return f"file://{url}" if url.startswith("/") else url
