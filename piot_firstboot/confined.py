"""Run what a commit brings along before it is a release: as the app's user, in a sandbox.

It is the sandbox of the app's own units, with the directory open that is being made. That one is
seen under the name that it will have, so what is written into scripts and caches stays true; of
the rest of the app's directory (mirror, record, other releases) nothing is seen.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from piot_firstboot import causes, journal
from piot_firstboot.errors import Lacking, Unfit
from piot_firstboot.notify import allow, progress
from piot_firstboot.render.sandbox import SANDBOX
from piot_firstboot.state import folder
from piot_firstboot.system import Result, System
from piot_firstboot.unitfile import assignment

LIMIT = 1800.0  # seconds
_SLACK = 60.0  # seconds for systemd to end what ran too long
_STOP = 20  # seconds for it to go when asked to; less than that slack
_LAST = 8  # lines of output in a reason
_SHOW_EVERY = 0.5  # seconds between two lines in the status

# Exec by sh: systemd-run looks a program up by itself, in the tree outside of the sandbox.
_EXEC = ("/bin/sh", "-c", 'exec "$$@"', "sh")

# The app goes first in memory and on the card; without a memory controller only the score counts.
_BACKSEAT = (
    ("MemoryMax", "80%"),
    ("OOMScoreAdjust", "600"),
    ("Nice", "10"),
    ("IOSchedulingClass", "best-effort"),
    ("IOSchedulingPriority", "7"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A command for one app and commit, and the places that it sees.

    `writable` and `readable` map a directory to the path under which it is seen; `title` is what
    it is called in messages and, after the app's name, in the journal.
    """

    app: str
    commit: str
    title: str
    words: tuple[str, ...]
    directory: str
    writable: tuple[tuple[str, str], ...]
    readable: tuple[tuple[str, str], ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    limit: float = LIMIT


def user(app: str) -> str:
    """Return the account that an app runs as."""
    return f"piot-{app}"


def cache(app: str) -> str:
    """Return where npm, cargo, go and pip keep what the next build need not fetch again."""
    return f"/var/cache/{user(app)}/build"


def run(system: System, task: Task) -> None:
    """Run a task to its end, its output line by line in the journal.

    `$NAME` in its words is replaced from the environment, `$$` is a dollar. Raises Unfit when it
    fails, Lacking when what it printed says that network or disk were at fault.
    """
    unit = f"piot-build@{task.app}.service"  # no unit of an app has an @ in its name
    # A run that was killed may have left one at work.
    system.run(("systemctl", "stop", unit), timeout=_SLACK)
    for path, _ in task.writable:
        system.run(("chown", "-hR", user(task.app), system.path(path)), timeout=600, check=True)
    fields = {"PIOT_APP": task.app, "PIOT_COMMIT": task.commit}
    shown = 0.0

    def on_line(line: str) -> None:
        nonlocal shown
        journal.send(line, f"{task.app}-{task.title}", fields)
        if (now := time.monotonic()) - shown >= _SHOW_EVERY:
            shown = now
            progress(f"{task.title}: {line}")

    began = time.monotonic()
    allow(task.limit + _SLACK)
    options = [f"--property={name}={value}" for name, value in _properties(task)]
    how = ("systemd-run", "--quiet", "--pipe", "--wait", "--collect", f"--unit={unit}")
    argv = (*how, *options, "--", *_EXEC, *task.words)
    try:
        result = system.run(argv, timeout=task.limit + _SLACK, on_line=on_line)
    except BaseException:
        system.run(("systemctl", "stop", "--no-block", unit))
        raise
    if result.code != 0:
        _fail(task, result, time.monotonic() - began)
    for path, _ in task.writable:
        _give_back(system, task.app, path)


def _properties(task: Task) -> Iterator[tuple[str, str]]:
    """Yield the properties of the transient unit."""
    yield from SANDBOX
    yield from _BACKSEAT
    yield "UMask", "0022"
    yield "User", user(task.app)
    yield "Slice", "piot.slice"
    yield "Description", f"{task.title} of {task.app} {task.commit[:12]}"
    # Stopped with the deploy that started it, if that was a unit.
    yield "PartOf", f"piot-deploy@{task.app}.service"
    yield "RuntimeMaxSec", f"{task.limit:.0f}"
    yield "TimeoutStopSec", str(_STOP)
    yield "WorkingDirectory", task.directory
    yield "CacheDirectory", f"{user(task.app)} {user(task.app)}/build"
    yield "TemporaryFileSystem", f"{folder(task.app)}:ro"
    for path, seen in task.writable:
        yield "BindPaths", f"{path}:{seen}"
    for path, seen in task.readable:
        yield "BindReadOnlyPaths", f"{path}:{seen}"
    home = cache(task.app)
    for name, value in (("HOME", home), ("PIP_CACHE_DIR", f"{home}/pip"), *task.env):
        # A property is no unit file: nothing expands specifiers in it.
        yield "Environment", assignment(name, value).replace("%%", "%")


def _give_back(system: System, app: str, path: str) -> None:
    """Let the app read what it made, and nobody but root write it."""
    real = system.path(path)
    system.run(("chown", "-hR", f"root:{user(app)}", real), timeout=600, check=True)
    system.run(("chmod", "-R", "ug-s,go-w,g+rX", real), timeout=600, check=True)


def _fail(task: Task, result: Result, took: float) -> None:
    """Raise what says why a task failed, with its last words."""
    last = "".join(f"\n  {line}" for line in result.out.splitlines()[-_LAST:])
    hint = f"all of it: journalctl -t {task.app}-{task.title}"
    if took >= task.limit:
        raise Unfit(f"{task.title} took longer than {task.limit / 60:.0f} min{last}", hint)
    words = f"{task.title} failed with status {result.code}{last}"
    raise (Lacking if causes.passing(result.out) else Unfit)(words, hint)


def running(task: Task, words: Sequence[str]) -> Task:
    """Return the task with another command."""
    return replace(task, words=tuple(words))


def reading(task: Task, path: str) -> Task:
    """Return the task with one more directory to see, under its own name."""
    return replace(task, readable=(*task.readable, (path, path)))


def as_words(words: Sequence[str]) -> tuple[str, ...]:
    """Protect words from having `$NAME` replaced in them."""
    return tuple(word.replace("$", "$$") for word in words)
