"""netplan's file, as netplan reads it and hands it on to systemd-networkd and wpa_supplicant."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from piot_firstboot.config import parse
from piot_firstboot.conftext import FILL
from piot_firstboot.facts import Facts
from piot_firstboot.items import File, key
from piot_firstboot.plan import Obstacle, Part
from piot_firstboot.render import netplan, network

HERE = Facts(network="netplan", codename="bookworm", files={"ca.pem": b"-----\n"})
SHOWN = st.characters(
    exclude_categories=("Cs", "Cc", "Zl", "Zp"), exclude_characters=f"{FILL}\ufffd\\"
).filter(str.isprintable)
SSIDS = st.text(SHOWN, min_size=1).filter(lambda text: len(text.encode()) <= 32)
PASSWORDS = st.text(SHOWN | st.just("\\"), min_size=8, max_size=63).filter(
    lambda text: len(text.encode()) <= 63 and text != "@stored"
)
needs_netplan = pytest.mark.skipif(not shutil.which("netplan"), reason="needs netplan.io")


def parts(text: str, facts: Facts = HERE) -> tuple[Part, ...]:
    """Render a piot.conf."""
    return tuple(network.render(parse(text.encode()), facts))


def obstacle(text: str, facts: Facts = HERE) -> Obstacle:
    """Return what keeps the networks of a piot.conf back."""
    networks = [p for p in parts(text, facts) if p.section not in ("radio", "country")]
    (found,) = {part.obstacle for part in networks}
    assert found is not None
    assert not any(part.items for part in networks)
    return found


def file(text: str, facts: Facts = HERE) -> bytes:
    """Return the one file that a piot.conf comes to."""
    items = [item for part in parts(text, facts) for item in part.items]
    (found,) = (item for item in items if isinstance(item, File) and item.path == netplan.PATH)
    return found.content


@contextmanager
def generated(content: bytes) -> Iterator[Path]:
    """Let netplan make what it makes of a file, below the directory that is given."""
    with TemporaryDirectory() as folder:
        path = Path(folder, netplan.PATH[1:])
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        path.chmod(0o600)
        argv = ["netplan", "generate", "--root-dir", folder]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        yield Path(folder, "run")


def networkd(content: bytes) -> dict[str, str]:
    """Return the files for systemd-networkd, in the order in which it looks at them."""
    with generated(content) as run:
        found = sorted((run / "systemd/network").iterdir())
        return {path.name.removeprefix("10-netplan-"): path.read_text() for path in found}


def supplicant(content: bytes) -> dict[str, dict[str, str]]:
    """Return the networks that wpa_supplicant is given, by SSID."""
    with generated(content) as run:
        text = (run / "netplan/wpa-wlan0.conf").read_text()
    blocks = re.findall(r"(?ms)^network=\{\n(.*?)^\}$", text)
    rows = [dict(re.findall(r"(?m)^  (\w+)=(.*)$", block)) for block in blocks]
    return {_text(row.pop("ssid")): row for row in rows}


def _text(value: str) -> str:
    """Read a string as wpa_supplicant does: to the last quote; P"…" has escapes."""
    inner = value.removeprefix("P")[1:-1]
    return inner.replace('\\"', '"') if value[0] == "P" else inner


def test_one_file_answers_for_all_sections() -> None:
    """There is one file, so there is one part, for root alone."""
    radio, country, part = parts(f"{WIFI}[ethernet.a]\n[ethernet.b]\nvlan = 2\ninterface = eth0\n")
    assert (radio.section, country.section) == ("radio", "country")
    assert part.sections == ("wifi", "ethernet.a", "ethernet.b")
    (item,) = part.items
    assert isinstance(item, File) and (item.mode, item.secret) == (0o600, True)


@given(st.text())
def test_any_text_as_a_scalar(text: str) -> None:
    """A quoted scalar is the text, to any reader of YAML."""
    assert yaml.safe_load(netplan.quoted(text)) == text


@needs_netplan
@settings(max_examples=25, deadline=None)
@given(st.dictionaries(SSIDS, PASSWORDS, min_size=1, max_size=6))
def test_any_ssid_and_password(networks: dict[str, str]) -> None:
    """Every SSID and password reaches wpa_supplicant."""
    text = "".join(
        f'[wifi.n{n}]\ncountry = DE\nssid = "{ssid}"\npassword = "{password}"\n'
        for n, (ssid, password) in enumerate(networks.items())
    )
    found = supplicant(file(text))
    assert {name: row["psk"] for name, row in found.items()} == {
        name: f'"{password}"' for name, password in networks.items()
    }


@needs_netplan
def test_kinds_of_security() -> None:
    """Each kind is what wpa_supplicant calls it."""
    key = "0123456789abcdef" * 4
    text = f"""
[wifi.a]
ssid = open
country = DE
[wifi.b]
ssid = hidden
hidden = yes
[wifi.c]
ssid = two
security = wpa2
password = hunter2 hunter2
[wifi.d]
ssid = key
psk_hex = {key}
[wifi.e]
ssid = account
security = eap
eap = peap
identity = anna
anonymous_identity = anonymous
password = hunter2
ca_cert = ca.pem
"""
    found = supplicant(file(text))
    assert found["open"] == {"key_mgmt": "NONE"}
    assert found["hidden"] == {"scan_ssid": "1", "key_mgmt": "NONE"}
    assert found["two"] == {"key_mgmt": "WPA-PSK", "psk": '"hunter2 hunter2"'}
    assert (found["key"]["key_mgmt"], found["key"]["psk"]) == ("WPA-PSK", key)
    assert found["account"] == {
        "key_mgmt": "WPA-EAP",
        "eap": "PEAP",
        "identity": '"anna"',
        "anonymous_identity": '"anonymous"',
        "password": '"hunter2"',
        "ca_cert": '"/var/lib/piot/network/certs/ca.pem"',
        "phase2": '"auth=MSCHAPV2"',
    }


@needs_netplan
def test_wired() -> None:
    """Fixed addresses, a VLAN, and the order: one interface, then any, then what others wrote."""
    text = """
