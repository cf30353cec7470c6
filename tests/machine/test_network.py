"""Network settings on probation, on machines with NetworkManager and two Ethernet networks."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MACHINES
from tests.kit import deb, roots
from tests.kit.lan import Lan
from tests.kit.machine import Machine
from tests.kit.wait import eventually

PACKAGE = Path(__file__).parents[2] / "piot_firstboot"
FOLDER = "/etc/NetworkManager/system-connections"
STATE = "/var/lib/piot/network"
TARGET = [["app.test", 80]]
LIMIT = 120  # seconds in which broken settings must be gone again

# What apply and setup do, each for itself: keep and write; judge.
PROGRAM = """\
import json, os, shutil, sys
sys.path.insert(0, "/opt/piot")
from piot_firstboot import profiles, trial
from piot_firstboot.system import System
system, options = System(), json.load(open("/opt/piot/options"))
kind = options["kind"]
trial.WINDOW, trial.FORMER_WINDOW = options["windows"]
match sys.argv[1]:
    case "apply":
        if os.path.isdir("/opt/piot/new"):
            trial.begin(system, kind)
            folder = profiles.FOLDERS[kind]
            new = {f"{folder}/{name}": system.read(f"/opt/piot/new/{name}")
                   for name in system.names("/opt/piot/new")}
            profiles.put(system, kind, new)
            shutil.rmtree("/opt/piot/new")
    case "judge":
        verdict = trial.judge(system, lambda text: print(text, flush=True), options["targets"])
        if verdict:
            system.write("/opt/piot/verdict", json.dumps(
                {name: getattr(verdict, name) for name in verdict.__slots__}).encode())
