"""The last look before PioT leaves: can anybody still log in? With sshd's answers made up."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from piot_firstboot import wayin
from piot_firstboot.config import Config, parse
from piot_firstboot.system import System
from tests.kit.fake_command import fake_command

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIP60Jb5IUMtw4XyjIaeW+nxoJyu2oD9i59eaaXTy6QIa ada@laptop"
HASH = "$6$piot$59PKoFhAnuyyskpYt7putpgsjdvC5tErnIIL28amIuOdoLWQRH.cJUh7QdryS58KYBCQaifBZY"
HASH += "wk7fiCko5vW."
OPEN = {
    "usepam": "yes",
    "pubkeyauthentication": "yes",
    "passwordauthentication": "yes",
    "strictmodes": "yes",
    "authorizedkeysfile": ".ssh/authorized_keys .ssh/authorized_keys2",
}
WITH_KEY = f"[user]\nname = ada\nauthorized_key = {KEY}\n"
WITH_PASSWORD = f"[user]\nname = ada\npassword_hash = {HASH}\n"


class Device:
    """A tree in which ada can log in with her key, and an sshd that says so."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.system = System(str(root))
        self.system.write("/etc/passwd", b"ada:x:1000:1000::/home/ada:/bin/bash\n")
        self.system.write("/etc/group", b"ada:x:1000:\nsudo:x:27:ada\n")
        self.system.write("/bin/bash", b"", 0o755)
        self.shadow("!")
        self.system.mkdir("/home/ada", 0o755, "ada")
        self.system.mkdir("/home/ada/.ssh", 0o700, "ada")
        self.keys(KEY + "\n")
        self.sshd()

    def shadow(self, hashed: str, expires: str = "") -> None:
        """Give ada a hash, and the day on which her account ends."""
        line = f"ada:{hashed}:19000:0:99999:7::{expires}:\n"
        self.system.write("/etc/shadow", line.encode(), 0o640)

    def keys(self, text: str) -> None:
        """Write the file of her keys."""
        path = "/home/ada/.ssh/authorized_keys"
        self.system.write(path, text.encode(), 0o600, "ada", "ada")

    def sshd(self, **options: str) -> None:
        """Let sshd answer with these options."""
        text = "".join(f"{key} {value}\n" for key, value in {**OPEN, **options}.items())
        self.fake = fake_command(self.root / "usr/sbin", "sshd", stdout=text)

    def check(self, text: str = WITH_KEY) -> str:
        """Ask about a piot.conf."""
        return wayin.check(self.system, config(text))


def config(text: str) -> Config:
    """Judge a piot.conf."""
    return parse(text.encode())


@pytest.fixture
def device(tmp_path: Path) -> Device:
    """Make a device."""
    if os.geteuid() != 0:
        pytest.skip("owners can be set by root only")
    return Device(tmp_path)


def test_a_key_is_a_way_in(device: Device) -> None:
    assert device.check() == ""
    (call,) = device.fake.calls()
    assert "user=ada,host=localhost" in call.argv[-1]
    assert not (device.root / "run/piot/hostkey").exists()


def test_keys_lost_on_the_way_are_noticed(device: Device) -> None:
    """rpi-preseed lost authorized_keys in a subshell, closed the door, and called it applied."""
    device.keys("")
    assert "ada has no key in .ssh/authorized_keys" in device.check()


def test_an_account_that_was_not_made_is_noticed(device: Device) -> None:
    assert device.check(WITH_KEY.replace("name = ada", "name = eve")) == "there is no account eve"


def test_one_of_several_is_enough(device: Device) -> None:
    assert device.check(f"{WITH_KEY}[user.eve]\nauthorized_key = {KEY}\n") == ""


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"allowusers": "nobody"}, "AllowUsers nobody"),
        ({"allowusers": "bob\nallowusers eve"}, "AllowUsers bob eve"),
        ({"allowusers": "* !ada"}, "AllowUsers"),
        ({"denyusers": "a?a"}, "DenyUsers"),
        ({"denyusers": "ada@*"}, "DenyUsers"),
        ({"allowgroups": "wheel"}, "AllowGroups"),
        ({"denygroups": "su*"}, "DenyGroups"),
        ({"pubkeyauthentication": "no", "passwordauthentication": "no"}, "takes no keys"),
        ({"authorizedkeysfile": "/etc/ssh/keys/%u"}, "/etc/ssh/keys/%u"),
        ({"usepam": "no"}, "is locked"),
    ],
)
def test_what_keeps_people_out(device: Device, options: dict[str, str], why: str) -> None:
    device.sshd(**options)
    assert why in device.check()


