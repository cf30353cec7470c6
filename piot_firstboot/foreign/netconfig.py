"""cloud-init's network-config: version 2 is netplan's format, version 1 cloud-init's own."""

from __future__ import annotations

from piot_firstboot.foreign import cloudfile, netconfig1, wifinet
from piot_firstboot.foreign.carried import Carried, Draft
from piot_firstboot.foreign.cloudfile import NO_SETTING, Block
from piot_firstboot.yamltext import Mapping, Node, Scalar

_SECURITY = {
    "none": "open",
    "psk": "",
    "psk_sha256": "",
    "sae": "wpa3",
    "eap": "eap",
    "eap_sha256": "eap",
    "802.1x": "eap",
}
_EVERYWHERE = frozenset({"default", "0.0.0.0/0", "::/0", "0/0"})
# What makes no difference to PioT: who sets it up, and whether the boot waits for it.
_COVERED = ("renderer", "optional", "critical", "accept_ra", "dhcp6", "dhcp_identifier")


def carry(data: bytes, source: str = "network-config") -> Carried:
    """Read a network-config. Raises ConfigError."""
    draft = Draft(source)
    root = cloudfile.read(draft, data)
    if root is None:
        return draft.done()
    net = root.block("network") if "network" in root.pairs else root
    if net is not root:
        root.leave_rest("this stands outside of network:")
        net.name = ""
    line, version = net.line("version"), net.text("version")
    config = net.pairs.get("config", (None, None))[1]
    if isinstance(config, Scalar) and config.text == "disabled":
        net.drop("config")
        draft.leave(config.place.line, "config: disabled", "PioT leaves alone what it is not told")
    elif version == "1":
        netconfig1.carry(net)
    elif version in ("2", ""):
        _interfaces(net)
    else:
        draft.problem(line, 1, "there are version 1 and version 2 of network-config")
    net.leave_rest()
    return draft.done()


def _interfaces(net: Block) -> None:
    """Carry wired networks, VLANs and Wi-Fi over."""
    net.drop("renderer")
    taken: set[str] = set()
    for name, wired in net.members("ethernets"):
        _wired(wired, name, taken)
    for name, vlan in net.members("vlans"):
        _wired(vlan, name, taken, vlan=True)
    taken = set()
    for _, wifi in net.members("wifis"):
        _wifi(wifi, taken)
    for kind in ("bonds", "bridges", "tunnels", "modems", "vrfs", "dummy_devices"):
        net.leave(kind, "PioT sets up wired networks, VLANs and Wi-Fi")


def _interface(wired: Block, name: str) -> str:
    """Return the interface that is meant, empty for any wired one."""
    wired.drop("set_name")
    if "match" not in wired.pairs:
        return name
    match = wired.block("match")
    found = match.text("name")
    match.leave_rest("PioT finds interfaces by their name; add interface = …")
    return "" if set(found) & set("*?[") else found


def _wired(wired: Block, name: Scalar, taken: set[str], *, vlan: bool = False) -> None:
    """Carry the addresses of an interface over, if there is more to say than DHCP."""
    draft = wired.draft
    section = f"ethernet.{wifinet.free_name(wifinet.plain_name(name.text, 'wired'), taken)}"
    found = _addresses(wired)
    if not found and not vlan:
        wired.drop("match", "set_name")
    interface = wired.text("link") if vlan else _interface(wired, name.text)
    if (found or vlan) and interface:
        draft.put(section, "interface", interface, name.place.line)
    if vlan:
        line = wired.line("id")
        draft.put(section, "vlan", wired.text("id"), line)
    for key, text, line in found:
        draft.put(section, key, text, line)
    wired.drop(*_COVERED)
    wired.leave_rest()


