"""Commands of a commit with a fake systemd-run: what it is told, and what its end means."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from piot_firstboot import confined, journal
from piot_firstboot.confined import Task
from piot_firstboot.errors import ApplyError, Lacking, Unfit
from piot_firstboot.system import System
from tests.kit.fake_command import FakeCommand, fake_command

TASK = Task(
    app="mix",
    commit="12ab" * 10,
    title="build",
    words=("./build.sh", "a b"),
    directory="/r/12ab",
    writable=(("/r/12ab.partial", "/r/12ab"),),
    readable=(("/v/1", "/v/1"),),
    env=(("A", 'b "c" 100% \\ $x'),),
)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect what goes to the journal."""
    lines: list[str] = []

    def send(text: str, identifier: str, fields: dict[str, str]) -> None:
        assert (identifier, fields) == (
            "mix-build",
            {"PIOT_APP": "mix", "PIOT_COMMIT": TASK.commit},
        )
        lines.append(text)

    monkeypatch.setattr(journal, "send", send)
    return lines


@pytest.fixture
def bindir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put harmless fakes in front of PATH."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    for name in ("systemctl", "chown", "chmod"):
        fake_command(tmp_path / "bin", name)
    return tmp_path / "bin"


def run(bindir: Path, script: str, exit: int = 0, limit: float = 60.0) -> FakeCommand:
    """Run the task with a systemd-run that does this."""
    fake = fake_command(bindir, "systemd-run", script=script, exit=exit)
    confined.run(System(str(bindir.parent / "root")), replace(TASK, limit=limit))
    return fake


def test_what_systemd_is_told(bindir: Path, said: list[str]) -> None:
    (call,) = run(bindir, "echo one; echo two >&2").calls()
    argv = call.argv
    split = argv.index("--")
    assert argv[split + 1 :] == ("/bin/sh", "-c", 'exec "$$@"', "sh", "./build.sh", "a b")
    options = set(argv[1:split])
    assert {
        "--unit=piot-build@mix.service",
        "--property=User=piot-mix",
        "--property=ProtectSystem=strict",
        "--property=CapabilityBoundingSet=",
        "--property=TemporaryFileSystem=/var/lib/piot/apps/mix:ro",
        "--property=BindPaths=/r/12ab.partial:/r/12ab",
        "--property=BindReadOnlyPaths=/v/1:/v/1",
        "--property=RuntimeMaxSec=60",
        "--property=TimeoutStopSec=20",
        '--property=Environment="A=b \\"c\\" 100% \\\\ $x"',
    } < options
    masks = [word for word in argv if word.startswith("--property=UMask=")]
    assert masks[-1] == "--property=UMask=0022", "the last one counts"
    assert said == ["one", "two"]


def test_it_is_the_apps_while_it_runs_and_roots_afterwards(bindir: Path, said: list[str]) -> None:
    fake = fake_command(bindir, "chown")
    run(bindir, "")
    owners = [call.argv[2] for call in fake.calls()]
    assert owners == ["piot-mix", "root:piot-mix"]


def test_a_failure_ends_with_the_last_words(bindir: Path, said: list[str]) -> None:
    with pytest.raises(Unfit) as caught:
        run(bindir, "seq 20", exit=3)
    assert str(caught.value).splitlines() == [
        "build failed with status 3",
        *(f"  {number}" for number in range(13, 21)),
    ]
    assert caught.value.hint == "all of it: journalctl -t mix-build"
    assert len(said) == 20


@pytest.mark.parametrize(
    "words",
    [
        "curl: (6) Could not resolve host: example.org",
        "npm ERR! code ENOTFOUND",
        "WARNING: Retrying (Retry(total=4, connect=None)) after connection broken",
        "cc1: error: No space left on device",
        "go: dial tcp: lookup proxy: Temporary failure in name resolution",
    ],
)
def test_what_is_not_the_commits_fault(words: str, bindir: Path, said: list[str]) -> None:
    with pytest.raises(Lacking):
        run(bindir, f"echo '{words}'; echo 'make: *** [all] Error 1'", exit=2)


def test_what_takes_too_long(bindir: Path, said: list[str]) -> None:
    with pytest.raises(Unfit, match="build took longer than 0 min\n  begun"):
        run(bindir, "echo begun; sleep 0.3", exit=1, limit=0.2)


def test_one_that_a_killed_run_left_is_stopped_first(bindir: Path, said: list[str]) -> None:
    fake = fake_command(bindir, "systemctl")
    run(bindir, "")
    assert fake.calls()[0].argv == ("systemctl", "stop", "piot-build@mix.service")


def test_without_systemd_run(bindir: Path, said: list[str]) -> None:
    fake_command(bindir, "systemd-run", script="exit 127")
    with pytest.raises(ApplyError):
        confined.run(System(str(bindir.parent / "root")), TASK)
