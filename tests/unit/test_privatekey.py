"""SSH private keys as people hand them over."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from piot_firstboot.privatekey import BadKey, from_file, from_line

KINDS = ("-t ed25519", "-t rsa -b 2048", "-t ecdsa", "-t rsa -b 2048 -m PEM", "-t ecdsa -m PKCS8")


def make(path: Path, options: str, passphrase: str = "") -> str:
    """Make a key with ssh-keygen."""
    argv = ["ssh-keygen", "-q", *options.split(), "-N", passphrase, "-f", str(path)]
    subprocess.run(argv, check=True, timeout=60, stdin=subprocess.DEVNULL)
    return path.read_text()


@pytest.mark.parametrize("options", KINDS)
def test_any_real_key(options: str, tmp_path: Path) -> None:
    """However an editor left it, ssh gets it as ssh-keygen wrote it."""
    key = make(tmp_path / "key", options)
    windows = key.replace("\n", "\r\n")
    for text in (key, windows, key.rstrip(), f"\ufeff{windows}\r\n", key.replace("\n", "\r")):
        assert from_file(text.encode()) == key
    again = tmp_path / "again"
    again.touch(0o600)
    again.write_text(from_file(windows.encode()))
    shown = subprocess.run(
        ["ssh-keygen", "-y", "-f", again], capture_output=True, text=True, check=True, timeout=60
    )
    public = (tmp_path / "key.pub").read_text()
    assert shown.stdout.split()[:2] == public.split()[:2]


def test_a_key_in_one_line(tmp_path: Path) -> None:
    key = make(tmp_path / "key", "-t ed25519")
    for line in ("".join(key.splitlines()[1:-1]), key.replace("\n", " ")):
        assert from_line(line) == key


@pytest.mark.parametrize("options", KINDS)
def test_one_with_a_passphrase(options: str, tmp_path: Path) -> None:
    key = make(tmp_path / "key", options, "correct horse")
    with pytest.raises(BadKey, match="needs a passphrase"):
        from_file(key.encode())


@pytest.mark.parametrize("options", KINDS)
def test_a_piece_of_one(options: str, tmp_path: Path) -> None:
    key = make(tmp_path / "key", options).rstrip()
    for end in range(0, len(key), 37):
        with pytest.raises(BadKey):
            from_file(key[:end].encode())
    lines = key.splitlines()
    if options == "-t ed25519":
        with pytest.raises(BadKey, match="not complete"):
            from_file("\n".join([*lines[:2], *lines[3:]]).encode())


@pytest.mark.parametrize("options", KINDS)
def test_the_public_half(options: str, tmp_path: Path) -> None:
    make(tmp_path / "key", options)
    with pytest.raises(BadKey, match="public half") as error:
        from_file((tmp_path / "key.pub").read_bytes())
    assert "without .pub" in error.value.hint


@pytest.mark.parametrize("data", [b"", b"\n", b"\xff\xfe\0", b"garden", bytes(9000)])
def test_no_key_at_all(data: bytes) -> None:
    with pytest.raises(BadKey, match="no private key"):
        from_file(data)
