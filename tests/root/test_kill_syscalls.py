"""A deploy stopped at system calls, PioT's own and those of the git that it starts, by strace.

What `tests/kit/faults.py` counts are PioT's changes; here nothing is left out, and git is stopped
in the middle of its own work too, and PioT with it, as the power would. A sample by default, all
of it with `--long`.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kit import faults
from tests.root.test_kill_deploy import CASES, act, after_a_reboot, judged, tree

pytestmark = pytest.mark.slow

CALLS = (
    "rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,rmdir,mkdir,mkdirat,"
    "fsync,fdatasync,write,pwrite64,ftruncate"
)
SAMPLE = 5  # of each kind
Call = tuple[str, int]  # its name, and which of that name
# Stands for git: lets one of its verbs be traced, and takes PioT with it when that is stopped.
GIT = """\
#!/bin/sh
case " $* " in
*" {verb} "*)
    {strace} /usr/bin/git "$@"
    code=$?
    [ "$code" -lt 128 ] || kill -9 "$PPID"
    exit "$code" ;;
esac
exec /usr/bin/git "$@"
"""
PYTHON = """\
import sys
sys.path.insert(0, {checkout!r})
from pathlib import Path
from tests.root.test_kill_deploy import act
act(Path({root!r}))
"""
CHECKOUT = Path(__file__).parents[2]


def traced(log: str, at: Call | None = None) -> list[str]:
    """Return the call of strace: only writing down, or killing at one of the calls."""
    inject = ["-e", f"inject={at[0]}:signal=SIGKILL:when={at[1]}"] if at else []
    return ["strace", "-f", "-qq", "-o", log, "-e", f"trace={CALLS}", *inject]


def deploy(root: Path, strace: list[str], bindir: Path | None = None) -> int:
    """Deploy in a process of its own; return its exit status."""
    env = {"PATH": f"{bindir}:{os.environ['PATH']}" if bindir else os.environ["PATH"]}
    code = PYTHON.format(checkout=str(CHECKOUT), root=str(root))
    python = [sys.executable, "-B", "-c", code]
    argv = [*(strace if not bindir else []), *python]
    done = subprocess.run(argv, env=env, capture_output=True, timeout=120, check=False)
    return done.returncode


def calls(log: Path) -> list[Call]:
    """List the calls that were made; strace counts each name, in each process, by itself."""
    made = Counter(re.findall(r"(?m)^(\d* *)(\w+)\(", log.read_text()))
    most = {name: max(n for (_, other), n in made.items() if other == name) for _, name in made}
    return [(name, at) for name, count in most.items() for at in range(1, count + 1)]


def sample(every: list[Call], lot: random.Random, long: bool) -> list[Call]:
    """Choose at which calls to stop."""
    return every if long else lot.sample(every, min(SAMPLE, len(every)))


@pytest.mark.parametrize("who", ["piot", "fetch", "read-tree", "checkout-index"])
def test_stopped_at_a_system_call_it_converges(
    who: str,
    memory: Path,
    lot: random.Random,
    pytestconfig: pytest.Config,
    tell: Callable[[str], None],
) -> None:
    files, good = CASES["good"]
    root, commits = tree(memory, files)
    judge = judged(commits, good, files)
    log = memory / "log"
    bindir = None if who == "piot" else memory / "bin"

    def attempt(at: Call | None) -> tuple[Path, int]:
        copy = faults.copy(root, memory / "stopped")
        strace = traced(str(log), at)
        if bindir:
            bindir.mkdir(exist_ok=True)
            (bindir / "git").write_text(GIT.format(verb=who, strace=" ".join(strace)))
            (bindir / "git").chmod(0o755)
        return copy, deploy(copy, [w for w in strace if w != "-f"], bindir)

    copy, code = attempt(None)
    assert code == 0
    judge(copy)
    every = calls(log)
    stopped = 0
    for at in sample(every, lot, pytestconfig.getoption("--long")):
        copy, code = attempt(at)
        stopped += code == -9
        for go_on in (after_a_reboot, act):
            retried = faults.copy(copy, memory / "again")
            done = faults.run(lambda to=retried, go=go_on: go(to), later=7 * 3600)  # type: ignore[misc]
            assert done.code == 0, f"{who} stopped at call {at}: {done.said}"
            judge(retried)
    tell(f"system calls of {who}: {len(every)}, stopped at {stopped}")
    assert stopped, "nothing was stopped"
