"""Network profiles: the files that piot.conf becomes, and making the system use them.

NetworkManager's keyfiles, each one profile; or one file of netplan, where a machine has that and
no NetworkManager. With them go the certificates that they name.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from piot_firstboot.render.keyfile import CERTIFICATES
from piot_firstboot.system import System

FOLDERS = {"networkmanager": "/etc/NetworkManager/system-connections", "netplan": "/etc/netplan"}
_OURS = re.compile(r"piot-.+\.nmconnection|60-piot\.yaml")
_MODE = 0o600
_CALL = 15.0  # seconds for a call that does not wait for a connection

Files = Mapping[str, bytes]  # content by path

# What nmcli says → what a person can act on. Else its own words are given.
_WORDS = (
    ("Secrets were required", "the password is wrong, or there is none"),
    ("supplicant", "the access point refuses the login: wrong password or other security"),
    ("network could not be found", "no such network within reach"),
    ("IP configuration could not be reserved", "no address from DHCP"),
    ("Timeout expired", "no answer in time: no DHCP server, or no such network"),
    ("No suitable device found", "no interface for it is ready: no cable, or none such"),
    ("unknown connection", "NetworkManager refuses the profile: journalctl -u NetworkManager"),
)
# What cannot be judged now is no fault of the settings: out of reach, unplugged.
_ELSEWHERE = ("network could not be found", "No suitable device found")


@dataclass(frozen=True, slots=True)
class Failure:
    """A profile that did not come up and why. `elsewhere`: for want of its network or cable."""

    profile: str
    words: str
    elsewhere: bool

    def __str__(self) -> str:
        """Say it in one line."""
        return f"{self.profile}: {self.words}"


@dataclass(frozen=True, slots=True)
class _Profile:
    """What matters of a keyfile here."""

    name: str
    uuid: str
    kind: str
    interface: str
    automatic: bool
    priority: int
    changed: bool


def read(system: System, kind: str) -> dict[str, bytes]:
    """Read the set of files that is in place."""
    folder = FOLDERS[kind]
    paths = [f"{folder}/{name}" for name in system.names(folder) if _OURS.fullmatch(name)]
    paths += [f"{CERTIFICATES}/{n}" for n in system.names(CERTIFICATES) if not n.startswith(".")]
    return {path: data for path in paths if (data := system.read(path)) is not None}


def put(system: System, kind: str, wanted: Files) -> None:
    """Make a set the one that is in place; safe to be cut off and done again."""
    present = read(system, kind)
    for path, data in wanted.items():
        if present.get(path) != data:
            system.mkdir(path.rpartition("/")[0], 0o700)
            system.write(path, data, _MODE)
    for path in present.keys() - wanted.keys():
        system.remove(path)


def running(system: System) -> bool:
    """Tell whether NetworkManager runs, and so may use other files than those in place."""
    return system.systemctl("is-active", "--quiet", "NetworkManager", timeout=_CALL).code == 0


def activate(
    system: System, kind: str, files: Files, other: Files, until: float, *, fresh: bool = False
) -> tuple[Failure, ...]:
    """Make the system use the files in place; return which of the changed profiles failed.

    `other` is the set before. With `fresh` the system came up with these files, so that it needs
    to be told nothing that it does by itself already. Ends about `until`.
    """
    if kind == "netplan":
        # What it says may show a line of its file, and so a password.
        code = system.run(("netplan", "apply"), timeout=_left(until)).code
        return (Failure("netplan", "netplan apply failed", False),) if code else ()
    # Lets go of what is gone, and takes up what is new.
    result = system.run(("nmcli", "connection", "reload"), timeout=_CALL)
    if result.code != 0:
        return (Failure("NetworkManager", _said(result.err), False),)
    groups: dict[tuple[str, str], list[_Profile]] = {}
    changed = {path for path, data in files.items() if other.get(path) != data}
    for path, data in files.items():
        if path.startswith(f"{CERTIFICATES}/"):
            continue
        uses = any(name.startswith(CERTIFICATES) and name.encode() in data for name in changed)
        profile = _profile(path, data, changed=path in changed or uses)
        if profile.uuid and profile.automatic:
            groups.setdefault((profile.kind, profile.interface), []).append(profile)
    waiting = [group for group in groups.values() if any(p.changed for p in group)]
    if not waiting:
        return ()
    from concurrent.futures import ThreadPoolExecutor

    # At once, because each may need all the time there is.
    with ThreadPoolExecutor(len(waiting)) as pool:
        failures = pool.map(lambda group: _activate(system, group, until, fresh), waiting)
        return tuple(failure for group in failures for failure in group)


def _activate(
    system: System, group: Iterable[_Profile], until: float, fresh: bool
) -> list[Failure]:
    """Bring up the best of the profiles of one interface; return those that were tried in vain."""
    failures = []
    for profile in sorted(group, key=lambda p: (-p.priority, p.name)):
        if time.monotonic() >= until:
            break
        if (fresh or not profile.changed) and _settled(system, profile.uuid, until):
            break
        if not profile.changed:
            continue
        wait = str(max(5, round(until - time.monotonic())))
        argv = ("nmcli", "--wait", wait, "connection", "up", "uuid", profile.uuid)
        result = system.run(argv, timeout=float(wait) + 5)
        if result.code == 0:
            break
        elsewhere = any(words in result.err for words in _ELSEWHERE)
        failures.append(Failure(profile.name, _said(result.err), elsewhere))
        if result.code == 3:  # it is still trying: nmcli(1)
            break
        if _state(system, profile.uuid):
            # The settings of before, on an interface that the profile is no longer for.
            system.run(("nmcli", "connection", "down", "uuid", profile.uuid), timeout=_CALL)
    return failures


def _settled(system: System, uuid: str, until: float) -> bool:
    """Tell whether a profile is up, once NetworkManager is done with it."""
    while (state := _state(system, uuid)) == "activating" and time.monotonic() < until:
        time.sleep(0.5)
    return state == "activated"


def _state(system: System, uuid: str) -> str:
    """Return what NetworkManager says of a profile that is up or on its way, else nothing."""
    argv = ("nmcli", "-g", "UUID,STATE", "connection", "show", "--active")
    rows = (line.partition(":") for line in system.run(argv, timeout=_CALL).out.split())
    return next((state for name, _, state in rows if name == uuid), "")


def _profile(path: str, data: bytes, *, changed: bool) -> _Profile:
    """Take from a keyfile what its first section says of the profile as a whole."""
    values: dict[str, str] = {}
    section = ""
    for line in data.decode("utf-8", "replace").splitlines():
        if line.startswith("["):
            section = line.strip()
        elif section == "[connection]":
            key, _, value = line.partition("=")
            values[key.strip()] = value.strip()
    priority = values.get("autoconnect-priority", "0")
    return _Profile(
        path.rpartition("/")[2].removesuffix(".nmconnection"),
        values.get("uuid", ""),
        values.get("type", ""),
        values.get("interface-name", ""),
        values.get("autoconnect", "true") not in ("false", "0", "no"),
        int(priority) if re.fullmatch(r"-?\d+", priority) else 0,
        changed,
    )


def _said(text: str) -> str:
    """Put what nmcli says into a line for a person."""
    for mark, words in _WORDS:
        if mark in text:
            return words
    line = next((line for line in text.splitlines() if line.strip()), "no reason given")
    return line.removeprefix("Error: ").removeprefix("Connection activation failed: ").strip()


def _left(until: float) -> float:
    """Return the seconds that are left, some in any case."""
    return max(5.0, until - time.monotonic())
