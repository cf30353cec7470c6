"""Where an app comes from, on a booted machine: submodules, large files, host keys, and pushes.

Each deploy is a unit that systemd starts. One machine a release goes through all of it, in order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.kit import roots
from tests.kit.deb import deb, machine_root
from tests.kit.git_repo import Repo
from tests.kit.gitserver import GitServer
from tests.kit.machine import Machine
from tests.kit.network import Network
from tests.kit.sshserver import SshServer, make_key
from tests.kit.wait import eventually

CONF = "/boot/firmware/piot.conf"
MANIFEST = "piot: 1\njobs:\n  tick: {run: 'true', every: 1h}\n"
TOKEN = "tok-3c0a85e1f7"
LFS_TOKEN = "lfs-8d2b60b4aa"
PORT = 8443
LARGE = {name: name.encode() * 20000 for name in ("big", "part", "far")}
OIDS = {name: hashlib.sha256(data).hexdigest() for name, data in LARGE.items()}
ATTRIBUTES = {".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n"}


def pointer(name: str) -> dict[str, str]:
    """Return what git has of a large file."""
    spec = "version https://git-lfs.github.com/spec/v1"
    text = f"{spec}\noid sha256:{OIDS[name]}\nsize {len(LARGE[name])}\n"
    return {**ATTRIBUTES, f"{name}.bin": text}


@dataclass
class Pi:
    """A machine, the app's own servers for https and ssh, and a server of somebody else."""

    machine: Machine
    https: GitServer
    ssh: SshServer
    other: GitServer
    key: Path
    public: str

    def conf(self, app: str, repo: Repo, *more: str) -> None:
        """Add an app, which starts its first deploy."""
        # Something that refers to the unit keeps systemd from forgetting how it ended.
        lines = (f"[app.{app}]", f"repo = {repo.url}", "poll = off", "trigger = yes", *more)
        before = self.machine.read(CONF) if self.machine.exists(CONF) else ""
        self.machine.write(CONF, before + "".join(f"{line}\n" for line in lines))
        self.machine.run(["piot", "apply"], timeout=120)
        eventually(lambda: self.invocation(app), 60, "a first deploy", 0.1)

    def follow(self, app: str, repo: Repo, *more: str) -> None:
        """Add an app and have it deployed."""
        self.conf(app, repo, *more)
        self.settled(app)
        assert self.status(app)["commit"] == repo.head(), self.log(app)

    def settled(self, app: str) -> None:
        """Wait until no deploy of the app is at work."""
        state = f"systemctl show -P ActiveState piot-deploy@{app}"
        ended = ("inactive", "failed")
        eventually(lambda: self.machine.sh(state) in ended, 120, "the end of a deploy", 0.1)

    def deploy(self, app: str) -> int:
        """Deploy as the timer would; return the exit status."""
        self.settled(app)
        unit = f"piot-deploy@{app}"
        self.machine.run(["systemctl", "start", unit], check=False, timeout=180)
        return int(self.machine.sh(f"systemctl show -P ExecMainStatus {unit}"))

    def invocation(self, app: str) -> str:
        """Return what tells the last deploy from others; "" if there was none."""
        return self.machine.sh(f"systemctl show -P InvocationID piot-deploy@{app}")

    def log(self, app: str) -> str:
        """Return what the last deploy said."""
        match = f"_SYSTEMD_INVOCATION_ID={self.invocation(app)}"
        return self.machine.sh(f"journalctl -o cat {match}")

    def status(self, app: str) -> dict[str, Any]:
        """Return `piot status --json` of one app."""
        row: dict[str, Any] = json.loads(self.machine.sh(f"piot status --json {app}"))["apps"][0]
        return row

    def release(self, app: str) -> str:
        """Return the directory of the release that runs."""
        return f"/var/lib/piot/apps/{app}/releases/{self.status(app)['commit']}"

    def holds(self, app: str, path: str, name: str) -> bool:
        """Tell whether a file of the release is a large file, whole."""
        said = self.machine.sh(f"sha256sum {self.release(app)}/{path}")
        return said.split()[0] == OIDS[name]


