"""The way in: which key, token and host keys git is given, with an ssh that only looks like one."""

from __future__ import annotations

import posix
import stat
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from piot_firstboot import access, deploykey, idle, vault
from piot_firstboot.errors import Refused, Unreachable
from piot_firstboot.system import System
from tests.kit import faults
from tests.kit.origin import Device
from tests.kit.sshserver import make_key

# An ssh that checks its key file as the real one does, takes a new host in if it may, and then
# runs git on this side. `key` is the private key that the server expects, `host` its own.
SSH = """\
#!/bin/sh
for word in "$@"; do
    case $word in
    -oIdentityFile=*) key=${word#*=} ;;
    -oUserKnownHostsFile=*) hosts=${word#*=} ;;
    -oStrictHostKeyChecking=*) strict=${word#*=} ;;
    esac
    last=$word
done
echo "$strict $*" >>"$SERVER/calls"
if ! grep -qF "$(cat "$SERVER/host")" "$hosts"; then
    if [ "$strict" = yes ]; then
        echo "Host key verification failed." >&2
        exit 255
    fi
    cat "$SERVER/host" >>"$hosts"
fi
[ "$(stat -Lc %a "$key")" = 600 ] || { echo "Load key: bad permissions" >&2; exit 255; }
ssh-keygen -y -P '' -f "$key" >"$SERVER/shown"
if [ "$(cut -d ' ' -f 2 "$SERVER/shown")" != "$(cut -d ' ' -f 2 "$SERVER/admitted")" ]; then
    echo "git@git.test: Permission denied (publickey)." >&2
    exit 255
fi
exec sh -c "$last"
"""
HOST = "git.test ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAfuCHKVTjquxvt6CM6tdG4SLp1Btn/nOeHHE5UOzRdf"


class Server:
    """What the ssh above pretends to reach."""

    def __init__(self, folder: Path, device: Device) -> None:
        self.folder = folder
        (folder / "bin").mkdir(parents=True)
        ssh = folder / "bin/ssh"
        ssh.write_text(SSH.replace("$SERVER", str(folder)))
        ssh.chmod(0o755)
        (folder / "host").write_text(f"{HOST}\n")
        (folder / "admitted").write_text("none none\n")
        self.url = f"git@git.test:{device.repo.bare}"

    def calls(self) -> list[str]:
        """Return how strict each call so far was about the host's key."""
        return [line.split()[0] for line in (self.folder / "calls").read_text().splitlines()]


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Device:
    """Make a device that may make keys, although nothing is started or sealed."""
    made = Device(tmp_path)
    made.repo.commit({"a": "1"}, "first")
    monkeypatch.setattr(vault, "_seal", lambda system, name, value: None)
    made.system.live = True
    return made


