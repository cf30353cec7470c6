"""A deploy stopped at each of its changes: the next run ends at the right release, always."""

from __future__ import annotations

import errno
import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import pytest

from piot_firstboot import deploy, journal, repository, state
from piot_firstboot.errors import ApplyError
from piot_firstboot.system import System
from tests.kit import faults
from tests.kit.booted import BROKEN, Booted, Manager, reboot, release
from tests.kit.damage import DAMAGE
from tests.kit.faults import Point
from tests.kit.git_repo import Repo
from tests.kit.origin import texts

MANIFEST = """\
piot: 1
services:
  web: {run: ./web.sh}
  feed: {run: ./web.sh feed}
jobs:
  migrate: {run: ./web.sh migrate, once: commit}
  tick: {run: ./web.sh tick, every: 1min}
"""
NEXT = """\
piot: 1
services:
  web: {run: ./web.sh, env: {LEVEL: "2"}}
  relay: {run: ./web.sh relay}
jobs:
  migrate: {run: ./web.sh migrate, once: commit}
  nightly: {run: ./web.sh nightly, at: "02:30"}
"""
FILES = {".piot.yaml": MANIFEST, "web.sh": "#!/bin/sh\nsleep 1000\n"}
APP = "garden"
OWN = "var/lib/piot/apps/garden"


def tree(
    folder: Path, files: dict[str, str | bytes | None] | None, *more: dict[str, str | bytes | None]
) -> tuple[Path, list[str]]:
    """Make a device on which one commit runs, and push a second one; return the commits.

    Without `files` the first one is not deployed yet, and there is no second. What comes after that
    is pushed too; the branch `second` stays behind.
    """
    root = folder / "device"
    root.mkdir()
    system = Booted(root)
    repo = Repo(folder / "repositories", APP)
    commits = [repo.commit(FILES, "first")]
    values = {"schema": 1, "name": APP, "repo": repo.url, "ref": "main", "poll": 300}
    system.write(f"/{OWN}/app.json", json.dumps(values).encode())
    system.write("/etc/hostname", b"pi\n")
    system.write("/etc/passwd", b"root:x:0:0::/root:/bin/sh\n")
    system.write("/etc/group", b"root:x:0:\n")
    system.write("/usr/lib/os-release", b"ID=debian\nVERSION_CODENAME=trixie\n")
    if files is not None:
        done = faults.run(lambda: act(root))
        assert done.code == 0 and state.load(system, APP).commit == commits[0], done.said
        commits.append(repo.commit(files, "second"))
        repo.git("push", "-q", "origin", "HEAD:refs/heads/second")
        commits += [repo.commit(changed) for changed in more]
    return root, commits


def act(root: Path) -> None:
    """Deploy, as the timer would."""
    journal.tail = lambda *args, **named: ()
    journal.recent = lambda *args, **named: ()
    try:
        print(deploy.deploy(Booted(root), APP))
    except (ApplyError, OSError) as error:
        print(f"ended by {type(error).__name__}: {error}")  # as the command line does


def after_a_reboot(root: Path) -> None:
    """Boot, and let the timer start the deploy."""
    reboot(root)
    # Before PioT does anything: whatever runs, is whole.
    manager = Manager.of(root)
    for unit, text in manager.running.items():
        assert not release(text) or (root / OWN / "releases" / release(text)).is_dir(), unit
    if state.load(Booted(root), APP).commit:
        assert "piot-garden-web.service" in manager.running, "nothing runs"
    act(root)


def at_once(root: Path) -> None:
    """Start the deploy again while the machine stays up."""
    act(root)


def without_the_server(root: Path) -> None:
    """Boot while the repository is not to be reached: what was begun comes to an end by itself."""
    reboot(root)
    server, away = root.parent / "repositories", root.parent / "away"
    server.rename(away)
    try:
        act(root)
    finally:
        away.rename(server)
    record = state.load(Booted(root), APP)
    assert record.step in ("idle", "committed", "rolled-back"), record
    if record.commit:
        units_are(root, record.commit)
    else:
        assert not any("garden" in unit for unit in Manager.of(root).running)
    act(root)


