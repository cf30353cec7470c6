"""PioT through the real cloud-init of both releases: NoCloud, its files in /boot/firmware."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit import roots
from tests.kit.deb import deb
from tests.kit.gitserver import GitServer
from tests.kit.machine import Machine
from tests.kit.network import Network
from tests.kit.wait import eventually

pytestmark = pytest.mark.machine

CHECKOUT = Path(__file__).parents[2]
DATASOURCE = """\
datasource_list: [NoCloud]
datasource: {NoCloud: {seedfrom: "file:///boot/firmware/"}}
network: {config: disabled}
"""
USER_DATA = """\
#cloud-config
hostname: from-user-data
write_files:
  - {path: /etc/from-user-data, content: "yes"}
"""
APP = {
    ".piot.yaml": (
        "piot: 1\nservices:\n  web: {run: ./web.sh, health: {steady: 1s}}\n"
        "jobs:\n  tick: {run: echo tick, every: 10s}\n"
    ),
    "web.sh": "#!/bin/sh\necho serving\nexec sleep 1000000\n",
}


@pytest.fixture
def cloud(release: str, tmp_path: Path) -> Iterator[tuple[Machine, GitServer]]:
    """Prepare a machine with cloud-init, not booted yet, and an app on a git server."""
    root = roots.base(release, ("cloud-init",))
    with (
        Network() as network,
        GitServer(tmp_path / "git", network) as server,
        Machine(root, network, first_boot=True) as machine,
    ):
        server.repo("garden").commit(APP, "first")
        machine.write("/etc/cloud/cloud.cfg.d/99-test.cfg", DATASOURCE)
        machine.write("/boot/firmware/meta-data", "instance-id: garden-1\n")
        machine.write("/boot/firmware/user-data", USER_DATA)
        # The cable is plugged in from outside; networkd, which knows of none, would wait for it.
        machine.run(["systemctl", "mask", "systemd-networkd-wait-online.service"])
        yield machine, server


def booted(machine: Machine) -> None:
    """Boot and let cloud-init finish; it may end "degraded" for reasons of its own."""
    machine.boot(wait=False)
    machine.run(["cloud-init", "status", "--wait"], check=False, timeout=180)
    journal = machine.sh("journalctl -b -o cat")
    assert "ordering cycle" not in journal
    assert machine.sh("systemctl list-units --failed --plain --no-legend 'piot*'") == ""


def running(machine: Machine) -> bool:
    """Tell whether the app's service runs."""
    state = machine.run(["systemctl", "is-active", "piot-garden-web.service"], check=False)
    return state.stdout.strip() == "active"


def test_a_bare_image_installs_and_runs_in_the_same_boot(cloud: tuple[Machine, GitServer]) -> None:
    machine, server = cloud
    machine.write("/boot/firmware/vendor-data", (CHECKOUT / "cloud-init/vendor-data").read_bytes())
    machine.write(f"/boot/firmware/piot/{deb().name}", deb().read_bytes())
    conf = f"[device]\ntimezone = Europe/Berlin\n[app]\nrepo = {server.url('garden')}\n"
    machine.write("/boot/firmware/piot.conf", conf)
    booted(machine)
    eventually(lambda: running(machine), 60, "the app", 0.5)
    assert machine.boots == 1
    assert machine.read("/etc/from-user-data") == "yes"
    assert machine.sh("hostname") == "from-user-data"
    assert machine.sh("readlink /etc/localtime") == "/usr/share/zoneinfo/Europe/Berlin"
    assert "piot-garden-tick.timer" in machine.sh("systemctl list-timers --all 'piot-*'")
    # The second boot has nothing to install, and the app is there from the start.
    machine.reboot(wait=False)
    machine.run(["cloud-init", "status", "--wait"], check=False, timeout=180)
    eventually(lambda: running(machine), 60, "the app after a reboot", 0.5)
    assert "Unpacking piot" not in machine.sh("journalctl -b -o cat")


def test_a_part_of_user_data_is_the_conf(cloud: tuple[Machine, GitServer]) -> None:
    machine, server = cloud
    machine.install(deb())
    parts = (CHECKOUT / "cloud-init/user-data").read_text()
    parts = parts.replace("https://git.example.org/you/garden.git", server.url("garden"))
    machine.write("/boot/firmware/user-data", parts)
    booted(machine)
    eventually(lambda: running(machine), 60, "the app", 0.5)
    assert f"repo = {server.url('garden')}" in machine.read("/etc/piot/piot.conf")
    assert machine.sh("stat -c %a /etc/piot/piot.conf") == "600"


def test_clean_brings_the_part_handler_back(cloud: tuple[Machine, GitServer]) -> None:
    machine, _ = cloud
    machine.install(deb())
    booted(machine)
    here = "/var/lib/cloud/handlers/piot.py"
    assert machine.exists(here)
    machine.run(["cloud-init", "clean"])
    assert machine.read(here) == (CHECKOUT / "cloud-init/part_handler.py").read_text()
