"""Debian packages with fake dpkg and apt: only what is missing, and what a failure means."""

from __future__ import annotations

from pathlib import Path

import pytest

from piot_firstboot import causes, packages
from piot_firstboot.errors import ApplyError
from piot_firstboot.system import System
from tests.kit.fake_command import FakeCommand, fake_command

GONE = "E: Unable to locate package nosuch"
LOCKED = "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7 (apt-get)"
LISTS = "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 7 (apt-get)"
UNABLE = "E: Unable to lock directory /var/lib/apt/lists/"
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
    assert "DPkg::Lock::Timeout=900" in install


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


@pytest.mark.parametrize("word", ["update", "install"])
def test_locks_that_apt_does_not_wait_for(
    word: str, bindir: Path, system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of its lists and archives: it gives up at once, whatever DPkg::Lock::Timeout says."""
    mark, fails = tmp_path / "mark", "for i in 1 2 3; do [ -e $m$i ] || { touch $m$i; no; }; done"
    script = (
        f'm={mark}; no() {{ printf "%s\\n%s\\n" "{LISTS}" "{UNABLE}" >&2; exit 100; }}\n'
        f'case "$*" in *{word}*) {fails} ;; esac'
    )
    fake = fake_command(bindir, "apt-get", script=script)
    monkeypatch.setattr(packages, "_PAUSE", 0.0)
    packages.install(system, ("a",), lambda text: None)
    words = [next(w for w in call.argv if w in ("update", "install")) for call in fake.calls()]
    assert sorted(words) == sorted(["update", "install", *[word] * 3])


def test_lists_that_stay_locked_are_named_as_the_cause(
    bindir: Path, system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = (
        f'case "$*" in *update) printf "%s\\n%s\\n" "{LISTS}" "{UNABLE}" >&2 ;; '
        f'*) echo "{GONE}" >&2 ;; esac; exit 100'
    )
    fake_command(bindir, "apt-get", script=script)
    monkeypatch.setattr(packages, "_PAUSE", 0.0)
    monkeypatch.setattr(packages, "_LOCK", 0.0)
    with pytest.raises(ApplyError) as caught:
        packages.install(system, ("nosuch",), lambda text: None)
    assert not isinstance(caught.value, packages.Unknown)
    assert causes.before_switch(caught.value, final=False).kind == "package lock"


def test_one_run_installs_at_a_time(
    bindir: Path, system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = fake_command(bindir, "apt-get")
    monkeypatch.setattr(packages, "_PAUSE", 0.0)
    monkeypatch.setattr(packages, "_LOCK", 0.0)
    monkeypatch.setattr(packages, "_INSTALL", 0.2)
    with system.lock("/run/piot/apt.lock"), pytest.raises(ApplyError) as caught:
        packages.install(system, ("a",), lambda text: None)
    assert causes.before_switch(caught.value, final=False).kind == "package lock"
    assert fake.calls() == []
    packages.install(system, ("a",), lambda text: None)
    assert len(fake.calls()) == 2


def test_packages_that_wait_for_others_get_them(
    bindir: Path, system: System, tmp_path: Path
) -> None:
    """apt refuses everything else while one is there whose dependencies are not."""
    mark = tmp_path / "mended"
    unmet = "E: Unmet dependencies. Try 'apt --fix-broken install' with no packages"
    script = (
        f'case "$*" in *--fix-broken*) touch {mark} ;; '
        f'*install*) [ -e {mark} ] || {{ echo "{unmet}" >&2; exit 100; }} ;; esac'
    )
    apt_get = fake_command(bindir, "apt-get", script=script)
    said: list[str] = []
    packages.install(system, ("a",), said.append)
    asked = [call.argv[call.argv.index("install") - 2 :] for call in apt_get.calls()[1:]]
    assert [words[-1] for words in asked] == ["a", "install", "a"]
    # To mend something is no reason to take away what somebody wanted.
    assert asked[1] == ("--no-remove", "--fix-broken", "install")
    assert said == ["installing a", "fetching what a power cut left uninstalled"]
