"""Private keys on the boot partition: a first boot stopped at each of its changes loses none."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from piot_firstboot import vault
from piot_firstboot.found import STORED
from tests.kit import faults
from tests.root.test_kill_firstboot import Device, act, boot_again, tree

BOOT = "boot/firmware"
CONF = """\
[wifi]
ssid = Campus
country = DE
security = eap
eap = tls
identity = garden
client_cert = device.pem
client_key = device.key
[app.garden]
repo = git@git.example.org:ada/garden.git
deploy_key = garden.txt
[app.shed]
repo = git@git.example.org:ada/shed.git
deploy_key = garden.txt
"""
NAMES = ("wifi.client_key", "app.garden.deploy_key", "app.shed.deploy_key")


def make(folder: Path, name: str) -> str:
    """Make a key."""
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(folder / name)]
    subprocess.run(argv, check=True, timeout=60)
    return (folder / name).read_text()


@pytest.fixture
def device(memory: Path) -> tuple[Path, dict[str, str]]:
    """Make a device before its first boot, and tell what shall be in its store after it."""
    root = tree(memory)
    garden, campus = make(memory, "garden"), make(memory, "campus")
    (root / BOOT / "garden.txt").write_text(garden.replace("\n", "\r\n"))
    (root / BOOT / "device.key").write_text(campus)
    (root / BOOT / "device.pem").write_text("certificate\n")
    (root / BOOT / "piot.conf").write_text(CONF)
    return root, dict(zip(NAMES, (campus, garden, garden), strict=True))


def kept(keys: dict[str, str]) -> Callable[[Path], None]:
    """Return the check that each key is whole: on the boot partition, in the store, or in both."""

    def check(root: Path) -> None:
        vault._opened.clear()
        files = [path.read_text(errors="replace") for path in (root / BOOT).iterdir()]
        for name, key in keys.items():
            assert key in files or vault.get(Device(root), name) == key, f"{name} is lost"

    return check


def judge(keys: dict[str, str]) -> Callable[[Path], None]:
    """Return the judge of a device after its next boot: the keys are in the store alone."""

    def check(root: Path) -> None:
        kept(keys)(root)
        system = Device(root)
        assert {name: vault.get(system, name) for name in keys} == keys
        text = (root / BOOT / "piot.conf").read_text()
        assert text == CONF.replace("device.key", STORED).replace("garden.txt", STORED)
        left = {path.name for path in (root / BOOT).iterdir()}
        assert left == {"piot.conf", "piot-report.txt", "device.pem", "cmdline.txt"}
        used = system.read("/var/lib/piot/network/certs/wifi.client_key")
        assert used == keys["wifi.client_key"].encode()
        said = (root / BOOT / "piot-report.txt").read_text()
        assert said.startswith("/boot/firmware/piot.conf is applied"), said

    return check


@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.slow), 17])
def test_a_power_cut_loses_no_key(
    device: tuple[Path, dict[str, str]], memory: Path, step: int, tell: Callable[[str], None]
) -> None:
    root, keys = device
    matrix = faults.kill(
        root, memory, act, (boot_again,), judge(keys), step=step, meanwhile=kept(keys)
    )
    tell(f"private keys: {matrix}")
    matrix.check()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS], ids=["full", "read-only"])
@pytest.mark.parametrize(
    ("below", "step"),
    [
        pytest.param("/boot/firmware", 1, marks=pytest.mark.slow),
        pytest.param("/var/lib/piot", 5, marks=pytest.mark.slow),
        ("/boot/firmware", 9),
        ("/var/lib/piot", 19),
    ],
)
def test_a_disk_that_refuses_loses_no_key(
    device: tuple[Path, dict[str, str]],
    memory: Path,
    code: int,
    below: str,
    step: int,
    tell: Callable[[str], None],
) -> None:
    root, keys = device
    matrix = faults.refuse(
        root,
        memory,
        act,
        boot_again,
        judge(keys),
        code=code,
        below=below,
        step=step,
        meanwhile=kept(keys),
    )
    tell(f"private keys, {errno.errorcode[code]} in {below}: {matrix}")
    matrix.check()
