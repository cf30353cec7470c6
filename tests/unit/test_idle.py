"""The questions that units ask all day: right answers, and next to nothing loaded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piot_firstboot import idle

HEAVY = (
    *("os", "yaml", "requests", "urllib", "systemd", "sdnotify", "argparse", "importlib.metadata"),
    *("subprocess", "json", "re", "dataclasses", "pathlib", "contextlib", "typing", "functools"),
)


def git(*args: str, cwd: Path) -> str:
    name = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main")
    run = subprocess.run(["git", *name, *args], cwd=cwd, check=True, capture_output=True, text=True)
    return run.stdout.strip()


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    path = tmp_path / "origin"
    path.mkdir()
    git("init", "-q", cwd=path)
    git("commit", "-q", "--allow-empty", "-m", "one", cwd=path)
    return path


def stamp(root: Path, url: Path | str, ref: str, commit: str) -> None:
    path = root / "run/piot/poll/garden"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(idle.poll_stamp(str(url), ref, commit))


# -- piot.conf ----------------------------------------------------------------------------------


def test_the_boot_partition_goes_first(tmp_path: Path) -> None:
    assert idle.conf_path(str(tmp_path)) == ""
    for folder in ("etc/piot", "boot", "boot/firmware"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "piot.conf").touch()
        assert idle.conf_path(str(tmp_path)) == f"/{folder}/piot.conf"


@pytest.mark.parametrize(
    ("names", "picked"),
    [
        ([], ""),
        (["config.txt", "piot.conf.bak", "._piot.conf", "piot.conf.rtf"], ""),
        (["PIOT.CONF"], "PIOT.CONF"),
        (["Piot.conf.TXT"], "Piot.conf.TXT"),
        (["piot.conf.txt", "Piot.conf"], "Piot.conf"),
        (["PIOT.CONF", "piot.conf", "piot.conf.txt"], "piot.conf"),
    ],
)
def test_pick_name(names: list[str], picked: str) -> None:
    """The plain name wins, then any letter case, then Windows' hidden ending."""
    assert idle.pick_name(names) == picked
    assert idle.pick_name(names[::-1]) == picked


@pytest.mark.parametrize("name", ["PIOT.CONF", "Piot.conf", "piot.conf.txt", "PIOT.conf.TXT"])
def test_names_as_other_systems_write_them(tmp_path: Path, name: str) -> None:
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot" / name).touch()
    assert idle.conf_path(str(tmp_path)) == f"/boot/{name}"


def test_unchanged_only_after_it_was_applied_and_until_it_changes(tmp_path: Path) -> None:
    root = str(tmp_path)
    assert idle.unchanged(root), "no piot.conf, never one applied: nothing to do"
    conf = tmp_path / "boot/piot.conf"
    conf.parent.mkdir()
    conf.write_text("[device]\nhostname = a\n")
    assert not idle.unchanged(root)
    applied = tmp_path / "var/lib/piot/boot.stamp"
    applied.parent.mkdir(parents=True)
    applied.write_bytes(idle.boot_stamp("/boot/piot.conf", conf.read_bytes()))
    assert idle.unchanged(root)
    conf.write_text("[device]\nhostname = b\n")
    assert not idle.unchanged(root)
    conf.unlink()
    assert not idle.unchanged(root), "a file that went away is for the verb to judge"


def test_a_directory_of_that_name_is_for_the_verb_to_judge(tmp_path: Path) -> None:
    (tmp_path / "boot/piot.conf").mkdir(parents=True)
    applied = tmp_path / "var/lib/piot/boot.stamp"
    applied.parent.mkdir(parents=True)
    applied.write_bytes(idle.boot_stamp("/boot/piot.conf", b""))
    assert not idle.unchanged(str(tmp_path))


def test_another_version_of_piot_applies_again(tmp_path: Path) -> None:
    conf = tmp_path / "boot/piot.conf"
    conf.parent.mkdir()
    conf.write_text("")
    applied = tmp_path / "var/lib/piot/boot.stamp"
    applied.parent.mkdir(parents=True)
    applied.write_bytes(b"0.0.0" + idle.boot_stamp("/boot/piot.conf", b""))
    assert not idle.unchanged(str(tmp_path))


# -- the clock ----------------------------------------------------------------------------------

MADE = 1_750_000_000.0  # the summer of 2025
YEAR = 31557600


def written(root: Path, path: str, when: float, text: str = "") -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    os.utime(file, (when, when))


def test_the_floor_is_the_newest_thing_known(tmp_path: Path) -> None:
    root = str(tmp_path)
    assert idle.clock_floor(root, MADE) == MADE
    written(tmp_path, "var/lib/dpkg/status", MADE + 10)
    assert idle.clock_floor(root, MADE) == MADE + 10
    written(tmp_path, "var/lib/systemd/timesync/clock", MADE + 20)
    assert idle.clock_floor(root, MADE) == MADE + 20
    written(tmp_path, "etc/fake-hwclock.data", MADE, "2025-06-15 15:07:30\n")
    assert idle.clock_floor(root, MADE) == MADE + 50
    written(tmp_path, "boot/firmware/piot-clock", MADE, "2025-06-15T15:08:00Z\r\n")
    assert idle.clock_floor(root, MADE) == MADE + 80


def test_a_laptop_writes_its_local_time(tmp_path: Path) -> None:
    """What lies on FAT may be 14 hours ahead of UTC."""
    written(tmp_path, "boot/firmware/piot.conf", MADE + 15 * 3600)
    assert idle.clock_floor(str(tmp_path), MADE) == MADE + 3600


