"""The clock: raised to what is known, never set in a tree; what the correction was."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from piot_firstboot import clock, idle
from piot_firstboot.system import System

FUTURE = 400.5 * 86400 + 30  # the stamp has whole seconds: keep off the full hour
LARGEST_ERROR = clock._largest_error


class Pi(System):
    """A tree that is taken for a running machine, with a clock of its own."""

    def __init__(self, root: Path, behind: float = 0.0, *, mine: bool = True) -> None:
        super().__init__(str(root))
        self.live = True
        self.set_to: list[float] = []
        self._mine = mine
        self.write("/var/lib/dpkg/status", b"")
        if behind:
            text = time.strftime("%Y-%m-%dT%H:%M:%SZ\n", time.gmtime(time.time() + behind))
            self.write(f"/boot/firmware/{idle.CLOCK}", text.encode())

    def set_clock(self, seconds: float) -> None:
        """Remember what the clock was set to; refuse as a container does."""
        if not self._mine:
            raise PermissionError(1, "Operation not permitted")
        self.set_to.append(seconds)


@pytest.fixture(autouse=True)
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the clock of the machine that runs the tests out of them."""
    monkeypatch.setattr(clock, "_largest_error", lambda: 16.0)


def test_a_clock_that_is_right_is_left_alone(tmp_path: Path) -> None:
    pi = Pi(tmp_path)
    assert clock.raise_to_floor(pi) == 0
    assert pi.set_to == []
    assert clock.notes(pi) == ()


def test_a_clock_that_is_behind_is_raised(tmp_path: Path) -> None:
    pi = Pi(tmp_path, behind=FUTURE)
    assert clock.raise_to_floor(pi) == pytest.approx(FUTURE, abs=5)
    assert pi.set_to == [pytest.approx(time.time() + FUTURE, abs=5)]
    (note,) = clock.notes(pi)
    assert note.startswith("The clock was 400d 12h ") and "behind the newest date" in note


def test_where_the_clock_cannot_be_set_it_stays(tmp_path: Path) -> None:
    pi = Pi(tmp_path, behind=FUTURE, mine=False)
    assert clock.raise_to_floor(pi) == 0
    assert clock.notes(pi) == ()


def test_in_a_container_the_clock_is_the_hosts(tmp_path: Path) -> None:
    pi = Pi(tmp_path, behind=FUTURE)
    pi.write("/run/systemd/container", b"systemd-nspawn\n")
    assert clock.raise_to_floor(pi) == 0
    assert pi.set_to == []


def test_a_tree_has_no_clock(tmp_path: Path) -> None:
    tree = System(str(Pi(tmp_path, behind=FUTURE).root))
    assert clock.raise_to_floor(tree) == 0
    assert not clock.wait_for_sync(tree, 5, print)
    assert not (tmp_path / "run").exists()


def test_the_correction_is_remembered_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pi = Pi(tmp_path)
    clock.raise_to_floor(pi)
    assert clock.skew(pi) is None
    offset = clock._offset()
    monkeypatch.setattr(clock, "_offset", lambda: offset + 3700)
    pi.write("/run/systemd/timesync/synchronized", b"")
    said: list[str] = []
    assert clock.wait_for_sync(pi, 5, said.append)
    assert said == []
    assert clock.skew(pi) == pytest.approx(3700, abs=1)
    # Later steps, such as a person's, are not what the device began with.
    monkeypatch.setattr(clock, "_offset", lambda: offset - 99)
    assert clock.notes(pi) == ("The clock was 1h 1min behind until a time server corrected it.",)


def test_nothing_is_waited_for_where_nothing_asks(tmp_path: Path) -> None:
    began = time.monotonic()
    assert not clock.wait_for_sync(Pi(tmp_path), 30, print)
    assert time.monotonic() - began < 5


def test_the_time_is_left_on_the_boot_partition(tmp_path: Path) -> None:
    pi = Pi(tmp_path)
    clock.stamp(pi, "/boot/firmware")
    assert pi.read("/boot/firmware/piot-clock") is None, "nobody has said that it is right"
    pi.write("/run/systemd/timesync/synchronized", b"")
    clock.stamp(pi, "/etc/piot")
    assert pi.read("/etc/piot/piot-clock") is None
    clock.stamp(pi, "/boot/firmware")
    assert idle.clock_floor(pi.root) == pytest.approx(time.time(), abs=5)


def test_a_full_partition_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pi = Pi(tmp_path)
    pi.write("/run/systemd/timesync/synchronized", b"")

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(System, "write", full)
    clock.stamp(pi, "/boot/firmware")


def test_the_kernel_knows_how_far_off_it_may_be() -> None:
    """It counts to 16 seconds, whether or not anyone has set this machine's clock."""
    assert 0 <= LARGEST_ERROR() <= 16


def test_what_a_clock_dated_that_was_ahead_is_dated_anew(tmp_path: Path) -> None:
    pi = Pi(tmp_path)
    others = ("/var/lib/dpkg/status", idle.BOOT_STAMP, "/boot/firmware/piot.conf")
    for path in others:
        pi.write(path, b"as it was\n", 0o640)
    pi.write(f"/boot/firmware/{idle.CLOCK}", b"2034-01-01T00:00:00Z\n")
    dated = (*others, f"/boot/firmware/{idle.CLOCK}")

    def date(ahead: float) -> None:
        for path in dated:
            os.utime(pi.path(path), (time.time() + ahead,) * 2)

    date(FUTURE)
    clock.redate(pi)
    assert idle.behind(pi.root), "it was not looked at in this boot yet: the files are believed"
    clock.raise_to_floor(pi)  # sets nothing here, so that the clock is as if set back by somebody
    assert len(pi.set_to) == 1
    assert clock.raise_to_floor(pi) == 0, "`piot apply` must not take it there again"
    assert len(pi.set_to) == 1
    assert not idle.behind(pi.root)
    assert idle.clock_floor(pi.root) == pytest.approx(time.time(), abs=5)
    assert [pi.read(path) for path in others] == [b"as it was\n"] * 3
    assert not pi.exists(idle.REPORT), "nothing comes to be"
    date(-FUTURE)
    clock.redate(pi)
    past = [Path(pi.path(path)).stat().st_mtime for path in dated]
    assert max(past) < time.time() - FUTURE / 2, "what is past stays"


def test_a_clock_that_is_older_than_piot_dates_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pi = Pi(tmp_path)
    pi.write(idle.BOOT_STAMP, b"")
    clock.raise_to_floor(pi)
    before = Path(pi.path(idle.BOOT_STAMP)).stat().st_mtime
    monkeypatch.setattr(time, "time", lambda: 1_000_000.0)
    clock.redate(pi)
    assert Path(pi.path(idle.BOOT_STAMP)).stat().st_mtime == before


def test_a_full_partition_keeps_its_dates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pi = Pi(tmp_path)
    pi.write(f"/boot/firmware/{idle.CLOCK}", b"")
    clock.raise_to_floor(pi)
    os.utime(pi.path(f"/boot/firmware/{idle.CLOCK}"), (time.time() + FUTURE,) * 2)

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(System, "write", full)
    clock.redate(pi)
