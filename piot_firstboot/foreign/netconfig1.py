"""Version 1 of cloud-init's network-config: a list of interfaces with their subnets."""

from __future__ import annotations

import ipaddress

from piot_firstboot.foreign import wifinet
from piot_firstboot.foreign.cloudfile import Block, block
from piot_firstboot.yamltext import Mapping

_DYNAMIC = frozenset(("dhcp", "dhcp4", "dhcp6", "ipv6_dhcpv6-stateless", "ipv6_slaac"))
_STATIC = frozenset(("static", "static6"))
_SERVERS = (("dns_nameservers", "dns"), ("dns_search", "dns_search"))


def carry(net: Block) -> None:
    """Carry wired networks and VLANs over."""
    draft = net.draft
    taken: set[str] = set()
    first = ""
    for node in net.nodes("config"):
        if not isinstance(node, Mapping):
            net.wrong(node, "config", "a list of mappings")
            continue
        item = block(draft, node, "config")
        line, kind = item.line("type"), item.text("type")
        if kind in ("physical", "vlan"):
            section = _interface(item, kind, taken)
            first = first or section
        elif kind == "nameserver" and first:
            for key, word in (("address", "dns"), ("search", "dns_search")):
                at = item.line(key)
                draft.put_all(first, word, item.texts(key), at)
        else:
            draft.leave(line, f"type {kind}", "PioT sets up wired networks, VLANs and Wi-Fi")


def _interface(item: Block, kind: str, taken: set[str]) -> str:
    """Carry one interface over and return its section, empty if DHCP is all there is to say."""
    draft = item.draft
    line, name = item.line("name"), item.text("name")
    found: list[tuple[str, str, int]] = []
    dynamic = False
    for node in item.nodes("subnets"):
        if isinstance(node, Mapping):
            dynamic |= _subnet(block(draft, node, f"{name}.subnets"), found)
        else:
            item.wrong(node, "subnets", "a list of mappings")
    item.drop("mac_address", "accept_ra")
    link, number = item.text("vlan_link"), item.text("vlan_id")
    if dynamic and any(key == "address" and "." in text for key, text, _ in found):
        found.insert(0, ("address", "dhcp", line))
    item.leave_rest()
    if not found and kind == "physical":
        return ""
    section = f"ethernet.{wifinet.free_name(wifinet.plain_name(name, 'wired'), taken)}"
    draft.put(section, "interface", link if kind == "vlan" else name, line)
    if kind == "vlan":
        draft.put(section, "vlan", number, line)
    for key, text, at in found:
        draft.put(section, key, text, at)
    return section


def _subnet(subnet: Block, found: list[tuple[str, str, int]]) -> bool:
    """Read one subnet; tell whether it is DHCP's for IPv4."""
    draft = subnet.draft
    line, kind = subnet.line("type"), subnet.text("type")
    if kind not in _DYNAMIC | _STATIC:
        draft.leave(line, f"{subnet.name} of type {kind}", "PioT does not know this kind")
        return False
    at, address, mask = subnet.line("address"), subnet.text("address"), subnet.text("netmask")
    if kind in _STATIC:
        try:
            text = f"{address}/{mask}" if mask and "/" not in address else address
            found.append(("address", ipaddress.ip_interface(text).with_prefixlen, at))
        except ValueError:
            draft.problem(at, 1, "this is not an address with the length of its network")
    at, gateway = subnet.line("gateway"), subnet.text("gateway")
    if gateway:
        found.append(("gateway", gateway, at))
    for key, word in _SERVERS:
        at = subnet.line(key)
        found += [(word, text, at) for text in subnet.texts(key)]
    subnet.drop("control")
    subnet.leave("routes", "PioT sets the default route only")
    subnet.leave_rest()
    return kind in ("dhcp", "dhcp4")
