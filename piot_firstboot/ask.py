"""Ask a program of this computer a question: the laptop's way, where there may be no such program.

Nothing that changes a device goes through here; that is `System`'s. Where a program is missing,
hangs or fails, the answer is None, and whoever asked goes on without it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

MOST_SECONDS = 30.0


def ask(
    argv: Sequence[str],
    *,
    input: str = "",
    env: Mapping[str, str] | None = None,
    timeout: float = MOST_SECONDS,
) -> str | None:
    """Return what a program prints, or None when there is no answer."""
    try:
        import subprocess
    except ImportError:  # a Python that cannot start programs, as in a browser
        return None
    try:
        done = subprocess.run(
            argv,
            input=input,
            env={**os.environ, "LC_ALL": "C", **(env or {})},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
