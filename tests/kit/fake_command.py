"""Commands that do as told and remember how they were called."""

import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

# Kept out of the shell, where quoting any argument into JSON would be a program of its own.
RECORDER = """\
import json, sys
log, name, stdin, *argv = sys.argv[1:]
with open(log, "a") as file:
    file.write(json.dumps({"argv": [name, *argv], "stdin": stdin}) + "\\n")
"""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a fake command."""

    argv: tuple[str, ...]
    stdin: str = ""


@dataclass(frozen=True, slots=True)
class FakeCommand:
    """A command on disk and the log of its calls."""

    path: Path
    log: Path

    def calls(self) -> list[Call]:
        """Return the calls so far, in order; argv[0] is the command's name."""
        if not self.log.exists():
            return []
        rows = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [Call(tuple(row["argv"]), row["stdin"]) for row in rows]


def fake_command(
    bindir: Path, name: str, *, script: str = "", exit: int = 0, stdout: str = "", stderr: str = ""
) -> FakeCommand:
    """Put a command into `bindir`: it records the call, runs `script` (sh), prints and exits.

    The script sees the caller's arguments as "$@" and its standard input as $stdin.
    """
    bindir.mkdir(parents=True, exist_ok=True)
    path = bindir / name
    log = bindir / f".{name}.calls"
    recorder = bindir / ".record.py"
    recorder.write_text(RECORDER)
    lines = [
        "#!/bin/sh",
        "if [ -t 0 ]; then stdin=; else stdin=$(cat; printf x); stdin=${stdin%x}; fi",
        f"{shlex.quote(sys.executable)} -ISE {shlex.quote(str(recorder))} "
        f'{shlex.quote(str(log))} {shlex.quote(name)} "$stdin" "$@"',
        script,
        f"printf %s {shlex.quote(stdout)}" if stdout else "",
        f"printf %s {shlex.quote(stderr)} >&2" if stderr else "",
        f"exit {exit}",
    ]
    path.write_text("\n".join(line for line in lines if line) + "\n")
    path.chmod(0o755)
    return FakeCommand(path, log)