"""
EARLY = """\
[Unit]
DefaultDependencies=no
After=local-fs.target
Before=network-pre.target
Wants=network-pre.target
[Service]
Type=oneshot
ExecStart=/usr/bin/python3 /opt/piot/program apply
[Install]
WantedBy=multi-user.target
"""
JUDGE = """\
[Unit]
After=piot-early.service NetworkManager.service
[Service]
Type=oneshot
ExecStart=/usr/bin/python3 /opt/piot/program judge
[Install]
WantedBy=multi-user.target
"""
DHCP = "[ipv4]\nmethod=auto\n[ipv6]\nmethod=auto\n"


def static(v4: str, gateway4: str, v6: str = "", gateway6: str = "") -> str:
    """Return the address sections of a keyfile with fixed addresses."""
    six = (
        f"[ipv6]\nmethod=manual\naddress1={v6},{gateway6}\n" if v6 else "[ipv6]\nmethod=disabled\n"
    )
    return f"[ipv4]\nmethod=manual\naddress1={v4},{gateway4}\ndns={gateway4};\n{six}"


def profile(number: int, interface: str, body: str, kind: str = "ethernet") -> str:
    """Return a keyfile; the number makes its UUID."""
    uuid = f"{number:08d}-0000-4000-8000-000000000000"
    head = f"[connection]\nid=piot-{interface}\nuuid={uuid}\ntype={kind}\n"
    return f"{head}interface-name={interface}\nautoconnect-priority=10\n{body}"


GOOD = profile(1, "eth0", DHCP)
MOVED = profile(1, "eth0", static("10.77.0.9/24", "10.77.0.1"))
WRONG_GATEWAY = profile(1, "eth0", static("10.77.0.9/24", "10.77.0.66"))
WRONG_SUBNET = profile(1, "eth0", static("192.0.2.9/24", "192.0.2.1"))
WRONG_VLAN = profile(2, "eth0.9", f"[vlan]\nparent=eth0\nid=9\n{DHCP}", "vlan")


class Pi(Machine):
    """A machine with the package and units that apply and judge at boot and when told."""

    kind = "networkmanager"

    def prepare(self) -> None:
        """Put the program in, while the machine is off."""
        shutil.copytree(PACKAGE, self.tree / "opt/piot/piot_firstboot")
        self.write("/opt/piot/program", PROGRAM)
        self.options()
        self.write("/etc/systemd/system/piot-early.service", EARLY)
        self.write("/etc/systemd/system/piot-judge.service", JUDGE)
        self.run(["systemctl", "enable", "piot-early", "piot-judge"])

    def options(self, *, quick: bool = True, targets: list[list[Any]] = TARGET) -> None:
        """Say how long the judge looks, and for which servers."""
        windows = [10, 10] if quick else [45, 30]
        values = {"kind": self.kind, "windows": windows, "targets": targets}
        self.write("/opt/piot/options", json.dumps(values))

    def settings(self, **profiles: str) -> None:
        """Lay new settings ready for the next apply."""
        self.run(["mkdir", "-p", "/opt/piot/new"])
        for name, text in profiles.items():
            file = f"piot-{name}.nmconnection" if self.kind == "networkmanager" else "60-piot.yaml"
            self.write(f"/opt/piot/new/{file}", text, 0o600)

    def apply(self, **profiles: str) -> dict[str, Any]:
        """Apply settings, let them be judged, and return the verdict."""
        self.settings(**profiles)
        self.run(["systemctl", "start", "piot-early"])
        self.run(["systemctl", "start", "piot-judge"], timeout=LIMIT)
        return self.verdict()

    def verdict(self) -> dict[str, Any]:
        """Return the verdict, once."""
        values: dict[str, Any] = json.loads(self.read("/opt/piot/verdict"))
        self.run(["rm", "/opt/piot/verdict"])
        assert not self.exists(f"{STATE}/trial.json")
        assert not self.exists(f"{STATE}/former")
        assert not self.exists(f"{STATE}/tried")
        return values

    def addresses(self, interface: str) -> str:
        """Return the addresses of an interface that are of more than local meaning."""
        return self.sh(f"ip -o addr show dev {interface} scope global | awk '{{print $4}}'")

    def files(self) -> dict[str, str]:
        """Return the profiles that are in place."""
        names = self.sh(f"ls {FOLDER}").split()
        return {name: self.read(f"{FOLDER}/{name}") for name in names}

    def dhcp(self, interface: str = "eth0", timeout: float = 20) -> None:
        """Wait for an address that DHCP gave."""
        net = {"eth0": "10.77.0.1", "eth1": "10.78.0.1"}[interface]
        eventually(lambda: f"{net}" in self.addresses(interface), timeout, "a lease")


@pytest.fixture
def lan() -> Iterator[Lan]:
    """Make two Ethernet networks with all they need; the second cable is not plugged in."""
    with Lan() as made:
        for router in (made.one, made.two):
            router.serve()
            router.listen()
        made.two.cut()
        yield made


@pytest.fixture
def pi(release: str, lan: Lan, request: pytest.FixtureRequest) -> Iterator[Pi]:
    """Boot a machine that has good settings, found good."""
    root = roots.base(release, ("network-manager", "dnsmasq-base"))
    with Pi(root, lan.network) as made:
        request.node.stash.setdefault(MACHINES, []).append(made)
        made.prepare()
        made.settings(one=GOOD)
        made.boot()
        verdict = made.verdict()
        assert verdict["kept"], verdict
        assert verdict["score"] == 3
        yield made


def test_a_change_that_works_is_kept(pi: Pi, lan: Lan) -> None:
    lan.two.restore()
    began = time.monotonic()
    fixed = static("10.77.0.9/24", "10.77.0.1", "fd77::9/64", "fd77::1")
    verdict = pi.apply(one=profile(1, "eth0", fixed), two=profile(2, "eth1", DHCP))
    assert verdict["kept"], verdict
    assert verdict["score"] == 3
    assert verdict["former_score"] is None
    assert time.monotonic() - began < 15
    assert pi.addresses("eth0") == "10.77.0.9/24\nfd77::9/64"
    pi.dhcp("eth1")
    # From one network to the other: the profile that goes is let go of.
    verdict = pi.apply(two=profile(2, "eth1", DHCP))
    assert verdict["kept"], verdict
    assert pi.addresses("eth0") == ""
    assert list(pi.files()) == ["piot-two.nmconnection"]


def test_a_wrong_gateway_reverts_within_two_minutes(pi: Pi, lan: Lan) -> None:
    pi.options(quick=False)
    began = time.monotonic()
    verdict = pi.apply(one=WRONG_GATEWAY)
    took = time.monotonic() - began
    assert not verdict["kept"], verdict
    assert (verdict["score"], verdict["former_score"]) == (1, 3)
    assert verdict["reason"] == "the gateway 10.77.0.66 does not answer"
    assert took < LIMIT
    print(f"{pi.release}: reverted after {took:.1f} s")
    assert pi.files() == {"piot-one.nmconnection": GOOD}
    pi.dhcp()
    assert json.loads(pi.read(f"{STATE}/refused.json"))["reason"] == verdict["reason"]
    journal = pi.sh("journalctl -b -u piot-judge -o cat")
    assert "network: the former settings are back" in journal


@pytest.mark.parametrize("settings", [WRONG_SUBNET, WRONG_VLAN], ids=["subnet", "vlan"])
def test_settings_of_another_network_revert(pi: Pi, lan: Lan, settings: str) -> None:
    verdict = pi.apply(one=settings)
    assert not verdict["kept"], verdict
    assert verdict["score"] < verdict["former_score"]
    assert pi.files() == {"piot-one.nmconnection": GOOD}
    pi.dhcp()
    assert "eth0.9" not in pi.sh("ip -br link")


def test_a_wrong_gateway_is_found_where_ipv6_works(pi: Pi, lan: Lan) -> None:
    body = WRONG_GATEWAY.replace("method=disabled", "method=auto")
    pi.options(targets=[])
    verdict = pi.apply(one=body)
    assert not verdict["kept"], verdict
    assert verdict["score"] == verdict["former_score"] == 2
    assert verdict["reason"] == "the gateway 10.77.0.66 does not answer; another does"


def test_a_broken_second_network_reverts(pi: Pi, lan: Lan) -> None:
    lan.two.restore()
    both = {"one": GOOD, "two": profile(2, "eth1", DHCP)}
    assert pi.apply(**both)["kept"]
    verdict = pi.apply(one=GOOD, two=profile(2, "eth1", static("10.78.0.9/24", "10.78.0.66")))
    assert not verdict["kept"], verdict
    assert pi.files()["piot-two.nmconnection"] == both["two"]


def test_a_dead_server_costs_nothing(pi: Pi, lan: Lan) -> None:
    lan.one.deafen()
    verdict = pi.apply(one=MOVED)
    assert verdict["kept"], verdict
    assert (verdict["score"], verdict["former_score"]) == (2, 2)
    assert "the gateway answers, but not app.test port 80" in verdict["reason"]
    assert pi.addresses("eth0") == "10.77.0.9/24"


def test_a_pulled_cable_costs_nothing(pi: Pi, lan: Lan) -> None:
    lan.one.cut()
    seen = "nmcli -g GENERAL.STATE device show eth0"
    eventually(lambda: "unavailable" in pi.sh(seen), 20, "loss of carrier")
    verdict = pi.apply(one=MOVED)
    assert verdict["kept"], verdict
    assert (verdict["score"], verdict["former_score"]) == (0, 0)
    assert verdict["reason"] == "nothing is connected; the former settings do no better"
    assert pi.files() == {"piot-one.nmconnection": MOVED}
    lan.one.restore()
    eventually(lambda: pi.addresses("eth0") == "10.77.0.9/24", 30, "the new address")


@pytest.mark.parametrize("step", ["trying", "comparing"])
@pytest.mark.parametrize("good", [False, True], ids=["bad", "good"])
def test_a_power_cut_in_the_trial(pi: Pi, lan: Lan, step: str, good: bool) -> None:
    if good:
        lan.one.deafen()
    pi.settings(one=MOVED if good else WRONG_GATEWAY)
    pi.run(["systemctl", "start", "piot-early"])
    pi.run(["systemctl", "start", "--no-block", "piot-judge"])
    wanted = f'"step": "{step}"'
    eventually(lambda: _reached(pi, wanted), 60, step)
    power_cut(pi, lan)
    lan.one.listen()
    pi.boot(timeout=LIMIT)
    verdict = pi.verdict()
    assert verdict["kept"] == good, verdict
    assert pi.files() == {"piot-one.nmconnection": MOVED if good else GOOD}
    eventually(lambda: pi.addresses("eth0"), 20, "an address")


def test_settings_that_cut_the_power_are_not_tried_a_third_time(pi: Pi, lan: Lan) -> None:
    pi.settings(one=WRONG_GATEWAY)
    pi.run(["systemctl", "start", "piot-early"])
    pi.run(["systemctl", "start", "--no-block", "piot-judge"])
    for tries in (1, 2):
        eventually(lambda: _reached(pi, f'"tries": {tries}'), 60, "a try")  # noqa: B023
        power_cut(pi, lan)
        pi.boot(wait=False)
    pi.wait_running(30)
    verdict = pi.verdict()
    assert verdict["reason"] == "the machine went off 2 times while it tried them"
    assert pi.files() == {"piot-one.nmconnection": GOOD}
    pi.dhcp()


def test_settings_that_came_with_a_boot_revert_too(pi: Pi, lan: Lan) -> None:
    pi.settings(one=WRONG_GATEWAY)
    pi.poweroff()
    lan.unplug_power()
    pi.boot(timeout=LIMIT)
    assert not pi.verdict()["kept"]
    assert pi.files() == {"piot-one.nmconnection": GOOD}
    pi.dhcp()


NETPLAN = """\
network:
  version: 2
  ethernets:
    eth0:
      match: {{name: eth0}}
      {}
