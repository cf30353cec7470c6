"""Is this the commit that was asked for, by one who may ask, and does it go forward?"""

from __future__ import annotations

import re

from piot_firstboot import access, mirror, repository
from piot_firstboot.errors import Lacking, Unfit, Unreachable
from piot_firstboot.mirror import Say
from piot_firstboot.refusal import reachable
from piot_firstboot.repository import Tip
from piot_firstboot.sshkey import bare
from piot_firstboot.state import Source, folder
from piot_firstboot.system import System

# How many commits back the running one is looked for, further each time.
_DEPTHS = (32, 256, 2048, 16384)
_ANYONE = "signer"  # git asks who signed; every listed key is the same one
# Keys of other kinds would be looked up among root's own: they do not count.
_SSH_ONLY = (
    *("-c", "gpg.program=false", "-c", "gpg.openpgp.program=false", "-c", "gpg.x509.program=false"),
    *("-c", "gpg.ssh.program=ssh-keygen", "-c", "gpg.minTrustLevel=fully"),
)


def verify(system: System, origin: Source, tip: Tip, running: str, say: Say) -> None:
    """Make sure that the mirror holds the commit that was asked for, and that it may run.

    `running` is the commit that is deployed, "" if none is. Raises Unfit for a commit that is not
    signed or does not follow, Lacking without ssh-keygen, Unreachable when the ref moved between
    the question and the fetch.
    """
    place = mirror.place(origin.name)
    if not mirror.holds(system, place, tip.commit):
        gone = f"{tip.commit[:12]} went away while it was fetched"
        raise Unreachable(gone, "it is tried again")
    if origin.signers:
        _judge_signature(system, place, origin.signers, tip.commit)
    if origin.fast_forward_only and running not in ("", tip.commit):
        _judge_descent(system, origin, tip, running, say)
    # The names in it are judged before anything is written.
    try:
        repository.weigh(system, origin.name, tip.commit)
    except mirror.Damaged:
        repository.heal(system, origin, tip.commit)
        repository.weigh(system, origin.name, tip.commit)


def _judge_signature(system: System, place: str, signers: tuple[str, ...], commit: str) -> None:
    """Hold a commit against the keys that may sign."""
    allowed = "".join(f'{_ANYONE} namespaces="git" {bare(line)}\n' for line in signers)
    with system.in_memory(allowed.encode()) as path:
        words = (*_SSH_ONLY, "-c", f"gpg.ssh.allowedSignersFile={path}")
        result = mirror.run(system, place, *words, "verify-commit", commit)
    if result.code == 0:
        return
    said = f"{result.out}\n{result.err}"
    if "cannot run" in said:
        raise Lacking(
            "ssh-keygen, which checks signatures, is missing", "apt install openssh-client"
        )
    key = re.search(r"with (\S+) key (SHA256:\S+)", said)
    if key:
        why = f"is signed with the key {key[1]} {key[2]}, which is not a signer"
    elif said.strip():
        why = "has a signature that is not right, or of another kind than SSH's"
    else:
        why = "is not signed"
    hint = "sign it: git config gpg.format ssh, then git commit -S; or list its key as signer"
    raise Unfit(f"{commit[:12]} {why}", hint)


def _judge_descent(system: System, origin: Source, tip: Tip, running: str, say: Say) -> None:
    """Make sure that the running commit is among the ancestors of a new one.

    The mirror mostly knows no ancestors. They are fetched without trees and files into a
    repository that is thrown away, and only as far back as needed.
    """
    if _descends(system, mirror.place(origin.name), running, tip.commit):
        return  # a bundle brings its history along
    scratch = f"{folder(origin.name)}/history.git"
    try:
        mirror.make(system, scratch, tip.commit)
        with access.opened(system, origin) as way:
            for depth in _DEPTHS:
                say(f"looking for {running[:12]} among the last {depth} commits")
                refs = (f"{tip.ref or tip.commit}:refs/piot/tip",)
                result = mirror.fetch(system, way, scratch, refs, say, depth, "tree:0")
                reachable(system, origin, way, result)
                if _descends(system, scratch, running, tip.commit):
                    return
                if not system.exists(f"{scratch}/shallow"):
                    break
    finally:
        system.remove_tree(scratch)
    message = f"{tip.commit[:12]} does not follow {running[:12]}, which runs (fast_forward_only)"
    hint = "somebody rewrote the branch; push a commit that builds on the one that runs"
    raise Unfit(message, hint)


def _descends(system: System, place: str, running: str, commit: str) -> bool:
    """Tell whether one commit is an ancestor of another, as far as the repository reaches."""
    words = ("merge-base", "--is-ancestor", running, commit)
    return mirror.run(system, place, *words, timeout=120).code == 0
