"""Profiles as NetworkManager itself reads them, through its own library."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piot_firstboot.config import Config, parse
from piot_firstboot.conftext import FILL
from piot_firstboot.facts import Facts
from piot_firstboot.items import File
from piot_firstboot.netvalues import DHCP
from piot_firstboot.render import keyfile, network
from piot_firstboot.sections.ethernet import Ethernet
from tests.kit.nmlib import NM, read

CASES = Path(__file__).parent.parent / "cases" / "conf"
GOOD = sorted(p.parent for kind in ("wifi", "ethernet") for p in CASES.glob(f"{kind}*/piot.conf"))
BESIDE = {name: b"-----\n" for name in ("ca.pem", "device.pem", "device.key")}
FACTS = Facts(network="networkmanager", boot="/boot/firmware", files=BESIDE)
STORED = {"wifi.password": "stored password"}

# What can stand in a value of piot.conf: no control character, and nothing that ends a line.
LINE = st.characters(
    exclude_categories=("Cs", "Cc", "Zl", "Zp"), exclude_characters=f"{FILL}\ufffd"
)
SHOWN = LINE.filter(str.isprintable)
SSIDS = st.binary(min_size=1, max_size=32)
PASSWORDS = st.text(LINE | st.just("\t"), min_size=8, max_size=63).filter(
    lambda text: 8 <= len(text.encode()) <= 63 and text != "@stored"
)
NAMES = st.text(SHOWN, min_size=1, max_size=40)
ODD = (
    "\\",
    "\\s",
    " x",
    "x ",
    " ",
    "a;b",
    ";",
    "1;2;",
    "7",
    "#x",
    "x=y",
    "[x]",
    "\\n",
    "🦊",
    "$HOME",
)


def config(text: str) -> Config:
    """Read a piot.conf."""
    return parse(text.encode(), stored=STORED)


def profiles(text: str) -> list[Any]:
    """Render a piot.conf and return its profiles as NetworkManager reads them."""
    parts = network.render(config(text), FACTS)
    items = [item for part in parts for item in part.items]
    files = [i for i in items if isinstance(i, File) and i.path.startswith(keyfile.FOLDER)]
    return [read(file.content).profile for file in files]


def wifi(*lines: str) -> Any:
    """Return the profile of a Wi-Fi network with these lines."""
    (profile,) = profiles("\n".join(("[wifi]", "country = DE", *lines, "")))
    return profile


@pytest.mark.parametrize("folder", GOOD, ids=lambda path: path.name)
def test_every_case_is_a_profile(folder: Path) -> None:
    """NetworkManager takes every profile of the cases, and misses nothing but the certificates."""
    good = parse((folder / "piot.conf").read_bytes(), stored=STORED)
    for part in network.render(good, FACTS):
        for item in part.items:
            if isinstance(item, File) and item.path.startswith(keyfile.FOLDER):
                found = read(item.content)
                assert [w for w in found.warnings if keyfile.CERTIFICATES not in w] == []
                assert found.profile.get_id() == Path(item.path).stem
                assert str(UUID(found.profile.get_uuid())) == found.profile.get_uuid()
                assert item.mode == 0o600
                assert item.secret == bool(re.search(rb"\n(psk|.*password)=", item.content))


@given(SSIDS)
def test_any_ssid(name: bytes) -> None:
    """Every name that can be in the air arrives, byte for byte."""
    profile = wifi(f"ssid_hex = {name.hex()}")
    assert profile.get_setting_wireless().get_ssid().get_data() == name


@given(st.text(SHOWN, min_size=1).filter(lambda text: len(text.encode()) <= 32))
def test_any_ssid_as_text(name: str) -> None:
    """The same for those that are written as text, in quotes for the sake of blanks."""
    profile = wifi(f'ssid = "{name}"')
    assert profile.get_setting_wireless().get_ssid().get_data() == name.encode()


@given(PASSWORDS)
def test_any_password(password: str) -> None:
    """Every password arrives."""
    profile = wifi("ssid = x", f'password = "{password}"')
    security = profile.get_setting_wireless_security()
    assert (security.get_key_mgmt(), security.get_psk()) == ("wpa-psk", password)


@given(st.text(LINE, min_size=1, max_size=32).filter(lambda text: text != "@stored"))
def test_any_password_of_wpa3(password: str) -> None:
    """WPA3 takes passwords of any length."""
    profile = wifi("ssid = x", "security = wpa3", f'password = "{password}"')
    security = profile.get_setting_wireless_security()
    assert (security.get_key_mgmt(), security.get_psk()) == ("sae", password)


@given(st.binary(min_size=32, max_size=32))
def test_any_key(key: bytes) -> None:
    """A computed key arrives as 64 digits."""
    profile = wifi("ssid = x", f"psk_hex = {key.hex().upper()}")
    assert profile.get_setting_wireless_security().get_psk() == key.hex()


@given(NAMES, NAMES, PASSWORDS)
def test_any_account(name: str, shown: str, password: str) -> None:
    """The account of 802.1X arrives, with both names and its password."""
    profile = wifi(
        *("ssid = x", "security = eap", "eap = ttls", "phase2 = pap"),
        *(f'identity = "{name}"', f'anonymous_identity = "{shown}"', f'password = "{password}"'),
    )
    account = profile.get_setting_802_1x()
    assert (account.get_identity(), account.get_anonymous_identity()) == (name, shown)
    assert (account.get_password(), account.get_phase2_auth()) == (password, "pap")
    assert profile.get_setting_wireless_security().get_key_mgmt() == "wpa-eap"


@pytest.mark.parametrize("text", ODD)
def test_odd_values(text: str) -> None:
    """What other tools stumble over."""
    assert wifi(f'ssid = "{text}"').get_setting_wireless().get_ssid().get_data() == text.encode()
    found = wifi("ssid = x", "security = wpa3", f'password = "{text}"')
    assert found.get_setting_wireless_security().get_psk() == text


def test_certificates() -> None:
    """Certificates are found where they are copied to; the key's own password goes with it."""
    lines = (
        *("ssid = x", "security = eap", "eap = tls", "identity = d", "ca_cert = ca.pem"),
        *("client_cert = device.pem", "client_key = device.key"),
    )
    account = wifi(*lines, "password = hunter2").get_setting_802_1x()
    folder = keyfile.CERTIFICATES
    assert account.get_ca_cert_path() == f"{folder}/ca.pem"
    assert account.get_client_cert_path() == f"{folder}/device.pem"
    assert account.get_private_key_path() == f"{folder}/wifi.client_key"
    assert account.get_private_key_password() == "hunter2"
    none = wifi(*lines).get_setting_802_1x()
    assert none.get_private_key_password_flags() == NM.SettingSecretFlags.NOT_REQUIRED


