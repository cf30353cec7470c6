"""piot.conf in full on booted machines: network, people, secrets; the card before and after."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.kit import deb, roots
from tests.kit.lan import Lan
from tests.kit.machine import Machine

CONF = "/boot/firmware/piot.conf"
REPORT = "/boot/firmware/piot-report.txt"
PROFILE = "/etc/NetworkManager/system-connections/piot-ethernet-main.nmconnection"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOB5IJq4WkfjuxH90Y3msiyt+J+xfqGkPOWEhagFFNM5 ada@laptop"
# Each occurs nowhere else, and where it may lie after the first boot, by the end of its path.
SECRETS = {
    "horse-user-Battery1": (),
    "horse-wifi-Battery2": ("piot-wifi-home.nmconnection",),
    "horse-eap-Battery3": ("piot-wifi-work.nmconnection",),
    "horse-app-Battery4": (),
    "horse-ap-Battery5": (),
    "horse-token-Battery6": (),
    "horse-ping-Battery7": (),
}
USER, WIFI, EAP, SECRET, AP, TOKEN, PING = SECRETS
FULL = f"""\
[device]
hostname = garden
timezone = Europe/Berlin
role = sensor
labels = room=kitchen

[user]
name = ada
password = {USER}
authorized_key = {KEY}

[ssh]
password_login = yes

[wifi.home]
ssid = Grüße #1
password = {WIFI}
country = DE

[wifi.work]
ssid = Work
security = eap
eap = peap
identity = ada
password = {EAP}

[wifi.campus]
ssid = Campus
security = eap
eap = tls
identity = garden
client_cert = device.pem
client_key = device.key

[ethernet.main]
interface = eth0

[ethernet.lab]
interface = eth1
address = 10.78.0.9/24
address = fd78::9/64

[app]
repo = https://git.test/garden.git
token = {TOKEN}
poll = off

[app.shed]
repo = git@git.test:shed.git
deploy_key = shed.txt
poll = off

[app.barn]
repo = ssh://git@git.test/barn.git
deploy_key = {{barn}}
poll = off

[health]
ping_url = https://hc.example.org/{PING}

[secrets]
API_KEY = {SECRET}

