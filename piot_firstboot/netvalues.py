"""What the values of `[wifi]` and `[ethernet]` may be."""

from __future__ import annotations

import ipaddress
import re
from typing import Literal

from piot_firstboot.values import BadValue, suggest

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Security = Literal["auto", "wpa2", "wpa3", "open", "owe", "eap"]

SECURITY: tuple[Security, ...] = ("auto", "wpa2", "wpa3", "open", "owe", "eap")
EAP = ("peap", "ttls", "tls", "pwd")
PHASE2 = ("mschapv2", "mschap", "pap", "chap", "md5", "gtc")
DHCP = "dhcp"
MOST_SSID = 32  # bytes; IEEE 802.11, 9.4.2.2
MOST_PRIORITY = 999  # either way; nm-settings-nmcli(5), connection.autoconnect-priority
_HEX_KEY = 64  # digits

# ISO 3166-1 alpha-2, those with rules of their own in wireless-regdb.
COUNTRIES = frozenset(
    "AD AE AF AI AL AM AN AR AS AT AU AW AZ BA BB BD BE BF BG BH BL BM BN BO BR BS BT BY BZ CA CF "
    "CH CI CL CN CO CR CU CX CY CZ DE DK DM DO DZ EC EE EG ES ET FI FM FR GB GD GE GF GH GI GL GP "
    "GR GT GU GY HK HN HR HT HU ID IE IL IN IR IS IT JM JO JP KE KH KN KP KR KW KY KZ LB LC LI LK "
    "LS LT LU LV MA MC MD ME MF MG MH MK MN MO MP MQ MR MT MU MV MW MX MY NA NG NI NL NO NP NZ OM "
    "PA PE PF PG PH PK PL PM PR PT PW PY QA RE RO RS RU RW SA SE SG SI SK SN SR SV SY TC TD TG TH "
    "TN TR TT TW TZ UA UG US UY UZ VC VE VI VN VU WF WS XK YE YT ZA ZM ZW".split()
)
_OTHER_NAMES = {"UK": "GB", "EN": "GB", "EU": "DE", "GER": "DE", "USA": "US", "JA": "JP"}


def ssid(text: str) -> bytes:
    """Read the name of a Wi-Fi network, as the bytes that are in the air."""
    name = text.encode("utf-8")
    if len(name) > MOST_SSID:
        raise BadValue(f"an SSID has at most {MOST_SSID} bytes, this one {len(name)}")
    return name


def ssid_hex(text: str) -> bytes:
    """Read the name of a Wi-Fi network that is no UTF-8, in hexadecimal."""
    plain = text.removeprefix("0x").replace(":", "").replace(" ", "")
    if not re.fullmatch(r"(?:[0-9A-Fa-f]{2}){1,32}", plain):
        raise BadValue(
            "this is not an SSID in hexadecimal", "write 1 to 32 bytes, two digits each: 4361666fe9"
        )
    return bytes.fromhex(plain)


def psk_hex(text: str) -> str:
    """Read the key that `wpa_passphrase` computes from SSID and password."""
    if not re.fullmatch(r"[0-9A-Fa-f]{64}", text):
        raise BadValue(
            f"this is not a key of {_HEX_KEY} hexadecimal digits",
            "run `wpa_passphrase SSID` and take what stands behind psk=, or give the password",
        )
    return text.lower()


def country(text: str) -> str:
    """Read the country whose rules for radio apply, as ISO 3166 names it."""
    code = text.upper()
    if code not in COUNTRIES:
        other = _OTHER_NAMES.get(code)
        hint = f"write {other}" if other else "write two letters such as DE, GB or US"
        raise BadValue("this is not the code of a country that Wi-Fi has rules for", hint)
    return code


def security(text: str) -> str:
    """Read how a network is protected."""
    return _word(text, SECURITY)


def eap(text: str) -> str:
    """Read the method by which an 802.1X network is entered."""
    return _word(text, EAP)


def phase2(text: str) -> str:
    """Read the method within the tunnel of PEAP or TTLS."""
    return _word(text, PHASE2)


def _word(text: str, known: tuple[str, ...]) -> str:
    """Read one of a few words, in any letter case."""
    word = text.lower()
    if word in known:
        return word
    best = suggest(text, known)
    raise BadValue(f"this is none of {' '.join(known)}", f"did you mean {best}?" if best else "")


def priority(text: str) -> int:
    """Read which of several networks in reach is taken: the one with the highest number."""
    if not re.fullmatch(r"[+-]?\d{1,3}", text):
        raise BadValue(f"this is not a whole number from -{MOST_PRIORITY} to {MOST_PRIORITY}")
    return int(text)


def text_line(text: str) -> str:
    """Take any text."""
    if len(text) > 200:
        raise BadValue("this is longer than 200 characters")
    return text


def address(text: str) -> Interface | str:
    """Read an address with the length of its network, or `dhcp`."""
    if text.lower() in (DHCP, "auto"):
        return DHCP
    try:
        found = ipaddress.ip_interface(text)
    except ValueError:
        raise BadValue(
            "this is not an address", "write it like 192.168.1.20/24 or 2001:db8::20/64, or dhcp"
        ) from None
    if "/" not in text:
        length = 24 if found.version == 4 else 64
        raise BadValue("the length of the network is missing", f"write {text}/{length}")
    if "/" in text and "." in text.partition("/")[2]:
        raise BadValue("this is a netmask", f"write {found.with_prefixlen}")
    net, here = found.network, found.ip
    if here.is_unspecified or here.is_multicast or here.is_loopback:
        raise BadValue("a device cannot have this address")
    if found.version == 4 and net.prefixlen < 31:
        if here == net.network_address:
            raise BadValue(
                "this is the address of the network itself", f"write {here + 1}/{net.prefixlen}"
            )
        if here == net.broadcast_address:
            raise BadValue("this is the broadcast address of the network")
    return found


def server(text: str) -> Address:
    """Read the address of a gateway or of a name server."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        hint = f"write {text.partition('/')[0]}" if "/" in text else "write it like 192.168.1.1"
        raise BadValue("this is not an address", hint) from None
    if found.is_unspecified or found.is_multicast:
        raise BadValue("no server has this address")
    return found


def domain(text: str) -> str:
    """Read a domain in which short names are looked up."""
    label = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"
    if len(text) > 253 or not re.fullmatch(rf"~?{label}(\.{label})*\.?", text):
        raise BadValue("this is not the name of a domain", "write it like example.org")
    return text


def vlan(text: str) -> int:
    """Read the number of a VLAN, IEEE 802.1Q."""
    if not text.isdecimal() or not 1 <= int(text) <= 4094:
        raise BadValue("a VLAN has a number from 1 to 4094")
    return int(text)


def interface(text: str) -> str:
    """Read the name of a network interface, as `ip link` shows it."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,15}", text) or text in (".", "..", "lo"):
        raise BadValue(
            "this is not the name of a network interface", "`ip link` shows them: eth0, end0"
        )
    return text


def section_name(text: str) -> str:
    """Read the NAME in `[wifi.NAME]`; the profile is called by it."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,30}", text):
        raise BadValue("a name here has letters, digits, `-` and `_`, at most 30 of them")
    return text


def wpa_password(text: str) -> str:
    """Read the password of a Wi-Fi network; how long it must be depends on the security."""
    if len(text.encode()) > 128:
        raise BadValue("the password of a Wi-Fi network has at most 128 bytes")
    return text
