"""Lines that only a shell understands: splitting them into words would change their meaning."""

from __future__ import annotations

import re

# Words that no program stands behind: POSIX.1-2017, 2.4 Reserved Words, 2.14 Special Built-Ins.
_BUILT_IN = frozenset(
    "! . : break case cd continue do eval exec exit export for if read readonly return set shift "
    "source times trap umask unset until ulimit wait while {".split()
)
_QUOTED = re.compile(r"'[^']*'|\"(?:\\.|[^\"\\])*\"|\\.", re.DOTALL)
# A word that a shell spreads into several: file names, a home directory, a variable with blanks.
_SPREAD = re.compile(r"[*?\[]|(?:^|[\s=:])~|\$(?!\$|PORT\b|\{PORT\})")


def needs_shell(line: str) -> bool:
    """Tell whether a line has words that a shell would spread, or begins with one of its own.

    Operators and substitutions are left to `command.split`, which refuses them. `$PORT` is a
    number, and so one word with or without a shell.
    """
    first = line.split(None, 1)[0] if line.split() else ""
    return first in _BUILT_IN or bool(_SPREAD.search(_QUOTED.sub("_", line)))
