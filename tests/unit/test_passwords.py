"""Passwords become hashes that the system's own tools take, and hashes stay what they are."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piot_firstboot import passwords, values
from piot_firstboot.config import parse
from piot_firstboot.errors import ApplyError
from piot_firstboot.system import System

# Without surrogates there is no password that piot.conf could not hold; controls it refuses.
PASSWORDS = st.text(
    st.characters(blacklist_categories=("Cs", "Cc")), min_size=8, max_size=60
) | st.sampled_from(["ключ 🌱🔑 $6$x", " leading blank", "quotes\"' # $x `y`", "a" * 511])
SHADOW = "/etc/shadow"


@settings(max_examples=12, deadline=None)
@given(PASSWORDS)
def test_any_password_fits_its_hash_and_no_other_does(password: str) -> None:
    """password → hash → crypt(3), as login and sshd do it."""
    made = passwords.make(password)
    assert made.startswith("$y$") and values.password_hash(made) == made
    assert passwords.fits(password, made)
    assert not passwords.fits(password[:-1], made)
    assert passwords.usable(made)


@settings(max_examples=8, deadline=None)
@given(PASSWORDS)
def test_any_password_comes_through_the_file(password: str) -> None:
    """piot.conf → account → hash: what fits is what was written."""
    config = parse(f'[user]\nname = anna\npassword = "{password}"\n'.encode())
    settled, keeps = passwords.settle(System("/nonexistent"), config)
    (account,) = settled.accounts
    assert account.password is None and account.password_hash
    assert passwords.fits(password, account.password_hash)
    assert keeps == {"user.password": account.password_hash}
    assert password not in repr(settled) + repr(config)


def tree(root: Path, hashed: str) -> System:
    """Make a tree in which anna has this hash."""
    system = System(str(root))
    system.write(SHADOW, f"anna:{hashed}:19000:0:99999:7:::\n".encode(), 0o640)
    return system


def settled(system: System, password: str) -> str:
    """Return the hash that an account gets."""
    data = f"[user]\nname = anna\npassword = {password}\n".encode()
    return passwords.settle(system, parse(data))[0].accounts[0].password_hash or ""


def test_a_password_that_fits_changes_nothing(tmp_path: Path) -> None:
    former = passwords.make("hunter2 hunter2")
    assert settled(tree(tmp_path, former), "hunter2 hunter2") == former
    assert settled(tree(tmp_path, former), "hunter2 hunter3") != former


@pytest.mark.parametrize("mark", ["!", "!!", "*", ""])
def test_a_locked_account_is_opened(tmp_path: Path, mark: str) -> None:
    former = passwords.make("hunter2 hunter2") if mark == "!" else ""
    made = settled(tree(tmp_path, mark + former), "hunter2 hunter2")
    assert made.startswith("$y$") and made != former


def test_a_weak_hash_of_the_same_password_is_replaced(tmp_path: Path) -> None:
    argv = ["openssl", "passwd", "-1", "hunter2 hunter2"]
    weak = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()
    assert settled(tree(tmp_path, weak), "hunter2 hunter2").startswith("$y$")


def test_what_the_store_keeps_is_the_hash(tmp_path: Path) -> None:
    kept = passwords.make("hunter2 hunter2")
    data = b"[user.anna]\npassword = @stored\n"
    config = parse(data, stored={"user.anna.password": kept})
    account = passwords.settle(tree(tmp_path, "!"), config)[0].accounts[0]
    assert account.password_hash == kept


def test_bytes_from_the_store_need_not_be_utf_8(tmp_path: Path) -> None:
    config = parse(
        b"[user]\nname = anna\npassword = @stored\n", stored={"user.password": "gru\udcdf dich"}
    )
    made = passwords.settle(tree(tmp_path, "!"), config)[0].accounts[0].password_hash or ""
    assert passwords.fits("gru\udcdf dich", made)


@pytest.mark.parametrize("hashed", ["", "!", "*", "x", "$9$a$b", "!$6$a$b"])
def test_what_no_password_can_fit_is_not_usable(hashed: str) -> None:
    assert not passwords.usable(hashed)


def test_a_system_without_the_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_LIBRARY", "libnone.so.0")
    with pytest.raises(ApplyError, match="there is no libnone"):
        passwords.make("hunter2 hunter2")
    assert passwords.usable("$6$saltsalt$" + "a" * 86)


@pytest.mark.skipif(os.geteuid() != 0, reason="chpasswd --root needs root")
def test_chpasswd_takes_the_hash(tmp_path: Path) -> None:
    system = tree(tmp_path, "!")
    system.write("/etc/passwd", b"anna:x:1000:1000::/home/anna:/bin/sh\n")
    made = passwords.make("ключ 🌱🔑 $6$x")
    argv = ("chpasswd", "--root", str(tmp_path), "-e")
    system.run(argv, stdin=f"anna:{made}\n".encode(), check=True)
    assert system.accounts("shadow")["anna"][1] == made
