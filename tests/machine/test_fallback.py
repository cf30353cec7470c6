"""The fallback as its unit runs it, with real NetworkManager and dnsmasq; there is no radio."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from piot_firstboot.accesspoint import PROFILE
from piot_firstboot.config import parse
from piot_firstboot.facts import Facts
from piot_firstboot.idle import CAPTIVE, FALLBACK_DUE
from piot_firstboot.items import File
from piot_firstboot.render import keyfile, network
from piot_firstboot.render.fallback import ADDRESS, SECRET, SETTINGS, UUID, captive_names, profile
from tests.kit import roots
from tests.kit.lan import Lan
from tests.kit.machine import Machine
from tests.kit.wait import eventually

CHECKOUT = Path(__file__).parents[2]
PASSWORD = ' a\\b"c;#= ü '
SETTING = "802-11-wireless-security.psk"
# Asks for the address of a name, as a phone that looks for a way to the Internet.
ASK = f"""
import socket, struct
name = "connectivitycheck.gstatic.com"
labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
    asker.settimeout(3)
    head = struct.pack(">6H", 1, 0x100, 1, 0, 0, 0)
    asker.sendto(head + labels + b"\\0\\0\\1\\0\\1", ("{ADDRESS}", 53))
    print(socket.inet_ntoa(asker.recv(512)[-4:]))
