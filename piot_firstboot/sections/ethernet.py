"""`[ethernet]`: wired networks, where plain DHCP is not enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from piot_firstboot import netvalues
from piot_firstboot.found import Found, of
from piot_firstboot.netvalues import Address, Interface
from piot_firstboot.sections import addresses
from piot_firstboot.table import Section, Setting

if TYPE_CHECKING:
    from piot_firstboot.confkeys import Judge

SECTIONS: tuple[Section, ...] = (
    Section(
        "ethernet",
        "A wired network, where plain DHCP is not enough. Several: one [ethernet.NAME] each.",
        netvalues.section_name,
    ),
)

SETTINGS: tuple[Setting, ...] = (
    Setting(
        "ethernet",
        "interface",
        netvalues.interface,
        "The network interface. If not given: any wired one.",
        "eth0",
    ),
    *addresses.rows("ethernet"),
    Setting(
        "ethernet",
        "vlan",
        netvalues.vlan,
        "A VLAN on that interface, by its number: a network of its own in the same cable.",
        "20",
    ),
    Setting(
        "ethernet",
        "dns_search",
        netvalues.domain,
        "A domain in which short names are looked up. Repeat for more.",
        "example.org",
        default=(),
        many=True,
    ),
)


@dataclass(frozen=True, slots=True)
class Ethernet:
    """A wired network. `section` is its header in the file, `line` where that stands."""

    interface: str | None
    addresses: tuple[Interface | str, ...]
    gateways: tuple[Address, ...]
    dns: tuple[Address, ...]
    vlan: int | None
    dns_search: tuple[str, ...]
    section: str
    line: int


def judge(judge: Judge, found: list[Found]) -> None:
    """Hold addresses against gateways, and refuse two sections for one interface."""
    wired = of(found, "ethernet")
    for part in wired:
        addresses.judge(judge, part)
    seen: dict[tuple[object, object], Found] = {}
    for part in wired:
        interface, vlan = part.values.get("interface"), part.values.get("vlan")
        if vlan is not None and interface is None and "interface" not in part.entries:
            entry = part.entries["vlan"]
            judge.at_key(part, entry, "a VLAN needs an interface", "add interface = eth0")
        if not part.clean:
            continue
        first = seen.setdefault((interface, vlan), part)
        if first is not part:
            what = f"interface {interface}" if interface else "any wired interface"
            what = f"VLAN {vlan} of {what}" if vlan is not None else what
            message = f"[{first.block.name}], line {first.block.line}, is for {what} too"
            judge.at_header(part, message, "give this section an interface of its own")


def read(found: list[Found]) -> tuple[Ethernet, ...]:
    """Return the networks in the order of the file."""
    return tuple(
        Ethernet(**part.arguments(), section=part.block.name, line=part.block.line)
        for part in of(found, "ethernet")
    )
