"""What keeps a commit from being switched to: quiet hours, rings, tags, a hold; and `piot why`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from piot_firstboot import cli, deploy, guard, idle, report, state, status
from tests.kit.apptree import FILES, MANIFEST, Device

QUIET = f"update: {{quiet: '00:00-23:59'}}\n{MANIFEST}"
RINGS = "fleet: {rings: {canary: {hosts: [pi-lab]}, rest: {hosts: ['*'], soak: 24h}}}\n" + MANIFEST


@pytest.fixture
def device(tmp_path: Path) -> Device:
    """Make a device that runs the first commit of its app."""
    made = Device(tmp_path)
    made.repo.commit(FILES, "first")
    assert made.deploy().ok
    return made


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Set the time of day that quiet hours are held against."""

    def set_clock(text: str) -> None:
        moment = time.strptime(f"2026-11-27 {text}", "%Y-%m-%d %H:%M")
        monkeypatch.setattr(time, "localtime", lambda *_: moment)

    return set_clock


def test_a_commit_waits_staged_for_the_end_of_quiet_hours(
    device: Device, clock: Callable[[str], None]
) -> None:
    first = device.repo.head()
    device.source(quiet=[22 * 60, 6 * 60])
    second = device.repo.commit({"note": "2"})
    clock("23:30")
    outcome = device.deploy()
    assert outcome.ok and "is staged and waits: quiet until 06:00" in outcome.text
    assert outcome.again == 3600.0
    record = device.record()
    assert (record.step, record.commit, record.ready) == ("committed", first, second)
    assert set(device.releases()) == {first, second}
    assert f"PIOT_COMMIT={first}" in device.unit()
    assert idle.unmoved(str(device.root), "garden"), "polls find nothing to do meanwhile"
    assert "waits: quiet until 06:00" in status.as_text(
        device.system, status.collect(device.system)
    )
    clock("06:00")
    assert device.deploy().ok
    assert (device.record().commit, device.record().ready) == (second, "")


def test_a_newer_commit_takes_the_place_of_the_one_that_waits(
    device: Device, clock: Callable[[str], None]
) -> None:
    first = device.repo.head()
    device.source(quiet=[22 * 60, 6 * 60])
    clock("23:30")
    device.repo.commit({"note": "2"})
    device.deploy()
    third = device.repo.commit({"note": "3"})
    device.deploy()
    assert device.record().ready == third
    assert set(device.releases()) == {first, third}
    device.repo.rewind(first)
    device.deploy()
    assert (device.record().ready, device.releases()) == ("", [first])


def test_quiet_hours_of_the_manifest_count_too(
    device: Device, clock: Callable[[str], None]
) -> None:
    clock("12:00")
    device.repo.commit({".piot.yaml": QUIET})
    assert "quiet until 23:59" in device.deploy().text


def test_where_nothing_runs_nothing_is_quiet(tmp_path: Path, clock: Callable[[str], None]) -> None:
    device = Device(tmp_path)
    device.source(quiet=[22 * 60, 6 * 60])
    head = device.repo.commit(FILES, "first")
    clock("23:30")
    assert device.deploy().ok
    assert device.record().commit == head


