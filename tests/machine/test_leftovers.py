"""What a power cut in the first minutes left of the work of others: mended by the next boot."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.kit import deb
from tests.kit.machine import Machine
from tests.kit.wait import eventually

Machines = Callable[..., Machine]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIP60Jb5IUMtw4XyjIaeW+nxoJyu2oD9i59eaaXTy6QIa ada@laptop"
CONF = f"""\
[user]
name = ada
authorized_key = {KEY}
[secrets]
API_KEY = s3cr3t-of-the-api
"""
PACKAGES = "[update]\npackages = wanted\n"
HOST_KEYS = "/etc/ssh/ssh_host_*_key"
HOST_KEY = "/var/lib/systemd/credential.secret"


def usable(pi: Machine) -> bool:
    """Tell whether the SSH server runs, and each of its keys is one."""
    pi.sh("systemctl is-active ssh.service")
    return pi.sh(f"for key in {HOST_KEYS}; do ssh-keygen -y -f $key; done").count("ssh-") >= 2


def source(pi: Machine, depends: dict[str, str]) -> None:
    """Let apt know of empty packages, each with what it depends on, and of no other source."""
    for name, others in depends.items():
        control = f"Package: {name}\nVersion: 1\nArchitecture: all\nDescription: a test\n"
        control += "Maintainer: Test <test@example.org>\n"
        control += f"Depends: {others}\n" if others else ""
        pi.write(f"/srv/{name}/DEBIAN/control", control)
        pi.sh(f"dpkg-deb --build /srv/{name} /srv/{name}.deb")
        facts = pi.sh(f"stat -c 'Size: %s' /srv/{name}.deb; sha256sum </srv/{name}.deb").split()
        where = f"Filename: ./{name}.deb\nSize: {facts[1]}\nSHA256: {facts[2]}\n"
        pi.sh(f"cat >>/srv/Packages <<'END'\n{control}{where}\nEND")
    pi.sh("rm -f /etc/apt/sources.list.d/*")
    pi.write("/etc/apt/sources.list", "deb [trusted=yes] file:/srv ./\n")


def moment(pi: Machine, unit: str, when: str) -> int:
    """Return when something happened to a unit, in microseconds since the boot."""
    return int(pi.sh(f"systemctl show -P {when}TimestampMonotonic {unit}"))


def test_a_first_boot_whose_power_failed_early_is_made_good(machine: Machines) -> None:
    pi = machine(first_boot=True)
    pi.install(deb.deb())
    pi.write("/boot/firmware/piot.conf", CONF)
    # The names are on disk; what they should have held was not flushed.
    for name, data in (("rsa", b""), ("ed25519", bytes(411)), ("ecdsa", b"")):
        pi.write(f"/etc/ssh/ssh_host_{name}_key", data, 0o600)
        pi.write(f"/etc/ssh/ssh_host_{name}_key.pub", b"")
    pi.write(HOST_KEY, b"", 0o400)
    pi.boot(wait=False)
    pi.wait_running(expect=None)
    assert usable(pi)
    report = json.loads(pi.read("/var/lib/piot/report.json"))
    assert report["ok"] and any("host keys of the SSH server" in note for note in report["notes"])
    assert pi.sh("piot secret list").startswith("API_KEY  sealed  piot.conf")
    # A key of the host counts for one machine-id: that was on disk before anything was sealed.
    written = moment(pi, "systemd-machine-id-commit.service", "ActiveEnter")
    assert 0 < written <= moment(pi, "piot-firstboot.service", "ExecMainStart")
    assert "ordering cycle" not in pi.sh("journalctl -b -o cat")

    # The same on a device where nothing else has changed.
    before = pi.sh(f"cat {HOST_KEYS}")
    pi.sh("truncate -s 0 /etc/ssh/ssh_host_ed25519_key; sync")
    pi.kill()
    pi.boot()
    assert usable(pi)
    after = pi.sh(f"cat {HOST_KEYS}")
    assert after != before and len(set(after.split()) & set(before.split())) > 20, "only that one"
    assert pi.sh("piot secret list").startswith("API_KEY  sealed  piot.conf")

    # And while it runs: what gave up is started.
    pi.sh(f"truncate -s 0 {HOST_KEYS}; systemctl stop ssh.service; systemctl start ssh || true")
    given_up = "systemctl show -P ActiveState ssh.service"
    eventually(lambda: pi.sh(given_up) == "failed", 30, "the server to give up")
    pi.sh("piot apply")
    assert usable(pi)

    # Packages that dpkg was cut off at: one waits for another that was still to be unpacked, and
    # a change of its database was not worked in.
    source(pi, {"half": "other", "other": "", "wanted": ""})
    pi.sh("dpkg --unpack /srv/half.deb")
    pi.sh("dpkg --status half >/var/lib/dpkg/updates/0000")
    pi.write("/boot/firmware/piot.conf", pi.read("/boot/firmware/piot.conf") + PACKAGES)
    pi.sh("piot apply")
    shown = "dpkg-query --show --showformat '${db:Status-Status} ' half other wanted"
    assert pi.sh(shown).split() == ["installed"] * 3
    assert json.loads(pi.read("/var/lib/piot/report.json"))["ok"]
