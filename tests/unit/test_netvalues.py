"""The values of networks: what they become, and what is said of those that are wrong."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address, ip_interface
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piot_firstboot import netvalues
from piot_firstboot.netvalues import DHCP
from piot_firstboot.values import BadValue

GOOD: tuple[tuple[Callable[[str], object], str, object], ...] = (
    (netvalues.ssid, "Café", b"Caf\xc3\xa9"),
    (netvalues.ssid, "🦊" * 8, "🦊".encode() * 8),
    (netvalues.ssid, " ", b" "),
    (netvalues.ssid_hex, "00", b"\0"),
    (netvalues.ssid_hex, "0xFF", b"\xff"),
    (netvalues.ssid_hex, "43:61:66:e9", b"Caf\xe9"),
    (netvalues.ssid_hex, "43 61", b"Ca"),
    (netvalues.ssid_hex, "ab" * 32, b"\xab" * 32),
    (netvalues.psk_hex, "AB" * 32, "ab" * 32),
    (netvalues.wpa_password, " ", " "),
    (netvalues.country, "de", "DE"),
    (netvalues.country, "XK", "XK"),
    (netvalues.security, "OWE", "owe"),
    (netvalues.eap, "TTLS", "ttls"),
    (netvalues.phase2, "GTC", "gtc"),
    (netvalues.priority, "-999", -999),
    (netvalues.priority, "+7", 7),
    (netvalues.address, "DHCP", DHCP),
    (netvalues.address, "auto", DHCP),
    (netvalues.address, "192.168.1.20/24", ip_interface("192.168.1.20/24")),
    (netvalues.address, "10.0.0.0/31", ip_interface("10.0.0.0/31")),
    (netvalues.address, "10.0.0.1/32", ip_interface("10.0.0.1/32")),
    (netvalues.address, "169.254.7.7/16", ip_interface("169.254.7.7/16")),
    (netvalues.address, "2001:DB8::20/64", ip_interface("2001:db8::20/64")),
    (netvalues.address, "2001:db8::/127", ip_interface("2001:db8::/127")),
    (netvalues.address, "fe80::2/64", ip_interface("fe80::2/64")),
    (netvalues.server, "fe80::1", ip_address("fe80::1")),
    (netvalues.server, "127.0.0.1", ip_address("127.0.0.1")),
    (netvalues.domain, "example.org.", "example.org"),
    (netvalues.domain, "~lan", "~lan"),
    (netvalues.vlan, "4094", 4094),
    (netvalues.interface, "enx001122334455", "enx001122334455"),
    (netvalues.section_name, "Home_2", "Home_2"),
)  # fmt: skip


@pytest.mark.parametrize(("parser", "text", "value"), GOOD)
def test_good(parser: Callable[[str], object], text: str, value: object) -> None:
    """Each text gives this value."""
    assert parser(text) == value


BAD: tuple[tuple[Callable[[str], object], str, str], ...] = (
    (netvalues.ssid, "x" * 33, ""),
    (netvalues.ssid, "ä" * 17, "in UTF-8, letters such as ä take two bytes"),
    (netvalues.ssid_hex, "abc", "write 1 to 32 bytes"),
    (netvalues.ssid_hex, "", "write 1 to 32 bytes"),
    (netvalues.ssid_hex, "ab" * 33, "write 1 to 32 bytes"),
    (netvalues.psk_hex, "ab" * 31, "wpa_passphrase"),
    (netvalues.wpa_password, "x" * 129, ""),
    (netvalues.country, "UK", "write GB"),
    (netvalues.country, "deu", "write DE"),
    (netvalues.country, "00", "two letters"),
    (netvalues.country, "ZZ", "two letters"),
    (netvalues.country, "ß", "two letters"),
    (netvalues.security, "wpa", "write auto"),
    (netvalues.security, "WPA2-PSK", "write wpa2"),
    (netvalues.security, "802.1x", "write eap"),
    (netvalues.security, "opn", "did you mean open?"),
    (netvalues.security, "wep", "set the router to WPA2 or WPA3"),
    (netvalues.eap, "pep", "did you mean peap?"),
    (netvalues.phase2, "mschap-v2", "did you mean mschapv2?"),
    (netvalues.priority, "1000", ""),
    (netvalues.priority, "1.5", ""),
    (netvalues.priority, "٣", ""),
    (netvalues.text_line, "x" * 201, ""),
    (netvalues.address, "192.168.1.20", "write 192.168.1.20/24"),
    (netvalues.address, "2001:db8::20", "write 2001:db8::20/64"),
    (netvalues.address, "192.168.1.20/255.255.255.0", "write 192.168.1.20/24"),
    (netvalues.address, "192.168.1.20 / 24", "write 192.168.1.20/24"),
    (netvalues.address, "192.168.001.020/24", "write 192.168.1.20/24"),
    (netvalues.address, "10.0.0.1/24, 10.0.1.1/24", "write each on a line of its own"),
    (netvalues.address, "10.0.0.1/24 10.0.1.1/24", "write each on a line of its own"),
    (netvalues.address, "192.168.1.0/24", "write the device's own, such as 192.168.1.1/24"),
    (netvalues.address, "2001:db8::/64", "write the device's own, such as 2001:db8::1/64"),
    (netvalues.address, "192.168.1.255/24", ""),
    (netvalues.address, "fe80::2%eth0/64", "write fe80::2/64"),
    (netvalues.address, "1.2.3.4/33", "write it like"),
    (netvalues.address, "1.2.3.4/0", "write the length it has"),
    (netvalues.address, "0.0.0.0/0", ""),
    (netvalues.address, "127.0.0.1/8", ""),
    (netvalues.address, "224.0.0.1/24", ""),
    (netvalues.address, "255.255.255.255/32", ""),
    (netvalues.address, "::1/128", ""),
    (netvalues.address, "::ffff:1.2.3.4/96", ""),
    (netvalues.address, "static", "write it like"),
    (netvalues.address, "10.0.0.1/٢٤", "write it like"),
    (netvalues.server, "192.168.1.1/24", "write 192.168.1.1"),
    (netvalues.server, "1.1.1.1, 9.9.9.9", "write each on a line of its own"),
    (netvalues.server, "1.1.1.1;9.9.9.9;", "write each on a line of its own"),
    (netvalues.server, "fe80::1%eth0", "write fe80::1"),
    (netvalues.server, "::", ""),
    (netvalues.server, "dns.example.org", "write it like 192.168.1.1"),
    (netvalues.domain, "a.org, b.org", "write each on a line of its own"),
    (netvalues.domain, "a..org", "write it like example.org"),
    (netvalues.domain, "-a.org", "write it like example.org"),
    (netvalues.domain, "x" * 64, "write it like example.org"),
    (netvalues.domain, ".", "write it like example.org"),
    (netvalues.vlan, "0", "write the number alone"),
    (netvalues.vlan, "4095", "write the number alone"),
    (netvalues.vlan, "9" * 5000, "write the number alone"),
    (netvalues.vlan, "٢", "write the number alone"),
    (netvalues.interface, "eth0/1", "`ip link` shows them"),
    (netvalues.interface, "x" * 16, "`ip link` shows them"),
    (netvalues.interface, "lo", "`ip link` shows them"),
    (netvalues.interface, "..", "`ip link` shows them"),
    (netvalues.interface, "wlan0", "write [wifi] for it"),
    (netvalues.section_name, "my home", ""),
    (netvalues.section_name, "x" * 31, ""),
)  # fmt: skip


@pytest.mark.parametrize(("parser", "text", "hint"), BAD)
def test_bad(parser: Callable[[str], object], text: str, hint: str) -> None:
    """Each text is refused, with this hint."""
    with pytest.raises(BadValue) as caught:
        parser(text)
    assert hint in caught.value.hint if hint else caught.value.hint == ""
    assert str(caught.value) and "\n" not in str(caught.value) + caught.value.hint


PARSERS = sorted({row[0] for row in (*GOOD, *BAD)}, key=lambda parser: parser.__name__)


@pytest.mark.parametrize("parser", PARSERS)
@given(text=st.text() | st.text("0123456789./:%,; abf", max_size=40))
def test_anything(parser: Callable[[str], object], text: str) -> None:
    """Whatever is written is taken or refused with a message."""
    try:
        parser(text)
    except BadValue as problem:
        assert str(problem)


@given(st.ip_addresses(), st.integers(0, 128))
def test_an_address_is_taken_as_it_stands(here: object, length: int) -> None:
    """What is taken is written back the same, and its hints can be followed."""
    text = f"{here}/{length}"
    try:
        assert str(netvalues.address(text)) == text
    except BadValue as problem:
        better = problem.hint.rpartition(" ")[2]
        if problem.hint.startswith("write the device's own"):
            netvalues.address(better)


@pytest.mark.skipif(
    not Path("/usr/share/zoneinfo/iso3166.tab").exists(), reason="needs tzdata's list of countries"
)
def test_countries_are_those_of_iso_3166() -> None:
    """Each country that can be picked on the page of the access point is one here."""
    rows = Path("/usr/share/zoneinfo/iso3166.tab").read_text().splitlines()
    codes = {row.partition("\t")[0] for row in rows if row[0] != "#"}
    assert codes <= netvalues.COUNTRIES
    assert netvalues.COUNTRIES - codes <= {"XK"}
    assert not codes & netvalues._OTHER_NAMES.keys()