def test_a_ring_waits_for_its_soak(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    began = time.time()
    second = device.repo.commit({".piot.yaml": RINGS})
    assert "ring rest: it soaks for 1 d" in device.deploy().text
    came = device.record().came(second)
    assert came is not None and came >= began
    monkeypatch.setattr(time, "time", lambda: began + 23 * 3600)
    assert "soaks" in device.deploy().text
    assert device.record().came(second) == came
    monkeypatch.setattr(time, "time", lambda: began + 25 * 3600)
    assert device.deploy().ok
    assert device.record().commit == second


def test_the_first_ring_does_not_wait(device: Device) -> None:
    device.source(ring="canary")
    second = device.repo.commit({".piot.yaml": RINGS})
    assert device.deploy().ok
    assert device.record().commit == second


def test_tags_steer(device: Device) -> None:
    first = device.repo.head()
    second = device.repo.commit({".piot.yaml": RINGS})
    device.repo.tag("piot/hold")
    assert "the tag piot/hold keeps every new commit back" in device.deploy().text
    assert device.releases() == [first], "it is not even fetched"
    device.repo.untag("piot/hold")
    device.repo.tag(f"piot/go/{second}")
    assert not idle.unmoved(str(device.root), "garden")
    assert device.deploy().ok
    assert device.record().commit == second
    third = device.repo.commit({".piot.yaml": MANIFEST})
    device.repo.tag(f"piot/block/{third}")
    assert f"piot/block/{third[:12]} keeps it back" in device.deploy().text
    assert device.record().commit == second


def test_a_hold_and_its_end(device: Device, capsys: pytest.CaptureFixture[str]) -> None:
    first, root = device.repo.head(), str(device.root)
    assert cli.main(["hold", "--reason", "the roof is open", "--root", root]) == 0
    second = device.repo.commit({"note": "2"})
    outcome = device.deploy()
    assert outcome.ok and "on hold: the roof is open" in outcome.text
    assert device.record().commit == first
    assert idle.unmoved(root, "garden"), "polls find nothing to do meanwhile"
    shown = status.as_text(device.system, status.collect(device.system))
    assert "hold   on hold: the roof is open (until: sudo piot resume garden)" in shown
    assert json.loads(status.as_json(device.system, status.collect(device.system)))["apps"][0][
        "hold"
    ]["reason"] == ("the roof is open")
    assert cli.main(["resume", "garden", "--root", root]) == 0
    assert not idle.unmoved(root, "garden")
    assert device.deploy().ok
    assert device.record().commit == second
    assert cli.main(["resume", "garden", "--root", root]) == 0
    assert "garden: is not on hold" in capsys.readouterr().out
    assert cli.main(["hold", "--reason", "x\x1b", "--root", root]) == 1


def test_why_tells_all_there_is(device: Device, capsys: pytest.CaptureFixture[str]) -> None:
    from piot_firstboot import why

    text = why.as_text((why.explain(device.system, "garden"),))
    assert text == f"garden: {device.repo.head()[:12]} runs, and nothing newer has failed"
    first = device.repo.head()
    bad = device.repo.commit({".piot.yaml": "piot: 1\nservices: {web: {rnu: x}}\n"}, "typo")
    device.deploy()
    answer = why.explain(device.system, "garden")
    assert (answer.commit, answer.subject, answer.kind) == (bad, "typo", "manifest")
    lines = why.as_text((answer,)).splitlines()
    assert lines[0] == f"garden: {first[:12]} runs, and {bad[:12]} does not"
    assert lines[1] == f"  commit    {bad[:12]} typo"
    assert "  failed    .piot.yaml:2:" in lines[2]
    assert f"  restored  {first[:12]} keeps running" in lines
    assert "  again     not tried again until a new commit or: sudo piot retry garden" in lines
    said = json.loads(why.as_json((answer,)))["apps"][0]
    assert (said["app"], said["runs"], said["commit"]) == ("garden", first, bad)


def test_a_refused_commit_is_looked_at_again_by_a_newer_piot(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    from piot_firstboot import verdict

    bad = device.repo.commit({".piot.yaml": None})
    device.deploy()
    assert "not tried now" in device.deploy().text
    monkeypatch.setattr(verdict, "__version__", "99")
    assert "refused" in device.deploy().text
    failure = device.record().failure(bad)
    assert failure and failure.tries == 2


def test_a_crashed_commit_is_not_but_on_another_host(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    from piot_firstboot import gate, verdict

    def rejected(*_: object, **__: object) -> None:
        raise gate.Rejected("web: crashed and was restarted")

    monkeypatch.setattr(gate, "judge", rejected)
    bad = device.repo.commit({"note": "2"})
    device.deploy()
    failure = device.record().failure(bad)
    assert failure and (failure.kind, failure.unit) == ("health", "piot-garden-web.service")
    monkeypatch.setattr(verdict, "__version__", "99")
    assert "not tried now" in device.deploy().text
    device.system.write("/etc/hostname", b"another\n")
    device.deploy()
    failure = device.record().failure(bad)
    assert failure and failure.tries == 2


def test_a_device_that_is_at_fault_is_believed_three_times(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    from piot_firstboot import gate

    def rejected(*_: object, **__: object) -> None:
        raise gate.Rejected("web: stopped (oom-kill)")

    monkeypatch.setattr(gate, "judge", rejected)
    now = time.time()
    bad = device.repo.commit({"note": "2"})
    for tries, final in ((1, False), (2, False), (3, True)):
        device.deploy()
        failure = device.record().failure(bad)
        assert failure and (failure.tries, failure.deterministic) == (tries, final)
        now += 3600
        monkeypatch.setattr(time, "time", lambda now=now: now)
    assert "not tried now" in device.deploy().text


def test_safe_mode_ends_with_a_new_commit(device: Device) -> None:
    guard.enter(device.system, "garden: 6 boots in a row")
    off = f"{guard.OFF}/piot-garden-web"
    assert device.system.exists(off)
    assert "SAFE MODE" in device.deploy().text
    assert "SAFE MODE" in status.as_text(device.system, status.collect(device.system))
    assert "SAFE MODE" in device.system.read("/run/motd.d/piot").decode()  # type: ignore[union-attr]
    device.repo.commit({"note": "2"})
    assert device.deploy().ok
    assert guard.safe(device.system) is None
    assert not device.system.exists(off)
    assert not device.system.exists("/run/motd.d/piot")


def test_safe_mode_ends_with_retry(device: Device) -> None:
    guard.enter(device.system, "garden: 6 boots in a row")
    deploy.forgive(device.system, "garden")
    assert guard.safe(device.system) is None


def test_safe_mode_stands_in_the_report(device: Device) -> None:
    device.system.write("/boot/firmware/piot.conf", b"")
    report.publish(device.system, report.Report(True, "x", "/boot/firmware/piot.conf"))
    guard.enter(device.system, "garden: 6 boots in a row")
    device.deploy()
    text = device.system.read("/boot/firmware/piot-report.txt")
    assert text and text.startswith(b"PioT is in SAFE MODE, apps are off: garden: 6 boots")


def test_a_stick_with_a_bundle(device: Device, tmp_path: Path) -> None:
    root = str(device.root)
    stick = device.root / "media/stick/piot"
    stick.mkdir(parents=True)
    second = device.repo.commit({"note": "2"})
    device.repo.git("bundle", "create", "-q", str(stick / "garden.bundle"), "main")
    assert cli.main(["usb", "/media/stick", "--root", root]) == 0
    assert device.record().commit != second, "only where piot.conf says so"
    device.source(usb=True, repo="https://git.invalid/garden.git", ref="main")
    assert cli.main(["usb", "/media/stick", "--root", root]) == 0
    assert device.record().commit == second
    assert not device.system.exists(f"{idle.POLL_STAMP}/garden"), "the next poll asks the server"
    assert cli.main(["usb", "/media/none", "--root", root]) == 1


def test_keep_of_the_manifest_and_of_the_device(device: Device) -> None:
    device.source(keep=2)
    commits = [device.repo.head()]
    for number in range(3):
        commits.append(device.repo.commit({"note": str(number)}))
        device.deploy()
    assert set(device.releases()) == set(commits[-2:])
    device.repo.commit({".piot.yaml": f"update: {{keep: 4}}\n{MANIFEST}"})
    device.deploy()
    device.repo.commit({"note": "more"})
    device.deploy()
    assert len(device.releases()) == 4


def test_a_record_that_was_lost_is_no_end(device: Device) -> None:
    head = device.repo.head()
    device.system.write("/var/lib/piot/apps/garden/state.json", b"")
    assert device.deploy().ok
    assert (device.record().commit, device.record().step) == (head, "committed")
    assert state.load(device.system, "garden").note == ""


@pytest.mark.parametrize("years", [-30, -1, 1, 30])
def test_a_clock_that_jumps_by_years_blocks_nothing(
    device: Device, monkeypatch: pytest.MonkeyPatch, years: int
) -> None:
    """Neither a wait nor a soak gets longer than it was meant to be."""
    now = time.time()
    lacking = device.repo.commit({".piot.yaml": f"secrets: [KEY]\n{RINGS}"})
    device.deploy()
    assert "next try in 1 min" in device.deploy().text
    jumped = now + years * 365.25 * 86400
    monkeypatch.setattr(time, "time", lambda: jumped)
    assert "secrets not on this device" in device.deploy().text
    device.system.write("/var/lib/piot/secrets/KEY", b"x", 0o600)
    deploy.forgive(device.system, "garden")
    device.deploy()
    wait = device.record().until - jumped
    assert wait <= 24 * 3600 + 1, "at most the soak"
    monkeypatch.setattr(time, "time", lambda: jumped + 24 * 3600 + 1)
    assert device.deploy().ok
    assert device.record().commit == lacking


def test_times_that_are_still_to_come_are_called_so(device: Device) -> None:
    """A clock that was ahead leaves them behind when it is set right."""
    later = time.time() + 9 * 365 * 86400
    failure = state.Failure("c0ffee", "no secret", False, later, after=later + 60)
    record = replace(device.record(), changed=later, bad=(failure,))
    state.save(device.system, record)
    text = status.as_text(device.system, status.collect(device.system))
    assert "committed, at a time that is still to come: the clock was ahead" in text
    assert "next try at the next poll" in text
