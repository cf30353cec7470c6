"""Would the kill matrices notice? Each of these mistakes is put in on purpose, and is found.

A matrix that never fails proves nothing. The mistakes are those that such code has elsewhere: each
breaks one of the five things that docs/design.md says hold at every instant.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from piot_firstboot import apply, files, gate, plan, release, state, transaction
from piot_firstboot.items import Item
from piot_firstboot.system import System
from tests.kit import faults
from tests.kit.faults import Point
from tests.root import test_kill_deploy as matrices

put = pytest.MonkeyPatch().setattr  # in a child that ends, so nothing is put back


@dataclass(frozen=True, slots=True)
class Mistake:
    """A mistake, which deploy shows it, and at which points: all others would only take time."""

    make: Callable[[], None]
    case: str
    among: Callable[[Point], bool]


def write_in_place() -> None:
    """A file is written where it lies, and not renamed into its place."""

    def replace(real: str, data: bytes, own: Callable[[int], None], check: Any) -> None:
        with os.fdopen(os.open(real, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
            own(file.fileno())

    put(files, "replace", replace)


def take_half_for_whole() -> None:
    """A release is made under the name by which it counts as whole, and what is found is used."""
    put(release, "_PARTIAL", "")
    put(release, "prune", lambda system, app, keep: None)


def prune_too_early() -> None:
    """The release to go back to goes before the new one was found good."""
    right = gate.judge

    def judge(system: System, app: str, *rest: Any) -> None:
        release.prune(system, app, (state.load(system, app).target,))
        right(system, app, *rest)

    put(gate, "judge", judge)


def begin_without_a_word() -> None:
    """Units are touched before the record says so."""
    right = transaction._step

    def step(system: System, record: Any, name: Any) -> Any:
        return record if name in ("switched", "probation") else right(system, record, name)

    put(transaction, "_step", step)


def forget_what_is_pending() -> None:
    """What is about to change is not noted, so nothing follows a file that was written already."""
    right = apply._record

    def record(system: System, scope: str, entries: set[str]) -> None:
        right(system, scope, {entry for entry in entries if not entry.startswith("pending ")})

    put(apply, "_record", record)


def forget_what_leaves() -> None:
    """What leaves is struck off the list before it is gone."""
    right, wanted = apply._record, set[str]()

    def owned(items: Iterable[Item]) -> tuple[str, ...]:
        found = plan.owned(items)
        wanted.update(found)
        return found

    def record(system: System, scope: str, entries: set[str]) -> None:
        right(system, scope, {e for e in entries if e in wanted or e.startswith("pending ")})

    put(apply, "owned", owned)
    put(apply, "_record", record)


def lock_by_a_file() -> None:
    """A lock is a file, and outlives who made it."""

    @contextmanager
    def lock(self: System, path: str, *, wait: bool = True) -> Iterator[bool]:
        real = self.path(f"{path}.mine").replace("/run/", "/var/lib/")
        try:
            os.close(os.open(real, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            yield False
            return
        try:
            yield True
        finally:
            Path(real).unlink(missing_ok=True)

    put(System, "lock", lock)


def of(*words: str) -> Callable[[Point], bool]:
    """Return what picks the points whose text has all these words."""
    return lambda point: all(word in str(point) for word in words)


MISTAKES = {
    "a file is written in place": Mistake(write_in_place, "unhealthy", of("write", "state.json")),
    "half a release counts as whole": Mistake(
        take_half_for_whole, "good", of("command", "checkout-index")
    ),
    "the release to go back to goes too early": Mistake(
        prune_too_early, "unhealthy", of("unit", "relay.service")
    ),
    "the record follows the switch": Mistake(
        begin_without_a_word, "good", of("unit", "relay.service")
    ),
    "what is pending is forgotten": Mistake(
        forget_what_is_pending, "good", of("unit", "web.service")
    ),
    "what leaves is forgotten": Mistake(forget_what_leaves, "good", of("unit", "feed.service")),
    "a lock is a file": Mistake(lock_by_a_file, "wrong manifest", of("rename", "state.json")),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_found(memory: Path, name: str, tell: Callable[[str], None]) -> None:
    mistake = MISTAKES[name]
    changed, good = matrices.CASES[mistake.case]
    root, commits = matrices.tree(memory, changed)

    def wrong(way: Callable[[Path], None]) -> Callable[[Path], None]:
        def run(root: Path) -> None:
            mistake.make()  # in the child that acts, and nowhere else
            way(root)

        run.__name__ = way.__name__
        return run

    matrix = faults.kill(
        root,
        memory,
        wrong(matrices.act),
        [wrong(way) for way in matrices.WAYS],
        matrices.judged(commits, good, changed),
        among=mistake.among,
        enough=1,
    )
    assert matrix.points, "the mistake hides the points at which it would show"
    assert matrix.wrong, f"{matrix.cases} cases, and nobody noticed that {name}"
    tell(f"mistake ({name}): found, {matrix.wrong[0].partition(': ')[0]}")


def test_a_rename_before_what_it_names_is_flushed_is_found(memory: Path) -> None:
    """A killed process loses nothing that it wrote: no stop shows this, the order itself does."""
    root, _ = matrices.tree(memory, matrices.CASES["good"][0])

    def act(root: Path) -> None:
        put(os, "fsync", lambda fd: None)
        matrices.act(root)

    found = faults.hasty(faults.undisturbed(root, memory, act))
    assert any("state.json" in line and "not flushed before" in line for line in found)
    assert any("state.json" in line and "its directory" in line for line in found)
