"""System: paths stay below the root, writes are whole, commands are bounded."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from piot_firstboot.errors import ApplyError
from piot_firstboot.system import System


def test_absolute_paths_and_links_stay_below_the_root(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("/real")
    (tmp_path / "up").symlink_to("../../../../real")
    system = System(str(tmp_path))
    assert system.path("/etc/hosts") == f"{tmp_path}/etc/hosts"
    assert system.path("/link/file") == f"{tmp_path}/real/file"
    assert system.path("/up/file") == f"{tmp_path}/real/file"
    assert system.path("/../../x") == f"{tmp_path}/x"


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(ApplyError, match="too many links"):
        System(str(tmp_path)).path("/a/file")


def test_write_leaves_nothing_but_the_file(tmp_path: Path) -> None:
    system = System(str(tmp_path))
    system.write("/etc/deep/file", b"one", 0o600)
    system.write("/etc/deep/file", b"two", 0o640)
    assert system.names("/etc/deep") == ("file",)
    assert (tmp_path / "etc/deep/file").read_bytes() == b"two"
    assert (tmp_path / "etc/deep/file").stat().st_mode & 0o7777 == 0o640


def test_refused_content_leaves_the_old_file(tmp_path: Path) -> None:
    system = System(str(tmp_path))
    system.write("/file", b"good")
    with pytest.raises(ApplyError, match=r"/file: sh refuses the new content: no such luck"):
        system.write("/file", b"bad", check=("sh", "-c", "echo no such luck >&2; exit 1", "{}"))
    assert system.read("/file") == b"good"
    assert system.names("/") == ("file",)


def test_symlink_replaces_in_one_step(tmp_path: Path) -> None:
    system = System(str(tmp_path))
    system.symlink("/etc/localtime", "/usr/share/zoneinfo/UTC")
    system.symlink("/etc/localtime", "/usr/share/zoneinfo/Europe/Berlin")
    entry = system.entry("/etc/localtime")
    assert entry and (entry.kind, entry.target) == ("symlink", "/usr/share/zoneinfo/Europe/Berlin")


def test_remove_spares_a_directory_in_use(tmp_path: Path) -> None:
    system = System(str(tmp_path))
    system.write("/dir/theirs", b"")
    assert not system.remove("/dir")
    assert system.exists("/dir/theirs")
    assert not system.remove("/nothing")


def test_owners_are_those_of_the_root(tmp_path: Path) -> None:
    system = System(str(tmp_path))
    system.write("/etc/passwd", b"root:x:0:0::/root:/bin/sh\nada:x:1234:1234::/home/ada:/bin/sh\n")
    system.write("/etc/group", b"root:x:0:\nada:x:1234:\n")
    system.write("/home/ada/file", b"", 0o600, "ada", "ada")
    assert (tmp_path / "home/ada/file").stat().st_uid == 1234
    entry = system.entry("/home/ada/file")
    assert entry and (entry.owner, entry.group, entry.mode) == ("ada", "ada", 0o600)
    with pytest.raises(ApplyError, match="there is no user bob"):
        system.write("/x", b"", owner="bob")


def test_run_collects_and_bounds() -> None:
    system = System()
    result = system.run(("sh", "-c", "cat; echo oops >&2; exit 3"), stdin=b"hello")
    assert (result.code, result.out, result.reason) == (3, "hello", "oops")
    began = time.monotonic()
    result = system.run(("sh", "-c", "sleep 60 & sleep 60"), timeout=0.3)
    assert (result.code, time.monotonic() - began < 5) == (124, True)
    assert system.run(("no-such-program",)).code == 127


def test_run_hands_on_lines_as_they_come() -> None:
    seen: list[str] = []
    script = r"printf 'a 1%%\ra 2%%\r\n' >&2; echo done; printf last"
    result = System().run(("sh", "-c", script), on_line=seen.append)
    assert (result.code, seen) == (0, ["a 1%", "a 2%", "done", "last"])
    result = System().run(("sleep", "60"), on_line=seen.append, timeout=0.3)
    assert result.code == 124


def test_children_inherit_no_secret_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere")
    monkeypatch.setenv("TOKEN", "hunter2")
    assert set(System().run(("env",)).out.split()) & {"TOKEN=hunter2"} == set()
    assert "NOTIFY_SOCKET" not in System().run(("env",)).out


def test_lock_is_exclusive(tmp_path: Path) -> None:
    system = System(str(tmp_path))
    with system.lock("/run/x.lock") as first, system.lock("/run/x.lock", wait=False) as second:
        assert (first, second) == (True, False)
    with system.lock("/run/x.lock", wait=False) as third:
        assert third
