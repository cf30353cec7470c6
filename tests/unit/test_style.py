"""The linters, as tests: ruff, mypy and shellcheck over all that is written here."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
NOT_OURS = {".git", "build", "dist", "__pycache__", "cases"}
SHELL = re.compile(r"#! ?(/usr)?/bin/(env )?(ba|da)?sh\b")
# Maintainer scripts and profiles are read by a shell though some have no line that says so.
SHELL_NAMES = ("debian/*.postinst", "debian/*.postrm", "debian/*.prerm", "debian/*.preinst")


def test_ruff_finds_nothing() -> None:
    _lint(sys.executable, "-m", "ruff", "check", "--quiet", ".")


def test_the_code_is_formatted() -> None:
    _lint(sys.executable, "-m", "ruff", "format", "--quiet", "--check", "--diff", ".")


def test_mypy_finds_nothing() -> None:
    _lint(sys.executable, "-m", "mypy")


def test_shellcheck_finds_nothing() -> None:
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed")
    scripts = [str(path.relative_to(CHECKOUT)) for path in _shell_scripts()]
    assert "dev" in scripts
    _lint("shellcheck", *scripts)


def test_nothing_ends_in_blanks_or_tabs() -> None:
    """The linters above do not read units, Debian's files or texts."""
    wrong = [
        f"{path.relative_to(CHECKOUT)}:{number}"
        for path in _files()
        if path.suffix in (".service", ".timer", ".socket", ".target", ".preset", ".toml", ".cfg")
        or path.parent.name in ("debian", "units")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if line != line.rstrip()
    ]
    assert not wrong


def _lint(*argv: str) -> None:
    environment = {**os.environ, "NO_COLOR": "1"}
    done = subprocess.run(
        argv, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.fail(f"{' '.join(argv[:5])}\n{done.stdout}{done.stderr}", pytrace=False)


def _files() -> Iterator[Path]:
    for folder, names, files in os.walk(CHECKOUT):
        names[:] = [
            n for n in names if n not in NOT_OURS and not n.endswith(("_cache", ".egg-info"))
        ]
        yield from (Path(folder) / name for name in files)


def _shell_scripts() -> Iterator[Path]:
    for path in _files():
        named = any(path.match(pattern) for pattern in SHELL_NAMES)
        try:
            with path.open() as file:
                first = file.readline(100)
        except UnicodeDecodeError:
            continue
        if named or SHELL.match(first):
            yield path
