"""When a deploy that failed is tried again: by a timer of its own, however far the next poll is."""

from __future__ import annotations

import errno
import time
from dataclasses import replace
from pathlib import Path

import pytest

from piot_firstboot import deploy, journal, release, repository, state
from piot_firstboot.errors import Lacking, Unreachable
from piot_firstboot.system import Result, System
from tests.kit.apptree import Device
from tests.kit.booted import Booted

TRANSIENT = "/run/systemd/transient"
FILES = {
    ".piot.yaml": "piot: 1\njobs: {tick: {run: ./tick.sh, every: 1min}}\n",
    "tick.sh": "#!/bin/sh\n",
}


class Timers:
    """Plays systemd-run: which timers were asked for, and in how many seconds each fires."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def __call__(self, system: System, words: list[str], stdin: bytes) -> Result:
        """Take a timer in."""
        said = dict(word.lstrip("-").partition("=")[::2] for word in words if "=" in word)
        system.write(f"{TRANSIENT}/{said['unit']}.timer", b"")
        self.asked.append((said["unit"], int(said["on-active"])))
        return Result(0, "", "")

    def take(self) -> tuple[str, int]:
        """Return the one timer that was asked for since the last time."""
        ((unit, seconds),) = self.asked
        self.asked.clear()
        return unit, seconds


@pytest.fixture
def timers() -> Timers:
    """Return what plays systemd-run."""
    return Timers()


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, timers: Timers) -> Device:
    """Make a running device, polled once in six hours, with a commit that it does not have yet."""
    made = Device(tmp_path)
    made.source(poll=6 * 3600)
    monkeypatch.setattr(journal, "tail", lambda *args, **named: ())
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere")
    made.system = Booted(made.root, {"systemd-run": timers})
    made.system.write("/usr/lib/os-release", b"ID=debian\nVERSION_CODENAME=trixie\n")
    made.repo.commit(FILES, "first")
    assert made.deploy().ok and timers.asked == []
    made.repo.commit({"note": "2"}, "second")
    return made


def lacking(*args: object) -> None:
    """Fail as a stage does for which the device lacks something."""
    raise Lacking("needs apt: Could not get lock")


def test_what_passes_is_tried_again_when_its_wait_is_over(
    device: Device, timers: Timers, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(release, "stage", lacking)
        assert not device.deploy().ok
        unit, seconds = timers.take()
        assert unit == "piot-due-garden" and 60 <= seconds <= 68
        outcome = device.deploy()
        assert outcome.ok and "not tried now" in outcome.text
        assert timers.take()[0] == "piot-due-garden", "a poll in between, or a boot, asks anew"
        (failure,) = device.record().bad
        later = replace(failure, tries=20, after=time.time() + 6 * 3600)
        state.save(device.system, replace(device.record(), bad=(later,)))
        device.deploy()
        assert timers.take()[1] == 3601, "the clock may be set: no wait is longer than an hour"
    state.save(device.system, device.record().forgiven())
    assert device.deploy().ok
    assert timers.asked == []


def test_what_is_kept_back_is_not_asked_for_all_the_time(
    device: Device, timers: Timers, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(release, "stage", lacking)
        assert not device.deploy().ok
    timers.take()
    state.hold(device.system, "garden", state.Hold("", time.time()))
    (failure,) = device.record().bad
    state.save(device.system, replace(device.record(), bad=(replace(failure, after=1.0),)))
    outcome = device.deploy()
    assert outcome.ok and "on hold" in outcome.text
    assert timers.asked == []


def test_what_is_final_is_not(device: Device, timers: Timers) -> None:
    device.repo.commit({".piot.yaml": "piot: 1\nservises: {}\n"})
    assert not device.deploy().ok
    assert device.record().bad[0].deterministic
    assert timers.asked == []


def test_a_success_calls_the_timers_off(
    device: Device, timers: Timers, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[str] = []

    def systemctl(system: System, words: list[str], stdin: bytes) -> Result:
        if words[0] == "stop":
            stopped.extend(words[1:])
        return Booted(device.root).run(("systemctl", *words))

    device.system = Booted(device.root, {"systemctl": systemctl, "systemd-run": timers})
    for name in ("due", "retry"):
        device.system.write(f"{TRANSIENT}/piot-{name}-garden.timer", b"")
    assert device.deploy().ok
    assert {"piot-due-garden.timer", "piot-retry-garden.timer"} <= set(stopped)
    assert timers.asked == []


def test_a_disk_that_takes_no_record(
    device: Device, timers: Timers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing on it could say when: the waits are counted in memory."""

    def refuse(*args: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    before = device.record()
    with monkeypatch.context() as patch:
        patch.setattr(state, "save", refuse)
        for wait in (60, 120, 240):
            with pytest.raises(OSError, match="Read-only"):
                device.deploy()
            assert timers.take() == ("piot-retry-garden", wait)
    assert device.record() == before
    assert device.deploy().ok
    assert not device.system.exists("/run/piot/tries/garden"), "the next wait is a minute again"


def test_a_server_that_does_not_answer(
    device: Device, timers: Timers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*args: object) -> None:
        raise Unreachable("git.test does not answer")

    monkeypatch.setattr(repository, "resolve", silent)
    monkeypatch.setattr(deploy, "_JUST_BOOTED", 0.0)
    for wait in (60, 120):
        with pytest.raises(Unreachable):
            device.deploy()
        assert timers.take() == ("piot-retry-garden", wait)
    device.source(poll=200)
    with pytest.raises(Unreachable):
        device.deploy()
    assert timers.asked == [], "the poll comes before"
