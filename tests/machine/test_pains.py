"""Pains of first boots that show only on a booted machine; the others: tests/root/test_pains.py.

plaintext secrets left on FAT, edits after first boot, locked out: test_conf.py.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from piot_firstboot.conftext import FILL
from tests.conftest import MACHINES
from tests.kit import deb, partition, roots
from tests.kit.lan import Lan
from tests.kit.machine import Machine
from tests.kit.wait import eventually

CONF = "/boot/firmware/piot.conf"
NETPLAN = "/etc/netplan/60-piot.yaml"
LIMIT = 120  # seconds in which broken settings must be gone again
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOB5IJq4WkfjuxH90Y3msiyt+J+xfqGkPOWEhagFFNM5 ada@laptop"
USER = f"[user]\nname = ada\nauthorized_key = {KEY}\n"


@pytest.fixture
def lan() -> Iterator[Lan]:
    """Make two wired networks."""
    with Lan() as made:
        for router in (made.one, made.two):
            router.serve()
        yield made


def report(pi: Machine) -> dict[str, Any]:
    """Return the report once piot-setup has nothing more to do."""
    ended = "! systemctl is-active piot-setup | grep -q activating && echo yes || true"
    eventually(lambda: pi.sh(ended) == "yes", LIMIT, "the end of piot-setup")
    said: dict[str, Any] = json.loads(pi.read("/var/lib/piot/report.json"))
    return said


def up(pi: Machine, state: str = "running") -> dict[str, Any]:
    """Boot, and return the report."""
    pi.boot(wait=False)
    pi.wait_running(LIMIT, expect=state)
    return report(pi)


def test_network_online_that_is_not_and_a_boot_partition_that_takes_nothing(
    release: str, lan: Lan, request: pytest.FixtureRequest
) -> None:
    """No cable, no room: the boot is as quick as any, and all that can be done is done."""
    text = f"[device]\nhostname = one\n{USER}password = horse-Battery1\n"
    text += "[secrets]\nAPI_KEY = horse-Battery2\n[app]\nrepo = https://git.test/garden.git\n"
    for router in (lan.one, lan.two):
        router.cut()
    with Machine(deb.machine_root(release, deb.deb()), lan.network) as pi:
        request.node.stash.setdefault(MACHINES, []).append(pi)
        boot = pi.tree / "boot/firmware"
        with partition.partition(boot):
            (boot / "piot.conf").write_text(text)
            partition.fill(boot)
            said = up(pi)
            assert pi.sh("hostname; systemctl is-active network-online.target || true") == (
                "one\ninactive"
            )
            took = pi.sh("systemctl show -P ExecMainExitTimestampMonotonic piot-firstboot")
            assert 0 < int(took) / 1e6 - _booted(pi) < 30
            assert KEY in pi.read("/home/ada/.ssh/authorized_keys")
            assert pi.sh("piot secret list").count("sealed") == 2
            # There is no room for another file; in place the plaintext is overwritten all the same.
            conf = (boot / "piot.conf").read_text()
            assert "Battery" not in conf and FILL in conf and len(conf) == len(text)
            assert {path.name for path in boot.iterdir()} == {"piot.conf", "filler"}
            notes = "\n".join(said["notes"])
            assert said["ok"] and "No space left on device" in notes
            assert "the secrets in piot.conf are overwritten, not yet replaced" in notes
            log = pi.sh("journalctl -b -u piot-firstboot -o cat")
            assert "the report could not be written to /boot/firmware/piot-report.txt" in log
            # Room again: the next boot completes it, and what is stored is what was written.
            partition.make_room(boot)
            shadow = pi.sh("getent shadow ada")
            pi.poweroff()
            said = up(pi)
            assert said["notes"] == []
            conf = (boot / "piot.conf").read_text()
            assert conf.count("@stored") == 2 and (boot / "piot-report.txt").exists()
            assert pi.sh("getent shadow ada") == shadow
            # Read-only, with an edit and another secret.
            pi.poweroff()
            edited = conf.replace("= one", "= two").replace("API_KEY = @stored", "API_KEY = Other9")
            (boot / "piot.conf").write_text(edited)
            partition.set_writable(boot, writable=False)
            said = up(pi)
            assert pi.sh("hostname") == "two"
            assert (boot / "piot.conf").read_text() == edited
            notes = "\n".join(said["notes"])
            assert "could not be overwritten: Read-only file system" in notes
            look = "from piot_firstboot import system, vault; "
            look += "print(vault.get(system.System(), 'API_KEY'))"
            assert pi.run(["python3", "-c", look]).stdout == "Other9\n"
            assert "Other9" not in pi.sh("journalctl -b -o export; cat /var/lib/piot/report.json")
            # The app's server is asked once there is a way to it, and nobody had to wait.
            assert pi.sh("systemctl is-active piot-deploy@garden.timer") == "active"


def _booted(pi: Machine) -> float:
    """Return when PID 1 of the machine began, on the clock that its units are timed by."""
    return int(pi.sh("systemctl show -P UserspaceTimestampMonotonic")) / 1e6


def test_netplan_alone_does_what_network_manager_does(
    release: str, lan: Lan, request: pytest.FixtureRequest
) -> None:
    """As on Debian's cloud images: two networks, a change that breaks one, an unchanged boot."""
    lab = "[ethernet.lab]\ninterface = eth1\naddress = 10.78.0.9/24\naddress = fd78::9/64\n"
    main = "[ethernet.main]\ninterface = eth0\n"
    text = f"[device]\nhostname = garden\n{USER}{main}{lab}"
    ap = "[fallback]\nwifi_ap_after = 5min\nwifi_ap_password = correct horse\n"
    with Machine(roots.base(release, ("netplan.io", "udev")), lan.network) as pi:
        request.node.stash.setdefault(MACHINES, []).append(pi)
        pi.install(deb.deb())
        # In a container nothing may trigger the kernel's device events, as `netplan apply` does.
        pi.write("/usr/local/sbin/udevadm", "#!/bin/sh\n", 0o755)
        pi.write(CONF, text + ap)
        said = up(pi, "degraded")
        assert pi.sh("systemctl list-units --failed --plain --no-legend | cut -d ' ' -f 1") == (
            "piot-firstboot.service"
        )
        rows = {(row["section"], row["key"]): row for row in said["lines"]}
        assert rows["fallback", "wifi_ap_after"]["why"] == (
            "only NetworkManager can open an access point"
        )
        assert "apt install network-manager" in rows["fallback", "wifi_ap_after"]["next"]
        assert rows["ethernet.lab", "address"]["state"] == "applied"
        assert pi.sh(f"stat -c '%a %U' {NETPLAN}") == "600 root"
        eventually(lambda: "10.77.0.1" in _addresses(pi, "eth0"), 30, "a lease")
        there = _addresses(pi, "eth1")
        assert "10.78.0.9/24" in there and "fd78::9/64" in there
        # What breaks the network is gone within two minutes, and the report says why.
        good = pi.read(NETPLAN)
        pi.write(CONF, f"{text}[ssh]\npassword_login = no\n".replace(main, f"{main}{WRONG}"))
        began = time.monotonic()
        done = pi.run(["piot", "apply"], check=False, timeout=LIMIT + 30)
        assert done.returncode == 1 and time.monotonic() - began < LIMIT
        assert "the former network settings are back" in done.stdout
        assert pi.read(NETPLAN) == good and "10.77.0.1" in _addresses(pi, "eth0")
        assert "PasswordAuthentication no" in pi.read("/etc/ssh/sshd_config.d/10-piot.conf")
        pi.write(CONF, text)
        assert pi.run(["piot", "apply"], check=False, timeout=LIMIT).returncode == 0
        # An unchanged boot writes nothing.
        pi.poweroff()
        lan.unplug_power()
        up(pi)
        stamps = "find /etc /var/lib/piot /boot -xdev -type f -printf '%T@ %p\\n' | sort"
        before = set(pi.sh(stamps).splitlines())
        pi.poweroff()
        lan.unplug_power()
        up(pi)
        changed = [row.split()[1] for row in before ^ set(pi.sh(stamps).splitlines())]
        assert not [path for path in changed if "piot" in path or "netplan" in path]
        eventually(lambda: "10.77.0.1" in _addresses(pi, "eth0"), 30, "a lease again")


WRONG = "address = 192.0.2.9/24\ngateway = 192.0.2.1\n"


def _addresses(pi: Machine, interface: str) -> str:
    """Return the addresses of an interface."""
    return pi.sh(f"ip -o addr show dev {interface} scope global")
