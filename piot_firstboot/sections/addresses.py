"""What wired and wireless networks have in common: addresses, gateways, name servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from piot_firstboot import netvalues
from piot_firstboot.conftext import Entry
from piot_firstboot.found import Found
from piot_firstboot.netvalues import DHCP, Address
from piot_firstboot.table import Setting

if TYPE_CHECKING:
    from piot_firstboot.confkeys import Judge


def rows(section: str) -> tuple[Setting, ...]:
    """Return the rows that wired and wireless networks have in common."""
    return (
        Setting(
            section,
            "address",
            netvalues.address,
            "A fixed address with the length of its network, IPv4 or IPv6, or dhcp. Repeat for "
            "more. A family without one is configured by the network, as if there were none.",
            "192.168.1.20/24",
            default=(),
            many=True,
            field="addresses",
        ),
        Setting(
            section,
            "gateway",
            netvalues.server,
            "The router for all other networks; needed with a fixed address. One for IPv4, one "
            "for IPv6.",
            "192.168.1.1",
            default=(),
            many=True,
            field="gateways",
        ),
        Setting(
            section,
            "dns",
            netvalues.server,
            "A name server. Repeat for more.",
            "192.168.1.1",
            default=(),
            many=True,
        ),
    )


def judge(judge: Judge, part: Found) -> None:
    """Hold gateways against addresses."""
    fixed = [a for a in part.values.get("addresses", ()) if a != DHCP]
    entries = [entry for entry in part.block.entries if entry.key == "gateway"]
    gateways = part.values.get("gateways", ())
    if "address" in part.entries and not fixed and not part.clean:
        return  # the address was refused; its gateway is not the mistake
    for version in (4, 6):
        ways = [way for way in gateways if way.version == version]
        mine = [a for a in fixed if a.version == version]
        if len(ways) > 1:
            entry = _line(entries, ways[1])
            judge.at_value(part, entry, f"there are two gateways for IPv{version}", "keep one")
        for way in ways[:1]:
            entry = _line(entries, way)
            if not mine:
                message = f"the gateway {way} needs a fixed address of its family"
                judge.at_value(part, entry, message, "add address = …, or remove the gateway")
            elif not way.is_link_local and not any(way in a.network for a in mine):
                message = f"the gateway {way} is not in the network {mine[0].network}"
                judge.at_value(part, entry, message, "is the length behind the `/` right?")
            elif any(way == a.ip for a in mine):
                judge.at_value(part, entry, "the gateway is the device itself")


def _line(entries: list[Entry], way: Address) -> Entry:
    """Return the line that gives a gateway."""
    return next(e for e in entries if _same(e.value, way))


def _same(text: str, way: Address) -> bool:
    """Tell whether a text is another spelling of an address."""
    try:
        return netvalues.server(text) == way
    except ValueError:
        return False