@pytest.mark.parametrize(
    "options",
    [
        {"allowusers": "bob\nallowusers ada"},
        {"allowusers": "ada@192.168.*"},
        {"denyusers": "ada@10.*"},
        {"allowgroups": "ada"},
        {"allowgroups": "sudo"},
        {"authorizedkeysfile": "none %h/.ssh/authorized_keys"},
    ],
)
def test_what_lets_people_in(device: Device, options: dict[str, str]) -> None:
    device.sshd(**options)
    assert device.check() == ""


def test_keys_that_sshd_does_not_trust(device: Device) -> None:
    (device.root / "home/ada").chmod(0o775)
    assert "others may write to /home/ada" in device.check()
    device.sshd(strictmodes="no")
    assert device.check() == ""


def test_keys_that_belong_to_someone_else(device: Device) -> None:
    os.chown(device.root / "home/ada/.ssh", 4711, 4711)
    assert "others may write to /home/ada/.ssh" in device.check()


def test_keys_that_cannot_be_read(device: Device) -> None:
    device.keys("ssh-ed25519 AAAA\n")
    assert "no key in /home/ada/.ssh/authorized_keys can be read" in device.check()
    device.keys(f"# mine\nssh-ed25519 AAAA\n{KEY}\n")
    assert device.check() == ""


def test_keys_with_options_are_read(device: Device) -> None:
    device.keys(f'from="10.0.0.0/8",no-pty {KEY}\n')
    assert device.check() == ""


def test_an_expired_account(device: Device) -> None:
    device.shadow("!", "1")
    assert "the account ada has expired" in device.check()
    device.shadow("!", "99999")
    assert device.check() == ""


@pytest.mark.parametrize("shell", ["/usr/sbin/nologin", "/bin/false", "/bin/gone"])
def test_an_account_without_a_shell(device: Device, shell: str) -> None:
    device.system.write("/usr/sbin/nologin", b"", 0o755)
    device.system.write("/bin/false", b"", 0o755)
    device.system.write("/etc/passwd", f"ada:x:1000:1000::/home/ada:{shell}\n".encode())
    assert "no shell" in device.check()


def test_keys_that_are_yet_to_come(device: Device) -> None:
    """Before the network is up import_keys brought nothing; that locks nobody out."""
    device.keys("")
    text = "[user]\nname = ada\nimport_keys = gh:ada\n"
    assert device.check(text) == ""
    device.sshd(allowusers="nobody")
    assert "AllowUsers" in device.check(text)


def test_a_password_over_ssh(device: Device) -> None:
    text = f"{WITH_PASSWORD}[ssh]\npassword_login = yes\n"
    device.shadow(HASH)
    assert device.check(text) == ""
    device.sshd(passwordauthentication="no", pubkeyauthentication="no")
    assert "takes no keys" in device.check(text)


def test_a_password_at_the_console(device: Device) -> None:
    device.shadow(HASH)
    device.sshd(allowusers="nobody")
    assert device.check(WITH_PASSWORD) == ""
    assert device.check(f"{WITH_PASSWORD}[ssh]\npassword_login = no\n") == ""
    device.shadow("$9$unknown$x")
    assert "no usable password" in device.check(WITH_PASSWORD)


def test_without_a_server(device: Device) -> None:
    device.fake.path.unlink()
    assert device.check() == "ada has no usable password, and there is no SSH server"
    device.shadow(HASH)
    assert device.check() == ""


def test_a_server_that_does_not_start(device: Device) -> None:
    fake_command(device.root / "usr/sbin", "sshd", exit=255, stderr="line 3: Bad option\n")
    assert device.check() == "sshd refuses its configuration: line 3: Bad option"


def test_without_accounts_nothing_is_asked(device: Device) -> None:
    device.sshd(allowusers="nobody")
    assert device.check("[ssh]\npassword_login = no\n") == ""
    assert device.fake.calls() == []


@pytest.mark.parametrize("former", [None, b"PasswordAuthentication yes\n"])
def test_the_former_settings_come_back(device: Device, former: bytes | None) -> None:
    if former is not None:
        device.system.write(wayin.DROP_IN, former)
    before = wayin.remember(device.system)
    device.system.write(wayin.DROP_IN, b"PasswordAuthentication no\n")
    wayin.restore(device.system, before)
    assert device.system.read(wayin.DROP_IN) == former


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
def test_any_real_key_is_read(device: Device, tmp_path: Path, kind: str) -> None:
    """What ssh-keygen makes, our judge and sshd's own reader agree on."""
    file = tmp_path / "id"
    argv = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "ключ 🔑 # x", "-f", str(file)]
    subprocess.run(argv, check=True)
    public = (tmp_path / "id.pub").read_text().strip()
    device.keys(f"{public}\n")
    assert device.check(f"[user]\nname = ada\nauthorized_key = {public}\n") == ""
