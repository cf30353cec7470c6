"""netplan's file, for machines that have netplan and no NetworkManager; netplan-yaml(5)."""

from __future__ import annotations

import re

from piot_firstboot.netvalues import DHCP, Address, Interface
from piot_firstboot.render.keyfile import CERTIFICATES, private_key, vlan_name
from piot_firstboot.render.origin import COMMENT
from piot_firstboot.sections.ethernet import Ethernet
from piot_firstboot.sections.wifi import Wifi

PATH = "/etc/netplan/60-piot.yaml"
_ANY_WIRED = "e*"  # eth0, end0, enp1s0: systemd.net-naming-scheme(7)
_VLAN = "v-"  # no name that a definition for any wired interface matches
_RADIO = "wlan0"  # one interface holds all networks; Raspberry Pi's own
_OLD = ("bookworm", "jammy")  # their netplan 0.106 knows neither SAE nor EAP-PWD
_PLAIN = re.compile(r"[ !#-\[\]-~]*")  # what wpa_supplicant is given as it stands
MANAGER = "install NetworkManager, which can: sudo apt install network-manager"


def text(wifi: tuple[Wifi, ...], wired: tuple[Ethernet, ...]) -> bytes:
    """Render all networks into one file; `unable` tells beforehand whether netplan can."""
    lines = [COMMENT, "network:", "  version: 2"]
    links = [network for network in wired if network.vlan is None]
    vlans = [network for network in wired if network.vlan is not None]
    parents = dict.fromkeys(str(network.interface) for network in vlans)
    there = {network.interface for network in links}
    links += [_automatic(name) for name in parents if name not in there]
    if links:
        lines.append("  ethernets:")
    for network in links:
        name = network.interface or _ANY_WIRED
        lines += [f"    {_id(network.interface)}:", "      match:", f"        name: {quoted(name)}"]
        lines += _addresses(network.addresses, network.gateways, network.dns, network.dns_search)
    if vlans:
        lines.append("  vlans:")
    for network in vlans:
        name = vlan_name(str(network.interface), network.vlan or 0, _VLAN)
        lines.append(f"    {quoted(name)}:")
        lines += [f"      id: {network.vlan}", f"      link: {_id(network.interface)}"]
        lines += _addresses(network.addresses, network.gateways, network.dns, network.dns_search)
    if wifi:
        first = wifi[0]
        lines += ["  wifis:", f"    {_RADIO}:"]
        country = next((network.country for network in wifi if network.country), None)
        if country:
            lines.append(f"      regulatory-domain: {quoted(country)}")
        lines += _addresses(first.addresses, first.gateways, first.dns, ())
        lines.append("      access-points:")
        for access in wifi:
            lines += _access_point(access)
    return ("\n".join(lines) + "\n").encode()


def _automatic(interface: str) -> Ethernet:
    """Return the network below a VLAN that has no section of its own."""
    return Ethernet(interface, (), (), (), None, (), "", 0)


def unable(wifi: tuple[Wifi, ...], codename: str = "") -> str:
    """Say what netplan cannot do of all that is asked, "" if nothing.

    One definition that it refuses would take the whole file with it.
    """
    for network in wifi:
        reason = _unknown(network, wifi[0], codename)
        if reason:
            return f"[{network.section}]: netplan does not know {reason}"
    return ""


def _unknown(network: Wifi, first: Wifi, codename: str) -> str:
    """Name what netplan has no word for, or writes down wrong for wpa_supplicant."""
    reason = ""
    names = (network.identity or "", network.anonymous_identity or "")
    mine = (network.addresses, network.gateways, network.dns)
    if mine != (first.addresses, first.gateways, first.dns):
        reason = "other addresses for one Wi-Fi network than for another"
    elif network.security == "owe":
        reason = "security = owe"
    elif codename in _OLD and (network.security == "wpa3" or network.eap == "pwd"):
        reason = "eap = pwd" if network.eap == "pwd" else "security = wpa3"
    elif network.security == "wpa3" and not 8 <= len((network.password or "").encode()) <= 63:
        reason = "a WPA3 password that has not 8 to 63 bytes"
    elif not _is_text(network.ssid):
        reason = "an SSID that is no text, or has a backslash"
    elif not all(map(_PLAIN.fullmatch, names)):
        reason = "an identity with quotes, backslashes or letters beyond ASCII"
    elif network.security == "eap" and (network.password or "").startswith("hash:"):
        reason = "a password that begins with hash:"
    return reason


def _is_text(name: bytes) -> bool:
    """Tell whether an SSID can stand in a YAML file, and all versions mean the same by it."""
    try:
        return name.decode("utf-8").isprintable() and b"\\" not in name
    except UnicodeDecodeError:
        return False


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


def _id(interface: str | None) -> str:
    """Name an interface within the file.

    The names decide which one counts where several match: first one for a certain interface, then
    one for any, last what others wrote (Debian's cloud images: `all-en`).
    """
    return quoted(f"00-piot-{interface}" if interface else "01-piot")


def _addresses(
    addresses: tuple[Interface | str, ...],
    gateways: tuple[Address, ...],
    dns: tuple[Address, ...],
    search: tuple[str, ...],
) -> list[str]:
    """Render the addresses of an interface."""
    fixed = [address for address in addresses if not isinstance(address, str)]
    four = any(address.version == 4 for address in fixed)
    automatic = not four or DHCP in addresses
    lines = [f"      dhcp4: {'true' if automatic else 'false'}"]
    if automatic and dns:
        lines += ["      dhcp4-overrides:", "        use-dns: false"]
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
    lines = [f"        {quoted(network.ssid.decode('utf-8'))}:"]
    if network.hidden:
        lines.append("          hidden: true")
    secret = network.psk_hex or network.password
    kind = network.security
    if kind == "open" or (kind == "auto" and secret is None):
        return lines if network.hidden else [f"{lines[0]} {{}}"]
    if kind == "auto" and network.password is not None:
        # Without a word on the kind of key, newer versions try WPA3 as well.
        return [*lines, f"          password: {quoted(network.password)}"]
    lines.append("          auth:")
    rows = {"key-management": {"wpa3": "sae", "eap": "eap"}.get(kind, "psk")}
    if kind == "eap":
        rows["method"] = str(network.eap)
        rows |= _eap(network)
    if secret is not None:
        rows["client-key-password" if network.eap == "tls" else "password"] = quoted(secret)
    return [*lines, *(f"            {key}: {value}" for key, value in rows.items())]


def _eap(network: Wifi) -> dict[str, str]:
    """Render the account and the certificates of 802.1X."""
    phase2 = network.phase2 or ("mschapv2" if network.eap in ("peap", "ttls") else "")
    files = {
        "ca-certificate": network.ca_cert,
        "client-certificate": network.client_cert,
    }
    rows = {key: f"{CERTIFICATES}/{name}" for key, name in files.items() if name}
    if network.client_key:
        rows["client-key"] = private_key(network.section)
    rows["identity"] = network.identity or ""
    rows["anonymous-identity"] = network.anonymous_identity or ""
    rows["phase2-auth"] = phase2.upper()
    return {key: quoted(value) for key, value in rows.items() if value}
