"""Parts, their fingerprints, and which of them a run has to look at."""

from __future__ import annotations

from pathlib import Path

from piot_firstboot import ledger
from piot_firstboot.converge import apply_parts, pending, spared, with_leaving
from piot_firstboot.items import Credential, File, Item, Lines
from piot_firstboot.ledger import Ledger, Row
from piot_firstboot.plan import Part
from piot_firstboot.system import System

A = Part("a", (File("/etc/a", b"1"),))
B = Part("b", (File("/etc/b", b"1"),))


def run(system: System, *parts: Part, everything: bool = False) -> dict[str, str]:
    """Apply parts as the verbs do; return the state of each."""
    book = ledger.load(system)
    every = with_leaving(system, book, parts)
    todo = pending(book, every, everything=everything)
    outcomes = apply_parts(system, book, every, todo)
    ledger.save(system, book.noted(outcomes))
    return {outcome.part.section: outcome.row.state for outcome in outcomes}


def test_a_section_that_did_not_change_is_left_alone(tmp_path: Path) -> None:
    """What a person changed by hand stays until its own section changes, or --all is asked for."""
    system = System(str(tmp_path))
    assert run(system, A, B) == {"a": "applied", "b": "applied"}
    system.write("/etc/a", b"by hand")
    assert run(system, A, Part("b", (File("/etc/b", b"2"),))) == {"a": "unchanged", "b": "applied"}
    assert system.read("/etc/a") == b"by hand"
    run(system, A, B, everything=True)
    assert system.read("/etc/a") == b"1"


def test_a_section_that_leaves_takes_what_it_made(tmp_path: Path) -> None:
    """And is forgotten: the ledger and the ownership record know nothing of it any more."""
    system = System(str(tmp_path))
    run(system, A, B)
    assert run(system, A) == {"b": "applied", "a": "unchanged"}
    assert not system.exists("/etc/b")
    assert set(ledger.load(system).rows) == {"conf.a"}
    assert run(system, A) == {"a": "unchanged"}


def test_what_moves_to_another_section_stays(tmp_path: Path) -> None:
    """A key that moves from one user section to the other is there at any moment."""
    system = System(str(tmp_path))
    key = Lines("/keys", ("ssh-ed25519 AAAA",))
    run(system, Part("user", (key,)))
    run(system, Part("user.ada", (key,)))
    assert system.read("/keys") == b"ssh-ed25519 AAAA\n"
    run(system)
    assert system.read("/keys") == b""


def test_one_failure_does_not_keep_back_the_others(tmp_path: Path) -> None:
    """It is tried again at the next run, and its reason stands in the ledger."""
    system = System(str(tmp_path))
    system.mkdir("/etc/a")
    assert run(system, A, B) == {"a": "failed", "b": "applied"}
    row = ledger.load(system).rows["conf.a"]
    assert "directory" in row.reason
    assert run(system, A, B) == {"a": "failed", "b": "unchanged"}
    system.remove("/etc/a")
    assert run(system, A, B) == {"a": "applied", "b": "unchanged"}


def test_what_was_refused_is_not_tried_again_until_it_changes(tmp_path: Path) -> None:
    """Neither is a section whose removal was refused."""
    system = System(str(tmp_path))
    book = ledger.load(system)
    gone = Part("a", ())
    rows = {p.scope: Row(book.fingerprint(p), "refused", "why") for p in (B, gone)}
    ledger.save(system, Ledger(book.salt, rows))
    assert run(system, B) == {"a": "unchanged", "b": "unchanged"}
    assert not system.exists("/etc/b")
    assert run(system, A, Part("b", (File("/etc/b", b"2"),))) == {"a": "applied", "b": "applied"}


def test_fingerprints() -> None:
    """Anything that is asked for shows in them, secrets included; the salt makes them differ."""
    book = Ledger("00" * 16, {})
    parts: list[tuple[Item, ...]] = [
        (),
        (File("/a", b""),),
        (File("/a", b"", 0o600),),
        (Lines("/a", ()),),
        (Credential("a", "x"),),
        (Credential("a", "y"),),
    ]
    marks = {book.fingerprint(Part("s", items)) for items in parts}
    assert len(marks) == len(parts)
    other = Ledger("11" * 16, {})
    assert not marks & {other.fingerprint(Part("s", items)) for items in parts}


def test_spared() -> None:
    """What others own, and only that."""
    assert spared(A, (A, B)) == {"file /etc/b"}
