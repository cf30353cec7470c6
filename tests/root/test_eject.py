"""piot eject on a tree: what is left, and that cutting it off does no harm."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from piot_firstboot import eject, firstboot, state
from piot_firstboot.errors import ApplyError
from piot_firstboot.system import System
from tests.kit.apptree import Device
from tests.kit.tree import texts

MANIFEST = """\
piot: 1
secrets: [KEY]
services:
  web: {run: ./web.sh, watch: [web.sh], port: 8080}
jobs:
  tick: {run: ./web.sh, every: 1min, secrets: []}
"""


@pytest.fixture
def device(tmp_path: Path) -> Device:
    """Make a device whose app came from piot.conf and was deployed twice."""
    made = Device(tmp_path)
    made.system.write("/usr/lib/systemd/system/piot-firstboot.service", b"[Unit]\n")
    made.system.write("/usr/lib/systemd/system/piot-deploy@.timer", b"[Unit]\n")
    made.system.write("/usr/lib/systemd/system/piot-peers@.timer", b"[Unit]\n")
    conf = f"[app.garden]\nrepo = {made.repo.url}\n[secrets]\nKEY = s3cret\n"
    made.system.write("/boot/firmware/piot.conf", conf.encode())
    made.repo.commit({".piot.yaml": MANIFEST, "web.sh": "#!/bin/sh\nsleep 1000\n"}, "first")
    report = firstboot.converge(made.system)
    assert report.ok, report.text()
    assert made.deploy().ok
    made.repo.commit({"README": "x"})
    assert made.deploy().ok
    return made


def left(device: Device) -> dict[str, str | bytes]:
    """Return the tree without what a release holds and what only lasts until a reboot."""
    return {
        path: text
        for path, text in texts(device.root).items()
        if "/releases/" not in path and not path.startswith("/run")
    }


def test_plain_units_are_left(device: Device) -> None:
    before = left(device)
    eject.leave(device.system, "garden")
    after = left(device)
    units = {path for path in before if path.startswith("/etc/systemd/system/piot-garden")}
    looks = "/etc/systemd/system/piot-garden.target.wants/piot-peers@garden.timer"
    assert looks in units and units - set(after) == {looks}
    for path in units - {looks}:
        text = str(after[path])
        assert "piot-firstboot" not in text and "/var/lib/piot/secrets" not in text, path
    assert after["/etc/credstore/piot-garden.KEY"] == "s3cret"
    assert not [path for path in after if "piot-deploy" in path and path.startswith("/etc")]
    assert not [path for path in after if path.startswith("/var/lib/piot/owned/app.")]
    assert "# [app.garden]" in str(after["/boot/firmware/piot.conf"])
    mine = [path for path in after if path.startswith("/var/lib/piot/apps/garden")]
    assert mine == ["/var/lib/piot/apps/garden/ejected"]
    # The service was left alone by the second deploy: both releases are in use.
    assert len(device.releases()) == 2


def test_piot_knows_nothing_of_it_any_more(device: Device) -> None:
    eject.leave(device.system, "garden")
    after = left(device)
    assert state.apps(device.system) == ()
    assert firstboot.converge(device.system, everything=True).ok
    again = left(device)
    units = [path for path in after if path.startswith("/etc/systemd/system/piot-garden")]
    assert [again.get(path) for path in units] == [after[path] for path in units]
    assert len(device.releases()) == 2


def test_a_plan_changes_nothing(device: Device) -> None:
    before = left(device)
    said = "\n".join(eject.plan(device.system, "garden").lines())
    assert left(device) == before
    assert "made a comment:   [app.garden] in piot.conf" in said
    assert "/var/lib/piot/secrets/KEY to /etc/credstore/piot-garden.KEY" in said


def test_an_app_that_is_not_there(device: Device) -> None:
    for name in ("nothing", "../garden"):
        with pytest.raises(ApplyError, match="there is no app"):
            eject.plan(device.system, name)


def test_nothing_deployed(tmp_path: Path) -> None:
    with pytest.raises(ApplyError, match="nothing of garden is deployed"):
        eject.plan(Device(tmp_path).system, "garden")


class Cut(Exception):
    """The power went."""


class Frail(System):
    """A system whose power goes before its n-th change."""

    left = -1

    def _spend(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Cut

    def write(self, *args: object, **more: object) -> None:
        self._spend()
        super().write(*args, **more)  # type: ignore[arg-type]

    def remove(self, path: str) -> bool:
        self._spend()
        return super().remove(path)


def test_cut_off_anywhere_it_is_finished_by_doing_it_again(device: Device, tmp_path: Path) -> None:
    web = "/etc/systemd/system/piot-garden-web.service"
    before = device.root
    device.root = tmp_path / "0"
    shutil.copytree(before, device.root, symlinks=True)
    eject.leave(System(str(device.root)), "garden")
    wanted = set(left(device))
    for step in range(1, 200):
        device.root = tmp_path / str(step)
        shutil.copytree(before, device.root, symlinks=True)
        system, frail = System(str(device.root)), Frail(str(device.root))
        frail.left = step
        try:
            eject.leave(frail, "garden")
        except Cut:
            # A boot in between must not take away what is there.
            firstboot.converge(system, boot=True)
            assert web in left(device), step
            eject.leave(system, "garden")
        else:
            break
        after = left(device)
        assert set(after) == wanted, step
        assert "piot-firstboot" not in str(after[web]), step
        assert "# [app.garden]" in str(after["/boot/firmware/piot.conf"]), step
    assert step > 10
