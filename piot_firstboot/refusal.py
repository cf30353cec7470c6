"""A remote refused: say why, and what the person can do about it."""

from __future__ import annotations

from pathlib import Path

from piot_firstboot import access, deploykey, git, gitwords, tls
from piot_firstboot.access import Access
from piot_firstboot.errors import Refused, Unfit, Unreachable
from piot_firstboot.state import Source
from piot_firstboot.system import Result, System

_ABSENT = "look at `repo`; is the medium plugged in and mounted? see `findmnt`"


def reachable(system: System, origin: Source, way: Access, result: Result) -> None:
    """Raise Unreachable or Refused with git's own words when git failed; Unfit for bad objects."""
    if result.code == 0:
        return
    said = result.err
    bad = gitwords.bad_object(said)
    if bad:
        raise Unfit(f"git refuses what is in the repository: {bad}", "mend it and push again")
    reason, hint = gitwords.reason(said, result.reason), gitwords.hint(said)
    shown = gitwords.host_key(said)
    if shown:
        pins = access.pins(system, origin, way.url)
        reason = f"the server shows the host key {shown}, and not {pins}"
        hint = "if that is right, list it in piot.conf: known_hosts = …; else who is in between?"
    elif "Permission denied (publickey" in said:
        key = deploykey.public(system, origin)
        hint = f"add this key to the repository, as a deploy key that only reads: {key}"
    elif git.kind(way.url) == "file" and not Path(path(way.url)).exists():
        reason, hint = "there is nothing", _ABSENT
    elif "certificate" in said:
        reason = f"{reason}: {tls.judge(way.url)}".removesuffix(": ")
    elif "could not read Username" in said and origin.token:
        hint = "the token is for the server that `repo` names, and for no other"
    kind = Refused if gitwords.refused(said) else Unreachable
    raise kind(f"{way.url}: {reason}", hint)


def path(url: str) -> str:
    """Return the path that an address of this device names."""
    return url.removeprefix("file://")
