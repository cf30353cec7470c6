"""A full disk: forecasts with figures, pruning in order, the reserve."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from piot_firstboot import diskspace, files, state
from piot_firstboot.system import System
from tests.kit.apptree import FILES, Device

MIB = 1 << 20


@pytest.fixture
def device(tmp_path: Path) -> Device:
    """Make a device that runs the third commit of its app."""
    made = Device(tmp_path)
    made.repo.commit(FILES, "first")
    made.deploy()
    for number in (2, 3):
        made.repo.commit({"note": str(number)})
        assert made.deploy().ok
    return made


def free(monkeypatch: pytest.MonkeyPatch, size: int, count: int = 1 << 20) -> None:
    """Let the file system have so much room."""
    monkeypatch.setattr(files, "space", lambda _: (size, count))


def test_what_does_not_fit_is_refused_early_with_figures(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = device.record().commit
    bad = device.repo.commit({"note": "4", "large": "x" * 3 * MIB})
    free(monkeypatch, 18 * MIB)
    outcome = device.deploy()
    assert not outcome.ok
    assert "staging" in outcome.text and "needs about 3.3 MiB; 18.0 MiB are free" in outcome.text
    record = device.record()
    failure = record.failure(bad)
    assert failure and (failure.kind, failure.deterministic) == ("disk full", False)
    assert (record.commit, device.releases()) == (running, [running]), "older ones made room"
    free(monkeypatch, 1 << 30)
    state.save(device.system, record.forgiven())
    assert device.deploy().ok


def test_a_fetch_that_does_not_fit_is_not_begun(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    device.repo.commit({"note": "4"})
    free(monkeypatch, 16 * MIB)
    assert "fetching" in device.deploy().text


def test_inodes_run_out_too(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    device.repo.commit({"note": "4"})
    free(monkeypatch, 1 << 30, 205)
    text = device.deploy().text
    assert "files; 205 more are possible (inodes), of which 200 stay so" in text


def test_the_oldest_release_goes_first_and_only_as_many_as_needed(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = device.record().good
    assert len(good) == 2
    cache = device.root / "var/cache/piot/x"
    cache.parent.mkdir(parents=True)
    cache.touch()
    asked = [16 * MIB]

    def space(_: str) -> tuple[int, int]:
        return (asked.pop() if asked else 1 << 30), 1 << 20

    monkeypatch.setattr(files, "space", space)
    record = diskspace.before_fetch(device.system, device.record())
    assert record.good == good[:1]
    assert good[1] not in device.releases()
    assert cache.exists(), "caches go last"


def test_the_reserve_lets_the_record_be_written(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert device.system.read(diskspace.RESERVE)
    full = System.write

    def write(self: System, path: str, *rest: object, **named: object) -> None:
        if path.endswith("state.json") and self.exists(diskspace.RESERVE):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        full(self, path, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(System, "write", write)
    commit = device.repo.commit({"note": "4"})
    assert device.deploy().ok
    assert device.record().commit == commit


def test_without_room_there_is_no_reserve(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    device.system.remove(diskspace.RESERVE)
    free(monkeypatch, 10 * MIB)
    diskspace.reserve(device.system)
    assert not device.system.exists(diskspace.RESERVE)


@pytest.mark.parametrize(
    ("size", "text"), [(900, "900 bytes"), (2048, "2.0 KiB"), (3 * MIB, "3.0 MiB")]
)
def test_sizes_in_words(size: int, text: str) -> None:
    assert diskspace.spell(size) == text


def test_files_that_releases_share_count_once(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/own").write_bytes(b"x" * 5000)
    (tmp_path / "a/shared").write_bytes(b"x" * MIB)
    os.link(tmp_path / "a/shared", tmp_path / "shared")
    size, count = files.usage(str(tmp_path / "a"))
    assert 5000 < size < MIB and count == 2
