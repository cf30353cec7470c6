"""Stop a process at every change that it makes, or let the change fail, and see what is left.

The action runs in a forked child in which the functions that change anything (files, commands,
locks, clock, host name) are counted. Each is a point. Product code knows nothing of this: it is
the `os` of the child that was replaced. A killed child is killed by SIGKILL: no `finally` runs.
"""

from __future__ import annotations

import errno
import fcntl
import io
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

ACTION_SECONDS = 120  # no action of these tests takes a tenth of that
_COMMAND = "command"
_MOMENT = 0.05  # seconds; what subprocess sleeps at most while it waits for a child
# What a failing disk refuses, and what of that a full and a read-only one let pass.
_DISK = frozenset(
    "open write pwrite fsync rename symlink link unlink mkdir rmdir chown chmod truncate".split()
)
_PASSES = {
    errno.ENOSPC: frozenset("pwrite unlink rmdir chown chmod truncate".split()),
    errno.EROFS: frozenset({"fsync"}),
}


# Functions that do the same to a disk.
_SHORT = {
    "replace": "rename",
    "remove": "unlink",
    "fchown": "chown",
    "lchown": "chown",
    "fchmod": "chmod",
    "ftruncate": "truncate",
    "flock": "lock",
    "clock_settime": "clock",
    "sethostname": "hostname",
}


@dataclass(frozen=True, slots=True)
class Point:
    """The `number`-th change of an action: the primitive and what it was about to touch."""

    number: int
    name: str
    what: str

    def __str__(self) -> str:
        """Write it for the message of a failed test."""
        return f"{self.number} {self.name} {self.what}"


@dataclass(frozen=True, slots=True)
class Stop:
    """End the process by SIGKILL at a point: before the change, or with half of it done.

    Half of a write is half of its bytes; half of a command is one that was killed as it began.
    """

    at: int
    half: bool = False


@dataclass(frozen=True, slots=True)
class Fail:
    """Let changes to the disk fail with an error: `count` of them from a point on, or all."""

    at: int
    code: int
    count: int | None = None
    below: str = "/"  # only what lies there
    but: str = "\0"  # and not there

    def hits(self, point: Point) -> bool:
        """Tell whether the change at this point is refused."""
        late = self.count is not None and point.number >= self.at + self.count
        if point.number < self.at or late:
            return False
        if point.name == _COMMAND:
            verbs = ("fetch", "init", "read-tree", "checkout-index")
            words = point.what.split()
            return words[0] == "git" and self.below in point.what and any(v in words for v in verbs)
        place = f"{point.what}/"
        refused = point.name in _DISK - _PASSES.get(self.code, frozenset())
        return refused and place.startswith(self.below) and self.but not in place


@dataclass(frozen=True, slots=True)
class Run:
    """How an action ended: exit code (-9 when it was stopped), its points, what it printed."""

    code: int
    points: tuple[Point, ...]
    said: str

    @property
    def stopped(self) -> bool:
        """Tell whether the process was killed at its point."""
        return self.code == -signal.SIGKILL


def run(action: Callable[[], None], plan: Stop | Fail | None = None, later: float = 0.0) -> Run:
    """Run an action in a child with a fault, `later` seconds into the future.

    Sleeping costs no time there: the clocks of the child jump instead.
    """
    folder = Path("/dev/shm" if Path("/dev/shm").is_dir() else "/tmp")
    log = folder / f"piot-faults-{os.getpid()}"
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        _become(action, plan, log, later)
    until = time.monotonic() + ACTION_SECONDS
    while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise TimeoutError(f"no end after {ACTION_SECONDS} s\n{log.read_text()}")
        time.sleep(0.001)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    said, points = log.read_text(errors="replace"), Path(f"{log}.points")
    found = tuple(Point(*row) for row in map(json.loads, points.read_text().splitlines()))
    log.unlink()
    points.unlink()
    return Run(code, found, said)


