"""Read what this device is: the facts that rendering may depend on."""

from __future__ import annotations

import re

from piot_firstboot import locales, overruling
from piot_firstboot.facts import Facts, Person
from piot_firstboot.system import System

_WIRED_FIRST = ("eth0", "end0", "wlan0")  # the Pi's own interfaces, stable over USB sticks


# Which program is there decides; the first wins.
_NETWORK = {
    "/usr/sbin/NetworkManager": "networkmanager",
    "/usr/sbin/netplan": "netplan",
}
_NTP = {
    "/usr/lib/systemd/systemd-timesyncd": "timesyncd",
    "/usr/sbin/chronyd": "chrony",
}
_BOOT = ("/boot/firmware", "/boot")
# Where `systemctl enable ssh.socket` leaves its link on Debian, and on Ubuntu.
_SOCKETS = ("sockets.target.wants/ssh.socket", "ssh.service.requires/ssh.socket")


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
        network=_first(system, _NETWORK),
        ntp=_first(system, _NTP),
        boot=next((folder for folder in _BOOT if system.exists(f"{folder}/cmdline.txt")), ""),
        codename=_codename(system),
        present=frozenset({"iw"} if system.exists("/usr/sbin/iw") else ()),
        people=people(system),
        groups=frozenset(system.accounts("group")),
        sudo=system.exists("/usr/sbin/visudo"),
        ssh_socket=any(system.entry(f"/etc/systemd/system/{link}") for link in _SOCKETS),
        sshd_before=overruling.sshd_before(system),
        sshd_includes=overruling.sshd_includes(system),
        sudo_after=overruling.sudo_after(system),
    )


def _first(system: System, table: dict[str, str]) -> str:
    """Return the word for the first program of a table that is installed."""
    return next((word for path, word in table.items() if system.exists(path)), "")


def _codename(system: System) -> str:
    """Return the name of the Debian release, as in sources.list."""
    match = re.search(r'(?m)^VERSION_CODENAME="?([a-z]+)', _text(system, "/etc/os-release"))
    return match[1] if match else ""


def words(system: System) -> dict[str, frozenset[str]]:
    """Return what only the device knows, by the names that `Setting.among` uses."""
    return {
        "zones": zones(system),
        "locales": locales.known(system),
        "keyboards": keyboards(system),
        "groups": frozenset(system.accounts("group")),
        "shells": shells(system),
    }


def zones(system: System) -> frozenset[str]:
    """List the time zones that tzdata brings; none where it is not installed."""
    text = (system.read("/usr/share/zoneinfo/tzdata.zi") or b"").decode("ascii", "replace")
    return frozenset(
        words[1 if words[0] == "Z" else 2]
        for words in map(str.split, text.splitlines())
        if len(words) > 2 and words[0] in ("Z", "L")
    )


def shells(system: System) -> frozenset[str]:
    """List the programs that may be someone's shell; shells(5)."""
    text = (system.read("/etc/shells") or b"").decode("utf-8", "replace")
    listed = (line.strip() for line in text.splitlines() if line.startswith("/"))
    return frozenset(path for path in listed if system.exists(path))


def people(system: System) -> dict[str, Person]:
    """List the accounts with their home, main group and shell."""
    names = {row[2]: name for name, row in system.accounts("group").items() if len(row) > 2}
    good = shells(system)
    return {
        name: Person(row[5], names.get(row[3], row[3]), row[6] if row[6] in good else "")
        for name, row in system.accounts("passwd").items()
        if len(row) == 7
    }


def keyboards(system: System) -> frozenset[str]:
    """List keyboard layouts, alone and with each variant; none without xkeyboard-config."""
    found, part = set(), ""
    text = (system.read("/usr/share/X11/xkb/rules/base.lst") or b"").decode("utf-8", "replace")
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["!"]:
            part = words[-1]
        elif words and part == "layout":
            found.add(words[0])
        elif len(words) > 1 and part == "variant":
            found.add(f"{words[1].rstrip(':')} {words[0]}")
    return frozenset(found)


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
