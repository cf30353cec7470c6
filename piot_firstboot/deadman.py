"""Tell whether the way to the git host still works: a release that cuts it is not kept.

Only the way is asked for, by a name and a TCP connection. A server that answers with an error, or
refuses the connection, is reached; what ails it is no release's fault.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import time
from collections.abc import Callable

from piot_firstboot import remote
from piot_firstboot.system import System

_ANSWER = 5.0  # seconds for one answer
_PAUSE = 3.0  # seconds between two questions
_PATIENCE = 30.0  # seconds; what comes and goes with a restart of the network is no cut
_AFTER_BOOT = 90.0
_JUST_BOOTED = 300.0


def watches(url: str) -> bool:
    """Tell whether an address names a server that can be asked for."""
    return remote.endpoint(url) is not None


def cut(system: System, url: str, say: Callable[[str], None]) -> str:
    """Ask for the git host until it is reached; return "" then, else why it was not.

    Bounded by some patience, which is longer while the machine is still coming up.
    """
    place = remote.endpoint(url)
    if place is None or not system.live:
        return ""
    uptime = float((system.read("/proc/uptime") or b"inf").split()[0])
    end = time.monotonic() + (_AFTER_BOOT if uptime < _JUST_BOOTED else _PATIENCE)
    while why := _unreached(system, *place):
        if time.monotonic() >= end:
            return why
        say(f"probation: looking for the way to {place[0]}: {why}")
        time.sleep(_PAUSE)
    return ""


def _unreached(system: System, host: str, port: int) -> str:
    """Try once; return why the host cannot be reached, or ""."""
    # getaddrinfo(3) in this process has no bound; getent asks the same sources.
    found = system.run(("getent", "ahosts", host), timeout=_ANSWER * 2)
    addresses = list(dict.fromkeys(line.split()[0] for line in found.out.splitlines() if line))
    if not addresses:
        return f"the name {host} is not found"
    why = ""
    for address in addresses[:4]:
        try:
            socket.create_connection((address, port), _ANSWER).close()
        except OSError as error:
            # Only the host itself refuses; what refuses on this machine stands in its place.
            here = ipaddress.ip_address(address.partition("%")[0]).is_loopback
            if error.errno == errno.ECONNREFUSED and not here:
                return ""
            why = f"{host} ({address}): {error.strerror or error}"
        else:
            return ""
    return why
