"""What git says, turned into what a person can do."""

from __future__ import annotations

from pathlib import Path

import pytest

from piot_firstboot import git
from piot_firstboot.access import Access
from piot_firstboot.errors import Unfit, Unreachable
from piot_firstboot.refusal import reachable
from piot_firstboot.state import Source
from piot_firstboot.system import Result, System

# What git 2.39 and 2.47 print.
SAID = [
    (
        "fatal: unable to access 'https://git.test/x.git/': Could not resolve host: git.test",
        "is there a network, and DNS?",
    ),
    (
        "ssh: Could not resolve hostname git.test: Temporary failure in name resolution\n"
        "fatal: Could not read from remote repository.",
        "is there a network, and DNS?",
    ),
    (
        "git@git.test: Permission denied (publickey).\n"
        "fatal: Could not read from remote repository.",
        "add this key to the repository, as a deploy key that only reads: ",
    ),
    (
        "Host key verification failed.\nfatal: Could not read from remote repository.",
        "the server's key is not known: add it to known_hosts",
    ),
    (
        "fatal: could not read Username for 'https://git.test': terminal prompts disabled",
        "the repository is private",
    ),
    ("fatal: Authentication failed for 'https://git.test/x.git/'", "the repository is private"),
    (
        "fatal: unable to access 'https://git.test/x.git/': The requested URL returned error: 403",
        "the repository is private",
    ),
    ("fatal: repository 'https://git.test/x.git/' not found", "look at `repo`"),
    ("fatal: '/srv/x' does not appear to be a git repository", "look at `repo`"),
    (
        "fatal: unable to access 'https://git.test/x.git/': server certificate verification "
        "failed. CAfile: /etc/ssl/certs/ca-certificates.crt CRLfile: none",
        "is the clock right? TLS fails with a wrong date",
    ),
    ("fatal: the remote end hung up unexpectedly", ""),
]


URL = "https://git.test/x.git"
ORIGIN = Source("x", URL, "", None)


def judge(root: Path, result: Result, origin: Source = ORIGIN) -> None:
    reachable(System(str(root)), origin, Access(origin.repo, *git.reach(origin.repo)), result)


@pytest.mark.parametrize(("said", "hint"), SAID)
def test_git_s_words_and_a_hint(tmp_path: Path, said: str, hint: str) -> None:
    with pytest.raises(Unreachable) as caught:
        judge(tmp_path, Result(128, "", said))
    assert caught.value.hint == hint
    # Where ssh failed, git's own last line says nothing.
    assert said.splitlines()[0].removeprefix("fatal: ") in str(caught.value)


def test_success_says_nothing(tmp_path: Path) -> None:
    judge(tmp_path, Result(0, "", "warning: something"))


def test_an_object_that_git_refuses_is_the_commit_s_fault(tmp_path: Path) -> None:
    said = (
        "error: object 1f2e3d: gitmodulesUrl: disallowed submodule url: ext::sh -c id\n"
        "fatal: fsck error in packed object\nfatal: fetch-pack: invalid index-pack output"
    )
    with pytest.raises(Unfit, match="gitmodulesUrl: disallowed submodule url"):
        judge(tmp_path, Result(128, "", said))


def test_a_host_key_that_changed_is_shown_beside_the_one_that_is_trusted(tmp_path: Path) -> None:
    said = (
        "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n"
        "The fingerprint for the ED25519 key sent by the remote host is\nSHA256:abc+/d.\n"
        "Host key verification failed.\r\nfatal: Could not read from remote repository.\n"
    )
    with pytest.raises(Unreachable) as caught:
        judge(tmp_path, Result(128, "", said), Source("x", "git@github.com:a/x.git", "", None))
    assert "shows the host key ED25519 SHA256:abc+/d, and not ED25519 SHA256:+Di" in str(
        caught.value
    )
    assert "(published by the host)" in str(caught.value)
    assert "known_hosts = " in caught.value.hint