WAYS = (after_a_reboot, at_once, without_the_server)


def judged(
    commits: list[str],
    good: bool,
    *changes: dict[str, str | bytes | None] | None,
) -> Callable[[Path], None]:
    """Return what a tree must look like in the end: the last commit runs, or the first again.

    `changes` are what each but the first one changed.
    """
    first: dict[str, str | bytes | None] = {**FILES}
    every = accumulate(changes, lambda old, new: {**old, **(new or {})}, initial=first)
    trees = dict(zip(commits, every, strict=False))

    def judge(root: Path) -> None:
        system = Booted(root)
        record = state.load(system, APP)
        right = commits[-1] if good else commits[0]
        assert record.step in (("committed",) if good else ("committed", "rolled-back")), record
        assert (record.commit, record.target, record.resumes) == (right, "", 0), record
        failure = record.failure(commits[-1])
        assert (failure is None) == good and (good or failure.deterministic), record  # type: ignore[union-attr]
        units_are(root, right)
        unfinished = (".new", ".piot", ".partial", ".index")
        left = [path for path in root.rglob("*") if path.name.endswith(unfinished)]
        assert not left, left
        assert set(system.names(f"/{OWN}/releases")) == {right, *record.good}
        for commit in (right, *record.good):
            assert texts(root / OWN / "releases" / commit) == trees[commit]
        fsck = ["git", f"--git-dir={root / OWN}/mirror.git", "fsck", "--strict"]
        done = subprocess.run(fsck, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        with system.lock(state.lock(APP), wait=False) as held:
            assert held

    return judge


def units_are(root: Path, commit: str) -> None:
    """Check that the units on disk and those that run are just those of one release."""
    manager = Manager.of(root)
    files = {path.name for path in (root / "etc/systemd/system").glob("piot-garden*.*")}
    files -= {name for name in files if name.endswith((".wants", ".d"))}
    second = any((root / "etc/systemd/system").glob("piot-garden-relay.service"))
    names = {"web", "relay"} if second else {"web", "feed"}
    assert {f"piot-garden-{name}.service" for name in names} <= files, files
    timer = "nightly" if second else "tick"
    jobs = {"piot-garden-migrate.service", f"piot-garden-{timer}.service"}
    kinds = {"piot-garden.target", "piot-garden.slice", f"piot-garden-{timer}.timer"}
    assert files == {f"piot-garden-{name}.service" for name in names} | jobs | kinds, files
    for unit in files:
        text = manager.text(unit)
        assert release(text) in ("", commit), f"{unit} belongs to {release(text)}"
    running = {unit: text for unit, text in manager.running.items() if "garden" in unit}
    assert set(running) == files - jobs - {"piot-garden.slice"}, sorted(running)
    for unit, text in running.items():
        assert text == manager.text(unit), f"{unit} runs with another text than it has on disk"
    links = {path.name for path in (root / "etc/systemd/system").glob("piot-garden.target.wants/*")}
    assert links == {f"piot-garden-{n}.service" for n in names} | {f"piot-garden-{timer}.timer"}


CASES: dict[str, tuple[dict[str, str | bytes | None] | None, bool]] = {
    "first": (None, True),
    "good": ({".piot.yaml": NEXT, "note": "2"}, True),
    "wrong manifest": ({".piot.yaml": "piot: 1\nservices: {web: {rnu: x}}\n"}, False),
    "unhealthy": ({".piot.yaml": NEXT, BROKEN: "1"}, False),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.slow), 37])
def test_stopped_anywhere_it_converges(
    memory: Path,
    name: str,
    step: int,
    tell: Callable[[str], None],
    pytestconfig: pytest.Config,
) -> None:
    files, good = CASES[name]
    root, commits = tree(memory, files)
    long, judge = pytestconfig.getoption("--long"), judged(commits, good, files)
    assert faults.hasty(faults.undisturbed(root, memory, act)) == []
    matrix = faults.kill(root, memory, act, WAYS, judge, step=step, every_way=long)
    tell(f"deploy of a commit ({name}): {matrix}")
    matrix.check()


