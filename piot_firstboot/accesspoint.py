"""The fallback access point itself: NetworkManager opens it, with files that go when it closes."""

from __future__ import annotations

from piot_firstboot import idle
from piot_firstboot.errors import ApplyError
from piot_firstboot.newwifi import Network, networks
from piot_firstboot.render.fallback import UUID, captive_names, profile
from piot_firstboot.system import System

# In /run: should the power fail, it is gone.
PROFILE = "/run/NetworkManager/system-connections/piot-fallback.nmconnection"

_SCAN = 30.0  # seconds
_OPEN = 40.0
_CALL = 15.0
# What counts as a connection: not a bridge or tunnel, which are there without any cable.
_KINDS = frozenset("802-3-ethernet 802-11-wireless gsm cdma pppoe vlan bond team bluetooth".split())
_LIST = ("-t", "-f", "SSID-HEX,SIGNAL,SECURITY", "device", "wifi", "list")


def connected(system: System) -> bool:
    """Tell whether there is a way out, or an interface with a connection of its own."""
    if idle.routed(system.root.rstrip("/")):
        return True
    argv = ("nmcli", "-t", "-f", "UUID,TYPE,STATE", "connection", "show", "--active")
    rows = (line.split(":") for line in system.run(argv, timeout=_CALL).out.splitlines())
    return any(
        len(row) == 3 and row[0] != UUID and row[1] in _KINDS and row[2] == "activated"
        for row in rows
    )


def scan(system: System) -> tuple[Network, ...]:
    """List the networks within reach; the radio can do so only while no access point is open."""
    system.run(("nmcli", "radio", "wifi", "on"), timeout=_CALL)
    result = system.run(("nmcli", *_LIST, "--rescan", "yes"), timeout=_SCAN)
    if result.code != 0:
        # It refuses to look again so soon: take what it saw.
        result = system.run(("nmcli", *_LIST, "--rescan", "no"), timeout=_CALL)
    return networks(result.out)


def open_up(system: System, name: str, password: str) -> None:
    """Open the access point; raises ApplyError when it does not come up."""
    system.write(idle.CAPTIVE, captive_names())
    system.write(PROFILE, profile(name, password), 0o600)
    result = system.run(("nmcli", "connection", "load", PROFILE), timeout=_CALL)
    if result.code == 0:
        argv = ("nmcli", "--wait", f"{_OPEN:.0f}", "connection", "up", "uuid", UUID)
        result = system.run(argv, timeout=_OPEN + 5)
    if result.code != 0:
        close(system)
        hint = "is there a Wi-Fi interface, and dnsmasq-base? journalctl -u NetworkManager"
        raise ApplyError(f"the access point does not open: {result.reason}", hint)


def close(system: System) -> None:
    """Close the access point and leave nothing of it; nothing to do when it is not open."""
    gone = system.remove(idle.CAPTIVE)
    if system.exists(PROFILE):
        system.run(("nmcli", "connection", "down", "uuid", UUID), timeout=_CALL)
        gone = system.remove(PROFILE) or gone
    if gone:
        system.run(("nmcli", "connection", "reload"), timeout=_CALL)
