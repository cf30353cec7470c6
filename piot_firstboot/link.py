"""How far the network reaches: links and addresses, gateways, the servers that apps need.

Asked of the kernel through ip(8), whatever program set it up. No ping is assumed to be installed,
and none would do: many a gateway drops it, but none can do without answering ARP or its IPv6 twin.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from piot_firstboot.system import System

Target = tuple[str, int]  # host, port

NOTHING, ADDRESS, GATEWAY, TARGET = range(4)

_ANSWER = 3.2  # seconds; the kernel asks a neighbour three times, a second apart
_DISCARD = 9  # the port of the datagram that makes it ask
_ANSWERED = {"REACHABLE", "PERMANENT", "NOARP"}
_CONNECT = 4.0  # seconds for one connection, and for one name


@dataclass(frozen=True, slots=True)
class Look:
    """How far the network reached at one moment.

    `score` is the furthest of: NOTHING, an ADDRESS on a link that is up, a GATEWAY that answers,
    a TARGET that accepts a connection. `silent` names the default gateways that do not
    answer, `links` counts the interfaces that are up with an address.
    """

    score: int
    silent: tuple[str, ...] = ()
    links: int = 0

    def full(self, targets: Sequence[Target]) -> bool:
        """Tell whether nothing better can be hoped for."""
        return self.score >= (TARGET if targets else GATEWAY) and not self.silent

    def better(self, other: Look) -> bool:
        """Tell whether this is strictly more than the other."""
        mine = (self.score, -len(self.silent), self.links)
        return mine > (other.score, -len(other.silent), other.links)

    def words(self, targets: Sequence[Target]) -> str:
        """Say it to a person."""
        if self.score == NOTHING:
            return "nothing is connected"
        where = " or ".join(f"{host} port {port}" for host, port in targets)
        if self.silent:
            also = {GATEWAY: "; another does", TARGET: f"; {where} does"}.get(self.score, "")
            return f"the gateway {' or '.join(self.silent)} does not answer{also}"
        if self.score == ADDRESS:
            return "there is an address, but no gateway"
        if self.score == TARGET:
            return f"{where} answers"
        return f"the gateway answers{f', but not {where}' * bool(targets)}"


def look(system: System, targets: Sequence[Target], until: float) -> Look:
    """See how far the network reaches now; ends a few seconds after `until` at the latest."""
    links = _links(system)
    if not links:
        return Look(NOTHING)
    gateways = _gateways(system)
    answering = _answering(system, gateways)
    silent = tuple(sorted(gateway for _, gateway in gateways - answering))
    if _any_accepts(system, targets, until):
        return Look(TARGET, silent, len(links))
    return Look(GATEWAY if answering else ADDRESS, silent, len(links))


def _links(system: System) -> set[str]:
    """Name the interfaces that are up with an address of more than local meaning."""
    return {
        str(link["ifname"])
        for link in _ip(system, "address", "show", "up")
        if "LOWER_UP" in link.get("flags", ()) and "LOOPBACK" not in link.get("flags", ())
        for address in link.get("addr_info", ())
        if address.get("scope") == "global"
        and not address.get("tentative")
        and not address.get("dadfailed")
    }


def _gateways(system: System) -> set[tuple[str, str]]:
    """List the default gateways, v4 and v6, as interface and address.

    A route without one (a tunnel, a modem) says nothing about what it leads to, and is left out.
    """
    found = set()
    for family in ("-4", "-6"):
        for route in _ip(system, family, "route", "show", "default"):
            for hop in route.get("nexthops") or (route,):
                gateway = hop.get("gateway") or hop.get("via", {}).get("host")
                if gateway:
                    found.add((str(hop.get("dev") or route.get("dev")), str(gateway)))
    return found


def _answering(system: System, gateways: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return the gateways that answer their link's own question for an address."""
    for dev, gateway in gateways:
        # What was known of it is no answer of now.
        system.run(("ip", "neighbour", "flush", "to", gateway, "dev", dev), timeout=5)
        _nudge(dev, gateway)
    end = time.monotonic() + _ANSWER
    while True:
        known = {
            (str(row.get("dev")), str(row["dst"]))
            for row in _ip(system, "neighbour", "show")
            if _ANSWERED & set(row.get("state", ()))
        }
        if gateways <= known or time.monotonic() >= end:
            return gateways & known
        time.sleep(0.1)


def _nudge(dev: str, gateway: str) -> None:
    """Send one empty datagram, so that the kernel must find out where the gateway is."""
    v6 = ip_address(gateway).version == 6
    with (
        suppress(OSError),  # no way there: then it does not answer either
        socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, dev.encode() + b"\0")
        where = (gateway, _DISCARD, 0, socket.if_nametoindex(dev)) if v6 else (gateway, _DISCARD)
        sender.sendto(b"", where)


def _any_accepts(system: System, targets: Sequence[Target], until: float) -> bool:
    """Tell whether one of the servers accepts a connection, of those that there is time for."""
    for number, target in enumerate(targets):
        if number and time.monotonic() >= until:
            return False
        if _accepts(system, target, until):
            return True
    return False


def _accepts(system: System, target: Target, until: float) -> bool:
    """Tell whether a server accepts a connection by one of its first addresses."""
    host, port = target
    # Not getaddrinfo(): that waits as long as it likes, and cannot be stopped.
    result = system.run(("getent", "ahosts", host), timeout=_CONNECT)
    addresses = dict.fromkeys(line.split()[0] for line in result.out.splitlines() if line.strip())
    for address in list(addresses)[:4]:
        left = max(1.0, min(_CONNECT, until - time.monotonic()))
        with suppress(OSError), socket.create_connection((address, port), left):
            return True
    return False


def _ip(system: System, *argv: str) -> list[dict[str, Any]]:
    """Ask ip(8) and return its rows; none where it fails."""
    result = system.run(("ip", "-json", *argv), timeout=10)
    try:
        rows = json.loads(result.out or "[]")
    except ValueError:
        return []
    return [row for row in rows if row]
