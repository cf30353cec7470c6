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
