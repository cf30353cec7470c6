"""The kit's file trees and fake commands."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.kit import cache
from tests.kit.fake_command import Call, fake_command
from tests.kit.tree import Entry, make_tree, read_tree, texts
from tests.kit.wait import eventually


def test_a_tree_reads_back_as_it_was_made(tmp_path: Path) -> None:
    make_tree(
        tmp_path,
        {
            "/etc/hostname": "pi\n",
            "etc/secret": Entry("x", 0o600),
            "/etc/link": Entry(link="/usr/lib/a"),
            "/blob": b"\xff\x00",
            "/srv/empty": Entry(directory=True, mode=0o700),
        },
    )
    found = read_tree(tmp_path)
    assert list(found) == ["/blob", "/etc/hostname", "/etc/link", "/etc/secret", "/srv/empty"]
    assert found["/etc/secret"] == Entry("x", 0o600)
    assert found["/etc/link"] == Entry(link="/usr/lib/a")
    assert found["/blob"].text == b"\xff\x00"
    assert found["/srv/empty"] == Entry(mode=0o700, directory=True)
    assert texts(tmp_path) == {
        "/blob": b"\xff\x00",
        "/etc/hostname": "pi\n",
        "/etc/link": "-> /usr/lib/a",
        "/etc/secret": "x",
    }


def test_a_fake_command_remembers_its_calls(tmp_path: Path) -> None:
    fake = fake_command(tmp_path, "systemctl", stdout="hi", exit=3, script='echo "$1:$stdin"')
    assert fake.calls() == []
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    awkward = ["start", "a b", "", "'\"$x\n"]
    done = subprocess.run(
        ["systemctl", *awkward],
        input="in\n\n",
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert (done.returncode, done.stdout) == (3, "start:in\n\n\nhi")
    assert fake.calls() == [Call(("systemctl", *awkward), "in\n\n")]


def test_the_cache_builds_once_and_never_shows_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIOT_CACHE", str(tmp_path / "cache"))
    target = cache.cache_dir() / "thing"
    built = []

    def fail(part: Path) -> None:
        part.mkdir()
        raise OSError("disk full")

    def build(part: Path) -> None:
        built.append(part)
        part.write_text("done")

    with pytest.raises(OSError, match="disk full"):
        cache.build_once(target, fail)
    assert not target.exists()
    assert cache.build_once(target, build).read_text() == "done"
    cache.build_once(target, build)
    assert len(built) == 1
    assert sorted(p.name for p in cache.cache_dir().iterdir()) == ["locks", "thing"]


def test_the_cache_refuses_a_lock_that_another_keeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIOT_CACHE", str(tmp_path))
    with (
        cache.locked("x"),
        pytest.raises(TimeoutError, match="x: another process"),
        cache.locked("x", timeout=0.1),
    ):
        pass


def test_waiting_is_bounded() -> None:
    assert eventually(lambda: "yes", 1, "an answer") == "yes"
    with pytest.raises(TimeoutError, match="an answer: not within 0.1 s"):
        eventually(lambda: False, 0.1, "an answer")