@pytest.mark.parametrize(
    ("security", "management"), [("open", None), ("owe", "owe"), ("auto", None)]
)
def test_networks_without_a_password(security: str, management: str | None) -> None:
    """An open network has no security block, one with OWE has."""
    found = wifi("ssid = x", f"security = {security}").get_setting_wireless_security()
    assert (found.get_key_mgmt() if found else None) == management


def test_hidden_and_priority() -> None:
    """A hidden network is asked for by name; the priority decides between several."""
    profile = wifi("ssid = x", "hidden = yes", "priority = 10")
    assert profile.get_setting_wireless().get_hidden()
    assert profile.get_setting_connection().get_autoconnect_priority() == 10
    assert not wifi("ssid = x").get_setting_wireless().get_hidden()


def ethernet(text: str) -> Any:
    """Return the profile of a wired network with these lines."""
    (profile,) = profiles(f"[ethernet]\n{text}\n")
    return profile


def shown(setting: Any) -> tuple[str, list[str], str | None, list[str]]:
    """Return method, addresses, gateway and name servers of a family."""
    found = [setting.get_address(i) for i in range(setting.get_num_addresses())]
    texts = [f"{one.get_address()}/{one.get_prefix()}" for one in found]
    servers = [setting.get_dns(i) for i in range(setting.get_num_dns())]
    return setting.get_method(), texts, setting.get_gateway(), servers


def test_both_families() -> None:
    """Fixed addresses of both families, with a router and name servers for each."""
    profile = ethernet(
        "address = 10.0.0.2/8\naddress = 10.9.0.2/31\naddress = 2001:db8::2/64\n"
        "gateway = 10.0.0.1\ngateway = fe80::1\ndns = 1.1.1.1\ndns = 2001:db8::53\ndns = 9.9.9.9\n"
        "dns_search = example.org\ndns_search = ~lan"
    )
    four, six = profile.get_setting_ip4_config(), profile.get_setting_ip6_config()
    addresses = ["10.0.0.2/8", "10.9.0.2/31"]
    assert shown(four) == ("manual", addresses, "10.0.0.1", ["1.1.1.1", "9.9.9.9"])
    assert shown(six) == ("manual", ["2001:db8::2/64"], "fe80::1", ["2001:db8::53"])
    for family in (four, six):
        names = [family.get_dns_search(i) for i in range(family.get_num_dns_searches())]
        assert (names, family.get_ignore_auto_dns()) == (["example.org", "~lan"], True)


