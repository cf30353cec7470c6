"""Which lines of known_hosts are about a host, and the keys that are shipped."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from piot_firstboot import git, hostkeys, wellknown
from piot_firstboot.access import LISTED, PUBLISHED, hosts_file, pins, told
from piot_firstboot.state import Source
from piot_firstboot.system import System

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAfuCHKVTjquxvt6CM6tdG4SLp1Btn/nOeHHE5UOzRdf"


@pytest.mark.parametrize(
    ("hosts", "host", "port", "fits"),
    [
        ("git.test", "git.test", 22, True),
        ("git.test", "GIT.test", 22, True),
        ("git.test", "xgit.test", 22, False),
        ("git.test", "git.testx", 22, False),
        ("a,git.test,b", "git.test", 22, True),
        ("*.test", "git.test", 22, True),
        ("*.test", "test", 22, False),
        ("g?t.test", "git.test", 22, True),
        ("*,!git.test", "git.test", 22, False),
        ("*,!git.test", "other.test", 22, True),
        ("[git.test]:2222", "git.test", 2222, True),
        ("[git.test]:2222", "git.test", 22, False),
        ("git.test", "git.test", 2222, True),
        ("@cert-authority *.test", "git.test", 22, True),
        ("", "git.test", 22, False),
        ("|1|broken", "git.test", 22, False),
        ("|1|!!|!!", "git.test", 22, False),
    ],
)
def test_matching(tmp_path: Path, hosts: str, host: str, port: int, fits: bool) -> None:
    line = f"{hosts} {KEY}"
    assert hostkeys.matching([line], host, port) == ((line,) if fits else ())
    file = tmp_path / "known"
    file.write_text(f"{line}\n")
    name = host if port == 22 else f"[{host}]:{port}"
    argv = ["ssh-keygen", "-F", name, "-f", str(file)]
    found = subprocess.run(argv, capture_output=True, check=False).returncode == 0
    # Without a line for its port, ssh falls back to the host's own.
    assert found == fits or (port != 22 and hosts == "git.test")


def test_hashed_names_are_known(tmp_path: Path) -> None:
    file = tmp_path / "known"
    file.write_text(f"git.test {KEY}\n[git.test]:2222 {OTHER}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(file)], check=True, capture_output=True)
    lines = file.read_text().splitlines()
    assert all(line.startswith("|1|") for line in lines)
    assert hostkeys.matching(lines, "git.test", 22) == (lines[0],)
    assert hostkeys.matching(lines, "git.test", 2222) == tuple(lines)
    assert hostkeys.matching(lines, "other.test", 22) == ()


def test_fingerprints_are_those_of_ssh_keygen(tmp_path: Path) -> None:
    """And each shipped key has the fingerprint that stands above it."""
    file = tmp_path / "known"
    file.write_text("".join(f"{line}\n" for line in wellknown.LINES))
    shown = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(file)], capture_output=True, check=True, text=True
    ).stdout
    source = Path(wellknown.__file__).read_text()
    for line, row in zip(wellknown.LINES, shown.splitlines(), strict=True):
        _, print_, host, kind = row.split()
        assert hostkeys.fingerprint(line) == f"{kind.strip('()')} {print_}"
        assert line.startswith(f"{host} ") and f"# {print_}\n" in source


def origin(repo: str, *lines: str) -> Source:
    return Source("x", repo, "", None, known_hosts=lines)


def test_the_order_of_preference(tmp_path: Path) -> None:
    system = System(str(tmp_path))
    repo = "git@github.com:a/x.git"
    assert pins(system, origin(repo)).why == PUBLISHED
    assert len(pins(system, origin(repo)).lines) == 2
    listed = f"github.com {OTHER}"
    assert pins(system, origin(repo, f"git.test {KEY}", listed)).lines == (listed,)
    assert pins(system, origin(repo, listed)).why == LISTED
    assert pins(system, origin("git@git.test:x")).lines == ()
    system.write("/var/lib/piot/apps/x/known_hosts", f"git.test {KEY} 2026-11-24\n".encode())
    assert pins(system, origin("git@git.test:x")).why == "seen at the first contact, 2026-11-24"
    assert told(system, origin("git@git.test:x"))[0] == (
        "host",
        "ED25519 SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU "
        "(seen at the first contact, 2026-11-24)",
    )
    for open_to_all in ("https://github.com/a/x.git", "/srv/x.git"):
        assert pins(system, origin(open_to_all)).lines == ()
        assert hosts_file(origin(open_to_all)) == ""


@pytest.mark.parametrize(
    ("url", "kind", "allowed"),
    [
        ("https://h/x.git", "https", "https"),
        ("http://h/x.git", "http", "http:https"),
        ("ssh://git@h:22/x.git", "ssh", "ssh"),
        ("git@h:x.git", "ssh", "ssh"),
        ("git@[::1]:x.git", "ssh", "ssh"),
        ("git://h/x.git", "git", "git"),
        ("file:///srv/x.git", "file", "file"),
        ("/srv/a:b.git", "file", "file"),
    ],
)
def test_a_server_leads_to_no_other_protocol(url: str, kind: str, allowed: str) -> None:
    assert git.kind(url) == kind
    assert git.reach(url)[1]["GIT_ALLOW_PROTOCOL"] == allowed


def test_secrets_are_named_by_paths_for_one_server() -> None:
    options, environment = git.reach("https://git.test:8443/a/x.git", token="/proc/1/fd/3")
    assert options[-1] == "credential.https://git.test:8443.helper=!cat /proc/1/fd/3 #"
    options, environment = git.reach("git@h:x", key="/proc/1/fd/3", hosts="/run/h")
    command = environment["GIT_SSH_COMMAND"]
    assert "-oIdentityFile=/proc/1/fd/3" in command and "-oUserKnownHostsFile=/run/h" in command
    assert "-oStrictHostKeyChecking=yes" in command and "-F none" in command
    assert "accept-new" in git.reach("git@h:x", first=True)[1]["GIT_SSH_COMMAND"]
