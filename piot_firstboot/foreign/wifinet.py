"""What all formats say of a Wi-Fi network, as entries of `[wifi.NAME]`."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from piot_firstboot.foreign.carried import Draft, printable

_HEX_KEY = re.compile(r"[0-9A-Fa-f]{64}")
_PHASE2 = re.compile(r"auth(?:eap)?=([A-Za-z0-9-]+)")
_MOST_NAME = 30  # netvalues.section_name
NO_PASSWORD = "the password is not in this file; add password = … to the [wifi]"
BESIDE = "copy the file beside piot.conf, under this name"


@dataclass(slots=True)
class Network:
    """A Wi-Fi network; `security` is a word of piot.conf, empty for what piot.conf assumes."""

    ssid: bytes
    line: int = 0
    password: str = field(default="", repr=False)
    security: str = ""
    hidden: bool = False
    priority: int = 0
    more: dict[str, str] = field(default_factory=dict, repr=False)
    places: dict[str, int] = field(default_factory=dict)


def put(draft: Draft, network: Network, taken: set[str]) -> str:
    """Carry a network over and return its section."""
    section = f"wifi.{section_name(network.ssid, taken)}"
    at = network.places
    plain = ssid_text(network.ssid)
    if plain:
        draft.put(section, "ssid", plain, network.line)
    else:
        draft.put(section, "ssid_hex", network.ssid.hex(), network.line)
    if network.password:
        psk = is_key(network.password) and network.security not in ("eap", "wpa3")
        key = "psk_hex" if psk else "password"
        draft.put(section, key, network.password, at.get("password", network.line))
    if network.security:
        draft.put(section, "security", network.security, at.get("security", network.line))
    if network.hidden:
        draft.put(section, "hidden", True, at.get("hidden", network.line))
    if network.priority:
        draft.put(section, "priority", network.priority, at.get("priority", network.line))
    for key, value in network.more.items():
        draft.put(section, key, value, at.get(key, network.line))
    return section


def is_key(text: str) -> bool:
    """Tell whether this is the key of a network and not its password."""
    return _HEX_KEY.fullmatch(text) is not None


def ssid_text(ssid: bytes) -> str:
    """Return the name of a network if it can be written as a text, else nothing."""
    try:
        text = ssid.decode("utf-8")
    except UnicodeDecodeError:
        return ""
    return text if text.isprintable() and "\ufffd" not in text else ""


def ssid_bytes(text: str) -> bytes:
    """Return the bytes of a name that was read from a text."""
    return text.encode("utf-8", "surrogateescape" if not _lone(text) else "replace")


def _lone(text: str) -> bool:
    """Tell whether there are surrogates that stand for no byte."""
    return any("\ud800" <= c <= "\udfff" and not "\udc80" <= c <= "\udcff" for c in text)


def section_name(ssid: bytes, taken: set[str]) -> str:
    """Make a NAME for `[wifi.NAME]` from the name of a network, unlike those taken so far."""
    return free_name(plain_name(ssid.decode("utf-8", "ignore"), "network"), taken)


def plain_name(text: str, default: str) -> str:
    """Make a word of letters, digits and hyphens, at most so long as a NAME may be."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_MOST_NAME].rstrip("-") or default


def free_name(base: str, taken: set[str]) -> str:
    """Make a NAME unlike those taken so far, and take it."""
    name, number = base[:_MOST_NAME].rstrip("-"), 1
    while name in taken:
        number += 1
        tail = f"-{number}"
        name = base[: _MOST_NAME - len(tail)].rstrip("-") + tail
    taken.add(name)
    return name


def file_beside(draft: Draft, line: int, what: str, path: str) -> str:
    """Return the name that a certificate or key has beside piot.conf, and say so."""
    name = PurePosixPath(path).name
    if name:
        draft.leave(line, what, f"{BESIDE}: {printable(name)}")
    else:
        draft.leave(line, what, "this names no file")
    return name


def phase2(text: str) -> str:
    """Return the method within the tunnel from wpa_supplicant's `auth=METHOD`, or a bare one."""
    match = _PHASE2.search(text)
    return (match[1] if match else text).lower().removeprefix("eap-")
