"""A boot partition that takes nothing, being full or read-only, and one that is damaged."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from piot_firstboot import conftext, firstboot, idle, vault
from piot_firstboot.conftext import FILL
from piot_firstboot.system import System
from tests.kit import partition
from tests.kit.tree import texts

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")

CONF = "/boot/firmware/piot.conf"
TEXT = """\
[device]
hostname = garden
[wifi.home]
ssid = Home
password = correct horse
country = DE
[secrets]
API_KEY = s3cr3t-value
"""
PROFILE = "/etc/NetworkManager/system-connections/piot-wifi-home.nmconnection"


class Tree:
    """A tree whose boot partition is a file system of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.boot = root / "boot/firmware"
        self.system = System(str(root))

    def prepare(self) -> None:
        """Put piot.conf there, and what a Raspberry Pi has."""
        self.system.write("/usr/sbin/NetworkManager", b"", 0o755)
        self.system.write("/etc/hosts", b"127.0.0.1 localhost\n")
        vault.put(self.system, "OTHER", "a value")
        (self.boot / "piot.conf").write_text(TEXT)
        (self.boot / "cmdline.txt").write_text("console=tty1 rootwait\n")

    def refuse(self, how: str) -> None:
        """Let the boot partition take no more files."""
        if how == "full":
            partition.fill(self.boot)
        else:
            partition.set_writable(self.boot, writable=False)

    def accept(self, how: str) -> None:
        """Let it take files again."""
        if how == "full":
            partition.make_room(self.boot)
        else:
            partition.set_writable(self.boot, writable=True)

    def entries(self) -> list[conftext.Entry]:
        """Return the values of piot.conf that are secret."""
        _, blocks = conftext.read(self.conf())
        entries = [entry for block in blocks for entry in block.entries]
        return [entry for entry in entries if entry.key in ("password", "API_KEY")]

    def conf(self) -> bytes:
        """Read piot.conf."""
        return (self.boot / "piot.conf").read_bytes()


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    """Make a tree with a boot partition."""
    made = Tree(tmp_path)
    with partition.partition(made.boot):
        made.prepare()
        yield made


both = pytest.mark.parametrize(
    ("how", "code"), [("full", errno.ENOSPC), ("read-only", errno.EROFS)], ids=["full", "read-only"]
)


@both
def test_it_keeps_the_device_from_nothing(
    tree: Tree, how: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """All is set up but what needs a file there; the journal and report.json say what was not."""
    before = tree.conf()
    tree.refuse(how)
    report = firstboot.converge(tree.system, boot=True)
    assert tree.system.read("/etc/hostname") == b"garden\n"
    assert b"psk=correct horse\n" in (tree.system.read(PROFILE) or b"")
    assert vault.get(tree.system, "API_KEY") == "s3cr3t-value"
    failed = f"[country] failed: /boot/firmware/cmdline.txt: {os.strerror(code)}"
    assert failed in report.headline and report.next_step
    states = {(line.section, line.key): line.state for line in report.lines}
    assert states["wifi.home", "password"] == states["secrets", "API_KEY"] == "applied"
    refused = f"/boot/firmware/piot-report.txt: {os.strerror(code)}"
    assert f"the report could not be written to {refused}\n" in capsys.readouterr().out
    told = json.loads(tree.system.read("/var/lib/piot/report.json") or b"{}")
    assert told["notes"] == [f"This report could not be written to {refused}"]
    assert tree.conf() == before
    assert {path.name for path in tree.boot.iterdir()} - {"filler"} == {"piot.conf", "cmdline.txt"}
    assert not idle.unchanged(str(tree.root)), "it is tried at every boot until it works"
    assert not firstboot.converge(tree.system, boot=True).ok
    tree.accept(how)
    report = firstboot.converge(tree.system, boot=True)
    assert report.ok, report.text()
    assert b"ieee80211_regdom=DE" in (tree.boot / "cmdline.txt").read_bytes()
    assert b"could not be written" not in (tree.boot / "piot-report.txt").read_bytes()


@both
def test_secrets_that_cannot_be_moved_stay_whole(tree: Tree, how: str, code: int) -> None:
    """Full: overwritten where they lie, as that needs no room. Read-only: nothing is touched."""
    before = tree.conf()
    tree.refuse(how)
    reason = vault.conceal(tree.system, CONF, before, tree.entries())
    assert os.strerror(code) in reason
    if how == "full":
        assert reason.startswith("the secrets in piot.conf are overwritten, not yet replaced")
        assert b"correct horse" not in tree.conf() and FILL.encode() in tree.conf()
        assert len(tree.conf()) == len(before)
    else:
        assert reason.startswith("the secrets in piot.conf could not be overwritten")
        assert tree.conf() == before
    tree.accept(how)
    assert vault.conceal(tree.system, CONF, tree.conf(), tree.entries()) == ""
    assert tree.conf().count(b"@stored") == 2


def test_a_private_key_that_cannot_be_removed(tree: Tree) -> None:
    (tree.boot / "device.key").write_bytes(b"-----BEGIN")
    tree.refuse("read-only")
    reason = vault.erase(tree.system, "/boot/firmware/device.key")
    assert reason == "device.key could not be overwritten: Read-only file system"
    assert (tree.boot / "device.key").read_bytes() == b"-----BEGIN"


@both
def test_a_wrong_file_is_told_of_too(tree: Tree, how: str, code: int) -> None:
    (tree.boot / "piot.conf").write_text("[devise]\n")
    tree.refuse(how)
    report = firstboot.converge(tree.system, boot=True)
    assert not report.ok and report.problems
    told = json.loads(tree.system.read("/var/lib/piot/report.json") or b"{}")
    assert told["problems"] and os.strerror(code) in told["notes"][0]


def test_what_is_no_file(tree: Tree) -> None:
    """A directory of that name, as careless unpacking leaves it: said, and no traceback."""
    (tree.boot / "piot.conf").unlink()
    (tree.boot / "piot.conf").mkdir()
    assert not idle.unchanged(str(tree.root))
    for report in (firstboot.plan(tree.system)[0], firstboot.converge(tree.system, boot=True)):
        assert not report.ok and report.headline == "/boot/firmware/piot.conf: Is a directory"
    assert "/etc/hostname" not in texts(tree.root)
