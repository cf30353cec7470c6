"""What a Python environment is made of, read from requirements.txt and pyproject.toml."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piot_firstboot.requirements import Sources, follow, project


def look(files: dict[str, str], path: str = "requirements.txt") -> Sources:
    """Follow requirements through a tree that is a dictionary."""

    def read(name: str) -> bytes | None:
        return files[name].encode() if name in files else None

    return follow(path, read)


def test_other_files_are_followed_from_where_they_are_named() -> None:
    files = {
        "requirements.txt": "-r req/base.txt\n--constraint=pins.txt\nflask\n",
        "req/base.txt": "-rmore.txt # and more\n--requirement ../req/more.txt\n",
        "req/more.txt": "-r base.txt\n",
        "pins.txt": "flask==3\n",
    }
    found = look(files)
    assert [name for name, _ in found.texts] == sorted(files)
    assert found.missing == ()
    assert found.local == ()


def test_what_is_missing_is_named() -> None:
    assert look({}).missing == ("requirements.txt",)
    assert look({"requirements.txt": "-r ../x\n-r /etc/y\n-c gone.txt"}).missing == (
        "gone.txt", "etc/y", "../x",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("--find-links wheels", "wheels"),
        ("-f ./wheels/arm", "wheels/arm"),
        ("--find-links=wheels", "wheels"),
        ("./vendor/lib[extra] ; python_version > '3'", "vendor/lib"),
        ("vendor/x-1.0-py3-none-any.whl", "vendor/x-1.0-py3-none-any.whl"),
        ("-e .", ""),
        ("--editable=./", ""),
        (".", ""),
        ("x @ file:///opt/x.whl", ""),
        ("-f ../out", ""),
        ("/opt/x.whl", ""),
    ],
)
def test_places_within_the_release(line: str, place: str) -> None:
    assert look({"requirements.txt": f"flask\n{line}\n"}).local == (place,)


@pytest.mark.parametrize(
    "line",
    [
        "flask",
        "flask[async]>=3 ; python_version > '3.8'",
        "--extra-index-url https://www.piwheels.org/simple",
        "-i https://pypi.example/simple",
        "x @ https://example.org/x.whl",
        "git+https://example.org/x.git@v1#egg=x",
        "--no-index",
        "# -e .",
        "flask \\\n  --hash=sha256:00",
    ],
)
def test_what_comes_from_elsewhere(line: str) -> None:
    assert look({"requirements.txt": line}).local == ()


@given(st.binary())
def test_any_bytes(data: bytes) -> None:
    follow("requirements.txt", lambda name: data if name == "requirements.txt" else None)


def test_a_project_that_is_a_package() -> None:
    text = b'[build-system]\nrequires = ["x"]\n[project]\ndependencies = ["flask>=3"]\n'
    assert project(text) == (True, ("flask>=3",))


def test_a_project_that_only_lists_what_it_needs() -> None:
    assert project(b'[project]\ndependencies = ["a", "b"]\n') == (False, ("a", "b"))
    assert project(b"[tool.ruff]\n") == (False, ())


@pytest.mark.parametrize(
    "data",
    [
        b"[project",
        b"\xff",
        b"[project]\ndependencies = 1\n",
        b"project = 1\n",
        b"x = " + b"[" * 9999,
    ],
)
def test_a_project_that_cannot_be_read(data: bytes) -> None:
    with pytest.raises(ValueError):
        project(data)
