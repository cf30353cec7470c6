"""The radio: whether Wi-Fi may be used at all, and by the rules of which country."""

from __future__ import annotations

import re

from piot_firstboot.system import System

_SWITCHES = "/sys/class/rfkill"
_SAVED = "/var/lib/systemd/rfkill"  # what systemd-rfkill puts back at each boot
_MANAGER = "/var/lib/NetworkManager/NetworkManager.state"
_OFF = re.compile(rb"(?m)^WirelessEnabled=false\s*$")


def country(system: System) -> str:
    """Return the country that the kernel goes by; `00` means none."""
    shown = system.run(("iw", "reg", "get"))
    match = re.search(r"(?m)^country (\w\w):", shown.out)
    # Without the tool or without a radio nothing can be known or set; cmdline.txt has the country.
    return match[1] if match else ""


def set_country(system: System, code: str) -> None:
    """Tell the kernel the country, for the time until the next boot."""
    system.run(("iw", "reg", "set", code))


def switch(system: System) -> str:
    """Return `off` when anything blocks Wi-Fi by software, else `on`."""
    blocked = any(_text(system, f"{path}/soft") == "1" for path in _radios(system))
    saved = any(_text(system, f"{_SAVED}/{name}") == "1" for name in _saved(system))
    manager = _OFF.search(system.read(_MANAGER) or b"")
    return "off" if blocked or saved or manager else "on"


def set_switch(system: System, value: str) -> None:
    """Unblock Wi-Fi: now, at the next boot, and in NetworkManager's own memory."""
    if value != "on":
        return  # nobody asks for that
    system.run(("rfkill", "unblock", "wlan"))
    for name in _saved(system):
        if _text(system, f"{_SAVED}/{name}") == "1":
            system.write(f"{_SAVED}/{name}", b"0\n")
    data = system.read(_MANAGER) or b""
    if _OFF.search(data):
        system.write(_MANAGER, _OFF.sub(b"WirelessEnabled=true", data))
    if system.exists("/run/NetworkManager"):
        # It would write its own view of it; and it can unblock where there is no rfkill(8).
        system.run(("nmcli", "radio", "wifi", "on"), timeout=15)


def _radios(system: System) -> list[str]:
    """List the switches that are of Wi-Fi."""
    paths = (f"{_SWITCHES}/{name}" for name in system.names(_SWITCHES))
    return [path for path in paths if _text(system, f"{path}/type") == "wlan"]


def _saved(system: System) -> list[str]:
    """List the saved switches of Wi-Fi: their names end in its type."""
    return [name for name in system.names(_SAVED) if name.endswith(":wlan")]


def _text(system: System, path: str) -> str:
    """Read a word from a file."""
    return (system.read(path) or b"").decode("ascii", "replace").strip()