[ethernet]
dns = 1.1.1.1
[ethernet.up]
interface = eth0
address = 10.0.0.2/8
address = 2001:db8::2/64
gateway = 10.0.0.1
gateway = fe80::1
dns = 2001:db8::53
dns_search = example.org
[ethernet.cams]
interface = eth0
vlan = 20
address = 10.20.0.1/24
[ethernet.usb]
interface = enx001122334455
vlan = 7
"""
    found = networkd(file(text))
    order = [name for name in found if name.endswith(".network")]
    assert order == [
        "00-piot-enx001122334455.network",
        "00-piot-eth0.network",
        "01-piot.network",
        "v-01122334455.7.network",
        "v-eth0.20.network",
    ]
    # Debian's cloud images have a definition `all-en` for any interface, DHCP and all.
    assert "01-piot.network" < "all-en.network" and not order[-1].startswith("e")
    one, every = found["00-piot-eth0.network"], found["01-piot.network"]
    vlan = found["v-eth0.20.network"]
    for line in (
        *("Address=10.0.0.2/8", "Address=2001:db8::2/64", "Gateway=10.0.0.1", "Gateway=fe80::1"),
        *("DNS=2001:db8::53", "Domains=example.org", "VLAN=v-eth0.20"),
    ):
        assert f"\n{line}\n" in one
    assert "DHCP" not in one.partition("[Route]")[0]
    assert "\nName=e*\n" in every and "\nDHCP=ipv4\n" in every and "\nUseDNS=false\n" in every
    assert "\nAddress=10.20.0.1/24\n" in vlan and "DHCP=" not in vlan
    assert "\nId=20\n" in found["v-eth0.20.netdev"]
    assert "\nDHCP=ipv4\n" in found["00-piot-enx001122334455.network"]
    assert all("RequiredForOnline=no" in found[name] for name in order)


WIFI = "[wifi]\nssid = x\ncountry = DE\n"
PEAP = f"{WIFI}security = eap\neap = peap\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{WIFI}security = owe\n", "security = owe"),
        (f"{WIFI}security = wpa3\npassword = hunter2 hunter2\n", "security = wpa3"),
        (f"{WIFI}security = eap\neap = pwd\nidentity = a\npassword = b\n", "eap = pwd"),
        ("[wifi]\nssid_hex = ff\ncountry = DE\n", "an SSID that is no text"),
        ("[wifi]\nssid = a\\b\ncountry = DE\n", "an SSID that is no text"),
        (f"{PEAP}identity = HOME\\anna\npassword = b\n", "an identity"),
        (f"{PEAP}identity = a\npassword = hash:b\n", "begins with hash"),
        (f"{WIFI}[wifi.b]\nssid = y\naddress = 10.0.0.2/8\n", "other addresses"),
    ],
)  # fmt: skip
def test_what_netplan_cannot_do(text: str, words: str) -> None:
    """One definition that netplan refuses would cost all networks, so it is not written."""
    bar = obstacle(text)
    assert words in bar.reason and "[wifi" in bar.reason
    assert "network-manager" in bar.hint


def test_newer_versions_know_more() -> None:
    """WPA3 and EAP-PWD came with netplan 1.0; it must have a password of WPA2's length."""
    new = Facts(network="netplan", codename="trixie")
    text = f"{WIFI}security = wpa3\npassword = hunter2 hunter2\n"
    assert b"key-management: sae" in file(text, new)
    assert b"method: pwd" in file(
        f"{WIFI}security = eap\neap = pwd\nidentity = a\npassword = b\n", new
    )
    assert "8 to 63 bytes" in obstacle(f"{WIFI}security = wpa3\npassword = short\n", new).reason


def test_nothing_that_reads_profiles() -> None:
    """A machine without either is told what to install, but only when it is asked for networks."""
    bar = obstacle(WIFI, Facts())
    assert bar.reason == "nothing on this device reads network profiles"
    assert "apt install network-manager" in bar.hint
    assert parts("", Facts()) == ()


@pytest.mark.parametrize("kind", ["netplan", "networkmanager"])
def test_a_certificate_that_is_not_there(kind: str) -> None:
    """The error names the section, its line and the file."""
    text = f"\n{PEAP}identity = a\npassword = b\nca_cert = ca.pem\n"
    bar = obstacle(text, Facts(network=kind))
    assert "[wifi], line 2, names ca.pem" in bar.reason
    assert "beside piot.conf" in bar.hint


@pytest.mark.parametrize(
    ("facts", "items"),
    [
        (
            Facts(network="networkmanager", boot="/boot/firmware", present=frozenset({"iw"})),
            ["state regdom", "state radio", "word /boot/firmware/cmdline.txt"],
        ),
        (Facts(network="networkmanager"), ["state radio", "file /etc/modprobe.d/piot-regdom.conf"]),
    ],
)
def test_country(facts: Facts, items: list[str]) -> None:
    """The country goes to the kernel now and at each boot; its rules come before the radio."""
    radio, country, _ = parts(WIFI, facts)
    found = [key(item) for item in (*radio.items, *country.items)]
    assert [name.removesuffix(" cfg80211.ieee80211_regdom") for name in found] == items
    assert len(country.items) == 1