@pytest.fixture(scope="module", params=roots.RELEASES)
def pi(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pi]:
    """Boot a machine with git-lfs, and three servers that it can reach."""
    folder = tmp_path_factory.mktemp("sources")
    public = make_key(folder / "key", "given")
    with (
        Network() as network,
        GitServer(folder / "https", network, tls=True) as https,
        GitServer(folder / "other", network, tls=True, host="other.test", port=PORT) as other,
        SshServer(request.param, network) as ssh,
        Machine(machine_root(request.param, deb(), ("git-lfs",)), network) as machine,
    ):
        for server, names in ((https, ("big", "part")), (other, ("far",))):
            (server.folder / "lfs").mkdir()
            for name in names:
                (server.folder / "lfs" / OIDS[name]).write_bytes(LARGE[name])
        machine.trust(https.ca)
        machine.trust(other.ca, "other")
        yield Pi(machine.boot(), https, ssh, other, folder / "key", public)


def test_submodules_and_large_files_over_https_with_a_token(pi: Pi) -> None:
    """A submodule of the same server gets the token, the server of another one never sees it."""
    lib, far = pi.https.repo("lib"), pi.other.repo("far")
    lib.commit({"lib.txt": "lib", **pointer("part")})
    far.commit({"far.txt": "far", **pointer("far")})
    garden = pi.https.repo("garden")
    garden.submodule("libs/lib", "../lib.git", lib.head())
    garden.submodule("libs/far", far.url, far.head())
    garden.commit({".piot.yaml": MANIFEST, **pointer("big")})
    pi.https.behave(token=TOKEN)
    pi.follow("garden", garden, f"token = {TOKEN}", "submodules = yes", "lfs = yes")
    assert pi.holds("garden", "big.bin", "big")
    assert pi.holds("garden", "libs/lib/part.bin", "part")
    assert pi.holds("garden", "libs/far/far.bin", "far")
    assert pi.machine.read(f"{pi.release('garden')}/libs/far/far.txt") == "far"
    kinds = {row["path"].split("?")[0].split("/")[2] for row in pi.other.requests()}
    assert {"info", "git-upload-pack"} <= kinds
    assert not any(row["authorization"] for row in pi.other.requests())
    assert any(row["authorization"] for row in pi.https.requests())


def test_a_private_submodule_of_another_host_gets_no_token(pi: Pi) -> None:
    garden, far = pi.https.repo("private"), pi.other.repo("closed")
    far.commit({"far.txt": "far"})
    garden.submodule("far", far.url, far.head())
    garden.commit({".piot.yaml": MANIFEST})
    pi.other.behave(token=TOKEN)
    before = len(pi.other.requests())
    pi.conf("private", garden, f"token = {TOKEN}", "submodules = yes")
    pi.settled("private")
    pi.other.behave()
    said = pi.log("private")
    assert f"{far.url}: could not read Username" in said, said
    assert "the token is for the server that `repo` names, and for no other" in said
    asked = [row for row in pi.other.requests()[before:] if "/closed.git/" in row["path"]]
    assert asked and not any(row["authorization"] for row in asked)


def test_large_files_that_lie_on_another_host_are_fetched_without_the_token(pi: Pi) -> None:
    """As the large hosts do, whose stores are elsewhere; the server itself says where."""
    store = pi.https.repo("stored")
    store.commit({".piot.yaml": MANIFEST, **pointer("far")})
    # The server knows the file, and sends the client to the other one for it.
    (pi.https.folder / "lfs" / OIDS["far"]).touch()
    before = len(pi.other.requests())
    pi.https.behave(token=TOKEN, store=f"https://other.test:{PORT}")
    pi.follow("stored", store, f"token = {TOKEN}", "lfs = yes")
    pi.https.behave(token=TOKEN)
    assert pi.holds("stored", "far.bin", "far")
    asked = [row for row in pi.other.requests()[before:] if "/stored.git/" in row["path"]]
    assert [row["method"] for row in asked] == ["GET"]
    assert not any(row["authorization"] for row in asked)


