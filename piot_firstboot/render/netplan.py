"""netplan's file, for machines that have netplan and no NetworkManager; netplan-yaml(5)."""

from __future__ import annotations

from piot_firstboot.netvalues import DHCP, Address, Interface
from piot_firstboot.render.keyfile import CERTIFICATES
from piot_firstboot.render.origin import COMMENT
from piot_firstboot.sections.ethernet import Ethernet
from piot_firstboot.sections.wifi import Wifi

PATH = "/etc/netplan/60-piot.yaml"
_ANY_WIRED = "e*"  # eth0, end0, enp1s0: systemd.net-naming-scheme(7)
_RADIO = "wlan0"  # one interface holds all networks; Raspberry Pi's own


def text(wifi: tuple[Wifi, ...], wired: tuple[Ethernet, ...]) -> bytes:
    """Render all networks into one file."""
    lines = [COMMENT, "network:", "  version: 2"]
    links = [network for network in wired if network.vlan is None]
    vlans = [network for network in wired if network.vlan is not None]
    if links or vlans:
        lines.append("  ethernets:")
    for network in links:
        lines.append(f"    {_id(network)}:")
        name = network.interface or _ANY_WIRED
        lines += ["      match:", f"        name: {quoted(name)}"]
        lines += _addresses(network.addresses, network.gateways, network.dns, network.dns_search)
    there = {network.interface for network in links}
    for network in vlans:
        if network.interface not in there:
            there.add(network.interface)
            lines += [f"    {quoted(str(network.interface))}:", "      optional: true"]
    if vlans:
        lines.append("  vlans:")
    for network in vlans:
        lines.append(f"    {quoted(f'{network.interface}.{network.vlan}')}:")
        parent = next((_id(w) for w in links if w.interface == network.interface), "")
        link = parent or quoted(str(network.interface))
        lines += [f"      id: {network.vlan}", f"      link: {link}"]
        lines += _addresses(network.addresses, network.gateways, network.dns, network.dns_search)
    if wifi:
        lines += ["  wifis:", f"    {_RADIO}:"]
        first = wifi[0]
        country = next((network.country for network in wifi if network.country), None)
        if country:
            lines.append(f"      regulatory-domain: {quoted(country)}")
        lines += _addresses(first.addresses, first.gateways, first.dns, ())
        lines.append("      access-points:")
        for access in sorted(wifi, key=lambda network: -network.priority):
            lines += _access_point(access)
    return ("\n".join(lines) + "\n").encode()


def quoted(value: str) -> str:
    """Write any text as a double-quoted scalar; YAML 1.2, 7.3.1."""
    out = []
    for char in value:
        code = ord(char)
        if char in '"\\':
            out.append(f"\\{char}")
        elif char.isprintable():
            out.append(char)
        elif code < 0x100:
            out.append(f"\\x{code:02x}")
        else:
            out.append(f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    return f'"{"".join(out)}"'


def _id(network: Ethernet) -> str:
    """Name an interface within the file."""
    return quoted(f"piot-{network.section.replace('.', '-')}")


def _addresses(
    addresses: tuple[Interface | str, ...],
    gateways: tuple[Address, ...],
    dns: tuple[Address, ...],
    search: tuple[str, ...],
) -> list[str]:
    """Render the addresses of an interface."""
    fixed = [address for address in addresses if not isinstance(address, str)]
    four = any(address.version == 4 for address in fixed)
    lines = [f"      dhcp4: {'true' if not four or DHCP in addresses else 'false'}"]
    if fixed:
        listed = ", ".join(quoted(address.with_prefixlen) for address in fixed)
        lines.append(f"      addresses: [{listed}]")
    if gateways:
        lines.append("      routes:")
        for way in gateways:
            lines += [f"        - to: {quoted('default')}", f"          via: {quoted(str(way))}"]
    if dns or search:
        lines.append("      nameservers:")
        if dns:
            lines.append(f"        addresses: [{', '.join(quoted(str(a)) for a in dns)}]")
        if search:
            lines.append(f"        search: [{', '.join(quoted(name) for name in search)}]")
    lines.append("      optional: true")  # no boot waits for it
    return lines


def _access_point(network: Wifi) -> list[str]:
    """Render one Wi-Fi network."""
    name = network.ssid.decode("utf-8", "surrogateescape")
    lines = [f"        {quoted(name)}:"]
    if network.hidden:
        lines.append("          hidden: true")
    secret = network.psk_hex or network.password
    kind = network.security
    if kind == "open" or (kind == "auto" and secret is None):
        return lines if network.hidden else [f"        {quoted(name)}: {{}}"]
    lines.append("          auth:")
    management = {"wpa3": "sae", "owe": "none", "eap": "eap"}.get(kind, "psk")
    lines.append(f"            key-management: {management}")
    if kind == "eap":
        lines.append(f"            method: {network.eap}")
        for key, value in (
            ("identity", network.identity),
            ("anonymous-identity", network.anonymous_identity),
            ("ca-certificate", network.ca_cert and f"{CERTIFICATES}/{network.ca_cert}"),
            ("client-certificate", network.client_cert and f"{CERTIFICATES}/{network.client_cert}"),
            ("client-key", network.client_key and f"{CERTIFICATES}/{network.client_key}"),
            ("phase2-auth", network.phase2 and network.phase2.upper()),
        ):
            if value:
                lines.append(f"            {key}: {quoted(value)}")
    if secret is not None:
        lines.append(f"            password: {quoted(secret)}")
    return lines