"""


@pytest.fixture(scope="module", params=roots.RELEASES)
def pi(request: pytest.FixtureRequest) -> Iterator[Machine]:
    root = roots.base(request.param, ("network-manager", "dnsmasq-base"))
    with Lan() as lan, Machine(root, lan.network, hostname="garden") as machine:
        place = machine.tree / "usr/lib/python3/dist-packages/piot_firstboot"
        shutil.copytree(CHECKOUT / "piot_firstboot", place)
        machine.copy_in(CHECKOUT / "bin/piot", "/usr/bin/piot")
        for name in ("piot-fallback.service", "piot-fallback.timer"):
            unit = (CHECKOUT / "units" / name).read_text()
            machine.write(f"/usr/lib/systemd/system/{name}", unit)
        machine.write("/boot/firmware/piot.conf", "[device]\nhostname = garden\n")
        machine.boot()
        machine.write(SETTINGS, json.dumps({"schema": 1, "after": 60.0}))
        store = "from piot_firstboot import system, vault;"
        machine.run(
            ["python3", "-c", f"{store} vault.put(system.System(), {SECRET!r}, {PASSWORD!r})"]
        )
        yield machine


def test_systemd_has_nothing_to_say_about_the_units(pi: Machine) -> None:
    for name in ("piot-fallback.service", "piot-fallback.timer"):
        done = pi.run(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", name])
        assert done.stdout + done.stderr == ""


@pytest.mark.parametrize(
    "password",
    [PASSWORD, " " * 8, "\\s\\n\\t\\\\", "'quoted'", '"quoted"', "#;[]=%$`!", "ü" * 31, "a" * 63],
)
def test_network_manager_takes_the_profile_from_run(pi: Machine, password: str) -> None:
    pi.write(PROFILE, profile("garden", password), 0o600)
    pi.run(["nmcli", "connection", "load", PROFILE])
    show = ["nmcli", "-s", "-e", "no", "-g", SETTING, "connection", "show", UUID]
    # A moment after the profile has come, its secrets may still be missing.
    eventually(lambda: pi.run(show).stdout == f"{password}\n", 10, "the password as it is")
    for key, value in (
        ("802-11-wireless.mode", "ap"),
        ("802-11-wireless.ssid", "garden"),
        ("ipv4.method", "shared"),
        ("connection.autoconnect", "no"),
    ):
        assert pi.run(["nmcli", "-g", key, "connection", "show", UUID]).stdout == f"{value}\n"
    pi.run(["rm", PROFILE])
    pi.run(["nmcli", "connection", "reload"])
    assert UUID not in pi.sh("nmcli -g UUID connection show")


def test_its_unit_waits_then_tries_and_leaves_nothing_behind(pi: Machine) -> None:
    for cable in ("eth0", "eth1"):
        pi.run(["nmcli", "device", "set", cable, "managed", "no"])
    pi.run(["systemctl", "start", "piot-fallback.service"])
    eventually(lambda: pi.exists(FALLBACK_DUE), 30, "a time to open")
    stopped = "! systemctl is-active --quiet piot-fallback.service && echo yes || true"
    eventually(lambda: pi.sh(stopped), 30, "the end of the look")
    pi.write(FALLBACK_DUE, "0\n")
    pi.run(["systemctl", "start", "piot-fallback.service"])
    eventually(lambda: pi.sh(stopped), 90, "the end of the try")
    log = pi.sh("journalctl -b -u piot-fallback -o cat")
    assert "looking for networks" in log
    # Whatever it may not do would be said before this.
    assert "the access point does not open: Error: Connection activation failed: No suitable" in log
    assert "Permission" not in log
    assert PASSWORD.strip() not in log
    assert not pi.exists(PROFILE)
    assert not pi.exists(CAPTIVE)
    assert UUID not in pi.sh("nmcli -g UUID connection show")
    assert float(pi.read(FALLBACK_DUE)) > 200


def test_every_name_leads_to_the_page_while_it_is_open(pi: Machine) -> None:
    """With Ethernet in place of the radio: what NetworkManager shares, its dnsmasq serves."""
    pi.write(CAPTIVE, captive_names())
    pi.run(["nmcli", "device", "set", "eth1", "managed", "yes"])
    shared = ("ipv4.method", "shared", "ipv4.addresses", f"{ADDRESS}/24", "ipv6.method", "disabled")
    new = ("nmcli", "connection", "add", "type", "ethernet", "ifname", "eth1", "con-name", "ap")
    pi.run([*new, *shared])
    pi.run(["nmcli", "--wait", "30", "connection", "up", "ap"])
    found = pi.run(["python3", "-c", ASK]).stdout
    assert found == f"{ADDRESS}\n"


# What a text may hold to be taken for something else by one of the programs on its way.
ODD = "äß🌱ключ日本 #;=[]%$`'\"\\snrt,:&<>|!~^*?{}()0123456789abcXYZ"


def test_nmcli_reads_any_ssid_and_password(pi: Machine) -> None:
    """All of a piot.conf with many networks, as the daemon has them and nmcli shows them."""
    lot = random.Random(11)

    def odd(least: int, most: int) -> str:
        text = ""
        while not least <= len(text.encode()) <= most or text != text.strip() or "=" in text[:1]:
            text = "".join(lot.choices(ODD, k=lot.randint(least // 4 + 1, most)))
        return text

    meant: dict[str, tuple[str, str]] = {}
    for number in range(40):
        # No two sections are one network.
        meant[f"n{number}"] = (f"{number}{odd(1, 29)}", odd(8, 63))
    text = "".join(
        f'[wifi.{name}]\ncountry = DE\nssid = "{ssid}"\npassword = "{password}"\n'
        for name, (ssid, password) in meant.items()
    )
    for part in network.render(parse(text.encode()), Facts(network="networkmanager")):
        for item in part.items:
            if isinstance(item, File) and item.path.startswith(keyfile.FOLDER):
                pi.write(item.path, item.content, 0o600)
    pi.run(["nmcli", "connection", "reload"])
    keys = "802-11-wireless.ssid,802-11-wireless-security.psk"
    show = f"nmcli -s -e no -g {keys} connection show piot-wifi-$n"

    def shown() -> dict[str, tuple[str, ...]]:
        said = pi.sh(f"for n in {' '.join(meant)}; do {show}; done").split("\n")
        return {name: tuple(said[2 * at : 2 * at + 2]) for at, name in enumerate(meant)}

    # A moment after the profiles have come, their secrets may still be missing.
    eventually(lambda: shown() == meant, 30, "every SSID and password as it is")
    pi.run(f"rm {keyfile.FOLDER}/piot-wifi-n*.nmconnection && nmcli connection reload")
