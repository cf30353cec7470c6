"""The kit's git server and repositories, on loopback."""

import os
import subprocess
from pathlib import Path

from tests.kit.git_repo import Repo
from tests.kit.gitserver import GitServer


def _git(*argv: str) -> subprocess.CompletedProcess[str]:
    command = ["git", "-c", "credential.helper=", *argv]
    environment = {"PATH": "/usr/bin:/bin", "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_a_repository_takes_commits_branches_tags_and_force_pushes(tmp_path: Path) -> None:
    repo = Repo(tmp_path, "app")
    first = repo.commit({"run": "#!/bin/sh\n", "a/b": b"\xff"}, "First")
    second = repo.commit({"a/b": None, "c": "1"}, "Second")
    assert repo.git("ls-tree", "-r", "--name-only", "HEAD").splitlines() == ["c", "run"]
    assert repo.git("ls-tree", "HEAD", "run").startswith("100755")
    repo.tag("v1", first)
    repo.rewind(first)
    other = repo.commit({"d": "1"}, branch="next")
    refs = _git("ls-remote", str(repo.bare)).stdout.split()
    assert refs[refs.index("refs/heads/main") - 1] == first != second
    assert refs[refs.index("refs/heads/next") - 1] == other
    assert refs[refs.index("refs/tags/v1") - 1] == first


def test_a_large_push_and_a_clone_over_http(local_git: GitServer, tmp_path: Path) -> None:
    repo = local_git.repo("app")
    repo.git("-C", str(repo.bare), "config", "http.receivepack", "true")
    # More than http.postBuffer, so that git sends it in chunks; random, so that it stays large.
    repo.commit({"blob": os.urandom(3_000_000)}, push=False)
    repo.git("push", "-q", repo.url, "HEAD")
    assert _git("clone", "-q", repo.url, str(tmp_path / "clone")).returncode == 0
    assert (tmp_path / "clone/blob").stat().st_size == 3_000_000
    assert _git("clone", "-q", "--depth=1", repo.url, str(tmp_path / "shallow")).returncode == 0
    assert local_git.requests()[0]["path"].startswith("/app.git/info/refs")


def test_a_token_is_asked_for(local_git: GitServer) -> None:
    repo = local_git.repo("app")
    repo.commit({"a": "1"})
    local_git.behave(token="sesame")
    assert "could not read Username" in _git("ls-remote", repo.url).stderr
    assert _git("ls-remote", repo.url.replace("//", "//x:wrong@")).returncode
    assert _git("ls-remote", repo.url.replace("//", "//x:sesame@")).returncode == 0
    bearer = "http.extraHeader=Authorization: Bearer sesame"
    assert _git("-c", bearer, "ls-remote", repo.url).returncode == 0


def test_a_missing_repository_is_not_found(local_git: GitServer) -> None:
    assert "not found" in _git("ls-remote", local_git.url("none")).stderr
