"""piot plan DIR: a folder against what a device has."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from piot_firstboot import cli, compare
from piot_firstboot.check import check
from piot_firstboot.errors import ApplyError
from piot_firstboot.preview import preview

UNITS = "etc/systemd/system"
HASH = "0123456789abcdef0123456789abcdef01234567"
MANIFEST = """\
piot: 1
name: garden
secrets: [TOKEN]
services:
  web: {run: python web.py}
jobs:
  tick: {run: ./tick.sh, every: 5min}
  old: {run: 'true', once: boot}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make an app."""
    folder = tmp_path / "repo"
    folder.mkdir()
    (folder / ".piot.yaml").write_text(MANIFEST)
    (folder / "tick.sh").write_text("#!/bin/sh\n")
    (folder / "tick.sh").chmod(0o755)
    assert not check([str(folder)]).problems
    return folder


@pytest.fixture
def tree(tmp_path: Path, folder: Path) -> Path:
    """Make a device on which just this app is installed, beside another with a longer name."""
    tree = tmp_path / "tree"
    for path, text in preview(str(folder), release="bookworm").files.items():
        file = tree / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        text = re.sub("(?<!PIOT_)COMMIT", HASH, text)
        file.write_text(re.sub("(?<!PIOT_)HOSTNAME", "pi-7", text))
    other = (tree / UNITS / "piot-garden-web.service").read_text()
    other = other.replace("of garden,", "of garden-two,")
    (tree / UNITS / "piot-garden-two-web.service").write_text(other)
    (tree / "usr/lib").mkdir(parents=True)
    (tree / "usr/lib/os-release").write_text('VERSION_CODENAME="bookworm"\n')
    for name in ("python3", "true"):
        program = tree / "usr/bin" / name
        program.parent.mkdir(exist_ok=True)
        program.touch(0o755)
    return tree


def test_nothing_changed(folder: Path, tree: Path) -> None:
    """Neither commit, host name nor another app's units count."""
    found = compare.compare(str(folder), root=str(tree))
    assert found.differences == () and found.same > 5
    assert found.text() == f"{found.same} units of garden as they are"


def test_what_would_change(folder: Path, tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Units that come, go and change, the last to the line; for people and for programs."""
    changed = MANIFEST.replace("5min", "10min").replace("  old: {run: 'true', once: boot}\n", "")
    (folder / ".piot.yaml").write_text(changed + "  new: {run: 'true', at: '02:30'}\n")
    assert cli.main(["plan", str(folder), "--root", str(tree)]) == 0
    said = capsys.readouterr().out
    assert (
        "change piot-garden-tick.timer\n    -OnUnitActiveSec=5min\n    +OnUnitActiveSec=10min"
        in said
    )
    assert "create piot-garden-new.service\ncreate piot-garden-new.timer\n" in said
    assert "remove piot-garden-old.service\n" in said
    assert cli.main(["plan", str(folder), "--root", str(tree), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["changes"]
    assert {(row["verb"], row["unit"]) for row in rows} == {
        ("change", "piot-garden-tick.timer"),
        ("create", "piot-garden-new.service"),
        ("create", "piot-garden-new.timer"),
        ("remove", "piot-garden-old.service"),
    }


def test_a_program_that_the_device_lacks(folder: Path, tree: Path) -> None:
    """As a deploy would say."""
    (tree / "usr/bin/python3").unlink()
    assert cli.main(["plan", str(folder), "--root", str(tree)]) == 1


def test_over_ssh(
    folder: Path, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same answer from a machine that is asked by ssh, without root and in one call."""
    path = tmp_path / "bin/ssh"
    path.parent.mkdir()
    path.write_text(f"#!/bin/sh\nsed 's|/etc/systemd|{tree}&|g; s|/usr/|{tree}&|g' | sh\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    found = compare.compare(str(folder), host="pi@garden")
    assert found.same == 4
    # The fake one finds programs in its tree, and so elsewhere.
    assert all(str(tree) in "".join(one.lines) for one in found.differences)
    path.write_text("#!/bin/sh\nexit 255\n")
    with pytest.raises(ApplyError, match="pi@garden does not answer to ssh") as caught:
        compare.compare(str(folder), host="pi@garden")
    assert caught.value.hint == "try it by hand: ssh pi@garden true"
