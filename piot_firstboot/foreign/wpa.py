"""wpa_supplicant.conf, as Raspberry Pi OS took it from the boot partition until Bullseye.

What the fields mean is in wpa_supplicant.conf(5) and the commented example of wpa_supplicant.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from piot_firstboot.foreign import sourcetext, wifinet
from piot_firstboot.foreign.carried import Carried, Draft

# Where the control socket lies, and what is agreed on with the network in any case.
_COVERED = frozenset(
    "ctrl_interface ctrl_interface_group update_config ap_scan fast_reauth eapol_version "
    "p2p_disabled pmf sae_pwe".split()
)
_AGREED = frozenset(
    "proto pairwise group group_mgmt ieee80211w auth_alg mode disabled id_str".split()
)
_PSK = frozenset({"WPA-PSK", "WPA-PSK-SHA256", "FT-PSK"})
_SAE = frozenset({"SAE", "FT-SAE"})
_EAP = frozenset({"WPA-EAP", "WPA-EAP-SHA256", "FT-EAP", "IEEE8021X"})
_QUOTED = frozenset(
    "ssid psk sae_password identity anonymous_identity password ca_cert client_cert private_key "
    "phase2".split()
)
_FILES = (("ca_cert", "ca_cert"), ("client_cert", "client_cert"), ("private_key", "client_key"))
_ESCAPE = re.compile(rb"\\(?:x([0-9A-Fa-f]{1,2})|([0-7]{1,3})|(.))", re.DOTALL)
_LETTERS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"e": b"\x1b"}


@dataclass(slots=True)
class _Block:
    """A `network={ … }`: its fields and the lines they stand in."""

    line: int
    fields: dict[str, str] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)


def carry(data: bytes, source: str = "wpa_supplicant.conf") -> Carried:
    """Read a wpa_supplicant.conf. Raises ConfigError."""
    draft = Draft(source)
    if sourcetext.read(draft, data, any_bytes=True) is None:
        return draft.done()
    taken: set[str] = set()
    for block in _blocks(draft):
        _network(draft, block, taken)
    return draft.done()


def _blocks(draft: Draft) -> list[_Block]:
    """Read the lines: what stands outside of blocks is carried over or left here."""
    found: list[_Block] = []
    block: _Block | None = None
    other = ""  # a block of another kind, which is left as a whole
    for number, raw in enumerate(draft.lines, 1):
        line = _without_comment(raw)
        column = len(raw) - len(raw.lstrip()) + 1
        if not line:
            continue
        if other or block:
            if line == "}":
                block, other = None, ""
            elif block:
                _field(draft, block, line, number, column)
        elif line in ("network={", "network = {"):
            block = _Block(number)
            found.append(block)
        elif line.endswith("={"):
            other = line
            draft.leave(number, line[:-2], "PioT has no setting for this")
        elif "=" not in line:
            draft.problem(number, column, "this line has no `=`", "is this a wpa_supplicant.conf?")
        else:
            _outside(draft, line, number)
    if block or other:
        line_of = found[-1].line if block else 0
        draft.problem(line_of, 1, "this block is never closed", "add a line with } at its end")
    return found


def _without_comment(line: str) -> str:
    """Strip a comment as wpa_supplicant does: only what follows the last quote can be one."""
    line = line.strip(" \t")
    if line.startswith("#"):
        return ""
    first = line.find('"')
    last = line.rfind('"', first + 1) if first >= 0 else -1
    at = line.find("#", max(last, 0))
    return (line if at < 0 else line[:at]).strip(" \t")


def _field(draft: Draft, block: _Block, line: str, number: int, column: int) -> None:
    """Read a line within a block."""
    name, equals, value = line.partition("=")
    name = name.strip(" \t")
    if not equals:
        draft.problem(number, column, "this line has no `=`", "is a } missing before it?")
    elif line.endswith("={"):
        draft.problem(number, column, "a block begins within another", "is a } missing before it?")
    elif name in block.fields:
        message = f"{name} is given twice, first in line {block.lines[name]}"
        draft.problem(number, column, message)
    else:
        block.fields[name] = value.strip(" \t")
        block.lines[name] = number


def _outside(draft: Draft, line: str, number: int) -> None:
    """Carry over or leave a line outside of blocks."""
    name, _, value = (part.strip(" \t") for part in line.partition("="))
    if name == "country":
        draft.put("wifi.*", "country", value.upper(), number)
    elif name not in _COVERED:
        draft.leave(number, name, "PioT has no setting for this")


def _network(draft: Draft, block: _Block, taken: set[str]) -> None:
    """Carry a network over, if PioT can join it."""
    fields, lines = block.fields, block.lines
    read = {name: _value(draft, block, name) for name in fields if name in _QUOTED}
    if any(value is None for value in read.values()):
        return
    texts = {name: value for name, value in read.items() if value is not None}
    why = _reason_against(fields, texts)
    if why:
        draft.leave(block.line, "network", why)
        return
    network = wifinet.Network(texts["ssid"], lines["ssid"])
    network.places = {"password": lines.get("psk", 0), "security": lines.get("key_mgmt", 0)}
    network.places |= {"hidden": lines.get("scan_ssid", 0), "priority": lines.get("priority", 0)}
    network.hidden = fields.get("scan_ssid") == "1"
    priority = fields.get("priority", "0")
    if re.fullmatch(r"-?[0-9]{1,9}", priority):
        network.priority = int(priority)
    else:
        draft.problem(lines["priority"], 1, "priority must be a whole number")
    _secure(draft, block, texts, network)
    wifinet.put(draft, network, taken)
    known = {*_QUOTED, *_AGREED, "scan_ssid", "priority", "key_mgmt", "eap"}
    for name in fields:
        if name not in known:
            draft.leave(lines[name], name, "PioT has no setting for this")


def _reason_against(fields: dict[str, str], texts: dict[str, bytes]) -> str:
    """Say why PioT cannot join a network, or nothing."""
    if not texts.get("ssid"):
        return "there is no ssid; PioT joins networks by their name"
    if fields.get("disabled") == "1":
        return "it is switched off there (disabled=1)"
    if fields.get("mode", "0") != "0":
        return "PioT joins networks of access points only; for an access point see [fallback]"
    if any(name.startswith("wep_key") for name in fields):
        return "WEP protects nothing, so PioT does not join such networks"
    words = set(fields.get("key_mgmt", "").upper().split())
    if words - _PSK - _SAE - _EAP - {"NONE", "OWE"}:
        return "PioT does not know its key_mgmt"
    return ""


def _secure(draft: Draft, block: _Block, texts: dict[str, bytes], network: wifinet.Network) -> None:
    """Find out how a network is protected, and take what that needs."""
    fields, lines = block.fields, block.lines
    words = set(fields.get("key_mgmt", "").upper().split())
    if not words:  # wpa_supplicant's default is WPA-PSK WPA-EAP
        words = {"WPA-EAP"} if "eap" in fields else {"WPA-PSK"}
    if words & _EAP and "psk" not in fields:
        network.security = "eap"
        network.places["password"] = lines.get("password", 0)
        _enterprise(draft, block, texts, network)
        return
    if words == {"NONE"}:
        network.security = "open"
    elif words == {"OWE"}:
        network.security = "owe"
    elif words <= _SAE:
        network.security = "wpa3"
    secret = "sae_password" if "sae_password" in fields and "psk" not in fields else "psk"
    if network.security in ("open", "owe"):
        return
    network.places["password"] = lines.get(secret, 0)
    network.password = _text(texts.get(secret, b""))
    if not network.password:
        network.security = network.security or "wpa2"  # else it would be taken for an open one
        draft.leave(block.line, "psk", wifinet.NO_PASSWORD)
    if wifinet.is_key(network.password) and network.security == "wpa3":
        draft.leave(lines[secret], secret, "WPA3 needs the password, not a key; write it anew")
        network.password = ""


def _enterprise(
    draft: Draft, block: _Block, texts: dict[str, bytes], network: wifinet.Network
) -> None:
    """Take what 802.1X needs."""
    lines, more = block.lines, network.more
    methods = block.fields.get("eap", "").lower().split()
    if methods:
        more["eap"] = methods[0]
    for method in methods[1:]:
        draft.leave(lines["eap"], f"eap {method}", "PioT tries one method; the first was taken")
    for name in ("identity", "anonymous_identity"):
        if name in texts:
            more[name] = _text(texts[name])
    if "phase2" in texts:
        more["phase2"] = wifinet.phase2(_text(texts["phase2"]))
    for name, key in _FILES:
        if name in texts:
            more[key] = wifinet.file_beside(draft, lines[name], name, _text(texts[name]))
    network.places |= {key: lines.get(key, 0) for key in more}
    if block.fields.get("password", "").startswith("hash:"):
        why = "PioT takes the password itself; add password = … to the section"
        draft.leave(lines["password"], "password", why)
    else:
        network.password = _text(texts.get("password", b""))


def _value(draft: Draft, block: _Block, name: str) -> bytes | None:
    """Read a text: "…", P"…" with escapes, or hexadecimal; None if it is none of these."""
    raw, line = block.fields[name], block.lines[name]
    data = raw.encode("utf-8", "surrogateescape")
    if raw.startswith('"'):
        if len(raw) > 1 and raw.endswith('"'):
            return data[1:-1]
        draft.problem(line, 1, f"the quote of {name} is never closed", 'write it as "…"')
        return None
    if raw.startswith('P"'):
        if len(raw) > 2 and raw.endswith('"'):
            return _ESCAPE.sub(_unescape, data[2:-1])
        draft.problem(line, 1, f"the quote of {name} is never closed", 'write it as P"…"')
        return None
    if name in ("psk", "sae_password", "password"):
        if name == "psk" and not wifinet.is_key(raw):
            message = "a psk without quotes is a key of 64 hexadecimal digits"
            draft.problem(line, 1, message, 'write a password as psk="…"')
            return None
        if name == "psk" or raw.startswith("hash:"):
            return data
    try:
        return bytes.fromhex(raw)
    except ValueError:
        draft.problem(line, 1, f"{name} without quotes must be hexadecimal", f'write {name}="…"')
        return None


def _unescape(match: re.Match[bytes]) -> bytes:
    """Return the byte that an escape stands for."""
    if match[1]:
        return bytes([int(match[1], 16)])
    if match[2]:
        return bytes([int(match[2], 8) & 0xFF])
    return _LETTERS.get(match[3], match[3])


def _text(data: bytes) -> str:
    """Return a text; bytes that are no UTF-8 stay, as surrogates that no piot.conf takes."""
    return data.decode("utf-8", "surrogateescape")
