"""A full disk: forecasts with figures, pruning in order, the reserve."""

from __future__ import annotations

import errno
import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from piot_firstboot import diskspace, files, repository, state
from piot_firstboot.repository import Tip
from piot_firstboot.system import System
from tests.kit.apptree import FILES, MANIFEST, Device
from tests.kit.git_repo import Repo

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


def told(monkeypatch: pytest.MonkeyPatch) -> list[diskspace.Need]:
    """Return what is forecast from now on, in a list that grows; there is always room."""
    needs: list[diskspace.Need] = []

    def make_room(system: System, record: state.Record, need: diskspace.Need, _: str) -> object:
        needs.append(need)
        return record

    monkeypatch.setattr(diskspace, "_make_room", make_room)
    return needs


def source(device: Device) -> state.Source:
    """Return what the device knows of its app."""
    return state.source(device.system, "garden")


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


def test_large_files_are_forecast_to_the_byte(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their pointers tell what they are; they lie in the mirror as well as in the release."""
    size, mirror = 7_777_777, device.root / "var/lib/piot/apps/garden/mirror.git"
    oid = hashlib.sha256(b"").hexdigest()
    text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n"
    needs = told(monkeypatch)
    plain = device.repo.commit({"note": "4", "a.bin": "x" * len(text), "b.bin": "x" * len(text)})
    pointed = device.repo.commit({"a.bin": text, "b.bin": text})
    for commit in (plain, pointed):
        repository.fetch(device.system, source(device), Tip("", commit), lambda _: None)

    def forecast(commit: str) -> int:
        diskspace.before_stage(device.system, replace(device.record(), target=commit))
        return int(needs[-1].size)

    assert forecast(pointed) == forecast(plain), "nothing of it counts unless it is asked for"
    device.source(lfs=True)
    block = 4096
    assert forecast(pointed) - forecast(plain) == 3 * size + block  # stored once, written twice
    kept = mirror / "lfs/objects" / oid[:2] / oid[2:4] / oid
    kept.parent.mkdir(parents=True)
    kept.touch()
    assert forecast(pointed) - forecast(plain) == 2 * size


def test_submodules_are_fetched_when_there_is_room_and_then_forecast(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = device.record().commit
    lib = Repo(device.root.parent / "repositories", "lib")
    lib.commit({"large": "x" * 3 * MIB})
    device.repo.submodule("lib", lib.url, lib.head())
    bad = device.repo.commit({"note": "4"})
    device.source(submodules=True)
    free(monkeypatch, 18 * MIB)
    text = device.deploy().text
    assert "fetching" in text and "needs about 4.0 MiB" in text, "what it will be is not known"
    assert not (device.root / "var/lib/piot/apps/garden/modules").exists()
    monkeypatch.setattr(diskspace, "_FIRST_FETCH", MIB)
    state.save(device.system, device.record().forgiven())
    text = device.deploy().text
    assert "staging" in text and "needs about 3.3 MiB; 18.0 MiB are free" in text
    failure = device.record().failure(bad)
    assert failure and failure.kind == "disk full" and device.record().commit == running
    free(monkeypatch, 1 << 30)
    state.save(device.system, device.record().forgiven())
    assert device.deploy().ok
    assert (device.root / f"var/lib/piot/apps/garden/releases/{bad}/lib/large").is_file()


def test_a_new_python_environment_is_as_large_as_the_one_before(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs = told(monkeypatch)
    manifest = f"needs: {{python: requirements.txt}}\n{MANIFEST}"

    def commit(*requirements: str) -> str:
        made = device.repo.commit({".piot.yaml": manifest, "requirements.txt": requirements[0]})
        repository.fetch(device.system, source(device), Tip("", made), lambda _: None)
        return made

    def forecast(target: str) -> int:
        device.system.live = True  # on a tree none is made
        try:
            diskspace.before_stage(device.system, replace(device.record(), target=target))
        finally:
            device.system.live = False
        return int(needs[-1].size)

    def without(target: str) -> int:
        diskspace.before_stage(device.system, replace(device.record(), target=target))
        return int(needs[-1].size)

    first = commit("flask\n")
    assert forecast(first) - without(first) == round(16 * MIB * 4 / 3), "nothing is known of it"
    assert device.deploy().ok
    made = device.root / "var/lib/piot/apps/garden/venvs/abc"
    made.mkdir(parents=True)
    (made / "package").write_bytes(os.urandom(9 * MIB))
    link = device.root / f"var/lib/piot/apps/garden/releases/{first}/.venv"
    link.symlink_to("/var/lib/piot/apps/garden/venvs/abc")
    same = commit("flask\n")
    assert forecast(same) == without(same)
    other = commit("flask\nnumpy\n")
    assert 12 * MIB <= forecast(other) - without(other) < 13 * MIB
    nothing = device.repo.commit({".piot.yaml": MANIFEST})
    repository.fetch(device.system, source(device), Tip("", nothing), lambda _: None)
    assert forecast(nothing) == without(nothing)


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
