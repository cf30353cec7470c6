"""Which files of a commit a service watches, and whether they are the same in two commits."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b

_WILD = "*?["
_SUBMODULE = "160000"  # the mode of an entry that is a commit of another repository, git(7)


@dataclass(frozen=True, slots=True)
class Blob:
    """One file of a commit: its path, and mode and object as git lists them."""

    path: str
    mode: str
    object: str


def listing(text: str) -> tuple[Blob, ...]:
    """Read what `git ls-tree -r -z` prints: mode, type, object, a tab, the path."""
    found = []
    for row in text.split("\0"):
        if row:
            facts, _, path = row.partition("\t")
            mode, _, name = facts.split(" ")[:3]
            found.append(Blob(path, mode, name))
    return tuple(found)


def digest(blobs: Iterable[Blob], globs: Iterable[str]) -> str:
    """Tell one state of the files that match any of the globs from another; no globs, all files."""
    patterns = tuple(globs)
    made = blake2b(digest_size=16)
    for blob in sorted(blobs, key=lambda blob: blob.path):
        if not patterns or any(_concerns(pattern, blob) for pattern in patterns):
            row = f"{blob.mode} {blob.object} {blob.path}\0"
            made.update(row.encode("utf-8", "surrogateescape"))
    return made.hexdigest()


def _concerns(pattern: str, blob: Blob) -> bool:
    """Tell whether a glob is about an entry."""
    if matches(pattern, blob.path):
        return True
    if blob.mode != _SUBMODULE:
        return False
    # What is in a submodule is not listed: it counts where the glob may reach into it.
    fixed = re.split(f"[{re.escape(_WILD)}]", _plain(pattern))[0]
    return fixed.startswith(f"{blob.path}/") or f"{blob.path}/".startswith(fixed)


def matches(pattern: str, path: str) -> bool:
    """Match a path of the release: `*` and `?` within a name, `**` across directories.

    A glob that names a directory stands for all that is in it.
    """
    return bool(_compiled(_plain(pattern)).fullmatch(path))


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Translate a glob once for all files."""
    try:
        return re.compile(f"{_regex(pattern)}(/.*)?", re.DOTALL)
    except re.error:  # a range such as [z-a], which no name can be in
        return re.compile(re.escape(pattern))


def _plain(pattern: str) -> str:
    """Take off what means nothing: `./` in front, `/` at the end."""
    return pattern.removeprefix("./").strip("/")


def _regex(pattern: str) -> str:
    """Translate a glob."""
    out, at = "", 0
    while at < len(pattern):
        rest = pattern[at:]
        if rest.startswith("**/"):
            out, at = out + "(?:.*/)?", at + 3
        elif rest.startswith("**"):
            out, at = out + ".*", at + 2
        elif rest[0] == "*":
            out, at = out + "[^/]*", at + 1
        elif rest[0] == "?":
            out, at = out + "[^/]", at + 1
        elif (group := re.match(r"\[([!^]?)(\]?[^\]]*)\]", rest)) and group[2]:
            inside = re.sub(r"([\\\[&~|])", r"\\\1", group[2])
            out, at = out + f"(?!/)[{'^' if group[1] else ''}{inside}]", at + len(group[0])
        else:
            out, at = out + re.escape(rest[0]), at + 1
    return out