"""
NETPLAN_FIXED = "addresses: [10.77.0.9/24]\n      routes: [{{to: default, via: {}}}]"


def test_what_netplan_is_told_reverts_too(
    release: str, lan: Lan, request: pytest.FixtureRequest
) -> None:
    root = roots.base(release, ("netplan.io", "udev"))
    with Pi(root, lan.network) as pi:
        request.node.stash.setdefault(MACHINES, []).append(pi)
        pi.kind = "netplan"
        pi.prepare()
        # In a container nothing may trigger the kernel's device events, as `netplan apply` does.
        pi.write("/usr/local/sbin/udevadm", "#!/bin/sh\n", 0o755)
        good = NETPLAN.format("dhcp4: true")
        pi.settings(one=good)
        pi.boot(timeout=LIMIT)
        assert pi.verdict()["score"] == 3
        wrong = NETPLAN.format(NETPLAN_FIXED.format("10.77.0.66"))
        verdict = pi.apply(one=wrong)
        assert not verdict["kept"], verdict
        assert verdict["reason"].startswith("the gateway 10.77.0.66 does not answer")
        assert pi.read("/etc/netplan/60-piot.yaml") == good
        pi.dhcp()
        fixed = NETPLAN.format(NETPLAN_FIXED.format("10.77.0.1"))
        assert pi.apply(one=fixed)["kept"]
        assert "10.77.0.9/24" in pi.addresses("eth0")


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIP60Jb5IUMtw4XyjIaeW+nxoJyu2oD9i59eaaXTy6QIa ada@laptop"
CONF = f"[user]\nname=ada\nauthorized_key={KEY}\n[ethernet]\ninterface=eth0\n"
REPORT = "/boot/firmware/piot-report.txt"


def test_piot_apply_is_cut_off_by_its_own_change(
    release: str, lan: Lan, request: pytest.FixtureRequest
) -> None:
    root = roots.base(release, ("network-manager", "dnsmasq-base"))
    with Machine(root, lan.network) as pi:
        request.node.stash.setdefault(MACHINES, []).append(pi)
        pi.install(deb.deb())
        pi.write("/boot/firmware/piot.conf", f"{CONF}address=dhcp\n")
        pi.boot(timeout=LIMIT)
        assert "10.77.0.1" in pi.sh("ip -o addr show dev eth0")
        wrong = f"{CONF}address=10.77.0.9/24\ngateway=10.77.0.66\n"
        pi.write("/boot/firmware/piot.conf", wrong)
        began = time.monotonic()
        # What becomes of it when the SSH session goes that it was called from.
        pi.run("timeout -s KILL 5 piot apply", check=False)
        assert "10.77.0.9/24" in pi.sh("ip -o addr show dev eth0")
        eventually(lambda: "refused" in pi.read(REPORT), LIMIT, "the report")
        print(f"{release}: reverted and reported after {time.monotonic() - began:.1f} s")
        assert "address: refused: the gateway 10.77.0.66 does not answer" in pi.read(REPORT)
        assert "10.77.0.9/24" not in pi.sh("ip -o addr show dev eth0")
        # The same is not tried again, by hand or at a boot; what is corrected is.
        for again in ("piot apply", "systemctl start piot-firstboot piot-setup"):
            pi.run(again, check=False)
            assert not pi.exists(f"{STATE}/trial.json")
        assert "10.77.0.9/24" not in pi.sh("ip -o addr show dev eth0")
        pi.write("/boot/firmware/piot.conf", wrong.replace("0.66", "0.1"))
        pi.run(["piot", "apply"], timeout=LIMIT)
        assert "10.77.0.9/24" in pi.sh("ip -o addr show dev eth0")
        assert "address: applied" in pi.read(REPORT)


def _reached(pi: Pi, text: str) -> bool:
    """Tell whether the record of the trial says this."""
    return text in pi.run(["cat", f"{STATE}/trial.json"], check=False).stdout


def power_cut(pi: Pi, lan: Lan) -> None:
    """Let the power go, and with it what the kernel knew of its interfaces."""
    pi.kill()
    lan.unplug_power()
