"""Read what this device is: the facts that rendering may depend on."""

from __future__ import annotations

import re

from piot_firstboot.facts import Facts
from piot_firstboot.system import System

_WIRED_FIRST = ("eth0", "end0", "wlan0")  # the Pi's own interfaces, stable over USB sticks


def facts(system: System) -> Facts:
    """Collect serial number, hardware address, model and the present host name."""
    serial = _text(system, "/proc/device-tree/serial-number")
    if not serial:
        match = re.search(rb"^Serial\s*:\s*(\w+)", system.read("/proc/cpuinfo") or b"", re.M)
        serial = match[1].decode() if match else ""
    return Facts(
        serial=serial,
        mac=_mac(system),
        model=_text(system, "/proc/device-tree/model"),
        host=_text(system, "/etc/hostname"),
    )


def zones(system: System) -> frozenset[str]:
    """List the time zones that tzdata brings; none where it is not installed."""
    text = (system.read("/usr/share/zoneinfo/tzdata.zi") or b"").decode("ascii", "replace")
    return frozenset(
        words[1 if words[0] == "Z" else 2]
        for words in map(str.split, text.splitlines())
        if len(words) > 2 and words[0] in ("Z", "L")
    )


def _mac(system: System) -> str:
    """Return the address of the first network interface, without colons."""
    names = [name for name in system.names("/sys/class/net") if name != "lo"]
    for name in sorted(names, key=lambda name: (name not in _WIRED_FIRST, name)):
        address = _text(system, f"/sys/class/net/{name}/address").replace(":", "")
        if address and set(address) != {"0"}:
            return address
    return ""


def _text(system: System, path: str) -> str:
    """Read a one-line file; device-tree strings end in NUL."""
    return (system.read(path) or b"").decode("utf-8", "replace").strip("\0 \t\r\n")
