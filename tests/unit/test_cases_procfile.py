"""Every folder in tests/cases/procfile is a Procfile, what lies beside it, and what it comes to.

A good case has `expected.yaml`, the .piot.yaml that says the same; a bad one `expected.err`. After
a wanted change:

    PIOT_REWRITE=1 python3 -m pytest tests/unit/test_cases_procfile.py && git diff tests/cases
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piot_firstboot import manifest, procfile, source, yamlwrite
from piot_firstboot.errors import ConfigError
from piot_firstboot.manifest import Manifest
from piot_firstboot.render.app_units import Release, render_app
from piot_firstboot.yamltext import Mapping, Reading

CASES = Path(__file__).parent.parent / "cases" / "procfile"
NAMES = sorted(path.name for path in CASES.iterdir() if (path / "Procfile").is_file())
GOOD = [name for name in NAMES if not name.startswith("bad-")]
REWRITE = bool(os.environ.get("PIOT_REWRITE"))


def contents(folder: Path) -> source.Read:
    """Read files of a case."""
    return lambda name: (folder / name).read_bytes() if (folder / name).is_file() else None


def reading(name: str) -> Reading:
    """Read the Procfile of a case."""
    read = contents(CASES / name)
    data = read("Procfile")
    assert data is not None
    return procfile.read(data, "Procfile", *source.beside(read))


def compared(declared: Manifest) -> Manifest:
    """Leave out where things stand."""
    return replace(
        declared,
        source="",
        services=tuple(replace(service, line=0) for service in declared.services),
        jobs=tuple(replace(job, line=0) for job in declared.jobs),
    )


def released(systemd: int) -> Release:
    """Return a release in which every program is found."""
    return Release(
        app="app",
        commit="0" * 40,
        path="/RELEASE",
        hostname="pi",
        systemd=systemd,
        resolve=lambda word, directory: f"/usr/bin/{word}",
    )


@pytest.mark.parametrize("name", GOOD)
def test_good(name: str) -> None:
    """A Procfile says what this .piot.yaml says."""
    declared = source.read(contents(CASES / name))
    assert declared is not None
    assert declared.source == "Procfile"
    root = reading(name).root
    assert isinstance(root, Mapping)
    said = yamlwrite.text(root)
    expected = CASES / name / "expected.yaml"
    if REWRITE:
        expected.write_text(said)
    assert expected.read_text() == said
    assert compared(manifest.parse(said.encode())) == compared(declared)
    for systemd in (252, 257):
        assert render_app(declared, released(systemd), source="Procfile")
    assert not (CASES / name / "expected.err").exists()


@pytest.mark.parametrize("name", [name for name in NAMES if name not in GOOD])
def test_bad(name: str) -> None:
    """A bad Procfile gives exactly these problems."""
    with pytest.raises(ConfigError) as caught:
        source.read(contents(CASES / name))
    said = f"{caught.value}\n"
    expected = CASES / name / "expected.err"
    if REWRITE:
        expected.write_text(said)
    assert expected.read_text() == said
    assert not (CASES / name / "expected.yaml").exists()


def test_a_manifest_goes_before_a_procfile(tmp_path: Path) -> None:
    """Both may stand in one repository, for two ways of running it."""
    assert source.read(contents(tmp_path)) is None
    (tmp_path / "Procfile").write_text("web: ./a\n")
    (tmp_path / ".piot.yaml").write_text("piot: 1\nservices: {b: {run: ./b}}\n")
    declared = source.read(contents(tmp_path))
    assert declared is not None
    assert [service.name for service in declared.services] == ["b"]


@given(st.binary(max_size=300), st.binary(max_size=100))
def test_any_bytes_are_a_manifest_or_problems(data: bytes, env: bytes) -> None:
    """Nothing but ConfigError comes out of nonsense, and each problem has words."""
    try:
        procfile.parse(data, "Procfile", ("ENV", env))
    except ConfigError as error:
        assert error.problems and all(p.message for p in error.problems)


@given(
    st.lists(st.from_regex(r"[a-z]{1,6}:[ -~]{0,30}", fullmatch=True), max_size=5),
    st.lists(st.from_regex(r"[A-Z]{1,4}=[ -~]{0,20}", fullmatch=True), max_size=3),
)
def test_what_is_written_is_read_back(lines: list[str], env: list[str]) -> None:
    """Whatever a Procfile says, the .piot.yaml made of it says the same."""
    data, variables = "\n".join(lines).encode(), ("ENV", "\n".join(env).encode())
    try:
        declared = procfile.parse(data, "Procfile", variables)
    except ConfigError:
        return
    root = procfile.read(data, "Procfile", variables).root
    assert isinstance(root, Mapping)
    assert compared(manifest.parse(yamlwrite.text(root).encode())) == compared(declared)