def test_submodules_and_large_files_by_ssh_with_a_key(pi: Pi) -> None:
    """git-lfs asks by ssh where the files are, and gets a token for them that only it has."""
    keyed, part = pi.ssh.repo("keyed"), pi.ssh.repo("part")
    part.commit({"part.txt": "part", **pointer("part")})
    keyed.submodule("part", "../part.git", part.head())
    keyed.commit({".piot.yaml": MANIFEST, **pointer("big")})
    pi.ssh.admit("keyed", pi.public, "part")
    for repo in (keyed, part):
        pi.ssh.lfs(repo.name, pi.https.url(repo.name), LFS_TOKEN)
    pi.https.behave(token=LFS_TOKEN)
    before = len(pi.https.requests())
    pi.machine.copy_in(pi.key, "/boot/firmware/key")
    more = ("deploy_key = key", f"known_hosts = {pi.ssh.host_key}", "submodules = yes", "lfs = yes")
    pi.follow("keyed", keyed, *more)
    assert pi.holds("keyed", "big.bin", "big")
    assert pi.holds("keyed", "part/part.bin", "part")
    assert pi.machine.read(f"{pi.release('keyed')}/part/part.txt") == "part"
    asked = [row for row in pi.https.requests()[before:] if "/info/lfs/" in row["path"]]
    assert {row["authorization"] for row in asked} == {f"Bearer {LFS_TOKEN}"}
    assert {row["path"].split("/")[1] for row in asked} == {"keyed.git", "part.git"}
    for secret in (TOKEN, LFS_TOKEN):
        assert pi.machine.sh(f"grep -rl {secret} /var/lib/piot /run /etc || true") == "", secret
        assert pi.machine.sh(f"journalctl -o export | grep -c {secret} || true") == "0"


# -- host keys ----------------------------------------------------------------------------------

TABLE = "/usr/lib/python3/dist-packages/piot_firstboot/wellknown.py"


def test_a_host_key_that_is_published_holds_and_one_that_is_listed_goes_before(pi: Pi) -> None:
    """With a table that knows the test's server, in place of the one that is shipped."""
    pi.https.behave(token=TOKEN)
    known = pi.ssh.repo("known")
    known.commit({".piot.yaml": MANIFEST})
    pi.ssh.admit("known", pi.public)
    pi.machine.copy_in(pi.key, "/boot/firmware/key")
    # Seen at the first contact, as long as no one knows better.
    pi.follow("known", known, "deploy_key = key")
    assert "(seen at the first contact" in pi.status("known")["access"]["host"]
    shipped = pi.machine.read(TABLE)
    pi.machine.write(TABLE, f"LINES = ({pi.ssh.host_key!r},)\n")
    known.commit({"note": "2"})
    assert pi.deploy("known") == 0, pi.log("known")
    assert pi.status("known")["commit"] == known.head()
    assert pi.status("known")["access"]["host"].endswith("(published by the host)")
    report = pi.machine.read("/boot/firmware/piot-report.txt")
    assert "(published by the host)" in report
    old = pi.ssh.host_key
    pi.ssh.stop()
    pi.ssh.change_host_key()
    pi.ssh.start()
    assert pi.deploy("known") == 75
    log = pi.log("known")
    assert "the server shows the host key ED25519 SHA256:" in log
    assert "(published by the host)" in log and "known_hosts = " in log
    # One that a person lists counts more than the table, and more than the first contact.
    pi.machine.write(CONF, f"{pi.machine.read(CONF)}known_hosts = {pi.ssh.host_key}\n")
    pi.machine.run(["piot", "apply"], timeout=120)
    known.commit({"note": "3"})
    assert pi.deploy("known") == 0, pi.log("known")
    assert pi.status("known")["commit"] == known.head()
    assert pi.status("known")["access"]["host"].endswith("(listed in piot.conf)")
    assert pi.ssh.host_key != old
    pi.machine.write(TABLE, shipped)


# -- what is pushed during a deploy -------------------------------------------------------------

SLOW = "#!/bin/sh\ntouch waiting\nuntil [ -e go ]; do sleep 0.1; done\n"


def test_what_is_pushed_during_a_deploy_is_deployed_by_it(pi: Pi) -> None:
    """A start that comes meanwhile is joined to it by systemd, and is not lost."""
    m, slow = pi.machine, pi.https.repo("slow")
    slow.commit({".piot.yaml": f"{MANIFEST}build: ./build.sh\n", "build.sh": SLOW})
    first = slow.head()
    partial = f"/var/lib/piot/apps/slow/releases/{first}.partial"
    pi.conf("slow", slow, f"token = {TOKEN}")
    eventually(lambda: m.exists(f"{partial}/waiting"), 60, "the build")
    second = slow.commit({"build.sh": "#!/bin/sh\ntrue\n"})
    invocation = pi.invocation("slow")
    m.sh("systemctl start --no-block piot-deploy@slow")
    m.sh(f"touch {partial}/go")
    pi.settled("slow")
    log = pi.log("slow")
    assert pi.invocation("slow") == invocation
    assert f"slow: {first[:12]} deployed\n" in log and f"slow: {second[:12]} deployed" in log
    assert pi.status("slow")["commit"] == second
    assert m.exists("/run/piot/poll/slow")