DAMAGED = {
    "pack cut": ("pack cut",),
    "ref of zeros": ("ref of zeros",),
    "locks": tuple(what for what in DAMAGE if what.endswith(".lock")) + ("half a pack",),
}


def of_the_mirror(point: Point) -> bool:
    """Tell whether a change is one of the mirror, or a question to it."""
    return "/mirror.git" in point.what


@pytest.mark.parametrize("what", DAMAGED)
@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.slow), 13])
def test_stopped_while_a_damaged_mirror_is_mended(
    memory: Path,
    what: str,
    step: int,
    tell: Callable[[str], None],
    pytestconfig: pytest.Config,
) -> None:
    files, good = CASES["good"]
    root, commits = tree(memory, files)
    for damage in DAMAGED[what]:
        DAMAGE[damage](root / OWN / "mirror.git")
    long, judge = pytestconfig.getoption("--long"), judged(commits, good, files)
    matrix = faults.kill(
        root, memory, act, WAYS, judge, step=step, every_way=long, among=of_the_mirror
    )
    tell(f"deploy with a damaged mirror ({what}): {matrix}")
    matrix.check()


@pytest.mark.parametrize("step", [pytest.param(2, marks=pytest.mark.slow), 67])
def test_stopped_while_what_was_pushed_meanwhile_is_deployed(
    memory: Path, step: int, tell: Callable[[str], None], pytestconfig: pytest.Config
) -> None:
    """One run deploys two commits; it is stopped from where it comes to the second one on."""
    files, good = CASES["good"]
    third: dict[str, str | bytes | None] = {"note": "3"}
    root, commits = tree(memory, files, third)
    right = repository.resolve

    def pushing(way: Callable[[Path], None]) -> Callable[[Path], None]:
        def run(root: Path) -> None:
            def resolve(system: System, origin: state.Source) -> repository.Tip:
                # Pushed once the first of the two is known to this device.
                known = state.load(system, APP).came(commits[1])
                return right(system, replace(origin, ref="main" if known else "second"))

            repository.resolve = resolve
            way(root)

        run.__name__ = way.__name__
        return run

    ways, act_so = [pushing(way) for way in WAYS], pushing(act)
    points = faults.undisturbed(root, memory, act_so)
    begin = next(p.number for p in points if commits[2] in p.what)
    long, judge = pytestconfig.getoption("--long"), judged(commits, good, files, third)
    matrix = faults.kill(
        root,
        memory,
        act_so,
        ways,
        judge,
        step=step,
        every_way=long,
        among=lambda point: point.number >= begin,
    )
    tell(f"deploy of a commit that was pushed meanwhile: {matrix}")
    matrix.check()


def served(root: Path) -> None:
    """Check that the app serves: a disk that refuses stops nothing that runs."""
    running = Manager.of(root).running
    text = running.get("piot-garden-web.service", "")
    assert text, f"only {sorted(running)} runs"
    assert (root / OWN / "releases" / release(text)).is_dir(), "what runs has lost its files"


REFUSALS = {
    "full": (errno.ENOSPC, None),
    "failing": (errno.EIO, 1),
    "read-only": (errno.EROFS, None),
}


@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.parametrize("step", [pytest.param(2, marks=pytest.mark.slow), 41])
def test_a_disk_that_refuses_costs_only_time(
    memory: Path, name: str, step: int, tell: Callable[[str], None]
) -> None:
    code, count = REFUSALS[name]
    files, good = CASES["good"]
    root, commits = tree(memory, files)
    judge = judged(commits, good, files)
    matrix = faults.refuse(
        root, memory, act, act, judge, code=code, count=count, step=step, meanwhile=served
    )
    tell(f"deploy on a disk that is {name}: {matrix}")
    matrix.check()
