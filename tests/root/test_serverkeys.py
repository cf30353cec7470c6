"""Host keys of the SSH server that a power cut emptied: made anew, and no others touched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from piot_firstboot import firstboot, idle, serverkeys
from piot_firstboot.system import System
from tests.kit.fake_command import FakeCommand, fake_command

KEY = b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaA==\n-----END OPENSSH PRIVATE KEY-----\n"
# As the real one: it makes what is not there or empty, and leaves what has bytes in it.
KEYGEN = """\
[ "$1" = -A ] || exit 64
for kind in rsa ed25519; do
    [ -s {ssh}/ssh_host_${{kind}}_key ] || echo "a new $kind key" >{ssh}/ssh_host_${{kind}}_key
done
"""


class Device:
    """A running device with an SSH server, as far as a tree can be one."""

    def __init__(self, root: Path, bindir: Path) -> None:
        self.root = root
        self.ssh = root / "etc/ssh"
        self.ssh.mkdir(parents=True)
        self.system = System(str(root))
        self.system.live = True
        self.system.write("/usr/bin/ssh-keygen", b"", 0o755)
        self.system.write("/boot/firmware/piot.conf", b"")
        for kind in ("rsa", "ed25519"):
            self.put(kind, KEY)
        self.put("moduli", b"")
        self.keygen = fake_command(bindir, "ssh-keygen", script=KEYGEN.format(ssh=self.ssh))
        self.systemctl = fake_command(bindir, "systemctl", exit=1)

    def put(self, kind: str, data: bytes) -> None:
        """Write a key, or what else stands there."""
        name = f"ssh_host_{kind}_key" if kind in ("rsa", "ed25519") else kind
        (self.ssh / name).write_bytes(data)

    def held(self) -> dict[str, bytes]:
        """Return what stands there."""
        return {path.name: path.read_bytes() for path in self.ssh.iterdir()}


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Device:
    """Return a device whose keys are whole."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return Device(tmp_path / "root", tmp_path / "bin")


def test_whole_keys_are_left_alone(device: Device) -> None:
    before = device.held()
    assert serverkeys.mend(device.system, boot=True) == ""
    assert device.held() == before and device.keygen.calls() == []


@pytest.mark.parametrize(
    "left", [pytest.param(b"", id="empty"), pytest.param(bytes(411), id="NUL")]
)
def test_a_key_that_holds_nothing_is_made_anew(device: Device, left: bytes) -> None:
    device.put("ed25519", left)
    device.put("ssh_host_ed25519_key.pub", b"of the key that is gone")
    assert idle.hollow(str(device.root)) == ["/etc/ssh/ssh_host_ed25519_key"]
    said = serverkeys.mend(device.system, boot=True)
    assert said == "host keys of the SSH server held nothing, and are new: ssh_host_ed25519_key"
    assert device.held() == {
        "ssh_host_ed25519_key": b"a new ed25519 key\n",
        "ssh_host_rsa_key": KEY,
        "moduli": b"",
    }
    # The server comes after this at a boot, if it comes at all.
    assert device.systemctl.calls() == []
    assert serverkeys.mend(device.system, boot=True) == ""


def started(systemctl: FakeCommand) -> list[tuple[str, ...]]:
    """Return what was asked of systemd about the server."""
    return [call.argv[1:] for call in systemctl.calls() if call.argv[1] == "start"]


@pytest.mark.parametrize("failed", [True, False])
def test_a_server_that_gave_up_is_started(device: Device, failed: bool, tmp_path: Path) -> None:
    if failed:
        device.systemctl = fake_command(tmp_path / "bin", "systemctl")
    device.put("rsa", b"")
    serverkeys.mend(device.system, boot=False)
    assert started(device.systemctl) == [("start", "--no-block", "ssh.service")] * failed


def test_no_key_on_a_tree_and_none_without_a_conf(device: Device) -> None:
    device.put("rsa", b"")
    before = device.held()
    device.system.live = False
    assert serverkeys.mend(device.system, boot=True) == ""
    device.system.live = True
    device.system.remove("/boot/firmware/piot.conf")
    assert serverkeys.mend(device.system, boot=True) == ""
    assert device.held() == before and device.keygen.calls() == []


def test_what_cannot_be_made_is_said_and_holds_nothing_back(device: Device, tmp_path: Path) -> None:
    fake_command(tmp_path / "bin", "ssh-keygen", exit=1, stderr="no entropy")
    device.put("rsa", b"")
    report = firstboot.converge(device.system, boot=True)
    assert report.ok
    assert report.notes[-1].endswith("and stay so: ssh_host_rsa_key: ssh-keygen -A: no entropy")


def test_a_boot_with_an_unchanged_conf_looks_too(device: Device) -> None:
    assert firstboot.converge(device.system, boot=True).notes == ()
    assert idle.unchanged(str(device.root)) and idle.hollow(str(device.root)) == []
    device.put("rsa", b"")
    assert idle.hollow(str(device.root))
    report = firstboot.converge(device.system, boot=True)
    assert report.ok and "are new: ssh_host_rsa_key" in report.notes[0]
    assert idle.unchanged(str(device.root)) and idle.hollow(str(device.root)) == []


def test_other_files_and_links_that_lead_nowhere_are_none_of_them(device: Device) -> None:
    device.put("sshd_config", b"")
    device.put("ssh_host_rsa_key.pub", b"")
    (device.ssh / "ssh_host_dsa_key").symlink_to("nowhere")
    (device.ssh / "ssh_host_old_key").mkdir()
    assert idle.hollow(str(device.root)) == []
