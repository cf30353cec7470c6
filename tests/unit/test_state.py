"""The state record: round trip, bad list, backoff."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from piot_firstboot import state
from piot_firstboot.errors import ApplyError
from piot_firstboot.state import Record
from piot_firstboot.system import System


def test_round_trip(tmp_path: Path) -> None:
    system = System(str(tmp_path))
    record = Record("garden", "probation", "a" * 40, "b" * 40, good=("c" * 40,))
    record = record.failed("d" * 40, "crashed", deterministic=True, now=5, jitter=0)
    state.save(system, record)
    assert state.load(system, "garden") == record


def test_an_app_without_a_record_is_idle(tmp_path: Path) -> None:
    assert state.load(System(str(tmp_path)), "garden") == Record("garden")


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    system = System(str(tmp_path))
    state.save(system, Record("garden"))
    path = tmp_path / "var/lib/piot/apps/garden/state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 99}))
    with pytest.raises(ApplyError, match="newer PioT"):
        state.load(system, "garden")


def test_backoff_doubles_from_a_minute_to_six_hours() -> None:
    record = Record("garden")
    waits = []
    for _ in range(12):
        record = record.failed("x", "no network", deterministic=False, now=0, jitter=0)
        failure = record.failure("x")
        assert failure
        waits.append(failure.after)
    assert waits[:4] == [60, 120, 240, 480]
    assert waits[-1] == 6 * 3600


def test_deterministic_failures_wait_for_ever() -> None:
    record = Record("garden").failed("x", "crashed", deterministic=True, now=0, jitter=0)
    failure = record.failure("x")
    assert failure and failure.waits(1e12)
    assert record.forgiven("x").failure("x") is None


def test_a_clock_that_jumped_back_does_not_block_for_years() -> None:
    record = Record("garden").failed("x", "no network", deterministic=False, now=1e9, jitter=0)
    failure = record.failure("x")
    assert failure and failure.waits(1e9 + 30)
    assert not failure.waits(1e9 + 61)
    assert not failure.waits(0)


def test_the_bad_list_is_bounded_and_newest_first() -> None:
    record = Record("garden")
    for number in range(30):
        record = record.failed(str(number), "crashed", deterministic=True, now=0, jitter=0)
    assert [failure.commit for failure in record.bad][:2] == ["29", "28"]
    assert len(record.bad) == 20


OLD = """{"schema": 1, "app": "garden", "step": "rolled-back", "commit": "a", "target": "",
"good": ["b"], "changed": 5.0, "resumes": 0, "note": "x", "bad": [{"commit": "c", "reason": "r",
"deterministic": true, "at": 1.0, "tries": 1, "after": 0.0}]}"""


def test_a_record_of_an_older_version_is_read(tmp_path: Path) -> None:
    system = System(str(tmp_path))
    system.write("/var/lib/piot/apps/garden/state.json", OLD.encode())
    record = state.load(system, "garden")
    assert (record.commit, record.good, record.ready, record.arrived) == ("a", ("b",), "", ())
    failure = record.failure("c")
    assert failure and (failure.kind, failure.lines, failure.basis) == ("", (), "")
    state.save(system, record)
    assert state.load(system, "garden") == record


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 40, b"{", b"[]", b'{"schema": 2}', b'{"schema": "x"}']
)
def test_a_record_that_was_lost_is_begun_anew(tmp_path: Path, data: bytes) -> None:
    system = System(str(tmp_path))
    system.write("/var/lib/piot/apps/garden/state.json", data)
    record = state.load(system, "garden")
    assert (record.step, record.commit) == ("idle", "")
    assert "begun anew" in record.note


def test_the_arrival_of_a_commit_is_noted_once() -> None:
    record = Record("garden").arrival("a", 100, right=True)
    assert record.arrival("a", 200, right=True).came("a") == 100
    assert record.arrival("a", 200, right=False).came("a") == 100
    assert record.came("b") is None


def test_an_arrival_by_a_wrong_clock_is_corrected() -> None:
    record = Record("garden").arrival("a", 100, right=False)
    assert record.arrival("a", 150, right=False).came("a") == 100
    right = record.arrival("a", 1e9, right=True)
    assert right.came("a") == 1e9
    assert right.arrival("a", 2e9, right=True).came("a") == 1e9


def test_an_arrival_in_the_future_becomes_the_present() -> None:
    assert Record("garden").arrival("a", 2e9, right=True).arrival("a", 1e9, right=True).came(
        "a"
    ) == (1e9)


def test_arrivals_are_bounded() -> None:
    record = Record("garden")
    for number in range(50):
        record = record.arrival(str(number), number, right=True)
    assert len(record.arrived) == 20 and record.came("49") == 49


def test_a_hold_and_its_end(tmp_path: Path) -> None:
    system = System(str(tmp_path))
    assert state.held(system, "garden") is None
    state.hold(system, "garden", state.Hold("the roof is open", 5.0))
    assert state.held(system, "garden") == state.Hold("the roof is open", 5.0)
    system.write("/var/lib/piot/apps/garden/hold.json", b"\0\0")
    assert state.held(system, "garden"), "a hold that cannot be read holds"
    state.hold(system, "garden", None)
    assert state.held(system, "garden") is None