@pytest.mark.parametrize("text", ["2099-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_a_clock_that_is_wrong_does_not_count(tmp_path: Path, text: str) -> None:
    written(tmp_path, "boot/firmware/piot-clock", MADE + 80 * YEAR, text)
    written(tmp_path, "boot/cmdline.txt", MADE + 11 * YEAR)
    written(tmp_path, "var/lib/dpkg/status", MADE + 9 * YEAR)
    assert idle.clock_floor(str(tmp_path), MADE) == MADE + 9 * YEAR


@pytest.mark.parametrize(
    "text", ["", "\n", "now", "2025-06-15", "2025-13-01T00:00:00Z", "0000-00-00 00:00:00", "\xff"]
)
def test_what_is_no_date_does_not_count(tmp_path: Path, text: str) -> None:
    for path in ("boot/firmware/piot-clock", "etc/fake-hwclock.data"):
        written(tmp_path, path, MADE, text)
    assert idle.clock_floor(str(tmp_path), MADE) == MADE


@given(st.integers(0, 253402300799))
def test_a_moment_is_read_as_it_was_written(seconds: int) -> None:
    text = time.strftime("%Y-%m-%dT%H:%M:%SZ\n", time.gmtime(seconds)).rjust(21, "0")
    assert idle._moment(text.encode()) == seconds


def test_behind(tmp_path: Path) -> None:
    """A clock that is a little behind is left to the time servers."""
    now = time.time()
    assert not idle.behind(str(tmp_path))
    written(tmp_path, "var/lib/systemd/timesync/clock", now + 60)
    assert not idle.behind(str(tmp_path))
    written(tmp_path, "var/lib/systemd/timesync/clock", now + 600)
    assert idle.behind(str(tmp_path))


def test_a_look_at_the_clock_loads_next_to_nothing(tmp_path: Path) -> None:
    written(tmp_path, "boot/firmware/piot-clock", MADE, "2025-06-15T15:08:00Z\n")
    root = json.dumps(str(tmp_path))
    code = f"from piot_firstboot import idle; assert not idle.behind({root})"
    assert loaded(code).isdisjoint(HEAVY)


# -- the branch ---------------------------------------------------------------------------------


def test_a_branch_that_moved(tmp_path: Path, origin: Path) -> None:
    root = str(tmp_path)
    assert not idle.unmoved(root, "garden"), "without a stamp the verb must look"
    stamp(tmp_path, origin, "refs/heads/main", git("rev-parse", "HEAD", cwd=origin))
    assert idle.unmoved(root, "garden")
    git("commit", "-q", "--allow-empty", "-m", "two", cwd=origin)
    assert not idle.unmoved(root, "garden")


def test_a_branch_whose_name_ends_alike_is_another(tmp_path: Path, origin: Path) -> None:
    commit = git("rev-parse", "HEAD", cwd=origin)
    git("branch", "old/main", cwd=origin)
    git("commit", "-q", "--allow-empty", "-m", "two", cwd=origin)
    stamp(tmp_path, origin, "refs/heads/main", commit)
    assert not idle.unmoved(str(tmp_path), "garden")


def test_an_annotated_tag_counts_as_its_commit(tmp_path: Path, origin: Path) -> None:
    git("tag", "-m", "v1", "v1", cwd=origin)
    stamp(tmp_path, origin, "refs/tags/v1", git("rev-parse", "HEAD", cwd=origin))
    assert idle.unmoved(str(tmp_path), "garden")


def test_a_plain_commit_never_moves(tmp_path: Path) -> None:
    stamp(tmp_path, "https://nowhere.invalid/x.git", "", "a" * 40)
    assert idle.unmoved(str(tmp_path), "garden")


def test_what_does_not_answer_is_for_the_verb(tmp_path: Path) -> None:
    stamp(tmp_path, tmp_path / "nothing", "refs/heads/main", "a" * 40)
    assert not idle.unmoved(str(tmp_path), "garden")


@pytest.mark.parametrize("text", ["", "\n", "x\ny\nz\n", "a\nb\nc\nd\ne\nf\ng\n", "\xff\xfe"])
def test_a_damaged_stamp_is_no_stamp(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run/piot/poll/garden"
    path.parent.mkdir(parents=True)
    path.write_bytes(text.encode("latin-1"))
    assert not idle.unmoved(str(tmp_path), "garden")


def test_other_verbs_are_not_answered() -> None:
    for argv in ([], ["status"], ["deploy"], ["deploy", "--help"], ["firstboot", "--help"]):
        assert not idle.answers(argv)


# -- what is loaded -----------------------------------------------------------------------------


def loaded(code: str) -> set[str]:
    """Run code in a fresh interpreter, as /usr/bin/piot does, and list what was imported."""
    package = Path(idle.__file__).parent.parent
    script = f"import sys; sys.path.insert(0, {str(package)!r}); {code}; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-IS", "-c", script], check=True, capture_output=True, text=True
    )
    return set(run.stdout.split())


def test_an_unchanged_boot_loads_next_to_nothing(tmp_path: Path) -> None:
    root = json.dumps(str(tmp_path))
    code = f"from piot_firstboot import idle; assert idle.unchanged({root})"
    assert loaded(code).isdisjoint(HEAVY)


def test_an_empty_poll_loads_next_to_nothing(tmp_path: Path, origin: Path) -> None:
    stamp(tmp_path, origin, "refs/heads/main", git("rev-parse", "HEAD", cwd=origin))
    root = json.dumps(str(tmp_path))
    code = f"from piot_firstboot import idle; assert idle.unmoved({root}, 'garden')"
    assert loaded(code).isdisjoint(HEAVY)
