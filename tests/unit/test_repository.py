"""What git says, turned into what a person can do."""

from __future__ import annotations

import pytest

from piot_firstboot.repository import Unreachable, reachable
from piot_firstboot.system import Result

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
        "the server refuses the SSH key: add it as a deploy key",
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


@pytest.mark.parametrize(("said", "hint"), SAID)
def test_git_s_words_and_a_hint(said: str, hint: str) -> None:
    with pytest.raises(Unreachable) as caught:
        reachable(Result(128, "", said), "https://git.test/x.git")
    assert caught.value.hint == hint
    assert said.splitlines()[-1].removeprefix("fatal: ") in str(caught.value)


def test_success_says_nothing() -> None:
    reachable(Result(0, "", "warning: something"), "https://git.test/x.git")
