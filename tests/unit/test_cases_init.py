"""Every folder in tests/cases/init is a repository and, word for word, what init makes of it.

`repo/` is what lies there, `expected.yaml` the .piot.yaml that is written, `expected.told` what is
said of it. After a wanted change:

    PIOT_REWRITE=1 python3 -m pytest tests/unit/test_cases_init.py && git diff tests/cases
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from piot_firstboot import cli
from piot_firstboot.check import check
from piot_firstboot.findings import Findings
from piot_firstboot.init import init
from piot_firstboot.preview import preview
from tests.kit.tree import read_tree

CASES = Path(__file__).parent.parent / "cases" / "init"
NAMES = sorted(path.name for path in CASES.iterdir())
REWRITE = bool(os.environ.get("PIOT_REWRITE"))


@pytest.fixture
def repo(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Copy the repository of a case, to a folder with a name that no app may have."""
    folder = tmp_path / "My Garden (2)"
    shutil.copytree(CASES / request.param / "repo", folder)
    return folder


@pytest.mark.parametrize(("repo", "name"), [(n, n) for n in NAMES], ids=NAMES, indirect=["repo"])
def test_init(repo: Path, name: str) -> None:
    """What is written is this, it passes `piot check`, it renders, and nothing else is touched."""
    before = read_tree(repo)
    draft = init(str(repo))
    written = (repo / ".piot.yaml").read_text()
    told = "".join(f"{line}\n" for line in draft.told)
    for file, text in (("expected.yaml", written), ("expected.told", told)):
        if REWRITE:
            (CASES / name / file).write_text(text)
        assert (CASES / name / file).read_text() == text
    assert {entry.name for entry in (CASES / name).iterdir()} == {
        *("repo", "expected.yaml", "expected.told")
    }
    assert check([str(repo)]) == Findings()
    for release in ("bookworm", "trixie"):
        assert preview(str(repo), release=release).files
    after = read_tree(repo)
    assert after.keys() - before.keys() == {"/.piot.yaml"}
    assert {path: after[path] for path in before} == before


def test_init_replaces_nothing_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is there stays; --force replaces it."""
    (tmp_path / ".piot.yaml").write_text("mine")
    assert cli.main(["init", str(tmp_path)]) == 1
    assert "hint: piot init --force" in capsys.readouterr().err
    assert (tmp_path / ".piot.yaml").read_text() == "mine"
    assert cli.main(["init", str(tmp_path), "--force", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["text"] == (tmp_path / ".piot.yaml").read_text()
    assert said["path"] == str(tmp_path / ".piot.yaml") and said["found"]


def test_init_says_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For people: what was found, where it went, and what comes next."""
    (tmp_path / "bot.py").touch()
    assert cli.main(["init", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert said.startswith(
        f"found\n  bot.py: started with python\nwritten {tmp_path / '.piot.yaml'}\n\n    # What"
    )
    assert said.endswith("\n\nnext: piot check, then commit it and push\n")


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 9999, "1 2"])
def test_a_project_that_cannot_be_read(tmp_path: Path, value: str) -> None:
    """It is said, and what else lies there is found. (No case: ruff would read it.)"""
    (tmp_path / "pyproject.toml").write_text(f"x = {value}\n")
    (tmp_path / "main.py").touch()
    told = init(str(tmp_path)).told
    assert told == ("pyproject.toml: not read, it is not TOML", "main.py: started with python")


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    """It cannot be written into a manifest, so the program is another one."""
    (tmp_path / os.fsdecode(b"\xff.py")).touch()
    (tmp_path / "a\nb.sh").touch()
    assert "nothing that says what to run" in init(str(tmp_path)).told[0]
    (tmp_path / "a.py").touch()
    assert init(str(tmp_path), force=True).told == ("a.py: started with python",)


def test_a_folder_without_a_letter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is made of it has a name all the same, and so can be rendered."""
    folder = tmp_path / "🌱 ♥"
    folder.mkdir()
    assert [cli.main([verb, str(folder)]) for verb in ("init", "check", "render")] == [0, 0, 0]
    assert "/etc/systemd/system/piot-app-hello.service" in capsys.readouterr().out


def test_init_from_a_procfile(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It must be there, and its mistakes are shown at their places."""
    assert cli.main(["init", str(tmp_path), "--from-procfile"]) == 1
    assert "Procfile: there is none" in capsys.readouterr().err
    (tmp_path / "Procfile").write_text("web: 'open\n")
    (tmp_path / "main.py").touch()
    assert cli.main(["init", str(tmp_path), "--from-procfile"]) == 1
    assert "Procfile:1:6: run: this quote is never closed" in capsys.readouterr().err
    assert not (tmp_path / ".piot.yaml").exists()
    (tmp_path / "Procfile").write_text("web: ./serve\n")
    assert cli.main(["init", str(tmp_path)]) == 1
    assert "./serve is not in the repository" in capsys.readouterr().err
    assert cli.main(["init", str(tmp_path / "gone")]) == 1
    assert "no such directory" in capsys.readouterr().err