def _become(action: Callable[[], None], plan: Stop | Fail | None, log: Path, later: float) -> None:
    """Be the child: never returns, and never reaches pytest's own clearing away."""
    code = 70
    try:
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(out, 1)
        os.dup2(out, 2)
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - lives as long as the child
        sys.stderr = sys.stdout
        fd = os.open(f"{log}.points", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        _Changes(plan, fd).install()
        _jump(later)
        action()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(OSError):
            sys.stdout.flush()
        os._exit(code)


def _jump(later: float) -> None:
    """Let the child's clocks run ahead by what it sleeps."""
    ahead = [later]
    real_time, real_monotonic, real_sleep = time.time, time.monotonic, time.sleep

    def sleep(seconds: float) -> None:
        if seconds > _MOMENT:
            ahead[0] += seconds
        else:
            real_sleep(seconds)

    time.sleep = sleep
    time.time = lambda: real_time() + ahead[0]
    time.monotonic = lambda: real_monotonic() + ahead[0]


class _Changes:
    """The counted functions of one child."""

    def __init__(self, plan: Stop | Fail | None, fd: int) -> None:
        self._plan, self._fd, self._count = plan, fd, 0
        self._write, self._kill = os.write, os.kill

    def install(self) -> None:
        """Put the counted functions in place of the real ones."""
        global _current
        _current = self
        real_open, real_pwrite = os.open, os.pwrite
        for name in "rename replace symlink link unlink remove mkdir rmdir fsync".split():
            self._wrap(os, name)
        for name in "chown fchown lchown chmod fchmod truncate ftruncate".split():
            self._wrap(os, name)
        self._wrap(fcntl, "flock")
        self._wrap(socket, "sethostname")
        self._wrap(time, "clock_settime")

        def counted_open(path: Any, flags: int, *rest: Any, **named: Any) -> int:
            if flags & (os.O_CREAT | os.O_TRUNC):
                self.point("open", _name(path))
            return real_open(path, flags, *rest, **named)

        def counted_pwrite(fd: int, data: Any, offset: int, /) -> int:
            half = self.point("pwrite", _name(fd))
            if half:
                real_pwrite(fd, data[: len(data) // 2], offset)
                self.die()
            return real_pwrite(fd, data, offset)

        os.open, os.pwrite = counted_open, counted_pwrite
        real_fdopen = os.fdopen

        def fdopen(fd: int, mode: str = "r", *rest: Any, **named: Any) -> Any:
            return _Written(fd, "wb") if mode == "wb" else real_fdopen(fd, mode, *rest, **named)

        os.fdopen = fdopen
        subprocess.Popen = _Command  # type: ignore[misc, assignment]

    def _wrap(self, module: Any, name: str) -> None:
        """Count one function, under the name of what it does to the disk."""
        real = getattr(module, name)
        short = _SHORT.get(name, name)

        def counted(*args: Any, **named: Any) -> Any:
            places = [_name(a) for a in args[:2] if _is_place(a)]
            if isinstance(within := named.get("dir_fd"), int):
                places = [f"{_name(within)}/{place}" for place in places]
            self.point(short, " → ".join(places))
            return real(*args, **named)

        setattr(module, name, counted)

    def point(self, name: str, what: str) -> bool:
        """Count a change; die, refuse, or tell whether to do half of it and die."""
        point = Point(self._count, name, what)
        self._count += 1
        plan = self._plan
        if plan is None:
            row = json.dumps([point.number, name, what])
            self._write(self._fd, f"{row}\n".encode())
        if isinstance(plan, Stop) and point.number == plan.at:
            if not plan.half:
                self.die()
            return True
        if isinstance(plan, Fail) and plan.hits(point):
            if name == _COMMAND:
                return True
            raise OSError(plan.code, os.strerror(plan.code), what)
        return False

    def die(self) -> None:
        """End as a power cut ends a process."""
        self._kill(os.getpid(), signal.SIGKILL)

    def fails(self) -> bool:
        """Tell whether the plan is an error and not a death."""
        return isinstance(self._plan, Fail)

    @property
    def words(self) -> str:
        """Return the kernel's words for the error that is planned."""
        return os.strerror(self._plan.code) if isinstance(self._plan, Fail) else ""


_current: _Changes | None = None


def change(name: str, what: str) -> None:
    """Count a change that a stand-in makes (tests/kit/booted.py); nothing outside of a child."""
    if _current and _current.point(name, what):
        _current.die()


class _Written(io.FileIO):
    """A file being written, unbuffered, so that each write is a point of its own."""

    def write(self, data: Any) -> int:
        """Write all, or half before the end."""
        assert _current
        if _current.point("write", _name(self.fileno())):
            super().write(bytes(data)[: len(data) // 2])
            _current.die()
        return super().write(data)


_Popen = subprocess.Popen


class _Command(_Popen):  # type: ignore[type-arg]
    """A command being started: a point before it starts, and one with it killed as it began."""

    def __init__(self, argv: Sequence[str], **named: Any) -> None:
        assert _current
        half = _current.point(_COMMAND, " ".join(map(str, argv)))
        if half and _current.fails():
            # What git says when the disk refuses.
            script = f"echo 'fatal: cannot write: {_current.words}' >&2; exit 128"
            super().__init__(["sh", "-c", script], **named)
            return
        super().__init__(argv, **named)
        if half:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            _current.die()


def _is_place(value: Any) -> bool:
    return isinstance(value, str | bytes | os.PathLike | int) and not isinstance(value, bool)


def _name(place: Any) -> str:
    """Name a path or what an open descriptor leads to."""
    if isinstance(place, int):
        with suppress(OSError):
            return str(Path(f"/proc/self/fd/{place}").readlink())
        return str(place)
    return os.fsdecode(place)


# -- matrices -----------------------------------------------------------------------------------


@dataclass(slots=True)
class Matrix:
    """What became of an action that was stopped, or refused, at each of its points."""

    points: tuple[Point, ...]
    cases: int = 0
    trees: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Sum up: how many points of which kind, how many cases, how many different trees."""
        kinds = Counter(point.name for point in self.points)
        listed = ", ".join(f"{count} {name}" for name, count in kinds.most_common())
        return f"{len(self.points)} points ({listed}); {self.cases} cases, {len(self.trees)} trees"

    def check(self) -> None:
        """Fail with all that went wrong."""
        shown = "\n\n".join(self.wrong[:6])
        assert not self.wrong, f"{len(self.wrong)} of {self.cases} cases went wrong\n{shown}"


def kill(
    tree: Path,
    scratch: Path,
    act: Callable[[Path], None],
    again: Sequence[Callable[[Path], None]],
    judge: Callable[[Path], None],
    *,
    step: int = 1,
    every_way: bool = True,
    among: Callable[[Point], bool] = lambda point: True,
    enough: int = 1 << 20,
    meanwhile: Callable[[Path], None] = lambda root: None,
) -> Matrix:
    """Stop an action on copies of a tree at each point, run again, judge what that made of it.

    Each of `again` is a way to go on (after a reboot, or at once) and is tried from each tree, or
    they take turns if not `every_way`; trees that a stop left alike are tried once. `meanwhile`
    judges what the stop left, `judge` the end; both raise AssertionError. Only points `among` those
    wanted are taken, and of these each step-th; it ends when `enough` went wrong.
    """
    points = tuple(filter(among, undisturbed(tree, scratch, act)))
    matrix = Matrix(points)
    for point in [*points[::step], *(points[-1:] if step > 1 else ())]:
        if len(matrix.wrong) >= enough:
            break
        for half in (False, True) if point.name in ("write", "pwrite", _COMMAND) else (False,):
            root = copy(tree, scratch / "stopped")
            done = run(lambda root=root: act(root), Stop(point.number, half))  # type: ignore[misc]
            matrix.cases += 1
            where = f"stopped at {_short(point, root)}{' with half of it done' * half}"
            if not done.stopped:
                matrix.wrong.append(f"{where}: it was not stopped: {done.code}\n{done.said}")
                continue
            digest = fingerprint(root)
            if digest in matrix.trees:
                continue
            matrix.trees.add(digest)
            try:
                meanwhile(root)
            except AssertionError as error:
                matrix.wrong.append(f"{where}: {error}\n{done.said}")
                continue
            turn = len(matrix.trees) % len(again)
            for go_on in again if every_way else again[turn : turn + 1]:
                retried = copy(root, scratch / "again")
                _go_on(matrix, where, retried, go_on, judge)
    return matrix


def refuse(
    tree: Path,
    scratch: Path,
    act: Callable[[Path], None],
    again: Callable[[Path], None],
    judge: Callable[[Path], None],
    *,
    code: int = errno.ENOSPC,
    count: int | None = None,
    below: str = "/",
    step: int = 1,
    meanwhile: Callable[[Path], None] = lambda root: None,
) -> Matrix:
    """Let the disk refuse from each point on; judge after the disk was repaired and it ran again.

    `below` limits that to a directory of the tree; /run is in memory, and never refuses.
    `meanwhile` judges the tree before the repair. The action must end by itself, and without a
    traceback.
    """
    points = undisturbed(tree, scratch, act)
    inside = f"{scratch / 'refused'}{below}".rstrip("/") + "/"
    place = f"{scratch / 'undisturbed'}{below}".rstrip("/") + "/"
    memory = f"{scratch / 'refused'}/run/"
    plan = Fail(0, code, count, place, f"{scratch / 'undisturbed'}/run/")
    hit = [p for p in points if replace(plan, count=None).hits(p)]
    matrix = Matrix(tuple(hit))
    for point in [*hit[::step], *(hit[-1:] if step > 1 else ())]:
        root = copy(tree, scratch / "refused")
        plan = Fail(point.number, code, count, inside, memory)
        done = run(lambda root=root: act(root), plan)  # type: ignore[misc]
        matrix.cases += 1
        where = f"{errno.errorcode[code]} from {_short(point, root)} on"
        if done.code != 0:
            matrix.wrong.append(f"{where}: it ended with {done.code}\n{done.said}")
            continue
        digest = fingerprint(root)
        if digest in matrix.trees:
            continue
        matrix.trees.add(digest)
        try:
            meanwhile(root)
        except AssertionError as error:
            matrix.wrong.append(f"{where}, before the repair: {error}\n{done.said}")
            continue
        _go_on(matrix, where, root, again, judge)
    return matrix


def undisturbed(tree: Path, scratch: Path, act: Callable[[Path], None]) -> tuple[Point, ...]:
    """List the points of an action that nothing disturbs."""
    root = copy(tree, scratch / "undisturbed")
    done = run(lambda: act(root))
    assert done.code == 0, done.said
    return done.points


def hasty(points: Sequence[Point]) -> list[str]:
    """Return the renames that a power cut may undo, or that may outlive what they name.

    A file that was written is flushed before its rename, and the directory at once after it.
    """
    found = []
    unflushed: set[str] = set()
    for point, after in pairwise([*points, Point(len(points), "end", "")]):
        if point.name in ("open", "write"):
            unflushed.add(point.what)
        elif point.name == "fsync":
            unflushed.discard(point.what)
        elif point.name == "rename":
            old, _, new = point.what.partition(" → ")
            if old in unflushed:
                found.append(f"{point}: not flushed before")
            if (after.name, after.what) != ("fsync", str(Path(new).parent)):
                found.append(f"{point}: its directory is not flushed after it")
    return found


def _go_on(
    matrix: Matrix,
    where: str,
    root: Path,
    go_on: Callable[[Path], None],
    judge: Callable[[Path], None],
) -> None:
    """Run again in a child of its own and judge; note what went wrong."""
    done = run(lambda: go_on(root), later=7 * 3600)
    how = getattr(go_on, "__name__", "again")
    if done.code != 0:
        matrix.wrong.append(f"{where}, {how}: it ended with {done.code}\n{done.said}")
        return
    try:
        judge(root)
    except AssertionError as error:
        matrix.wrong.append(f"{where}, {how}: {error}\n{done.said}")


def _short(point: Point, root: Path) -> str:
    return str(point).replace(f"{root.parent}/undisturbed", "")


# -- trees --------------------------------------------------------------------------------------


def copy(tree: Path, to: Path) -> Path:
    """Copy a tree, owners and modes included, in place of what was there."""
    if to.exists():
        shutil.rmtree(to)
    subprocess.run(["cp", "-a", str(tree), str(to)], check=True, timeout=60)
    return to


Look = tuple[int, int, int, bytes]


def look(root: Path) -> dict[str, Look]:
    """Return everything in a tree: mode with its kind, owner, group, content or target."""
    return dict(_entries(root))


def _entries(root: Path) -> Iterator[tuple[str, Look]]:
    for folder, names, files in os.walk(root):
        for name in (*names, *files):
            path = Path(folder, name)
            st = path.lstat()
            data = b""
            if stat.S_ISLNK(st.st_mode):
                data = os.fsencode(path.readlink())
            elif stat.S_ISREG(st.st_mode):
                data = path.read_bytes()
            yield f"/{path.relative_to(root)}", (st.st_mode, st.st_uid, st.st_gid, data)


def fingerprint(root: Path) -> str:
    """Tell a tree from any other one, times apart."""
    digest = sha256()
    for path, entry in sorted(_entries(root)):
        digest.update(repr((path, entry)).encode())
    return digest.hexdigest()