def _addresses(block: Block) -> list[tuple[str, str, int]]:
    """Read addresses, gateways and name servers, as keys of piot.conf."""
    draft = block.draft
    found: list[tuple[str, str, int]] = []
    for node in block.nodes("addresses"):
        text = _address(node)
        if text:
            found.append(("address", text, node.place.line))
        else:
            block.wrong(node, "addresses", "a list of addresses with the length of the network")
    fixed4 = any("." in text for _, text, _ in found)
    line, dhcp = block.line("dhcp4"), block.flag("dhcp4")
    if dhcp and fixed4:
        found.append(("address", "dhcp", line))
    elif dhcp is False and not fixed4:
        why = "PioT does not switch IPv4 off on an interface"
        draft.leave(line, f"{block.name}.dhcp4", why)
    for key in ("gateway4", "gateway6"):
        line, text = block.line(key), block.text(key)
        if text:
            found.append(("gateway", text, line))
    for node in block.nodes("routes"):
        route = cloudfile.block(draft, node, "routes") if isinstance(node, Mapping) else None
        if route is None:
            block.wrong(node, "routes", "a list of mappings")
            continue
        line, to, via = route.line("to"), route.text("to"), route.text("via")
        if to in _EVERYWHERE and via:
            found.append(("gateway", via, line))
            route.drop("on_link")
            route.leave_rest()
        else:
            draft.leave(line, f"{block.name}.routes", "PioT sets the default route only")
    found += _name_servers(block)
    return found


def _name_servers(block: Block) -> list[tuple[str, str, int]]:
    """Read name servers and search domains; Wi-Fi has no key for the latter."""
    servers = block.block("nameservers")
    line = servers.line("addresses")
    found = [("dns", text, line) for text in servers.texts("addresses")]
    if not block.name.startswith("wifis."):
        line = servers.line("search")
        found += [("dns_search", text, line) for text in servers.texts("search")]
    servers.leave_rest()
    return found


def _address(node: Node) -> str:
    """Return an address, given as a text or as the key of its options."""
    if isinstance(node, Mapping) and len(node.pairs) == 1:
        return node.pairs[0][0].text.strip()
    return node.text.strip() if isinstance(node, Scalar) else ""


def _wifi(wifi: Block, taken: set[str]) -> None:
    """Carry the networks of one wireless interface over."""
    draft = wifi.draft
    wifi.drop("match", "set_name", *(_COVERED))
    line, country = wifi.line("regulatory_domain"), wifi.text("regulatory_domain")
    if country:
        draft.put("wifi.*", "country", country.upper(), line)
    found = _addresses(wifi)
    shared = wifi.block("auth")
    for name, point in wifi.members("access_points"):
        mode = point.text("mode")
        if mode not in ("", "infrastructure"):
            why = "PioT joins networks of access points; for an access point see [fallback]"
            draft.leave(name.place.line, f"access-points.{name.text}", why)
            continue
        network = wifinet.Network(wifinet.ssid_bytes(name.text), name.place.line)
        network.places = {"hidden": point.line("hidden"), "password": point.line("password")}
        network.password = point.secret("password")
        network.hidden = bool(point.flag("hidden"))
        auth = point.block("auth")
        _auth(auth if auth.pairs else shared, network)
        section = wifinet.put(draft, network, taken)
        for key, text, line in found:
            draft.put(section, key, text, line)
        point.leave_rest()
    wifi.leave_rest()


def _auth(auth: Block, network: wifinet.Network) -> None:
    """Read how a network is protected."""
    draft = auth.draft
    line, kind = auth.line("key_management"), auth.text("key_management")
    if kind and kind.replace("-", "_") not in _SECURITY:
        draft.leave(line, "auth.key-management", "PioT knows none such")
    network.security = _SECURITY.get(kind.replace("-", "_"), "")
    network.places["security"] = line
    line, password = auth.line("password"), auth.secret("password")
    if password:
        network.password, network.places["password"] = password, line
    if network.security == "open" and network.password:
        network.password = ""
        draft.leave(line, "auth.password", "a network without protection has none")
    if network.security != "eap":
        auth.leave_rest("this is for 802.1X only")
        return
    for name, key in (("method", "eap"), ("identity", ""), ("anonymous_identity", "")):
        line, text = auth.line(name), auth.text(name)
        if text:
            network.more[key or name] = text
            network.places[key or name] = line
    line, text = auth.line("phase2_auth"), auth.text("phase2_auth")
    if text:
        network.more["phase2"], network.places["phase2"] = wifinet.phase2(text), line
    for name, key in (
        ("ca_certificate", "ca_cert"),
        ("client_certificate", "client_cert"),
        ("client_key", "client_key"),
    ):
        line, text = auth.line(name), auth.text(name)
        if text:
            network.more[key] = wifinet.file_beside(draft, line, f"auth.{name}", text)
            network.places[key] = line
    auth.leave_rest(NO_SETTING)
