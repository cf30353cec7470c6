"""NetworkManager's keyfiles; nm-settings-keyfile(5), values as in GLib's key files."""

from __future__ import annotations

from hashlib import blake2b

from piot_firstboot.netvalues import DHCP, Address, Interface
from piot_firstboot.render.origin import COMMENT
from piot_firstboot.sections.ethernet import Ethernet
from piot_firstboot.sections.wifi import Wifi

FOLDER = "/etc/NetworkManager/system-connections"
CERTIFICATES = "/var/lib/piot/network/certs"
_MOST_NAME = 15  # characters; IFNAMSIZ of netdevice(7), without its end

Rows = list[tuple[str, str]]


def path(section: str) -> str:
    """Return where the profile of a section lies."""
    return f"{FOLDER}/piot-{section.replace('.', '-')}.nmconnection"


def private_key(section: str) -> str:
    """Return where a network's private key lies; the same, wherever the key came from."""
    return f"{CERTIFICATES}/{section}.client_key"


def wifi(network: Wifi) -> bytes:
    """Render the profile of a Wi-Fi network."""
    blocks: dict[str, Rows] = {"connection": _connection(network.section, "wifi")}
    if network.priority:
        blocks["connection"].append(("autoconnect-priority", str(network.priority)))
    blocks["wifi"] = [("mode", "infrastructure"), ("ssid", ssid(network.ssid))]
    if network.hidden:
        blocks["wifi"].append(("hidden", "true"))
    blocks |= _security(network)
    blocks |= _addresses(network.addresses, network.gateways, network.dns, ())
    return _text(blocks)


def ethernet(network: Ethernet) -> bytes:
    """Render the profile of a wired network, or of a VLAN on one."""
    kind = "vlan" if network.vlan is not None else "ethernet"
    rows = _connection(network.section, kind)
    blocks: dict[str, Rows] = {"connection": rows}
    if network.vlan is not None:
        rows.append(("interface-name", vlan_name(str(network.interface), network.vlan)))
        blocks["vlan"] = [("id", str(network.vlan)), ("parent", str(network.interface))]
    elif network.interface:
        rows.append(("interface-name", network.interface))
    # Before the profile that NetworkManager makes by itself for each wired interface (-999), and
    # one for a certain interface before one for any.
    rows.append(("autoconnect-priority", "2" if network.interface else "1"))
    if kind == "ethernet":
        blocks["ethernet"] = []
    blocks |= _addresses(network.addresses, network.gateways, network.dns, network.dns_search)
    return _text(blocks)


def vlan_name(interface: str, vlan: int, prefix: str = "") -> str:
    """Name the interface of a VLAN; of a long name its end, which tells adapters apart."""
    tail = f".{vlan}"
    return prefix + interface[-(_MOST_NAME - len(prefix + tail)) :].lstrip(".-") + tail


def ssid(name: bytes) -> str:
    """Write an SSID: as text where it is plain UTF-8, else as a list of bytes."""
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    # What holds a `;` might be read as such a list.
    if text and text.isprintable() and ";" not in text:
        return escaped(text)
    return "".join(f"{byte};" for byte in name)


def escaped(value: str) -> str:
    """Protect backslashes, control characters and blanks at the ends of a value."""
    text = value.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")
    text = text.replace("\r", "\\r")
    bare = text.lstrip(" ")
    text = "\\s" * (len(text) - len(bare)) + bare
    bare = text.rstrip(" ")
    return bare + "\\s" * (len(text) - len(bare))


def _connection(section: str, kind: str) -> Rows:
    """Name the profile; its UUID follows from the section, so it stays over changes."""
    digest = blake2b(f"piot {section}".encode(), digest_size=16).hexdigest()
    # RFC 9562, version 8: made by rules of one's own.
    mark = f"{digest[:12]}8{digest[13:16]}8{digest[17:]}"
    uuid = "-".join((mark[:8], mark[8:12], mark[12:16], mark[16:20], mark[20:]))
    name = f"piot-{section.replace('.', '-')}"
    return [("id", name), ("uuid", uuid), ("type", kind)]


def _security(network: Wifi) -> dict[str, Rows]:
    """Render how a Wi-Fi network is entered."""
    kind = network.security
    secret = network.psk_hex or network.password
    if kind == "open" or (kind == "auto" and secret is None):
        return {}
    if kind == "owe":
        return {"wifi-security": [("key-mgmt", "owe")]}
    if kind == "eap":
        return {"wifi-security": [("key-mgmt", "wpa-eap")], "802-1x": _eap(network)}
    # wpa-psk stands for WPA2 and WPA3 both; NetworkManager takes the better of what is offered.
    rows = [("key-mgmt", "sae" if kind == "wpa3" else "wpa-psk")]
    if kind == "wpa2":
        rows.append(("pmf", "2"))  # optional, as access points of that time want it
    return {"wifi-security": [*rows, ("psk", escaped(secret or ""))]}


def _eap(network: Wifi) -> Rows:
    """Render the account and the certificates of 802.1X."""
    rows: Rows = [("eap", f"{network.eap};"), ("identity", escaped(network.identity or ""))]
    if network.anonymous_identity:
        rows.append(("anonymous-identity", escaped(network.anonymous_identity)))
    if network.ca_cert:
        rows.append(("ca-cert", f"{CERTIFICATES}/{network.ca_cert}"))
    if network.client_cert:
        rows.append(("client-cert", f"{CERTIFICATES}/{network.client_cert}"))
    if network.client_key:
        rows.append(("private-key", private_key(network.section)))
        if network.password is None:
            rows.append(("private-key-password-flags", "4"))  # there is none
        else:
            rows.append(("private-key-password", escaped(network.password)))
    if network.eap in ("peap", "ttls"):
        rows.append(("phase2-auth", network.phase2 or "mschapv2"))
    if network.password is not None and network.eap != "tls":
        rows.append(("password", escaped(network.password)))
    return rows


def _addresses(
    addresses: tuple[Interface | str, ...],
    gateways: tuple[Address, ...],
    dns: tuple[Address, ...],
    search: tuple[str, ...],
) -> dict[str, Rows]:
    """Render both families; one without a fixed address stays automatic."""
    blocks: dict[str, Rows] = {}
    for version in (4, 6):
        fixed = [a for a in addresses if not isinstance(a, str) and a.version == version]
        dynamic = not fixed or (version == 4 and DHCP in addresses)
        rows: Rows = [("method", "auto" if dynamic else "manual")]
        rows += [(f"address{i}", a.with_prefixlen) for i, a in enumerate(fixed, 1)]
        rows += [("gateway", str(way)) for way in gateways if way.version == version]
        servers = [str(server) for server in dns if server.version == version]
        if servers:
            rows.append(("dns", "".join(f"{server};" for server in servers)))
        if dns:
            # Those that the network announces, for either family, would be asked as well.
            rows.append(("ignore-auto-dns", "true"))
        if search:
            rows.append(("dns-search", "".join(f"{domain};" for domain in search)))
        blocks[f"ipv{version}"] = rows
    return blocks


def _text(blocks: dict[str, Rows]) -> bytes:
    """Write the blocks of a keyfile."""
    parts = [COMMENT]
    for name, rows in blocks.items():
        parts.append("\n".join([f"[{name}]", *(f"{key}={value}" for key, value in rows)]))
    return ("\n\n".join(parts) + "\n").encode()
