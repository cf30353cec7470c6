"""`[wifi]`: the wireless networks that the device may join."""

from __future__ import annotations

from dataclasses import dataclass, field
from string import hexdigits
from typing import TYPE_CHECKING

from piot_firstboot import appvalues, netvalues, values
from piot_firstboot.conftext import Entry
from piot_firstboot.found import STORED, Found, of
from piot_firstboot.netvalues import Address, Interface
from piot_firstboot.sections import addresses
from piot_firstboot.table import Section, Setting

if TYPE_CHECKING:
    from piot_firstboot.confkeys import Judge

_PASSPHRASE = range(8, 64)  # bytes; IEEE 802.11, J.4.1
_CERTIFICATE = ("client_cert", "client_key")
_ENTERPRISE = ("eap", "identity", "anonymous_identity", "ca_cert", *_CERTIFICATE, "phase2")
# What has no meaning with an EAP method. The password with tls is that of the private key.
_UNUSED: dict[str, tuple[str, ...]] = {
    "peap": _CERTIFICATE,
    "ttls": _CERTIFICATE,
    "tls": ("phase2",),
    "pwd": (*_CERTIFICATE, "ca_cert", "anonymous_identity", "phase2"),
}

SECTIONS: tuple[Section, ...] = (
    Section(
        "wifi",
        "A Wi-Fi network. Several: one [wifi.NAME] each; the one in reach with the highest "
        "priority is taken.",
        netvalues.section_name,
    ),
)

SETTINGS: tuple[Setting, ...] = (
    Setting(
        "wifi",
        "ssid",
        netvalues.ssid,
        "The name of the network. Any characters; put it into quotes if it begins or ends with a "
        "blank.",
        "Garden Café",
        sensitivity="personal",
    ),
    Setting(
        "wifi",
        "ssid_hex",
        netvalues.ssid_hex,
        "The name in hexadecimal, for one that is no UTF-8; instead of ssid.",
        "47617264656ee9",
        sensitivity="personal",
    ),
    Setting(
        "wifi",
        "password",
        netvalues.wpa_password,
        "The password, 8 to 63 bytes (wpa3: any length; eap: of the account; eap = tls: of the "
        "private key, if it has one).",
        "correct horse",
        sensitivity="secret",
        stored=True,
    ),
    Setting(
        "wifi",
        "psk_hex",
        netvalues.psk_hex,
        "Instead of a password, the key that `wpa_passphrase` computes: it opens this one network "
        "and tells nobody the password.",
        "4ac60f4a6a4f8b5d8b2a4b0f6c3b9d3c0f2e1d4c3b2a190807060504f3e2d1c0",
        sensitivity="secret",
        stored=True,
    ),
    Setting(
        "wifi",
        "security",
        netvalues.security,
        "auto (WPA2 or WPA3 with a password, open without), wpa2, wpa3, open, owe or eap.",
        "auto",
        default="auto",
    ),
    Setting(
        "wifi",
        "country",
        netvalues.country,
        "The country that the device is in, two letters: its rules for radio apply. Needed once, "
        "in any Wi-Fi section; without it a Raspberry Pi keeps Wi-Fi blocked.",
        "DE",
    ),
    Setting(
        "wifi",
        "hidden",
        values.boolean,
        "Whether the network does not tell its name, and must be asked for by it.",
        "no",
        default=False,
    ),
    Setting(
        "wifi",
        "priority",
        netvalues.priority,
        "Which network is taken when several are in reach: the one with the highest number, from "
        "-999 to 999.",
        "10",
        default=0,
    ),
    Setting("wifi", "eap", netvalues.eap, "For 802.1X: peap, ttls, tls or pwd.", "peap"),
    Setting(
        "wifi",
        "identity",
        netvalues.text_line,
        "For 802.1X: the name of the account.",
        "anna@example.org",
        sensitivity="personal",
    ),
    Setting(
        "wifi",
        "anonymous_identity",
        netvalues.text_line,
        "For 802.1X: the name that is shown outside the tunnel.",
        "anonymous@example.org",
        sensitivity="personal",
    ),
    Setting(
        "wifi",
        "ca_cert",
        appvalues.file_name,
        "For 802.1X: the file, beside piot.conf, with the certificate that vouches for the server. "
        "Without it the device gives its password to any that asks.",
        "university-ca.pem",
        file=True,
    ),
    Setting(
        "wifi",
        "client_cert",
        appvalues.file_name,
        "For eap = tls: the file, beside piot.conf, with the device's certificate.",
        "device.pem",
        file=True,
    ),
    Setting(
        "wifi",
        "client_key",
        appvalues.file_name,
        "For eap = tls: the file, beside piot.conf, with the private key of that certificate. Once "
        "applied, it is moved to the store.",
        "device.key",
        stored=True,
        file=True,
    ),
    Setting(
        "wifi",
        "phase2",
        netvalues.phase2,
        "For peap and ttls: the method within the tunnel. If not given: mschapv2.",
        "mschapv2",
    ),
    *addresses.rows("wifi"),
)


