"""A deploy stopped at each of its changes: the next run ends at the right release, always."""

from __future__ import annotations

import errno
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from piot_firstboot import deploy, journal, state
from piot_firstboot.errors import ApplyError
from tests.kit import faults
from tests.kit.booted import BROKEN, Booted, Manager, reboot, release
from tests.kit.git_repo import Repo

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


def tree(folder: Path, files: dict[str, str | bytes | None] | None) -> tuple[Path, list[str]]:
    """Make a device on which one commit runs, and push a second one; return the commits.

    Without `files` the first one is not deployed yet, and there is no second.
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


def judged(commits: list[str], good: bool) -> Callable[[Path], None]:
    """Return what a tree must look like in the end: the second commit runs, or the first again."""

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
    ways, long = (after_a_reboot, at_once), pytestconfig.getoption("--long")
    judge = judged(commits, good)
    matrix = faults.kill(root, memory, act, ways, judge, step=step, every_way=long)
    tell(f"deploy of a commit ({name}): {matrix}")
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
    root, commits = tree(memory, CASES["good"][0])
    judge = judged(commits, good=True)
    matrix = faults.refuse(
        root, memory, act, act, judge, code=code, count=count, step=step, meanwhile=served
    )
    tell(f"deploy on a disk that is {name}: {matrix}")
    matrix.check()
