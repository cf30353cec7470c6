"""The power is cut in the middle of a first boot and of deploys: a real disk, a real FAT.

`./dev test` cuts it a few times, `./dev vm` for long. When is drawn by lot; the seed is printed.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kit import deb, vm
from tests.kit.git_repo import Repo
from tests.kit.wait import eventually

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIP60Jb5IUMtw4XyjIaeW+nxoJyu2oD9i59eaaXTy6QIa ada@laptop"
API_KEY = "s3cr3t-value-of-the-api"
PASSWORD = "correct horse battery"
CONF = f"""\
[device]
hostname = garden
[user]
name = ada
password = {PASSWORD}
authorized_key = {KEY}
[app]
name = garden
repo = git://{vm.GIT}/garden.git
poll = 1h
[secrets]
API_KEY = {API_KEY}
"""
MANIFEST = """\
piot: 1
services:
  web:
    run: ./web.sh
    secrets: [API_KEY]
    health: {within: 10min, steady: 2s}
jobs:
  tick: {run: "true", every: 1h}
"""
# What it says of itself comes from a file of its release: half a checkout would show.
WEB = """\
#!/bin/sh
read version <version
[ "$(tail -n 1 filler)" = "end of $version" ] || exit 1
[ "$(cat "$CREDENTIALS_DIRECTORY/API_KEY")" = s3cr3t-value-of-the-api ] || exit 1
echo "$version" >"$RUNTIME_DIRECTORY/version"
exec sleep infinity
"""
STATE = "/var/lib/piot/apps/garden/state.json"


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a disk with PioT installed, on which nothing was ever booted."""
    folder = tmp_path_factory.mktemp("vm")
    root = deb.machine_root("trixie", deb.deb(), vm.LAYER)
    return vm.image(folder, root, lambda tree: None)


@pytest.fixture
def pi(image: Path) -> Iterator[vm.Vm]:
    """Return a machine before its first boot, with a piot.conf on its FAT."""
    with vm.start_from(image, "pi") as machine:
        machine.put("piot.conf", CONF)
        yield machine


def test_the_power_is_cut(
    pi: vm.Vm, lot: random.Random, pytestconfig: pytest.Config, tell: Callable[[str], None]
) -> None:
    repo = vm.repo(pi.folder, "garden")
    release(repo, 0)
    moments = [cut_first_boot(pi, lot)]
    check_first_boot(pi)
    took = deploy(pi, repo, 1)
    cuts = pytestconfig.getoption("--cuts") or (30 if pytestconfig.getoption("--long") else 3)
    for number in range(2, 2 + cuts):
        moment = cut_deploy(pi, repo, number, lot.uniform(0, took * 1.1))
        moments.append(moment)
    pi.poweroff()
    assert pi.check_disk() == ""
    tell(f"power cuts: {len(moments)}, at " + ", ".join(moments))


def release(repo: Repo, number: int) -> str:
    """Push a commit; every other one differs in everything."""
    filler = f"{number % 2}\n" * 50_000 + f"end of {number}\n"
    manifest = MANIFEST + f'  extra{number % 2}: {{run: "true", every: 2h}}\n'
    files = {".piot.yaml": manifest, "web.sh": WEB, "version": f"{number}\n", "filler": filler}
    return repo.commit(files, f"number {number}")


def cut_first_boot(pi: vm.Vm, lot: random.Random) -> str:
    """Cut the power while the first boot applies piot.conf, and boot again."""
    pi.boot()
    wait = lot.uniform(0, 15)
    time.sleep(wait)
    pi.kill()
    assert pi.check_disk() == ""
    pi.boot()
    return f"{wait:.1f} s into the first boot"


def check_first_boot(pi: vm.Vm) -> None:
    """Check that piot.conf was applied, and that its secrets are on the FAT no more."""
    assert pi.up() == "running", pi.diagnosis()
    assert pi.sh("hostname; id -un ada") == "garden\nada"
    assert "ada:$y$" in pi.sh("grep ^ada: /etc/shadow")
    version_runs(pi, {0}, timeout=900)
    pi.sh("sync")
    text = pi.get("piot.conf")
    assert text.count("@stored") == 2 and "hostname = garden" in text
    assert pi.get("piot-report.txt").startswith("/boot/firmware/piot.conf is applied")
    raw = pi.raw()
    for secret in (API_KEY, PASSWORD):
        assert secret.encode() not in raw, "a secret is still to be read on the boot partition"
    # But for what FAT itself leaves: the file was written once by the laptop and once by us.
    assert pi.sh(f"grep -rlF '{PASSWORD}' /etc /var /home /root || true") == ""


def deploy(pi: vm.Vm, repo: Repo, number: int) -> float:
    """Deploy a commit undisturbed; return how long that took."""
    at_rest(pi)
    release(repo, number)
    began = time.monotonic()
    pi.run("systemctl start piot-deploy@garden", timeout=900)
    version_runs(pi, {number})
    return time.monotonic() - began


def cut_deploy(pi: vm.Vm, repo: Repo, number: int, wait: float) -> str:
    """Cut the power in the middle of a deploy; check what is there then, and after the next run."""
    at_rest(pi)
    commit = release(repo, number)
    pi.run("systemctl start --no-block piot-deploy@garden")
    time.sleep(wait)
    pi.kill()
    assert pi.check_disk() == "", "the file system is not clean"
    # Read off the disk: once it has booted, the next run may have gone on already.
    found = json.loads(pi.on_disk(STATE))
    step = found["step"] if found["target"] or found["commit"] == commit else "not begun"
    pi.boot()
    version_runs(pi, {number - 1, number}, timeout=900)
    pi.run("systemctl start piot-deploy@garden", timeout=900)
    version_runs(pi, {number})
    record = json.loads(pi.sh(f"cat {STATE}"))
    assert (record["commit"], record["step"], record["bad"]) == (commit, "committed", [])
    pi.run("git --git-dir=/var/lib/piot/apps/garden/mirror.git fsck --strict --no-dangling")
    units = pi.sh("cd /etc/systemd/system; ls | grep -o 'extra.*timer' ; ls -A | grep piot$; :")
    assert units == f"extra{number % 2}.timer"
    assert pi.up() == "running", pi.diagnosis()
    return f"{wait:.1f} s ({step})"


def at_rest(pi: vm.Vm, timeout: float = 900) -> None:
    """Wait for the end of the deploy that the timer begins in each boot.

    A start that joins it would not see a commit that is pushed now: it may have asked already.
    """
    begun = "systemctl show -P LastTriggerUSecMonotonic piot-deploy@garden.timer"
    eventually(lambda: pi.sh(begun) != "0", timeout, "the poll of this boot", 0.5)
    asked = "systemctl show -P ActiveState piot-deploy@garden"
    eventually(lambda: pi.sh(asked) in ("inactive", "failed"), timeout, "the end of a deploy", 0.5)


def version_runs(pi: vm.Vm, numbers: set[int], timeout: float = 300) -> None:
    """Wait until the app runs one of these releases, all of it."""
    until = time.monotonic() + timeout
    asked, said = "systemctl is-active -q piot-garden-web && cat /run/piot-garden/version", ""
    while time.monotonic() < until:
        said = pi.run(asked, check=False)[1]
        if said.strip() in {str(number) for number in numbers}:
            return
        time.sleep(0.5)
    raise AssertionError(f"{said!r} runs, and not one of {numbers}\n{pi.diagnosis()}")
