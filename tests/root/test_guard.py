"""The boot guard: what is counted, what three boots bring about, and how safe mode ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from piot_firstboot import bootguard, cli, firstboot, gate, guard, idle, state
from tests.kit.apptree import FILES, Device

WEB = f"{guard.OFF}/piot-garden-web"


@pytest.fixture
def boot(monkeypatch: pytest.MonkeyPatch) -> Callable[[Device], None]:
    """Boot a device: another name of the boot, an empty /run, and the guard."""
    count = 0

    def reboot(device: Device) -> None:
        nonlocal count
        count += 1
        monkeypatch.setattr(guard, "_boot", lambda _: f"boot {count}")
        device.system.remove_tree("/run")
        assert cli.main(["bootguard", "--root", str(device.root)]) == 0

    return reboot


@pytest.fixture
def device(tmp_path: Path) -> Device:
    """Make a device that has just deployed the second commit of its app."""
    made = Device(tmp_path)
    made.repo.commit(FILES, "first")
    assert made.deploy().ok
    made.repo.commit({"note": "2"})
    assert made.deploy().ok
    return made


def test_a_boot_with_a_healthy_report_ends_the_counting(
    device: Device, boot: Callable[[Device], None]
) -> None:
    assert guard.counted(device.system, "garden") == guard.Count(device.repo.head(), 0, "")
    boot(device)
    assert guard.counted(device.system, "garden") == guard.Count(device.repo.head(), 1, "boot 1")
    assert device.deploy().ok
    assert guard.counted(device.system, "garden") is None
    before = sorted(device.root.rglob("*"))
    boot(device)
    after = [path for path in device.root.rglob("*") if "run" not in path.parts]
    assert sorted(after) == [path for path in before if "run" not in path.parts]


def test_the_same_boot_counts_once(device: Device, boot: Callable[[Device], None]) -> None:
    boot(device)
    bootguard.watch(device.system)
    count = guard.counted(device.system, "garden")
    assert count and count.boots == 1


def test_three_boots_bring_the_release_before_back(
    device: Device, boot: Callable[[Device], None]
) -> None:
    bad, first = device.repo.head(), device.record().good[0]
    for _ in range(2):
        boot(device)
        assert not device.system.exists(WEB)
    boot(device)
    assert device.system.exists(WEB), "it does not even start again"
    assert device.record().step == "rolling-back"
    device.repo.work.rename(device.repo.work.with_name("away"))  # no remote is needed
    device.deploy()
    record = device.record()
    assert (record.step, record.commit) == ("rolled-back", first)
    failure = record.failure(bad)
    assert failure and failure.deterministic
    assert failure.reason == "3 boots in a row without a healthy report"
    assert not device.system.exists(WEB)
    assert f"PIOT_COMMIT={first}" in device.unit()


def test_three_more_lead_into_safe_mode(device: Device, boot: Callable[[Device], None]) -> None:
    for _ in range(3):
        boot(device)
    # As far as restoring the release before, and then no healthy report of that either.
    state.save(device.system, replace(device.record(), step="rolled-back", target=""))
    guard.follow(device.system, "garden", device.record().commit)
    for _ in range(2):
        boot(device)
        assert guard.safe(device.system) is None
        assert not device.system.exists(WEB)
    boot(device)
    safe = guard.safe(device.system)
    assert safe and safe.reason == "garden: 6 boots in a row without a healthy report"
    # An edit of piot.conf is told from none by the stamp that each boot leaves.
    device.system.write("/boot/firmware/piot.conf", b"[app]\n")
    stamp = idle.boot_stamp("/boot/firmware/piot.conf", b"[app]\n")
    device.system.write(idle.BOOT_STAMP, stamp)
    boot(device)
    assert device.system.exists(WEB) and device.system.exists("/run/motd.d/piot")
    device.system.write("/boot/firmware/piot.conf", b"[app]\n# edited\n")
    boot(device)
    assert guard.safe(device.system) is None
    assert not device.system.exists(WEB)


def test_with_nothing_to_go_back_to_safe_mode_comes_at_once(
    tmp_path: Path, boot: Callable[[Device], None]
) -> None:
    device = Device(tmp_path)
    device.repo.commit(FILES, "first")
    device.deploy()
    for _ in range(3):
        boot(device)
    assert guard.safe(device.system)


def test_a_first_deploy_that_never_ended_is_taken_back(
    tmp_path: Path, boot: Callable[[Device], None]
) -> None:
    device = Device(tmp_path)
    head = device.repo.commit(FILES, "first")
    device.deploy()
    state.save(device.system, state.Record("garden", "probation", target=head))
    for _ in range(3):
        boot(device)
    assert guard.safe(device.system) is None
    assert device.record().step == "rolling-back"
    assert "not tried now" in device.deploy().text
    assert not (device.root / "etc/systemd/system/piot-garden-web.service").exists()
    assert guard.counted(device.system, "garden") is None


def test_an_unhealthy_boot_is_no_report(
    device: Device, boot: Callable[[Device], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def rejected(*_: object, **__: object) -> None:
        raise gate.Rejected("web: crashed and was restarted")

    monkeypatch.setattr(gate, "judge", rejected)
    boot(device)
    assert device.deploy().ok, "the poll goes on"
    assert guard.counted(device.system, "garden")
    assert not idle.unmoved(str(device.root), "garden"), "the next poll asks for the report again"
    monkeypatch.undo()
    monkeypatch.setattr(guard, "_boot", lambda _: "boot 1")
    assert device.deploy().ok
    assert guard.counted(device.system, "garden") is None
    assert idle.unmoved(str(device.root), "garden")


def test_apps_are_counted_each_for_itself(device: Device, boot: Callable[[Device], None]) -> None:
    shed = b'{"schema": 1, "name": "shed", "repo": "/none", "ref": "", "poll": 300}'
    device.system.write("/var/lib/piot/apps/shed/app.json", shed)
    device.system.write("/var/lib/piot/apps/shed/state.json", b"broken")
    device.system.write(f"{guard.BOOTS}/shed", b"broken")
    device.system.write(f"{guard.BOOTS}/gone", b"{}")
    boot(device)
    assert {name: guard.counted(device.system, name) for name in ("shed", "gone", "garden")} == {
        "shed": guard.Count("", 1, "boot 1"),
        "gone": None,
        "garden": guard.Count(device.repo.head(), 1, "boot 1"),
    }


def test_an_edit_that_is_applied_ends_safe_mode(device: Device) -> None:
    conf = "/boot/firmware/piot.conf"
    device.system.write("/etc/os-release", b"ID=debian\nVERSION_CODENAME=trixie\n")
    text = f"[app.garden]\nrepo = {device.repo.url}\npoll = off\n"
    device.system.write(conf, text.encode())
    # What an account needs a running machine for is there already.
    device.system.write("/etc/passwd", b"piot-garden:x:990:990::/var/lib/piot-garden:/bin/false\n")
    device.system.write("/etc/group", b"piot-garden:x:990:\n")
    assert firstboot.converge(device.system).ok
    guard.enter(device.system, "garden: 6 boots in a row")
    assert firstboot.converge(device.system).ok
    assert guard.safe(device.system), "the same file says nothing new"
    device.system.write(conf, f"# edited\n{text}".encode())
    assert firstboot.converge(device.system).ok
    assert guard.safe(device.system) is None
    assert not device.system.exists(WEB)
