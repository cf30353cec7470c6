"""ExecStart= of an app's unit: words quoted exactly, attempts repeated."""

from __future__ import annotations

from collections.abc import Iterable

from piot_firstboot.command import Command as Command
from piot_firstboot.command import Word
from piot_firstboot.manifest import Job
from piot_firstboot.unitfile import quote

# A text stands for exactly these characters.
Argv = tuple[str | Word, ...]

# Seconds that a stubborn attempt gets between SIGTERM and SIGKILL, and that sh itself may take.
_KILL_AFTER = 10
_SLACK = 30

# Tries a command again. Restart= could do so, but systemd counts a oneshot's restarts together
# with the starts by its timer against one start limit, and takes a failed job for one that is
# still starting; so the attempts stay within one start, each under timeout(1), and
# TimeoutStartSec= covers them all. The command comes as "$@", so no word is split or expanded.
_RETRY = f"""\
t=$1 w=$2 l=$3; shift 3; n=1
until timeout -k {_KILL_AFTER} "$l" "$@"; do
s=$?
[ "$n" -le "$t" ] || exit "$s"
echo "<4>attempt $n of $((t + 1)) failed with status $s, next in $w s" >&2
sleep "$w"
n=$((n + 1))
done"""


def line(words: Iterable[str | Word]) -> str:
    """Quote words for ExecStart=; variables are the only thing that systemd replaces in them."""
    return " ".join(map(_quoted, words))


def longest(job: Job) -> float:
    """Return the seconds that all attempts of a job and the pauses between them may take."""
    if job.retry is None:
        return job.timeout
    attempts = job.retry.times + 1
    return attempts * (job.timeout + _KILL_AFTER) + job.retry.times * job.retry.wait + _SLACK


def retried(job: Job, words: Argv) -> Argv:
    """Wrap a job's words so that they are tried again as its `retry` says."""
    assert job.retry is not None
    numbers = (str(job.retry.times), f"{job.retry.wait:g}", f"{job.timeout:g}")
    return ("/bin/sh", "-c", _RETRY, job.name, *numbers, *words)


def _quoted(word: str | Word) -> str:
    """Quote one word; `${NAME}` stays one word whatever is in the variable."""
    return quote(spelled(word), variables=True)


def spelled(word: str | Word) -> str:
    """Spell a word for systemd, not quoted yet: variables as `${NAME}`, a dollar as `$$`."""
    pieces = (word,) if isinstance(word, str) else word
    return "".join(p.replace("$", "$$") if isinstance(p, str) else f"${{{p.name}}}" for p in pieces)