@pytest.fixture
def server(tmp_path: Path, device: Device, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Put the ssh in the way, and let the device's app come from its server."""
    made = Server(tmp_path / "server", device)
    path = f"{made.folder / 'bin'}:/usr/bin:/bin"
    monkeypatch.setenv("PATH", path)
    monkeypatch.setitem(posix.environ, b"PATH", path.encode())  # as `idle` reads it
    device.ask(repo=made.url)
    return made


def test_a_key_that_is_given(device: Device, server: Server, tmp_path: Path) -> None:
    public = make_key(tmp_path / "key")
    (server.folder / "admitted").write_text(public)
    vault.put(device.system, "app.deploy_key", (tmp_path / "key").read_text())
    device.ask(deploy_key="app.deploy_key", known_hosts=(HOST,))
    assert device.check_out() == {"a": "1"}
    assert set(server.calls()) == {"yes"}
    assert not (device.root / "var/lib/piot/apps/garden/known_hosts").exists()
    (server.folder / "admitted").write_text("another key")
    with pytest.raises(Refused, match=r"Permission denied \(publickey\)") as caught:
        device.fetch()
    assert caught.value.hint.endswith(f"only reads: {public}")


def test_a_key_that_is_made(device: Device, server: Server) -> None:
    with pytest.raises(Refused) as caught:
        device.fetch()
    public = caught.value.hint.partition("only reads: ")[2]
    assert dict(access.told(device.system, device.origin))["key"].startswith(public)
    (server.folder / "admitted").write_text(public)
    assert device.check_out() == {"a": "1"}
    assert server.calls() == ["accept-new", "yes", "yes"]
    assert not any((device.root / "run/piot/keygen").iterdir())
    kept = device.root / "var/lib/piot/secrets/key.garden"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_the_idle_poll_goes_the_same_way(device: Device, server: Server) -> None:
    with pytest.raises(Refused):
        device.fetch()
    (server.folder / "admitted").write_text(deploykey.public(device.system, device.origin))
    tip = device.fetch()
    stamp = idle.poll_stamp(
        device.origin.repo,
        tip.ref,
        tip.commit,
        hosts=access.hosts_file(device.origin),
        secret=access.secret_file(device.system, device.origin),
    )
    device.system.write("/run/piot/poll/garden", stamp)
    count = len(server.calls())
    assert idle.unmoved(str(device.root), "garden")
    assert server.calls()[count:] == ["yes"]
    device.repo.commit({"a": "2"}, "second")
    assert not idle.unmoved(str(device.root), "garden")


def test_the_key_of_the_first_contact_is_never_replaced(device: Device, server: Server) -> None:
    with pytest.raises(Refused):
        device.fetch()
    first = access.pins(device.system, device.origin)
    (server.folder / "host").write_text(HOST.replace("AAAAIAfu", "AAAAIBfu"))
    with pytest.raises(Refused, match="Host key verification failed"):
        device.fetch()
    assert access.pins(device.system, device.origin) == first


def test_each_app_and_each_server_has_its_own(device: Device, server: Server) -> None:
    other = access.hosts_file(device.origin, "ssh://git@git.test:2222/x")
    assert other != access.hosts_file(device.origin)
    with pytest.raises(Refused):
        device.fetch()
    mine = deploykey.private(device.system, device.origin)
    device.system.mkdir("/var/lib/piot/apps/other")

    assert deploykey.private(device.system, replace(device.origin, name="other")) != mine
    deploykey.drop(device.system, "garden")
    assert vault.names(device.system) == ("key.other",)


def test_no_key_is_made_in_a_tree(device: Device, server: Server) -> None:
    """Each copy of an image would have the same."""
    device.system.live = False
    with pytest.raises(Unreachable, match="is made on the device itself"):
        device.fetch()
    assert vault.names(device.system) == ()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"deploy_key": "app.deploy_key"}, "its deploy key is not in the store"),
        ({"token": "app.token", "repo": "https://git.test/x.git"}, "its token is not in the store"),
    ],
)
def test_a_secret_that_is_not_there(
    device: Device, server: Server, changes: dict[str, str], words: str
) -> None:
    device.ask(**changes)
    with pytest.raises(Unreachable, match=words) as caught:
        device.fetch()
    assert "sudo piot secret set app." in caught.value.hint


def test_a_key_is_made_whole_or_made_again(
    device: Device, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stopped at each change that this takes, and run again."""

    def act(root: Path) -> None:
        system = System(str(root))
        system.live = True
        deploykey.private(system, device.origin)

    def judge(root: Path) -> None:
        shown = ["ssh-keygen", "-y", "-P", "", "-f", str(root / "var/lib/piot/secrets/key.garden")]
        public = subprocess.run(shown, capture_output=True, text=True, check=True).stdout
        kept = (root / "var/lib/piot/apps/garden/deploy_key.pub").read_text()
        assert kept.split()[:2] == public.split()[:2]
        assert not any((root / "run/piot/keygen").iterdir())

    (tmp_path / "matrix").mkdir()
    again: list[Callable[[Path], None]] = [act]
    matrix = faults.kill(device.root, tmp_path / "matrix", act, again, judge)
    with capsys.disabled():
        print(f"\n  a key made here: {matrix}")
    matrix.check()


def test_the_user_that_goes_with_a_token(device: Device) -> None:
    for repo, name in (
        ("https://github.com/a/x.git", "x-access-token"),
        ("https://gitlab.com/a/x.git", "oauth2"),
        ("https://bitbucket.org/a/x.git", "x-token-auth"),
        ("https://git.test/a/x.git", "git"),
    ):
        assert access.user(device.ask(repo=repo, username="")) == name
        assert access.user(device.ask(repo=repo, username="anna")) == "anna"
