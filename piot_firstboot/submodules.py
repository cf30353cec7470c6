"""Fetch the submodules of a commit and check them out, by the rules of the app's own repository."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

from piot_firstboot import access, gitmodules, lfs, mirror, tree
from piot_firstboot.errors import Unfit, Unreachable
from piot_firstboot.gitmodules import Module
from piot_firstboot.notify import progress
from piot_firstboot.refusal import reachable
from piot_firstboot.state import Source, folder
from piot_firstboot.system import System

_DEEPEST = 5  # submodules within submodules
_MOST = 100

Bring = Callable[[Module, str], None]  # fetches a submodule into its mirror, if it is not there


def gather(system: System, origin: Source, commit: str, room: Callable[[str], None]) -> None:
    """Fetch the submodules of a commit, and those within them, into their mirrors.

    Each mirror that is about to be filled is told to `room` first. Raises what `check_out` does.
    """

    def bring(module: Module, own: str) -> None:
        if not mirror.holds(system, own, module.commit):
            room(own)
            _bring(system, origin, module, own)

    for _ in _every(system, origin, commit, "", bring):
        pass


def mirrors(system: System, origin: Source, commit: str) -> Iterator[tuple[str, str]]:
    """Yield the mirror and the commit of each submodule that was fetched; nothing is fetched.

    Raises Damaged where one is not there.
    """
    for module, _ in _every(system, origin, commit, "", lambda module, own: None):
        yield _place(origin.name, module.url), module.commit


def check_out(system: System, origin: Source, commit: str, where: str) -> None:
    """Fill the directories of all submodules of a commit that was checked out into `where`.

    Each repository has a mirror of its own; those that no longer belong to the app are removed.
    Raises Unfit, Unreachable and what reading a mirror raises.
    """
    used = set()

    def bring(module: Module, own: str) -> None:
        used.add(_name(module.url))
        _bring(system, origin, module, own)

    for module, target in _every(system, origin, commit, where, bring):
        with lfs.filters(system, origin, module.url) as more:
            tree.write(system, _place(origin.name, module.url), module.commit, target, more)
        lfs.prune(system, _place(origin.name, module.url), module.commit)
    for name in system.names(_folder(origin.name)):
        if name.partition(".")[0] not in used:
            system.remove_tree(f"{_folder(origin.name)}/{name}")


def _every(
    system: System, origin: Source, commit: str, where: str, bring: Bring
) -> Iterator[tuple[Module, str]]:
    """Yield all submodules of a commit, and where each goes; raises Unfit for too many."""
    seen = set()
    place, url = mirror.place(origin.name), origin.repo
    for module, target in _walk(system, origin.name, place, commit, url, where, 0, bring):
        seen.add(_name(module.url))
        if len(seen) > _MOST:
            raise Unfit(f"there are more than {_MOST} submodules", "vendor what the device needs")
        yield module, target


def _walk(
    system: System,
    app: str,
    place: str,
    commit: str,
    url: str,
    where: str,
    depth: int,
    bring: Bring,
) -> Iterator[tuple[Module, str]]:
    """Yield the submodules of a commit, and where each goes; then what is within them."""
    links = tree.listing(system, place, commit).modules
    if not links:
        return
    if depth == _DEEPEST:
        raise Unfit(f"submodules within submodules, more than {_DEEPEST} deep", "flatten them")
    words = ("config", "--blob", f"{commit}:{gitmodules.FILE}", "--list", "--null")
    settings = mirror.run(system, place, *words)
    for module in gitmodules.modules(settings.out, links, url):
        own, target = _place(app, module.url), f"{where}/{module.path}"
        bring(module, own)
        yield module, target
        yield from _walk(system, app, own, module.commit, module.url, target, depth + 1, bring)


def _bring(system: System, origin: Source, module: Module, own: str) -> None:
    """Fetch the commit of a submodule into its mirror, if it is not there."""
    if mirror.holds(system, own, module.commit):
        return
    progress(f"fetching {module.path} from {module.url}")
    with access.opened(system, origin, module.url) as way:
        result = mirror.bring(system, way, own, "", module.commit, progress)
        reachable(system, origin, way, result)
    if not mirror.holds(system, own, module.commit):
        raise Unreachable(f"{module.url} has no commit {module.commit[:12]}", "push it there")


def _folder(app: str) -> str:
    """Return the directory of the mirrors of an app's submodules."""
    return f"{folder(app)}/modules"


def _place(app: str, url: str) -> str:
    """Return the mirror of a submodule's repository."""
    return f"{_folder(app)}/{_name(url)}.git"


def _name(url: str) -> str:
    """Name a repository by its address."""
    return hashlib.sha256(url.encode()).hexdigest()[:16]