@dataclass(frozen=True, slots=True)
class Wifi:
    """A Wi-Fi network. `section` is its header in the file, `line` where that stands.

    `password` is the passphrase, or that of the 802.1X account; `psk_hex` the computed key.
    """

    ssid: bytes
    password: str | None = field(repr=False)
    psk_hex: str | None = field(repr=False)
    security: str
    country: str | None
    hidden: bool
    priority: int
    eap: str | None
    identity: str | None
    anonymous_identity: str | None
    ca_cert: str | None
    client_cert: str | None
    client_key: str | None
    phase2: str | None
    addresses: tuple[Interface | str, ...]
    gateways: tuple[Address, ...]
    dns: tuple[Address, ...]
    section: str
    line: int


def judge(judge: Judge, found: list[Found]) -> None:
    """Hold the keys of each network against each other, and networks against each other."""
    wifi = of(found, "wifi")
    for part in wifi:
        _judge_name(judge, part)
        _judge_security(judge, part)
        addresses.judge(judge, part)
    _judge_same(judge, wifi)
    _judge_country(judge, wifi)


def read(found: list[Found]) -> tuple[Wifi, ...]:
    """Return the networks in the order of the file."""
    networks = []
    for part in of(found, "wifi"):
        values = part.arguments()
        hexed = values.pop("ssid_hex")
        values["ssid"] = values["ssid"] or hexed
        networks.append(Wifi(**values, section=part.block.name, line=part.block.line))
    return tuple(networks)


def _judge_name(judge: Judge, part: Found) -> None:
    """Ask for one name."""
    name, hexed = part.entries.get("ssid"), part.entries.get("ssid_hex")
    if name and hexed:
        judge.at_key(part, hexed, "ssid and ssid_hex are both given", "keep one of them")
    elif not name and not hexed:
        judge.at_header(part, f"[{part.block.name}] has no ssid", "add a line such as ssid = Home")


def _judge_security(judge: Judge, part: Found) -> None:
    """Ask for what the kind of security needs, and refuse what it cannot use."""
    kind = part.values.get("security", "auto")
    password, key = part.entries.get("password"), part.entries.get("psk_hex")
    if password and key and kind != "eap":
        judge.at_key(part, key, "password and psk_hex are both given", "keep one of them")
    if "security" in part.entries and "security" not in part.values:
        return  # what it needs is not known
    if kind == "eap":
        _judge_eap(judge, part)
    else:
        for entry in _given(part, _ENTERPRISE):
            judge.at_key(part, entry, "this is for 802.1X only", "write security = eap")
    if kind in ("open", "owe"):
        for unused in (password, key):
            if unused:
                message = f"a network with security = {kind} has no {unused.key}"
                judge.at_key(part, unused, message, "remove this line, or the one with security")
    elif kind in ("wpa2", "wpa3") and not password and not key:
        if part.clean:
            judge.at_header(part, f"security = {kind} needs a password", "add password = …")
    elif kind == "wpa3" and key:
        judge.at_key(part, key, "WPA3 needs the password, not a key", "write password = …")
    value = str(part.values.get("password", STORED))
    if not password or value == STORED or kind not in ("auto", "wpa2"):
        return
    if len(value.encode()) not in _PASSPHRASE:
        hexadecimal = len(value) == 64 and set(value) <= set(hexdigits)
        hint = "this looks like a key: write psk_hex = …" if hexadecimal else "is it complete?"
        message = f"a Wi-Fi password has 8 to 63 bytes, this one {len(value.encode())}"
        judge.at_key(part, password, message, hint)


def _judge_eap(judge: Judge, part: Found) -> None:
    """Ask for what 802.1X needs."""
    method = part.values.get("eap")
    if "psk_hex" in part.entries:
        judge.at_key(part, part.entries["psk_hex"], "802.1X has no such key", "write password = …")
    if method is not None:
        for entry in _given(part, _UNUSED[method]):
            message = f"eap = {method} does not use {entry.key}"
            judge.at_key(part, entry, message, "remove this line")
    needs = ["eap", "identity"]
    needs += ["client_cert", "client_key"] if method == "tls" else ["password"]
    missing = [key for key in needs if key not in part.entries]
    if missing:
        examples = {row.key: row.example for row in SETTINGS}
        message = f"security = eap needs {' and '.join(missing)}"
        judge.at_header(part, message, f"add {missing[0]} = {examples[missing[0]]}")


def _given(part: Found, keys: tuple[str, ...]) -> list[Entry]:
    """Return those of some keys that stand in a section."""
    return [part.entries[key] for key in keys if key in part.entries]


def _judge_same(judge: Judge, wifi: list[Found]) -> None:
    """Refuse two sections for one network: the device could tell them apart by nothing."""
    seen: dict[bytes, Found] = {}
    for part in wifi:
        name = part.values.get("ssid") or part.values.get("ssid_hex")
        first = seen.setdefault(name, part) if name else part
        if first is not part:
            message = f"[{first.block.name}], line {first.block.line}, is the same network"
            judge.at_header(part, message, "put both into one section")


def _judge_country(judge: Judge, wifi: list[Found]) -> None:
    """Ask for the country, and for only one."""
    places = [part for part in wifi if "country" in part.entries]
    if wifi and not places:
        message = "Wi-Fi needs to know the country: without it a Raspberry Pi keeps Wi-Fi blocked"
        judge.at_header(wifi[0], message, "add a line such as country = DE to this section")
    for part in places[1:]:
        first = places[0]
        if part.values.get("country") != first.values.get("country"):
            at = first.entries["country"]
            message = f"the device cannot be in two countries; line {at.line} says {at.value}"
            judge.at_key(part, part.entries["country"], message, "keep one of them")
