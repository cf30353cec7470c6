"""The way to the git host: what counts as reached, and whose fault a cut is."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from piot_firstboot import deadman, gate, state, verdict
from piot_firstboot.system import Result, System
from tests.kit.apptree import FILES, Device


class Here(System):
    """A live system with a resolver that knows what it is told."""

    def __init__(self, root: Path, *addresses: str) -> None:
        super().__init__(str(root))
        self.live = True
        self.addresses = addresses

    def run(self, argv: Sequence[str], **_: Any) -> Result:
        """Play getent."""
        assert argv[:2] == ("getent", "ahosts")
        return Result(0, "".join(f"{address}  STREAM x\n" for address in self.addresses), "")


@pytest.fixture
def port() -> Iterator[int]:
    """Listen on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have little patience."""
    monkeypatch.setattr(deadman, "_PATIENCE", 0.2)
    monkeypatch.setattr(deadman, "_PAUSE", 0.05)
    monkeypatch.setattr(deadman, "_ANSWER", 0.3)


def test_a_host_that_accepts_is_reached(tmp_path: Path, port: int) -> None:
    system = Here(tmp_path, "127.0.0.1")
    assert deadman.cut(system, f"https://git.test:{port}/garden.git", lambda _: None) == ""


def test_a_name_that_is_not_found(tmp_path: Path) -> None:
    said: list[str] = []
    why = deadman.cut(Here(tmp_path), "https://git.test/garden.git", said.append)
    assert why == "the name git.test is not found"
    assert len(said) > 1, "it is asked for more than once"


def test_a_refusal_of_this_machine_is_none_of_the_host(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        closed = other.getsockname()[1]
    url = f"http://git.test:{closed}/garden.git"
    assert "refused" in deadman.cut(Here(tmp_path, "127.0.0.1"), url, lambda _: None)

    def refuse(*_: object) -> None:
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "create_connection", refuse)
    assert deadman.cut(Here(tmp_path, "192.0.2.1"), url, lambda _: None) == ""


def test_any_address_will_do(tmp_path: Path, port: int) -> None:
    system = Here(tmp_path, "::1", "127.0.0.1")
    assert deadman.cut(system, f"ssh://git@git.test:{port}/garden.git", lambda _: None) == ""


@pytest.mark.parametrize("url", ["/srv/garden.git", "file:///srv/garden.git", "garden.bundle"])
def test_what_lies_on_the_device_needs_no_way(tmp_path: Path, url: str) -> None:
    assert not deadman.watches(url)
    assert deadman.cut(Here(tmp_path), url, lambda _: None) == ""


def test_it_is_bounded(tmp_path: Path) -> None:
    began = time.monotonic()
    deadman.cut(Here(tmp_path, "192.0.2.1"), "https://192.0.2.1/x.git", lambda _: None)
    assert time.monotonic() - began < 3


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Device:
    """Make a device that runs one commit, gets another, and watches the way to its host."""
    made = Device(tmp_path)
    made.repo.commit(FILES, "first")
    made.deploy()
    made.repo.commit({"note": "2"})
    monkeypatch.setattr(deadman, "watches", lambda _: True)
    return made


def answering(answers: list[str]) -> Callable[..., str]:
    """Return what gives one answer after the other."""
    return lambda *_: answers.pop(0)


def test_a_way_that_comes_back_was_cut_by_the_commit(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, bad = device.record().commit, device.repo.head()
    monkeypatch.setattr(deadman, "cut", answering(["no route", ""]))
    assert not device.deploy().ok
    failure = device.record().failure(bad)
    assert failure and (failure.kind, failure.deterministic) == ("route", True)
    assert failure.reason == f"{verdict.CUT}: no route"
    assert (device.record().commit, device.record().step) == (first, "rolled-back")


def test_a_way_that_stays_away_is_tried_again(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = device.repo.head()
    monkeypatch.setattr(deadman, "cut", answering(["no route", "still none", ""]))
    device.deploy()
    failure = device.record().failure(bad)
    assert failure and (failure.kind, failure.deterministic) == ("route", False)
    assert failure.reason.endswith("; and still: still none")
    state.save(device.system, replace(device.record(), bad=(replace(failure, after=0.0),)))
    assert device.deploy().ok
    assert device.record().commit == bad


def test_a_remote_that_was_not_asked_is_not_missed(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadman, "cut", answering([]))
    record = state.Record("garden", online=False)
    gate.still_reached(device.system, record, state.source(device.system, "garden"))