[fallback]
wifi_ap_after = 5min
wifi_ap_password = {AP}
"""


@pytest.fixture
def lan() -> Iterator[Lan]:
    """Make two wired networks."""
    with Lan() as made:
        for router in (made.one, made.two):
            router.serve()
        yield made


@pytest.fixture
def pi(release: str, lan: Lan) -> Iterator[Machine]:
    """Make a machine with PioT and NetworkManager, off."""
    root = roots.base(release, ("network-manager", "dnsmasq-base"))
    with Machine(root, lan.network) as pi:
        pi.install(deb.deb())
        yield pi


def found(pi: Machine, secret: str) -> list[str]:
    """List the files written by anyone that hold a secret, as it is or in base64."""
    upper = Path(pi.folder, "upper")
    coded = base64.b64encode(secret.encode()).rstrip(b"=")[:-1]
    return [
        str(path.relative_to(upper))
        for path in upper.rglob("*")
        if path.is_file() and not path.is_symlink()
        for data in [path.read_bytes()]
        if secret.encode() in data or coded in data
    ]


@contextmanager
def watched(secrets: tuple[str, ...]) -> Iterator[set[str]]:
    """Look at the arguments and the environment of every process, again and again."""
    seen: set[str] = set()
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.01):
            for name in ("cmdline", "environ"):
                for path in Path("/proc").glob(f"[0-9]*/{name}"):
                    with suppress(OSError):
                        data = path.read_bytes()
                        seen.update(secret for secret in secrets if secret.encode() in data)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def put_conf(pi: Machine, folder: Path) -> dict[str, tuple[str, ...]]:
    """Put the whole piot.conf and its keys on the boot partition, as a laptop would.

    Returns the secrets, a line of each private key among them, with the files that may hold them.
    """
    lines = []
    for name in ("shed", "barn"):
        words = ["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-C", "", "-f", name]
        subprocess.run(words, cwd=folder, check=True, timeout=60)
        lines.append((folder / name).read_text().splitlines()[7])
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=garden"]
    words += ["-keyout", "device.key", "-out", "device.pem"]
    subprocess.run(words, cwd=folder, check=True, timeout=60, capture_output=True)
    key = (folder / "device.key").read_text()
    lines.append(key.splitlines()[7])
    shed = (folder / "shed").read_text().replace("\n", "\r\n")
    pi.write("/boot/firmware/shed.txt", shed)
    pi.write("/boot/firmware/device.key", key)
    pi.write("/boot/firmware/device.pem", (folder / "device.pem").read_text())
    body = "".join((folder / "barn").read_text().splitlines()[1:-1])
    pi.write(CONF, FULL.replace("{barn}", body))
    return {**SECRETS, lines[0]: (), lines[1]: (), lines[2]: ("/wifi.campus.client_key",)}


def settled(pi: Machine) -> dict[str, object]:
    """Wait for piot-setup, and return the report."""
    pi.run(
        "while systemctl is-active piot-setup | grep -q activating; do sleep 0.5; done", timeout=200
    )
    report: dict[str, object] = json.loads(pi.read("/var/lib/piot/report.json"))
    return report


def test_plaintext_secrets_left_on_fat(pi: Machine, tmp_path: Path) -> None:
    """After the first boot each secret is where the program that needs it reads it, and sealed."""
    secrets = put_conf(pi, tmp_path)
    with watched(tuple(secrets)) as seen:
        pi.boot(wait=False)
        pi.wait_running(expect=None)
        report = settled(pi)
    assert seen == set(), "in the arguments or the environment of a process"
    text = pi.read(CONF)
    assert text.count("@stored") == len(secrets), text
    beside = {"piot.conf", "piot-report.txt", "device.pem", "piot-clock"}
    assert set(pi.sh("ls -A /boot/firmware").split()) <= beside
    for secret, places in secrets.items():
        left = [path for path in found(pi, secret) if not path.endswith(places or ("//",))]
        assert left == [], f"{secret} lies in {left}\n{json.dumps(report, indent=1)}"
        assert len(found(pi, secret)) == len(places)
        assert secret not in pi.sh("journalctl -o export; cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
        assert secret not in pi.sh("cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' ' '")
    for name in ("wifi-home", "wifi-work", "ethernet-main", "ethernet-lab"):
        profile = f"/etc/NetworkManager/system-connections/piot-{name}.nmconnection"
        assert pi.sh(f"stat -c '%a %U' {profile}") == "600 root"
    # NetworkManager reads back what piot.conf says.
    get = "nmcli -s -g 802-11-wireless.ssid,802-11-wireless-security.psk connection show"
    assert pi.sh(f"{get} piot-wifi-home").split("\n") == ["Grüße #1", WIFI]
    assert pi.sh("nmcli -s -g 802-1x.password connection show piot-wifi-work") == EAP
    # Both wired networks are up, one by DHCP, one with fixed addresses of both families.
    assert "10.77." in pi.sh("ip -4 -o addr show dev eth0")
    lab = pi.sh("ip -o addr show dev eth1")
    assert "10.78.0.9/24" in lab and "fd78::9/64" in lab
    # The password was hashed the way Debian does, and the hash is what is stored.
    assert pi.sh("getent shadow ada").split(":")[1].startswith("$y$")
    assert pi.sh("piot secret list").count("sealed") >= len(secrets)
    key = "/var/lib/piot/network/certs/wifi.campus.client_key"
    assert pi.sh(f"stat -c '%a %U' {key}") == "600 root"
    assert pi.read(key) == (tmp_path / "device.key").read_text()
    # What git's ssh will be given is just what ssh-keygen had made.
    look = "from piot_firstboot import system, vault; "
    for app in ("shed", "barn"):
        words = f"{look}print(vault.get(system.System(), 'app.{app}.deploy_key'), end='')"
        made = (tmp_path / app).read_text()
        assert pi.run(["python3", "-c", words]).stdout == made
        told = json.loads(pi.read(f"/var/lib/piot/apps/{app}/app.json"))
        assert told["secrets"] == {"deploy_key": f"app.{app}.deploy_key"}
    lines = {(row["section"], row["key"]): row for row in report["lines"]}  # type: ignore[attr-defined]
    assert lines["wifi.home", "password"]["state"] == "applied"
    assert lines["health", "ping_url"]["state"] == "noted"
    said = pi.read(REPORT)
    assert "[wifi.home] password: applied" in said.replace("\r", "")


def test_an_unchanged_boot_writes_nothing(pi: Machine, tmp_path: Path) -> None:
    """And `@stored` stands for the same as what was there before, be it a password or a key."""
    put_conf(pi, tmp_path)
    pi.boot(wait=False)
    pi.wait_running(expect=None)
    settled(pi)
    before = pi.sh("getent shadow ada; cat /var/lib/piot/sections.json")
    stamps = "find /etc /var/lib/piot /boot -xdev -type f -printf '%T@ %p\\n' | sort"
    pi.reboot(wait=False)
    pi.wait_running(expect=None)
    files = pi.sh(stamps)
    pi.reboot(wait=False)
    pi.wait_running(expect=None)
    changed = set(pi.sh(stamps).splitlines()) ^ set(files.splitlines())
    assert not [line for line in changed if "piot" in line or "NetworkManager" in line]
    assert not [line for line in changed if "/etc/shadow" in line or "/boot/" in line]
    # Looking at everything again finds nothing to do, and breaks nothing.
    result = pi.run(["piot", "apply", "--all"], check=False, timeout=200)
    assert result.returncode == 0, result.stdout + result.stderr
    assert pi.sh("getent shadow ada; cat /var/lib/piot/sections.json") == before
    assert pi.sh("nmcli -s -g 802-11-wireless-security.psk connection show piot-wifi-home") == WIFI
    key = pi.read("/var/lib/piot/network/certs/wifi.campus.client_key")
    assert key == (tmp_path / "device.key").read_text()


def test_a_change_that_breaks_the_network_reverts_and_says_so(pi: Machine) -> None:
    """Within two minutes, though nobody does anything; other sections of the file are applied."""
    pi.write(CONF, "[device]\nhostname = one\n[ethernet.main]\ninterface = eth0\n")
    pi.boot(wait=False)
    pi.wait_running(expect=None)
    settled(pi)
    good = pi.read(PROFILE)
    wrong = "address = 192.0.2.9/24\ngateway = 192.0.2.1\n"
    text = f"[device]\nhostname = two\n[ethernet.main]\ninterface = eth0\n{wrong}"
    pi.write(CONF, text)
    start = time.monotonic()
    result = pi.run(["piot", "apply"], check=False, timeout=150)
    assert time.monotonic() - start < 120
    assert result.returncode == 1
    assert "former network settings are back" in result.stdout
    assert pi.read(PROFILE) == good
    assert "10.77." in pi.sh("ip -4 -o addr show dev eth0")
    assert pi.sh("hostname") == "two"
    report = settled(pi)
    rows = {(row["section"], row["key"]): row for row in report["lines"]}  # type: ignore[attr-defined]
    assert rows["ethernet.main", "address"]["state"] == "refused"
    assert rows["ethernet.main", "address"]["why"]
    # The same text is not tried again by itself.
    pi.reboot(wait=False)
    pi.wait_running(expect=None)
    assert pi.read(PROFILE) == good
    # What the person corrects is.
    pi.write(CONF, text.replace("192.0.2.9", "10.77.0.9").replace("192.0.2.1", "10.77.0.1"))
    assert pi.run(["piot", "apply"], check=False, timeout=150).returncode == 0
    assert "10.77.0.9/24" in pi.sh("ip -4 -o addr show dev eth0")


def test_edits_after_first_boot_ignored(pi: Machine) -> None:
    """An edited section is applied at the next boot; what a person changed elsewhere stays."""
    pi.write(CONF, f"[device]\nhostname = one\n[user]\nname = ada\npassword = {USER}\n")
    pi.boot(wait=False)
    pi.wait_running(expect=None)
    pi.run("echo ada:changed-by-hand | chpasswd")
    mine = pi.sh("getent shadow ada")
    pi.write(CONF, pi.read(CONF).replace("hostname = one", "hostname = two"))
    pi.reboot(wait=False)
    pi.wait_running(expect=None)
    assert pi.sh("hostname") == "two"
    assert pi.sh("getent shadow ada") == mine
    # A new password in the file is one, whatever was stored before.
    pi.write(CONF, pi.read(CONF).replace("@stored", "another-Battery9"))
    pi.run(["piot", "apply"], timeout=60)
    assert pi.sh("getent shadow ada") != mine and "@stored" in pi.read(CONF)


def test_locked_out_by_someone_elses_drop_in(pi: Machine) -> None:
    """When sshd would let nobody in, the former settings come back and the report says why."""
    pi.write(CONF, f"[user]\nname = ada\nauthorized_key = {KEY}\n[ssh]\nenabled = yes\n")
    pi.boot(wait=False)
    pi.wait_running(expect=None)
    pi.write("/etc/ssh/sshd_config.d/20-other.conf", "AllowUsers nobody\n")
    pi.write(CONF, pi.read(CONF) + "password_login = no\n")
    result = pi.run(["piot", "apply"], check=False, timeout=60)
    assert result.returncode == 1 and "allowusers" in result.stdout.lower()
    assert not pi.exists("/etc/ssh/sshd_config.d/10-piot.conf")
    pi.run(["rm", "/etc/ssh/sshd_config.d/20-other.conf"])
    assert pi.run(["piot", "apply", "--all"], check=False, timeout=60).returncode == 0
    assert "PasswordAuthentication no" in pi.read("/etc/ssh/sshd_config.d/10-piot.conf")
