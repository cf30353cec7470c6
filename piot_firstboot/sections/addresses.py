"""What wired and wireless networks have in common: addresses, gateways, name servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from piot_firstboot import netvalues
from piot_firstboot.found import Found
from piot_firstboot.netvalues import DHCP
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
    entry = part.entries.get("gateway")
    gateways = part.values.get("gateways", ())
    if entry is None or "address" in part.entries and not fixed and not part.clean:
        return
    for version in (4, 6):
        ways = [way for way in gateways if way.version == version]
        mine = [a for a in fixed if a.version == version]
        if len(ways) > 1:
            judge.at_key(part, entry, f"there are two gateways for IPv{version}", "keep one")
        for way in ways[:1]:
            if not mine:
                message = f"the gateway {way} needs a fixed address of its family"
                judge.at_key(part, entry, message, "add address = …, or remove the gateway")
            elif not way.is_link_local and not any(way in a.network for a in mine):
                message = f"the gateway {way} is not in the network {mine[0].network}"
                judge.at_key(part, entry, message, "is the length behind the `/` right?")
            elif any(way == a.ip for a in mine):
                judge.at_key(part, entry, "the gateway is the device itself", "")
