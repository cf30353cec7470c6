"""What a repository says of its submodules, judged: .gitmodules is as foreign as its author."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from piot_firstboot import git, remote
from piot_firstboot.errors import Unfit
from piot_firstboot.values import BadValue

FILE = ".gitmodules"
# Where submodules may come from, by how the app's own repository is reached: never by a way that is
# easier to forge, and from the device's own files only if it comes from there itself.
_WAYS = {
    "https": ("https", "ssh"),
    "ssh": ("ssh", "https"),
    "http": ("http", "https", "ssh"),
    "git": ("git", "http", "https", "ssh"),
    "file": ("file", "git", "http", "https", "ssh"),
}


@dataclass(frozen=True, slots=True)
class Module:
    """A submodule of one commit: where its tree goes, its own commit, and its repository."""

    path: str
    commit: str
    url: str


def modules(settings: str, links: Iterable[tuple[str, str]], parent: str) -> tuple[Module, ...]:
    """Pair each submodule of a tree with its address; raises Unfit for a wrong or hostile one.

    `settings` is what `git config --list --null` says of .gitmodules, `links` the submodules'
    paths and commits as the tree has them, `parent` the address of the repository itself.
    """
    found: dict[str, dict[str, str]] = {}
    for entry in settings.split("\0"):
        key, _, value = entry.partition("\n")
        match = re.fullmatch(r"submodule\.(.*)\.(path|url)", key, re.DOTALL)
        if match:
            found.setdefault(match[1], {})[match[2]] = value
    urls = {values.get("path", ""): values.get("url", "") for values in found.values()}
    return tuple(Module(path, commit, _url(path, urls, parent)) for path, commit in links)


def _url(path: str, urls: dict[str, str], parent: str) -> str:
    """Return the address of a submodule."""
    given = urls.get(path, "")
    if not given:
        raise Unfit(f"{FILE} does not say where the submodule {path} comes from", "git submodule")
    try:
        url = remote.repo(_absolute(given, parent))
    except BadValue as error:
        hint = error.hint or "give an address that the device can reach"
        raise Unfit(f"{FILE}: the address of {path} is refused: {error}", hint) from None
    if git.kind(url) not in _WAYS[git.kind(parent)]:
        message = f"{FILE}: {path} comes from {url}, and the app itself by {git.kind(parent)}"
        raise Unfit(message, "a submodule must be reached as safely as its repository")
    return url


def _absolute(given: str, parent: str) -> str:
    """Resolve `./x` and `../x` against the repository's own address, as git-submodule(1) does."""
    if not given.startswith(("./", "../")):
        return given
    # Host and path, of a URL, of git@host:path, of a path alone.
    match = re.fullmatch(r"(\w+://[^/]*/|[^/:]*:(?!//)|/)(.*)", parent)
    start, path = match.groups() if match else ("", parent)
    parts, rest = [part for part in path.split("/") if part], given
    while rest.startswith(("./", "../")):
        if rest.startswith("../"):
            if not parts:
                raise BadValue("it leads above the server", "correct the number of `../`")
            parts.pop()
        rest = rest.partition("/")[2]
    return start + "/".join([*parts, rest])