@pytest.mark.parametrize(
    ("text", "four", "six"),
    [
        ("address = dhcp", ("auto", []), ("auto", [])),
        ("address = 10.0.0.2/8", ("manual", ["10.0.0.2/8"]), ("auto", [])),
        ("address = fd00::2/64", ("auto", []), ("manual", ["fd00::2/64"])),
        ("address = dhcp\naddress = 10.0.0.2/8", ("auto", ["10.0.0.2/8"]), ("auto", [])),
        ("address = dhcp\naddress = fd00::2/64", ("auto", []), ("manual", ["fd00::2/64"])),
    ],
)
def test_a_family_without_an_address_is_automatic(
    text: str, four: tuple[str, list[str]], six: tuple[str, list[str]]
) -> None:
    """What is not fixed comes from the network, as it would without a section."""
    profile = ethernet(text)
    assert shown(profile.get_setting_ip4_config())[:2] == four
    assert shown(profile.get_setting_ip6_config())[:2] == six


@given(
    st.lists(st.ip_addresses().map(str), min_size=1, max_size=4, unique=True),
    st.integers(1, 32),
)
def test_any_addresses(addresses: list[str], length: int) -> None:
    """All addresses arrive, whatever they are."""
    given = tuple(ip_interface(f"{one}/{length}") for one in addresses)
    wired = Ethernet("eth0", given, (), (ip_address("9.9.9.9"),), None, (), "ethernet", 1)
    profile = read(keyfile.ethernet(wired)).profile
    settings = (profile.get_setting_ip4_config(), profile.get_setting_ip6_config())
    found = {address for setting in settings for address in shown(setting)[1]}
    assert {str(ip_interface(one)) for one in found} == {str(one) for one in given}


def test_vlan() -> None:
    """A VLAN is a profile of its own, beside that of its cable."""
    text = "[ethernet]\ninterface = eth0\n[ethernet.cams]\ninterface = eth0\nvlan = 20\n"
    link, vlan = profiles(text)
    assert link.get_interface_name() == "eth0"
    assert vlan.get_interface_name() == "eth0.20"
    setting = vlan.get_setting_vlan()
    assert (setting.get_id(), setting.get_parent()) == (20, "eth0")
    assert link.get_uuid() != vlan.get_uuid()


@given(st.from_regex(r"e[A-Za-z0-9_.-]{1,14}", fullmatch=True), st.integers(1, 4094))
def test_any_vlan_has_a_name(interface: str, number: int) -> None:
    """Adapters on USB have names as long as names get."""
    wired = Ethernet(interface, (DHCP,), (), (), number, (), "ethernet", 1)
    name = read(keyfile.ethernet(wired)).profile.get_interface_name()
    assert len(name) <= 15 and name.endswith(f".{number}")


def test_one_interface_comes_before_any() -> None:
    """A profile for a certain interface is preferred to one for any, and both to the default."""
    every, one = profiles("[ethernet]\n[ethernet.b]\ninterface = eth0\n")
    order = [p.get_setting_connection().get_autoconnect_priority() for p in (one, every)]
    assert order == sorted(order, reverse=True) and order[0] > order[1] > -999


def test_a_profile_keeps_its_uuid() -> None:
    """Another password makes no other profile: NetworkManager goes on with the one it has."""
    uuids = {wifi("ssid = x", f"password = {word}").get_uuid() for word in ("1234567a", "1234567b")}
    assert len(uuids) == 1


def names(texts: Iterable[str]) -> list[str]:
    """Return the paths of the profiles of sections."""
    return [keyfile.path(text) for text in texts]


def test_files_have_the_name_of_their_section() -> None:
    """No two sections share a file."""
    assert names(("wifi", "wifi.a-b", "ethernet.a")) == [
        f"{keyfile.FOLDER}/piot-{name}.nmconnection" for name in ("wifi", "wifi-a-b", "ethernet-a")
    ]
