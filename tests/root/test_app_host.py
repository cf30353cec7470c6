"""What a device is decides what of an app it has, on a tree: the unit files after a deploy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from piot_firstboot import cli, host, release, repository, state
from piot_firstboot.errors import ConfigError
from piot_firstboot.fleet import Device as Who
from piot_firstboot.items import Unit
from piot_firstboot.render.device import SAID
from piot_firstboot.system import System
from tests.kit.apptree import Device

RUN = "#!/bin/sh\nsleep 1000\n"
MANIFEST = """\
piot: 1
env_file: config.env
services:
  hub: {run: ./run, when: {role: gateway}, secrets: [NOT_HERE]}
  out: {run: ./run, when: {label: outdoor}, after: [hub], needs: {devices: [i2c]}}
  conf: {run: ./run, watch: [web]}
update: {gate: [hub, out], reload: {hub: HUP, conf: HUP}}
"""


@pytest.fixture
def device(tmp_path: Path) -> Device:
    """Make a device with a label, no role of interest, and no group i2c."""
    made = Device(tmp_path)
    made.repo.commit({".piot.yaml": MANIFEST, "run": RUN, "web/a": "1", "config.env": "A='x y'\n"})
    said = {"schema": 1, "name": "pi", "role": "sensor", "labels": {"outdoor": "yes"}}
    made.system.write(SAID, json.dumps(said).encode())
    return made


def test_a_device_has_its_units_and_is_asked_for_nothing_else(
    device: Device, capsys: pytest.CaptureFixture[str]
) -> None:
    assert host.device(device.system) == Who("pi", "", "sensor", ("outdoor=yes",))
    assert device.deploy().ok
    names = {n for n in device.system.names("/etc/systemd/system") if n.endswith(".service")}
    assert names == {"piot-garden-out.service", "piot-garden-conf.service"}
    out = device.unit("piot-garden-out.service")
    assert 'Environment="A=x y"\n' in out and "Environment=PIOT_ROLE=sensor\n" in out
    assert "Wants=" not in out and "piot-garden-hub" not in out
    assert "SupplementaryGroups=" not in out and "DeviceAllow=char-i2c rw\n" in out
    assert "no group i2c on this device" in capsys.readouterr().err


def change(device: Device, **files: str) -> str:
    """Commit files, stage the commit, and return what the service `conf` would do."""
    names = {"web": "web/a", "readme": "README", "manifest": ".piot.yaml"}
    commit = device.repo.commit({names[name]: text for name, text in files.items()})
    tip = repository.resolve(device.system, state.source(device.system, "garden"))
    repository.fetch(device.system, state.source(device.system, "garden"), tip, print)
    release.stage(device.system, "garden", commit)
    declared = release.manifest(device.system, "garden", commit)
    items = release.render(device.system, "garden", commit, declared)
    (unit,) = (i for i in items if isinstance(i, Unit) and i.name == "piot-garden-conf.service")
    return unit.on_change


def test_a_reload_is_for_files_and_a_restart_for_all_else(device: Device) -> None:
    assert device.deploy().ok
    assert change(device, web="2") == "reload"
    assert change(device, manifest=MANIFEST.replace("./run, watch", "./run x, watch")) == "restart"


def test_an_env_file_is_no_way_out_of_the_release(device: Device) -> None:
    assert device.deploy().ok
    commit = device.record().commit
    place = device.root / f"var/lib/piot/apps/garden/releases/{commit}"
    (device.root / "etc/secret.env").write_text("HASH=x\n")
    (place / "config.env").unlink()
    (place / "config.env").symlink_to("../../../../../../../etc/secret.env")
    declared = release.manifest(device.system, "garden", commit)
    with pytest.raises(ConfigError) as caught:
        release.render(device.system, "garden", commit, declared)
    assert "is a link" in str(caught.value) and "HASH" not in str(caught.value)


def test_what_the_kernel_can_limit(tmp_path: Path) -> None:
    """On a tree all that it may be; on a device what it says."""

    system = System(str(tmp_path))
    assert host.controllers(system) == {"cpu", "memory"}
    system.live = True
    assert host.controllers(system) == frozenset()
    (tmp_path / "sys/fs/cgroup/cpu").mkdir(parents=True)
    assert host.controllers(system) == {"cpu"}
    (tmp_path / "sys/fs/cgroup/cgroup.controllers").write_text("cpuset io memory pids\n")
    assert host.controllers(system) == {"memory"}


def test_others_are_told_of_when_asked(device: Device, capsys: pytest.CaptureFixture[str]) -> None:
    """`piot peers` shows what units get; of an app that does not run yet, nothing."""
    words = ["peers", "--root", str(device.root)]
    assert cli.main(words) == 0
    assert device.deploy().ok
    device.system.write("/var/lib/piot/apps/garden/peers", b"PIOT_PEER_HUB=pi-b.local:80\n")
    capsys.readouterr()
    assert cli.main(words) == 0
    assert capsys.readouterr().out == "PIOT_PEER_HUB=pi-b.local:80\n"
    assert cli.main([*words, "gardn"]) == 1
    assert "gardn" in capsys.readouterr().err
