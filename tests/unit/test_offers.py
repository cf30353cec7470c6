"""What the repository offers to other repositories: a GitHub Action and a hook for pre-commit."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.kit.git_repo import ENVIRONMENT

CHECKOUT = Path(__file__).parents[2]
PACKAGING = ("setup.py", "pyproject.toml", "README.md", "LICENSE", ".pre-commit-hooks.yaml")
BAD = "piot: 1\nservices: {web: {rnu: python web.py}}\n"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Make somebody's repository with a mistake."""
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / ".piot.yaml").write_text(BAD)
    return folder


def offline(home: Path) -> dict[str, str]:
    """Return what lets pip do without a network: what it would fetch is here already."""
    found = [str(Path(yaml.__file__).parents[1]), *(p for p in sys.path if "site-packages" in p)]
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
        "PIP_NO_INDEX": "1",
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",
        "PYTHONPATH": ":".join(found),
    }


@pytest.mark.slow
def test_the_action_marks_mistakes(repository: Path, tmp_path: Path) -> None:
    """What it runs is run here, as a runner would: its script, in bash, with its variables."""
    action = yaml.safe_load((CHECKOUT / "action.yml").read_text())
    assert set(action) == {"name", "description", "inputs", "runs"}
    (step,) = action["runs"]["steps"]
    assert action["runs"]["using"] == "composite" and step["shell"] == "bash"
    assert step["env"] == {"PIOT_PATHS": "${{ inputs.path }}"}
    assert "${{" not in step["run"]  # an input in a script is a command for whoever writes it
    source = tmp_path / "action"
    source.mkdir()
    for name in ("piot_firstboot", "bin"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(CHECKOUT / name, source / name, ignore=ignored)
    for name in PACKAGING:
        shutil.copy(CHECKOUT / name, source / name)
    env = {
        **offline(tmp_path),
        "RUNNER_TEMP": str(tmp_path / "temp"),
        "GITHUB_ACTION_PATH": str(source),
        # Whoever writes an input names paths, and no command or option.
        "PIOT_PATHS": ". --help $(touch ran) ;touch ran",
    }
    (tmp_path / "temp").mkdir()
    bash = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    done = subprocess.run(
        bash, cwd=repository, env=env, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 1, done.stderr
    assert (
        "::error file=.piot.yaml,line=2,col=18,endColumn=21,title=piot check::unknown"
        in done.stdout
    )
    assert "::error file=--help," in done.stdout and not (repository / "ran").exists()
    env["PIOT_PATHS"] = action["inputs"]["path"]["default"]
    (repository / ".piot.yaml").write_text(BAD.replace("rnu", "run").replace("web.py", "-V"))
    assert subprocess.run(bash, cwd=repository, env=env, timeout=300, check=False).returncode == 0


def test_the_example_uses_the_action() -> None:
    """It is a workflow that checks the repository out first."""
    workflow = yaml.safe_load((CHECKOUT / "examples/workflow.yml").read_text())
    (job,) = workflow["jobs"].values()
    assert [step["uses"].partition("@")[0] for step in job["steps"]] == [
        *("actions/checkout", "OWNER/piot")
    ]


def test_the_hook_runs_what_there_is(repository: Path) -> None:
    """pre-commit appends the names of the files that match to the entry."""
    (hook,) = yaml.safe_load((CHECKOUT / ".pre-commit-hooks.yaml").read_text())
    assert hook["id"] == "piot-check" and hook["language"] == "python"
    program, *words = hook["entry"].split()
    assert program == "piot"
    names = [".piot.yaml", "app/.piot.yaml", "Procfile", "piot.conf", "boot/piot.conf.txt"]
    assert all(re.search(hook["files"], name) for name in names)
    assert not any(re.search(hook["files"], n) for n in ("a.yaml", "Procfile.md", "xpiot.conf"))
    argv = [sys.executable, "-m", "piot_firstboot", *words, ".piot.yaml"]
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(
        argv, cwd=repository, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and "did you mean run?" in done.stdout


@pytest.mark.slow
def test_pre_commit_runs_the_hook(repository: Path, tmp_path: Path) -> None:
    """The real one: it clones this repository, installs it, and keeps a mistake back."""
    env = {**offline(tmp_path), **ENVIRONMENT, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    source = tmp_path / "piot"
    tracked = subprocess.run(
        ["git", "-C", str(CHECKOUT), "ls-files", "-z", "piot_firstboot", "bin", *PACKAGING],
        capture_output=True, text=True, check=True,
    ).stdout.split("\0")  # fmt: skip
    for name in filter(None, tracked):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / name, source / name)
    git = ["git", "-c", "init.defaultBranch=main"]
    for folder in (source, repository):
        subprocess.run([*git, "init", "-q", str(folder)], env=env, check=True)
        subprocess.run(["git", "add", "."], cwd=folder, env=env, check=True)
    subprocess.run(["git", "commit", "-qm", "One"], cwd=source, env=env, check=True)
    head = ["git", "rev-parse", "HEAD"]
    rev = subprocess.run(head, cwd=source, env=env, capture_output=True, text=True, check=True)
    hooks = [{"repo": str(source), "rev": rev.stdout.strip(), "hooks": [{"id": "piot-check"}]}]
    (repository / ".pre-commit-config.yaml").write_text(yaml.safe_dump({"repos": hooks}))
    (repository / "notes.yaml").write_text("not: ours\n")
    subprocess.run(["git", "add", "."], cwd=repository, env=env, check=True)

    def run() -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "pre_commit", "run", "--color=never"],
            cwd=repository, env=env, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    code, said = run()
    assert code == 1 and ".piot.yaml:2:18: unknown key" in said, said
    (repository / ".piot.yaml").write_text(BAD.replace("rnu", "run").replace("web.py", "-V"))
    subprocess.run(["git", "add", "."], cwd=repository, env=env, check=True)
    code, said = run()
    assert code == 0 and "Passed" in said, said
