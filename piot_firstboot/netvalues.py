"""What the values of `[wifi]` and `[ethernet]` may be."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Literal

from piot_firstboot.values import BadValue, suggest

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Security = Literal["auto", "wpa2", "wpa3", "open", "owe", "eap"]

SECURITY: tuple[Security, ...] = ("auto", "wpa2", "wpa3", "open", "owe", "eap")
EAP = ("peap", "ttls", "tls", "pwd")
PHASE2 = ("mschapv2", "mschap", "pap", "chap", "md5", "gtc")
# What routers and other programs call it.
_OTHER_SECURITY = {
    **dict.fromkeys(("wpa", "psk", "wpapsk", "personal", "wpa2wpa3", "wpa2/wpa3"), "auto"),
    **dict.fromkeys(("wpa2psk", "wpa2personal", "rsn"), "wpa2"),
    **dict.fromkeys(("wpa3sae", "wpa3personal", "sae"), "wpa3"),
    **dict.fromkeys(("wpaeap", "802.1x", "8021x", "enterprise", "wpa2enterprise"), "eap"),
    **dict.fromkeys(("none", "no", "off"), "open"),
}
DHCP = "dhcp"
MOST_SSID = 32  # bytes; IEEE 802.11, 9.4.2.2
MOST_PRIORITY = 999  # either way; nm-settings-nmcli(5), connection.autoconnect-priority
_HEX_KEY = 64  # digits
_LABEL = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"
_DOMAIN = re.compile(rf"~?{_LABEL}(\.{_LABEL})*\.?")

# ISO 3166-1 alpha-2 and Kosovo's code, as Linux has them all. Where wireless-regdb has no rules for
# one, the kernel keeps to what is allowed everywhere.
COUNTRIES = frozenset(
    "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR "
    "BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ "
    "EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW "
    "GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY "
    "KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV "
    "MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY "
    "QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG "
    "TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA "
    "ZM ZW".split()
)
_OTHER_NAMES = {
    **{"UK": "GB", "EN": "GB", "ENG": "GB", "GBR": "GB", "USA": "US", "JA": "JP", "SW": "SE"},
    **{"GER": "DE", "DEU": "DE", "FRA": "FR", "ITA": "IT", "ESP": "ES", "AUT": "AT"},
}


def ssid(text: str) -> bytes:
    """Read the name of a Wi-Fi network, as the bytes that are in the air."""
    name = text.encode("utf-8")
    if len(name) > MOST_SSID:
        hint = "in UTF-8, letters such as ä take two bytes" if len(name) > len(text) else ""
        raise BadValue(f"an SSID has at most {MOST_SSID} bytes, this one {len(name)}", hint)
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
    if code not in COUNTRIES or not text.isascii():
        other = _OTHER_NAMES.get(code)
        hint = f"write {other}" if other else "write two letters such as DE, GB or US"
        raise BadValue("this is not the code of a country", hint)
    return code


def security(text: str) -> str:
    """Read how a network is protected."""
    if text.lower() == "wep":
        raise BadValue("WEP protects nothing, and is not offered", "set the router to WPA2 or WPA3")
    meant = _OTHER_SECURITY.get(re.sub(r"[-_ ]", "", text.lower()))
    if meant and text.lower() not in SECURITY:
        raise BadValue(f"this is none of {' '.join(SECURITY)}", f"write {meant}")
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
    if not re.fullmatch(r"[+-]?[0-9]{1,3}", text):
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
        hint = "write it like 192.168.1.20/24 or 2001:db8::20/64, or dhcp"
        raise BadValue(
            "this is not an address", _mended(text, ipaddress.ip_interface) or hint
        ) from None
    _no_zone(text)
    if "/" not in text:
        length = 24 if found.version == 4 else 64
        raise BadValue("the length of the network is missing", f"write {text}/{length}")
    if "." in text.partition("/")[2]:
        raise BadValue("this is a netmask", f"write {found.with_prefixlen}")
    net, here = found.network, found.ip
    if here.is_loopback or _odd(here):
        raise BadValue("a device cannot have this address")
    if net.prefixlen == 0:
        raise BadValue("a network of length 0 is the whole internet", "write the length it has")
    if net.prefixlen < net.max_prefixlen - 1:  # else a network of one or two, RFC 3021, 6164
        if here == net.network_address:
            hint = f"write the device's own, such as {here + 1}/{net.prefixlen}"
            raise BadValue("this is the address of the network itself", hint)
        if found.version == 4 and here == net.broadcast_address:
            raise BadValue("this is the broadcast address of the network")
    return found


def server(text: str) -> Address:
    """Read the address of a gateway or of a name server."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        hint = f"write {text.partition('/')[0]}" if "/" in text else "write it like 192.168.1.1"
        raise BadValue(
            "this is not an address", _mended(text, ipaddress.ip_address) or hint
        ) from None
    _no_zone(text)
    if _odd(found):  # a name server on the device itself is none
        raise BadValue("no server has this address")
    return found


def _no_zone(text: str) -> None:
    """Refuse the interface behind an IPv6 address: it follows from the section."""
    head, mark, tail = text.partition("%")
    if mark:
        length = "".join(tail.partition("/")[1:])
        raise BadValue("an address here has no %interface behind it", f"write {head}{length}")


def _odd(here: Address) -> bool:
    """Tell whether no host has such an address; RFC 6890."""
    special = here.is_reserved if here.version == 4 else here.ipv4_mapped is not None
    return special or here.is_unspecified or here.is_multicast


def _mended(text: str, parse: Callable[[str], object]) -> str:
    """Return a hint for what is almost right: several in a line, blanks, leading zeros."""
    near = re.sub(r"\s*([/.:])\s*", r"\1", text)
    if ":" not in near:
        near = re.sub(r"(?<![0-9])0+(?=[0-9])", "", near)
    words = re.split(r"[,;\s]+", near.strip(",; "))
    try:
        for word in words:
            parse(word)
    except ValueError:
        return ""
    return f"write {near}" if len(words) == 1 else "write each on a line of its own"


def domain(text: str) -> str:
    """Read a domain in which short names are looked up."""
    if len(text) > 253 or not _DOMAIN.fullmatch(text):
        several = len(words := text.replace(",", " ").split()) > 1
        several = several and all(map(_DOMAIN.fullmatch, words))
        hint = "write each on a line of its own" if several else "write it like example.org"
        raise BadValue("this is not the name of a domain", hint)
    return text.rstrip(".")


def vlan(text: str) -> int:
    """Read the number of a VLAN, IEEE 802.1Q."""
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= 4094:
        raise BadValue("a VLAN has a number from 1 to 4094", "write the number alone, as in 20")
    return int(text)


def interface(text: str) -> str:
    """Read the name of a network interface, as `ip link` shows it."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,15}", text) or text in (".", "..", "lo"):
        raise BadValue(
            "this is not the name of a network interface", "`ip link` shows them: eth0, end0"
        )
    if text.startswith("wl"):  # systemd.net-naming-scheme(7)
        raise BadValue("this is a Wi-Fi interface", "write [wifi] for it; an interface is wired")
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
