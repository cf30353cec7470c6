"""When a commit may go live: tags of the fleet, and rings that soak."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piot_firstboot.orders import Decision, by_tags, decide

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass(frozen=True)
class Ring:
    """A ring of the manifest."""

    name: str
    hosts: tuple[str, ...]
    soak: float


RINGS = (Ring("canary", ("pi-0*",), 0), Ring("most", ("pi-*",), 3600), Ring("late", (), 86400))


def when(orders: str = "", *, ring: str = "", host: str = "pi-7", now: float = 1000.0) -> Decision:
    """Decide for a commit that came at second 1000."""
    return decide(orders, COMMIT, rings=RINGS, ring=ring, hostname=host, arrived=1000.0, now=now)


@pytest.mark.parametrize(
    ("orders", "word"),
    [
        ("", "now"),
        ("hold", "held"),
        ("hold/holidays", "held"),
        ("holdings", "now"),
        (f"block/{COMMIT}", "blocked"),
        (f"block/{COMMIT[:7]}", "blocked"),
        (f"block/{COMMIT[:7].upper()}", "blocked"),
        (f"block/{COMMIT[:6]}", "now"),
        (f"block/{'1' * 40}", "now"),
        (f"block/{COMMIT} hold", "blocked"),
        (f"go/{COMMIT} hold", "held"),
        (f"block/{COMMIT} go/{COMMIT}", "blocked"),
    ],
)
def test_tags(orders: str, word: str) -> None:
    decision = by_tags(orders, COMMIT)
    assert decision.word == word
    assert bool(decision.why) == (word != "now")


def test_a_ring_soaks_from_the_moment_the_commit_came() -> None:
    assert when(host="pi-01").word == "now"
    waits = when()
    assert (waits.word, waits.until) == ("wait", 4600.0)
    assert waits.why == "ring most: it soaks for 1 h after it came"
    assert when(now=4599.0).until == 4600.0
    assert when(now=4600.0).word == "now"


def test_piot_conf_names_the_ring_before_the_host_name_does() -> None:
    assert when(ring="late").until == 1000.0 + 86400
    assert when(ring="canary").word == "now"


@pytest.mark.parametrize("ring", ["", "typo"])
def test_a_device_of_no_ring_waits_as_long_as_the_last(ring: str) -> None:
    decision = when(ring=ring, host="other")
    assert decision.until == 1000.0 + 86400 and "no ring is this device's" in decision.why


def test_without_rings_nothing_soaks() -> None:
    said = decide("", COMMIT, rings=(), ring="", hostname="x", arrived=0.0, now=0.0)
    assert said.word == "now"


def test_a_tag_spares_the_soak() -> None:
    assert when(f"go/{COMMIT}").word == "now"
    assert when(f"go/{'1' * 40}").word == "wait"
    assert when(f"go/{COMMIT} hold").word == "held"


@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))
def test_a_clock_that_jumps_never_makes_a_wait_longer_than_the_soak(
    arrived: float, now: float
) -> None:
    decision = decide("", COMMIT, rings=RINGS, ring="most", hostname="x", arrived=arrived, now=now)
    assert decision.word == "now" or now < decision.until <= now + 3600.001
