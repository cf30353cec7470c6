"""The app's git repository: ask, fetch into a bare mirror, check out.

The mirror holds what was fetched by its commit, and nothing
else of the remote: no remote name, no address, no credential.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from piot_firstboot.errors import ApplyError
from piot_firstboot.git import CONTAINED, ENVIRONMENT
from piot_firstboot.state import folder
from piot_firstboot.system import Result, System

# A default fetch of a few commits writes loose objects and syncs none of them: empty objects
# after a power cut. One pack, synced, instead. git-config(1): fetch.unpackLimit, core.fsync.
_DURABLE = ("-c", "fetch.unpackLimit=1", "-c", "core.fsync=all", "-c", "core.fsyncMethod=fsync")
_ASK_TIMEOUT = 60.0  # seconds
_FETCH_TIMEOUT = 1800.0
_MOST_PACKS = 20  # each deploy adds one; past this the mirror is fetched anew, with one commit
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


class Unreachable(ApplyError):
    """The remote gave no usable answer; what to do about it is in the hint."""

    later = True


class Missing(ApplyError):
    """The remote answers, but has no such ref."""


@dataclass(frozen=True, slots=True)
class Tip:
    """What a ref points at: the full ref name (empty for a plain commit) and the commit."""

    ref: str
    commit: str


def resolve(system: System, url: str, ref: str) -> Tip:
    """Ask the remote what `ref` (branch, tag, commit, or "" for its HEAD) points at.

    Raises Unreachable or Missing. Nothing is written.
    """
    if _COMMIT.fullmatch(ref):
        return Tip("", ref)
    if not ref:
        result = _git(system, "ls-remote", "--symref", "--", url, "HEAD", timeout=_ASK_TIMEOUT)
        reachable(result, url)
        match = re.search(r"^ref: (\S+)\tHEAD\n([0-9a-f]+)\tHEAD$", result.out, re.MULTILINE)
        if match:
            return Tip(match[1], match[2])
        raise Missing(f"{url} has no default branch", "push a commit, or name a branch: ref = main")
    # --heads and --tags ask the server for those refs only, not for every pull request.
    asked = ("ls-remote", "--heads", "--tags", "--", url, ref, f"{ref}^{{}}")
    result = _git(system, *asked, timeout=_ASK_TIMEOUT)
    reachable(result, url)
    rows = (line.partition("\t") for line in result.out.splitlines())
    refs = {name: commit for commit, _, name in rows}
    # A branch goes before a tag of the same name; an annotated tag counts as what it names.
    for name in (ref, f"refs/heads/{ref}", f"refs/tags/{ref}^{{}}", f"refs/tags/{ref}"):
        if name in refs:
            return Tip(name.removesuffix("^{}"), refs[name])
    raise Missing(f"{url} has no branch or tag {ref!r}", "look at `ref` in piot.conf")


def fetch(system: System, app: str, url: str, tip: Tip, say: Callable[[str], None]) -> None:
    """Bring a commit into the app's mirror; a damaged mirror is made anew.

    Raises Unreachable.
    """
    mirror = f"{folder(app)}/mirror.git"
    # Asked for by name where there is one: not every server gives out bare commits.
    wanted = tip.ref or tip.commit
    packs = [name for name in system.names(f"{mirror}/objects/pack") if name.endswith(".pack")]
    result = None
    if system.exists(f"{mirror}/HEAD") and len(packs) <= _MOST_PACKS:
        result = _fetch(system, mirror, url, wanted, say)
    if result is None or (result.code != 0 and not _sound(system, mirror)):
        # Beside the old one, which is replaced only by one that works.
        fresh = f"{mirror}.new"
        _make_mirror(system, fresh)
        result = _fetch(system, fresh, url, wanted, say)
        if result.code == 0:
            system.remove_tree(mirror)
            system.rename(fresh, mirror)
    reachable(result, url)


def verify(system: System, app: str, commit: str) -> None:
    """Make sure that the mirror holds the commit that was asked for, with its tree.

    Raises Unreachable when the ref moved between the question and the fetch.
    """
    mirror = system.path(f"{folder(app)}/mirror.git")
    result = _git(system, f"--git-dir={mirror}", "cat-file", "-e", f"{commit}^{{tree}}")
    if result.code != 0:
        raise Unreachable(f"{commit[:12]} went away while it was fetched", "it is tried again")


def check_out(system: System, app: str, commit: str, where: str) -> None:
    """Write the tree of a commit into the directory `where`, which must be empty or absent."""
    mirror = system.path(f"{folder(app)}/mirror.git")
    index = {"GIT_INDEX_FILE": f"{system.path(where)}.index"}
    system.mkdir(where, 0o755)
    at = (f"--git-dir={mirror}", f"--work-tree={system.path(where)}")
    try:
        # read-tree and checkout-index know no hooks; attributes find no filter configured.
        for step in (("read-tree", commit), ("checkout-index", "--all", "--quiet")):
            result = _git(system, *at, *step, timeout=600, more=index)
            if result.code != 0:
                raise ApplyError(f"git {step[0]}: {result.reason}")
    finally:
        system.remove(f"{where}.index")


def listing(system: System, app: str, commit: str) -> str:
    """List every file of a commit with its mode and object, as `git ls-tree -r -z` does."""
    mirror = system.path(f"{folder(app)}/mirror.git")
    args = (f"--git-dir={mirror}", "ls-tree", "-r", "-z", "--full-tree", commit)
    result = _git(system, *args, timeout=600)
    if result.code != 0:
        raise ApplyError(f"git ls-tree: {result.reason}")
    return result.out


def describe(system: System, app: str, commit: str) -> str:
    """Return the subject line of a commit, or nothing when the mirror lacks it."""
    mirror = system.path(f"{folder(app)}/mirror.git")
    result = _git(system, f"--git-dir={mirror}", "log", "-1", "--format=%s", commit)
    return result.out.strip() if result.code == 0 else ""


def _git(
    system: System, *args: str, timeout: float = 60.0, more: dict[str, str] | None = None
) -> Result:
    """Run git with the contained environment."""
    env = {**ENVIRONMENT, **(more or {})}
    return system.run(("git", *CONTAINED, *args), env=env, timeout=timeout)


def _make_mirror(system: System, mirror: str) -> None:
    """Make an empty bare repository, in place of what an interrupted run left there."""
    system.remove_tree(mirror)
    system.mkdir(mirror, 0o700)
    result = _git(system, "init", "--bare", "--quiet", "--template=", system.path(mirror))
    if result.code != 0:
        raise ApplyError(f"git init: {result.reason}")


def _fetch(
    system: System, mirror: str, url: str, wanted: str, say: Callable[[str], None]
) -> Result:
    """Fetch one ref, shallow, reporting git's own progress."""
    shown = ""

    def on_line(line: str) -> None:
        nonlocal shown
        # "Receiving objects:  43% (430/1000), 1.20 MiB | 600 KiB/s"
        if (match := re.search(r"(\d+)%", line)) and match[1] != shown:
            shown = match[1]
            say(f"fetching {shown} %")

    # Only the pack is kept: no FETCH_HEAD, no refs to go stale. gc is off, so nothing is lost.
    args = ("fetch", "--progress", "--depth=1", "--no-tags", "--no-write-fetch-head", "--force")
    at = f"--git-dir={system.path(mirror)}"
    return system.run(
        ("git", *CONTAINED, *_DURABLE, at, *args, "--", url, f"{wanted}:refs/piot/tip"),
        env=ENVIRONMENT,
        timeout=_FETCH_TIMEOUT,
        on_line=on_line,
    )


