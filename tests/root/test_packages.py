"""Debian packages with fake dpkg and apt: only what is missing, and what a failure means."""

from __future__ import annotations

from pathlib import Path

import pytest

from piot_firstboot import packages
from piot_firstboot.errors import ApplyError
from piot_firstboot.system import System
from tests.kit.fake_command import FakeCommand, fake_command

GONE = "E: Unable to locate package nosuch"
LOCKED = "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7 (apt-get)"
HALF = (
    "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem."
)


@pytest.fixture
def bindir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a directory of fakes in front of PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


@pytest.fixture
def system(tmp_path: Path) -> System:
    """Return a tree."""
    return System(str(tmp_path / "root"))


def apt(bindir: Path, said: str, code: int = 100, update: int = 0) -> FakeCommand:
    """Make an apt-get whose installation fails."""
    script = f'case "$*" in *update) exit {update} ;; esac; echo "{said}" >&2; exit {code}'
    return fake_command(bindir, "apt-get", script=script)


def test_only_what_is_missing(bindir: Path, system: System) -> None:
    said = "git\tinstalled\\nold\tconfig-files\\n"
    fake_command(bindir, "dpkg-query", script=f"printf '{said}'; exit 1")
    assert packages.missing(system, ("git", "old", "new", "new", "git:arm64")) == ("old", "new")


def test_nothing_is_asked_where_nothing_is_needed(bindir: Path, system: System) -> None:
    fake = fake_command(bindir, "dpkg-query")
    assert packages.missing(system, ()) == ()
    assert fake.calls() == []


def test_one_call_installs_all_and_waits_for_another_apt(bindir: Path, system: System) -> None:
    fake = fake_command(bindir, "apt-get")
    packages.install(system, ("a", "b"), lambda text: None)
    update, install = (call.argv for call in fake.calls())
    assert update[-1] == "update" and install[-4:] == ("install", "--", "a", "b")
    assert "DPkg::Lock::Timeout=600" in install


def test_a_name_that_no_source_has(bindir: Path, system: System) -> None:
    apt(bindir, GONE)
    with pytest.raises(packages.Unknown, match="Unable to locate package nosuch"):
        packages.install(system, ("nosuch",), lambda text: None)


@pytest.mark.parametrize(("said", "update"), [(GONE, 100), (LOCKED, 0)])
def test_what_may_pass(said: str, update: int, bindir: Path, system: System) -> None:
    """With old lists a package that is missing may only be new."""
    apt(bindir, said, update=update)
    with pytest.raises(ApplyError) as caught:
        packages.install(system, ("nosuch",), lambda text: None)
    assert not isinstance(caught.value, packages.Unknown)
    assert said[3:] in str(caught.value)


def test_a_power_cut_within_dpkg_is_mended(bindir: Path, system: System, tmp_path: Path) -> None:
    mark = tmp_path / "mended"
    script = f'case "$*" in *install*) [ -e {mark} ] || {{ echo "{HALF}" >&2; exit 100; }} ;; esac'
    fake_command(bindir, "apt-get", script=script)
    dpkg = fake_command(bindir, "dpkg", script=f"touch {mark}")
    said: list[str] = []
    packages.install(system, ("a",), said.append)
    assert [call.argv[:3] for call in dpkg.calls()] == [("dpkg", "--configure", "-a")]
    assert said == ["installing a", "finishing what a power cut left half installed"]
