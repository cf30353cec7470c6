"""The app's git repository: ask, fetch into its mirror, check out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from piot_firstboot import access, git, lfs, mirror, submodules, tree
from piot_firstboot.access import Access
from piot_firstboot.errors import Missing as Missing
from piot_firstboot.errors import Unreachable as Unreachable
from piot_firstboot.mirror import Say
from piot_firstboot.mirror import place as place
from piot_firstboot.refusal import reachable
from piot_firstboot.state import Source, folder, source
from piot_firstboot.system import System

_ASK_TIMEOUT = 60.0  # seconds
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


@dataclass(frozen=True, slots=True)
class Tip:
    """What a ref points at: the full ref name (empty for a plain commit) and the commit.

    `orders` are PioT's own tags, as `orders` reads them.
    """

    ref: str
    commit: str
    orders: str = ""


def resolve(system: System, origin: Source) -> Tip:
    """Ask the remote what the app's ref (branch, tag, commit, or its HEAD) points at.

    Raises Unreachable or Missing. Nothing is written but the key of a host seen for the first time.
    """
    url, ref = origin.repo, origin.ref
    if _COMMIT.fullmatch(ref):
        return Tip("", ref)
    with access.opened(system, origin) as way:
        if not ref:
            return _head(system, origin, way)
        # --heads and --tags ask the server for those refs only, not for every pull request.
        refs = _ask(system, origin, way, "--heads", "--tags", "--", url, *git.patterns(ref))
    # A branch goes before a tag of the same name; an annotated tag counts as what it names.
    tag = f"refs/tags/{ref}"
    for name in (f"{ref}^{{}}", ref, f"refs/heads/{ref}", f"{tag}^{{}}", tag):
        if name in refs:
            return Tip(name.removesuffix("^{}"), refs[name], git.orders(refs))
    raise Missing(f"{url} has no branch or tag {ref!r}", _no_such(ref))


def fetch(system: System, origin: Source, tip: Tip, say: Say) -> None:
    """Bring a commit into the app's mirror; a damaged mirror is made anew.

    Raises Unreachable, Missing, and Unfit for objects that git refuses to store.
    """
    with access.opened(system, origin) as way:
        result = mirror.bring(system, way, place(origin.name), tip.ref, tip.commit, say)
        reachable(system, origin, way, result)


def check_out(system: System, app: str, commit: str, where: str) -> None:
    """Write the tree of a commit into the directory `where`, which must be empty or absent.

    With what piot.conf asks for: submodules, and files of LFS. A mirror that turns out to be
    damaged is fetched anew. Raises Unfit for a tree that leads out of itself, Lacking without
    git-lfs, Unreachable, ApplyError when the device refuses.
    """
    origin = source(system, app)
    try:
        _write(system, origin, commit, where)
    except mirror.Damaged:
        system.remove_tree(where)
        heal(system, origin, commit)
        _write(system, origin, commit, where)


def _write(system: System, origin: Source, commit: str, where: str) -> None:
    """Write a commit's tree, and those of its submodules into it."""
    with lfs.filters(system, origin) as more:
        tree.write(system, place(origin.name), commit, where, more)
    lfs.prune(system, place(origin.name), commit)
    if origin.submodules:
        submodules.check_out(system, origin, commit, where)


def listing(system: System, app: str, commit: str) -> str:
    """List every file of a commit with its mode and object, as `git ls-tree -r -z` does."""
    words = ("ls-tree", "-r", "-z", "--full-tree", commit)
    result = mirror.run(system, place(app), *words, timeout=600)
    if result.code != 0:
        raise mirror.Damaged(f"git ls-tree: {result.reason}")
    return result.out


def heal(system: System, origin: Source, commit: str) -> None:
    """Fetch a commit into new mirrors, an old one being damaged; raises what `fetch` does."""
    system.remove_tree(place(origin.name))
    system.remove_tree(f"{folder(origin.name)}/modules")
    tip = resolve(system, origin)
    if tip.commit != commit:
        tip = Tip("", commit)
    fetch(system, origin, tip, lambda _: None)


def describe(system: System, app: str, commit: str) -> str:
    """Return the subject line of a commit, or nothing when the mirror lacks it."""
    result = mirror.run(system, place(app), "log", "-1", "--format=%s", commit)
    return result.out.strip() if result.code == 0 else ""


def text(system: System, app: str, commit: str, path: str) -> bytes | None:
    """Return a file of a commit without checking it out; None where there is none."""
    result = mirror.run(system, place(app), "cat-file", "blob", f"{commit}:{path}")
    return result.out.encode() if result.code == 0 else None


def gather(system: System, app: str, commit: str, room: Callable[[str], None]) -> None:
    """Fetch the submodules of a commit that are not here, if they are wanted.

    `room` is told each mirror that is about to grow. Raises what `check_out` does.
    """
    origin = source(system, app)
    if not origin.submodules:
        return
    try:
        submodules.gather(system, origin, commit, room)
    except mirror.Damaged:
        heal(system, origin, commit)
        submodules.gather(system, origin, commit, room)


def trees(system: System, app: str, commit: str) -> Iterator[tuple[str, tree.Listing]]:
    """Yield the mirror and the tree of a commit, and those of its submodules if they are wanted.

    Raises Damaged for one that is not here.
    """
    origin, place = source(system, app), mirror.place(app)
    yield place, tree.listing(system, place, commit)
    if origin.submodules:
        for own, which in submodules.mirrors(system, origin, commit):
            yield own, tree.listing(system, own, which)


def weigh(system: System, app: str, commit: str) -> tree.Listing:
    """Return what a commit's tree holds and how large it is, before it is checked out."""
    return tree.listing(system, place(app), commit)


# -- small parts --------------------------------------------------------------------------------


def _ask(system: System, origin: Source, way: Access, *words: str) -> dict[str, str]:
    """List refs of the remote; `ref: NAME` stands for what a symbolic one points at."""
    argv = ("git", *way.options, "ls-remote", *words)
    result = system.run(argv, env=way.environment, timeout=_ASK_TIMEOUT)
    reachable(system, origin, way, result)
    rows = (line.partition("\t") for line in result.out.splitlines())
    refs: dict[str, str] = {}
    for value, _, name in rows:
        refs.setdefault(f"@{name}" if value.startswith("ref: ") else name, value)
    return refs


def _head(system: System, origin: Source, way: Access) -> Tip:
    """Find the remote's default branch; a bundle has none, but may have one branch only."""
    refs = _ask(system, origin, way, "--symref", "--", origin.repo)
    orders = git.orders(refs)
    if "@HEAD" in refs and "HEAD" in refs:
        return Tip(refs["@HEAD"].removeprefix("ref: "), refs["HEAD"], orders)
    heads = [name for name in refs if name.startswith("refs/heads/")]
    if "HEAD" in refs:
        return Tip("HEAD", refs["HEAD"], orders)
    if len(heads) == 1:
        return Tip(heads[0], refs[heads[0]], orders)
    hint = "push a commit, or name a branch: ref = main"
    raise Missing(f"{origin.repo} has no default branch", hint)


def _no_such(ref: str) -> str:
    """Say what to do about a ref that is not there."""
    if re.fullmatch(r"[0-9a-f]{7,39}", ref):
        return "a commit is named by all of its 40 digits (64 by SHA-256)"
    return "look at `ref` in piot.conf"
