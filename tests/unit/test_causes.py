"""What is a commit's fault and what is the surroundings': a test for each row of the table."""

from __future__ import annotations

import errno
import os

import pytest

from piot_firstboot import causes
from piot_firstboot.errors import ApplyError, ConfigError, Problem

# What programs print, word for word, and the kind that it is.
SURROUNDINGS = {
    "fatal: write error: No space left on device": "disk full",
    "E: You don't have enough free space in /var/cache/apt/archives/.": "disk full",
    "error: unable to write file x: Disk quota exceeded": "disk full",
    "not enough free space in /var/lib/piot: staging 1 needs 2 MiB": "disk full",
    "fatal: cannot pread pack file: Input/output error": "disk failing",
    "mkdir: cannot create directory 'x': Structure needs cleaning": "disk failing",
    "error: cannot mkdir x: Read-only file system": "disk read-only",
    "fork: Cannot allocate memory": "memory",
    "fatal: Out of memory, malloc failed (tried to allocate 1 bytes)": "memory",
    "stopped (oom-kill)": "memory",
    "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 1 (apt)": (
        "package lock"
    ),
    "E: dpkg was interrupted, you must manually run 'dpkg --configure -a'": "package lock",
    "SSL certificate problem: certificate is not yet valid": "clock",
    "server certificate activation date has failed.": "clock",
    "E: Release file for x is not valid yet (invalid for another 3d 1h)": "clock",
    "server verification failed: certificate has expired.": "clock",
    "Could not resolve host: git.test": "DNS",
    "Temporary failure resolving 'mirror.example'": "DNS",
    "ssh: Could not resolve hostname git.test: Temporary failure in name resolution": "DNS",
    "Failed to connect to git.test port 443 after 1 ms: Couldn't connect to server": "network",
    "Operation too slow. Less than 1000 bytes/sec transferred the last 60 seconds": "network",
    "fetch-pack: unexpected disconnect while reading sideband packet": "network",
    "error: RPC failed; curl 56 GnuTLS recv error (-9)": "network",
    "ssh: connect to host git.test port 22: Connection refused": "network",
    "npm ERR! code ECONNRESET": "network",
    "WARNING: Retrying (Retry(total=4, connect=None)) after connection broken": "network",
    "npm ERR! getaddrinfo EAI_AGAIN registry.test": "DNS",
    "E: Failed to fetch http://mirror.example/x  404  Not Found": "network",
}


@pytest.mark.parametrize(("words", "kind"), SURROUNDINGS.items())
@pytest.mark.parametrize("blamed", [False, True])
def test_what_programs_print_before_the_switch(words: str, kind: str, blamed: bool) -> None:
    cause = causes.before_switch(ApplyError(words), final=blamed)
    assert (cause.kind, cause.final) == (kind, False)
    assert cause.hint


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, "disk full"),
        (errno.EDQUOT, "disk full"),
        (errno.EIO, "disk failing"),
        (errno.EROFS, "disk read-only"),
        (errno.ENOMEM, "memory"),
        (errno.ENETUNREACH, "network"),
        (errno.EACCES, "device"),
    ],
)
def test_what_the_kernel_says_is_never_final(number: int, kind: str) -> None:
    error = OSError(number, os.strerror(number), "/etc/systemd/system/x")
    for cause in (causes.before_switch(error, final=False), causes.after_switch(error)):
        assert (cause.kind, cause.final) == (kind, False)


def test_what_a_commit_is_blamed_for() -> None:
    wrong = ConfigError([Problem(".piot.yaml", 1, 1, "No space left on device: no such key")])
    assert causes.before_switch(wrong, final=True) == causes.Cause("manifest", True)
    build = ApplyError("build failed: make: *** [all] Error 2")
    assert causes.before_switch(build, final=True) == causes.Cause("commit", True)
    assert causes.before_switch(build, final=False) == causes.Cause("device", False)


@pytest.mark.parametrize(
    "reason",
    ["web: crashed and was restarted", "web: not healthy within 5 s", "piot-a-migrate.service"],
)
def test_what_failed_after_the_switch_is_final(reason: str) -> None:
    assert causes.after_switch(ApplyError(reason)) == causes.Cause("health", True)


def test_an_app_that_cannot_reach_something_is_its_commits_fault() -> None:
    """The network was there a moment ago, when the commit was fetched."""
    lines = ("requests: Failed to connect to broker: Connection refused",)
    assert causes.after_switch(ApplyError("web: stopped (exit-code)"), lines).final


@pytest.mark.parametrize("line", ["OSError: [Errno 28] No space left on device", "MemoryError"])
def test_an_app_that_found_the_disk_or_memory_full_is_not(line: str) -> None:
    assert not causes.after_switch(ApplyError("web: stopped (exit-code)"), ("starting", line)).final


def test_out_of_memory_counts_against_a_service_with_a_limit_of_its_own() -> None:
    killed = ApplyError("web: stopped (oom-kill)")
    assert causes.after_switch(killed).kind == "memory"
    own = causes.after_switch(killed, limited=True)
    assert (own.kind, own.final) == ("health", True) and "`memory` in .piot.yaml" in own.hint


def test_a_build_is_judged_by_the_same_table() -> None:
    assert causes.passing("npm ERR! code ENOSPC\nmake: *** [all] Error 1")
    assert not causes.passing("SyntaxError: invalid syntax\nmake: *** [all] Error 1")
