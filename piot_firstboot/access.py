"""How git gets into an app's repository: its key or token, and the host keys that are trusted.

Each app has its own. A secret is opened for one command, in memory, and never lies on a file
system outside the store. Host keys, in this order: those that piot.conf lists, those that the large
hosts publish, the one that was seen at the first contact.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from piot_firstboot import credential, deploykey, git, hostkeys, vault, wellknown
from piot_firstboot.errors import Unreachable
from piot_firstboot.notify import say
from piot_firstboot.remote import endpoint
from piot_firstboot.state import Source, folder
from piot_firstboot.system import System

HOSTS = "/run/piot/hosts"  # one file of known_hosts for each app and server
LISTED = "listed in piot.conf"
PUBLISHED = "published by the host"
_USERS = {"github.com": "x-access-token", "gitlab.com": "oauth2", "bitbucket.org": "x-token-auth"}
_USER = "git"  # most servers look at the token only


@dataclass(frozen=True, slots=True)
class Access:
    """The address of a repository, and the options and environment that git needs for it."""

    url: str
    options: tuple[str, ...]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Pins:
    """The lines of known_hosts that hold for a server, and why they are trusted; maybe none."""

    lines: tuple[str, ...] = ()
    why: str = ""

    def __str__(self) -> str:
        """Show each key as ssh does, and why it is trusted."""
        return f"{', '.join(map(hostkeys.fingerprint, self.lines))} ({self.why})"


@contextmanager
def opened(system: System, origin: Source, url: str = "") -> Iterator[Access]:
    """Open the way to an app's repository, or to that of a submodule.

    Raises Unreachable when the key or token is not on the device.
    """
    url = url or origin.repo
    match git.kind(url):
        case "ssh":
            with (
                _known(system, origin, url) as (hosts, first),
                system.in_memory(deploykey.private(system, origin)) as key,
            ):
                yield Access(url, *git.reach(url, key=key, hosts=hosts, first=first))
        case "https" if origin.token and git.server(url) == git.server(origin.repo):
            with system.in_memory(_login(system, origin)) as token:
                yield Access(url, *git.reach(url, token=token))
        case "file":
            # A repository may belong to a person; root named it in piot.conf.
            with system.in_memory(git.TRUSTED.encode()) as trusted:
                yield Access(url, *git.reach(url, trusted=trusted))
        case _:
            yield Access(url, *git.reach(url))


def pins(system: System, origin: Source, url: str = "") -> Pins:
    """Return the host keys that are trusted for the server of an address."""
    place = endpoint(url or origin.repo)
    if place is None or git.kind(url or origin.repo) != "ssh":
        return Pins()
    kept = (system.read(_record(origin.name)) or b"").decode("utf-8", "replace").splitlines()
    for lines, why in ((origin.known_hosts, LISTED), (wellknown.LINES, PUBLISHED), (kept, "")):
        found = hostkeys.matching(lines, *place)
        if found:
            return Pins(found, why or f"seen at the first contact, {found[0].split()[-1]}")
    return Pins()


def hosts_file(origin: Source, url: str = "") -> str:
    """Return the known_hosts file of an app for a server, "" for an address without ssh."""
    place = endpoint(url or origin.repo)
    if place is None or git.kind(url or origin.repo) != "ssh":
        return ""
    return f"{HOSTS}/{origin.name}@{re.sub(r'[^A-Za-z0-9.-]', '_', place[0])}_{place[1]}"


def secret_file(system: System, origin: Source) -> str:
    """Return the file of the store that opens an app's repository, "" when it is open to all."""
    name = {"ssh": origin.deploy_key or deploykey.made(origin.name), "https": origin.token}
    found = name.get(git.kind(origin.repo), "")
    return credential.path(found, sealed=vault.sealed(system, found)) if found else ""


def user(origin: Source) -> str:
    """Return the user name that goes with the token."""
    place = endpoint(origin.repo)
    return origin.username or _USERS.get(place[0] if place else "", _USER)


def told(system: System, origin: Source) -> tuple[tuple[str, str], ...]:
    """Return what a person should know of the way in: a word and a line each."""
    rows = []
    found = pins(system, origin)
    if found.lines:
        rows.append(("host", str(found)))
    if git.kind(origin.repo) == "ssh" and not origin.deploy_key:
        key = deploykey.public(system, origin)
        if key:
            rows.append(("key", f"{key} (made here; the repository must have it as a deploy key)"))
    return tuple(rows)


def _login(system: System, origin: Source) -> bytes:
    """Return user name and token as git-credential(1) has them."""
    try:
        token = vault.get(system, origin.token)
    except vault.Unopenable as error:
        raise Unreachable(str(error), error.hint) from None
    if token is None:
        hint = f"write token into piot.conf again, or run: sudo piot secret set {origin.token}"
        raise Unreachable(f"{origin.name}: its token is not in the store", hint)
    return git.login(user(origin), vault.as_bytes(token))


# -- host keys ----------------------------------------------------------------------------------


@contextmanager
def _known(system: System, origin: Source, url: str) -> Iterator[tuple[str, bool]]:
    """Yield the real path of the known_hosts file for a server, and whether it is still unknown.

    ssh writes the key of a server that is contacted for the first time into it; that is recorded
    whatever comes of the contact.
    """
    path = hosts_file(origin, url)
    found = pins(system, origin, url)
    text = "".join(f"{line}\n" for line in found.lines).encode()
    if system.read(path) != text:
        system.write(path, text, 0o600)
    try:
        yield system.path(path), not found.lines
    finally:
        if not found.lines:
            _remember(system, origin.name, path)


def _remember(system: System, app: str, path: str) -> None:
    """Record what the first contact with a server showed, so that it may not change later."""
    seen = (system.read(path) or b"").decode("utf-8", "replace").splitlines()
    if not seen:
        return
    today = time.strftime("%Y-%m-%d", time.gmtime())
    lines = [f"{line} {today}" for line in seen]
    kept = (system.read(_record(app)) or b"").decode("utf-8", "replace").splitlines()
    system.write(_record(app), "".join(f"{line}\n" for line in (*kept, *lines)).encode())
    for line in lines:
        host = line.split()[0]
        say(f"{app}: {host} is trusted from now on by the key {hostkeys.fingerprint(line)};")
        say("compare it with the server's own, or list the right one: known_hosts = … in piot.conf")


def _record(app: str) -> str:
    """Return where the host keys seen at first contacts lie."""
    return f"{folder(app)}/known_hosts"
