"""A question to an http server for a few refs: what is sent, what is not, and what goes wrong."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest

from piot_firstboot import git, lsrefs
from tests.kit.git_repo import Repo
from tests.kit.gitserver import GitServer


@pytest.fixture
def repo(local_git: GitServer) -> Repo:
    """Make a repository with a branch, another one, and tags of all kinds."""
    made = local_git.repo("garden")
    made.commit({"a": "1"}, "first")
    made.git("push", "-q", "origin", "HEAD:refs/heads/other", "HEAD:refs/pull/1/head")
    for name in ("v1", "piot/hold"):
        made.tag(name)
    made.git("tag", "-m", "annotated", "piot/go/1234567")
    made.git("push", "-q", "origin", "piot/go/1234567")
    return made


def ask(url: str, ref: str = "refs/heads/main", patience: float = 20) -> Any:
    options, environment = git.reach(url)
    environment = {"PATH": os.environ["PATH"], **environment}
    return lsrefs.ask(options, environment, url, git.prefixes(ref), patience)


def test_the_branch_and_the_tags_of_the_fleet_and_nothing_else(repo: Repo) -> None:
    head = repo.head()
    assert ask(repo.url) == {
        "refs/heads/main": head,
        "refs/tags/piot/go/1234567": repo.git("rev-parse", "piot/go/1234567"),
        "refs/tags/piot/go/1234567^{}": head,
        "refs/tags/piot/hold": head,
    }
    assert git.orders(ask(repo.url)) == "go/1234567 hold"
    assert set(ask(repo.url, "refs/heads/gone")) == set(ask(repo.url)) - {"refs/heads/main"}


def test_a_thousand_tags_are_not_sent(repo: Repo, local_git: GitServer) -> None:
    before = ask(repo.url)
    lines = "".join(f"{repo.head()} refs/tags/r{number}\n" for number in range(1000))
    (repo.bare / "packed-refs").write_text(f"# pack-refs with: peeled fully-peeled \n{lines}")
    assert ask(repo.url) == before


def test_a_server_of_the_first_version(repo: Repo, local_git: GitServer) -> None:
    local_git.behave(old=True)
    assert ask(repo.url) == lsrefs.OTHERWISE


@pytest.mark.parametrize(
    "how", [{"status": 404}, {"status": 503}, {"html": True}, {"token": "x"}, {"cut": 30}]
)
def test_no_usable_answer(repo: Repo, local_git: GitServer, how: dict[str, Any]) -> None:
    local_git.behave(**how)
    assert ask(repo.url) is None


def test_no_answer_in_time(repo: Repo, local_git: GitServer) -> None:
    local_git.behave(hang=True)
    began = time.monotonic()
    assert ask(repo.url, patience=1) is None
    assert time.monotonic() - began < 10


def test_nobody_there() -> None:
    assert ask("http://127.0.0.1:1/x.git") is None


@pytest.mark.parametrize(
    "rows", [[b"onlyone"], [b"abc"], [b"\xff"], [b""]], ids=["word", "abc", "bytes", "empty"]
)
def test_rows_that_are_none(rows: list[bytes]) -> None:
    with pytest.raises(ValueError):
        lsrefs._refs(rows)


@pytest.mark.parametrize("data", [b"zzzz", b"0003", b"00"], ids=["letters", "short", "cut"])
def test_packets_that_are_none(data: bytes) -> None:
    read, write = os.pipe()
    os.close(write)
    try:
        with pytest.raises(ValueError):
            lsrefs._lines(read, data, time.monotonic() + 1)
    finally:
        os.close(read)