def _sound(system: System, mirror: str) -> bool:
    """Tell whether git can read what the mirror claims to hold."""
    at = f"--git-dir={system.path(mirror)}"
    return _git(system, at, "fsck", "--connectivity-only", timeout=600).code == 0


# What git says → what the person can do. Matched in order.
_HINTS = (
    (r"Could not resolve host|failure in name resolution", "is there a network, and DNS?"),
    (r"Host key verification failed", "the server's key is not known: add it to known_hosts"),
    (r"Permission denied \(publickey", "the server refuses the SSH key: add it as a deploy key"),
    (r"Authentication failed|could not read Username|error: 40[13]", "the repository is private"),
    (r"not found|does not exist|does not appear to be a git repository", "look at `repo`"),
    (r"certificate", "is the clock right? TLS fails with a wrong date"),
)


def reachable(result: Result, url: str) -> None:
    """Raise Unreachable with git's own words and a hint when git failed."""
    if result.code == 0:
        return
    lines = [line for line in result.err.splitlines() if line.startswith(("fatal:", "error:"))]
    reason = (lines[0] if lines else result.reason).removeprefix("fatal: ")
    hint = next((hint for sign, hint in _HINTS if re.search(sign, result.err)), "")
    raise Unreachable(f"{url}: {reason}", hint)
