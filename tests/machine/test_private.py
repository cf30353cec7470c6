"""Private repositories: keys given and made here, tokens, host keys, and nothing of it anywhere."""

from __future__ import annotations

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
from tests.kit.strace import changes, opened
from tests.kit.wait import eventually

MANIFEST = "piot: 1\nbuild: ./build.sh\njobs:\n  tick: {run: 'true', every: 1h}\n"
# What a build could find of them stays in the release, where the last test looks for it.
BUILD = "#!/bin/sh\nenv >seen\nps axww -o args >>seen\ncat /proc/[0-9]*/environ >>seen 2>&1\ntrue\n"
APP = {".piot.yaml": MANIFEST, "build.sh": BUILD}
TOKEN = "tok-5d1f0c7e9b3a42"
ADD = "hint: add this key to the repository, as a deploy key that only reads:"
CONF = "/boot/firmware/piot.conf"


@dataclass
class Pi:
    """A machine with three private apps: `given`, `made` and `token`."""

    machine: Machine
    ssh: SshServer
    https: GitServer
    key: Path
    public: str
    repos: dict[str, Repo]

    def deploy(self, app: str) -> tuple[int, str]:
        """Deploy an app; return the exit status and all that was printed."""
        done = self.machine.run(["piot", "deploy", app], check=False, timeout=120)
        return done.returncode, done.stdout + done.stderr

    def status(self, app: str) -> dict[str, Any]:
        """Return an app's part of `piot status --json`."""
        rows = json.loads(self.machine.sh("piot status --json"))["apps"]
        return next(row for row in rows if row["name"] == app)

    def report(self) -> str:
        """Return the report on the boot partition."""
        return self.machine.read("/boot/firmware/piot-report.txt")


@pytest.fixture(scope="module", params=roots.RELEASES)
def pi(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pi]:
    """Boot a machine with three private repositories that it has not seen yet."""
    folder = tmp_path_factory.mktemp("private")
    public = make_key(folder / "key", "given")
    with (
        Network() as network,
        SshServer(request.param, network) as ssh,
        GitServer(folder / "git", network, tls=True) as https,
        Machine(machine_root(request.param, deb()), network) as machine,
    ):
        repos = {name: ssh.repo(name) for name in ("given", "made")}
        repos["token"] = https.repo("token")
        for repo in repos.values():
            repo.commit(APP, "first")
        ssh.admit("given", public)
        https.behave(token=TOKEN)
        machine.trust(https.ca)
        machine.copy_in(folder / "key", "/boot/firmware/given_key")
        machine.write(
            CONF,
            f"[app.given]\nrepo = {repos['given'].url}\npoll = off\ndeploy_key = given_key\n"
            f"known_hosts = {ssh.host_key}\n"
            f"[app.made]\nrepo = git@git.test:/srv/git/made.git\npoll = off\n"
            f"[app.token]\nrepo = {repos['token'].url}\npoll = off\ntoken = {TOKEN}\n",
        )
        machine.boot()
        yield Pi(machine, ssh, https, folder / "key", public, repos)


def test_a_key_from_piot_conf_opens_its_repository_and_no_other(pi: Pi) -> None:
    code, said = pi.deploy("given")
    assert code == 0, said
    row = pi.status("given")
    assert row["commit"] == pi.repos["given"].head()
    assert row["access"]["host"].endswith("(listed in piot.conf)")
    assert not pi.machine.exists("/boot/firmware/given_key")
    assert "deploy_key = @stored" in pi.machine.read(CONF)


def test_a_key_made_on_the_device_is_shown_until_the_repository_has_it(pi: Pi) -> None:
    """Its first deploys come from the boot."""
    m = pi.machine
    code, said = pi.deploy("made")
    public = pi.status("made")["access"]["key"].partition(" (")[0]
    assert code == 75
    assert (
        f"hint: add this key to the repository, as a deploy key that only reads: {public}" in said
    )
    assert public.startswith("ssh-ed25519 ") and public.endswith("piot-made@debian")
    assert f"key: {public}" in pi.report()
    log = m.sh("journalctl -o cat -u piot-deploy@made")
    assert f"{ADD} {public}" in log and "git.test is trusted from now on by the key ED" in log
    assert m.sh("systemctl show -P ActiveState piot-deploy@made") == "inactive"
    pi.ssh.admit("made", public)
    code, said = pi.deploy("made")
    assert code == 0, said
    assert pi.status("made")["commit"] == pi.repos["made"].head()
    assert "(seen at the first contact, 20" in pi.status("made")["access"]["host"]
    assert "is trusted from now on" not in said
    assert "host: ED25519 SHA256:" in pi.report() and "(seen at the first contact" in pi.report()


def test_a_token_opens_a_repository_over_https(pi: Pi) -> None:
    code, said = pi.deploy("token")
    assert code == 0, said
    assert pi.status("token")["commit"] == pi.repos["token"].head()


@pytest.mark.parametrize("app", ["given", "made", "token"])
def test_a_poll_without_news_opens_the_same_way_and_writes_nothing(pi: Pi, app: str) -> None:
    poll = ["piot", "deploy", app]
    assert "/argparse" not in opened(pi.machine, poll)
    # The mode of what lies in memory, where no file system is; and a directory that is there.
    harmless = ("fchmod(3, 0600)", "EEXIST")
    assert [c for c in changes(pi.machine, poll) if not any(h in c for h in harmless)] == []
    new = pi.repos[app].commit({"note": "2"}, "second")
    assert pi.deploy(app)[0] == 0
    assert pi.status(app)["commit"] == new
    assert "/argparse" not in opened(pi.machine, poll)
    pi.repos[app].tag("piot/hold")
    assert "/argparse" in opened(pi.machine, poll)
    assert "/argparse" not in opened(pi.machine, poll)


def test_a_key_that_the_server_does_not_take(pi: Pi) -> None:
    pi.ssh.dismiss(pi.public)
    code, said = pi.deploy("given")
    assert code == 75
    assert "Permission denied (publickey)" in said
    assert (
        f"hint: add this key to the repository, as a deploy key that only reads: {pi.public}"
        in said
    )
    pi.ssh.admit("made", pi.public)
    code, said = pi.deploy("given")
    assert code == 75 and "this key does not open git-upload-pack '/srv/git/given.git'" in said
    pi.ssh.dismiss(pi.public)
    pi.ssh.admit("given", pi.public)
    assert pi.deploy("given")[0] == 0


def test_a_token_that_the_server_does_not_take(pi: Pi) -> None:
    pi.https.behave(token="another")
    code, said = pi.deploy("token")
    assert code == 75
    assert "Authentication failed" in said and "hint: " in said and TOKEN not in said
    pi.https.behave(token=TOKEN)
    assert pi.deploy("token")[0] == 0


def test_another_host_key_is_refused(pi: Pi) -> None:
    kept = {p: p.read_bytes() for p in (pi.ssh.tree / "etc/ssh").glob("host_ed25519*")}
    pi.ssh.stop()
    pi.ssh.change_host_key()
    pi.ssh.start()
    for app, why in (("given", "listed in piot.conf"), ("made", "seen at the first contact")):
        code, said = pi.deploy(app)
        assert code == 75
        assert "the server shows the host key ED25519 SHA256:" in said
        assert why in said and "known_hosts = " in said
    pi.ssh.stop()
    for path, data in kept.items():
        path.write_bytes(data)
    pi.ssh.start()
    assert pi.deploy("given")[0] == 0 and pi.deploy("made")[0] == 0


def test_secrets_are_in_the_store_and_nowhere_else(pi: Pi) -> None:
    """Neither in files, the journal, words and environment of processes, nor git's own settings.

    They are looked for while a poll over https and one over ssh with each of the keys are at work.
    """
    m, apps = pi.machine, ("token", "given", "made")
    # What the device made, nobody but the device has seen.
    sealed = "/var/lib/piot/secrets/key.made.cred"
    made = m.sh(f"systemd-creds decrypt --name=key.made {sealed} -")
    # The first lines of a key are the same in all.
    keys = [key.splitlines()[2:-1] for key in (pi.key.read_text(), made)]
    lines = {line for key in keys for line in key if len(line) > 40}
    assert all(len(lines.intersection(key)) >= 3 for key in keys)
    m.sh("rm -rf /var/tmp/* && journalctl --sync")
    pi.https.behave(hang=True, token=TOKEN)
    count = len(pi.https.requests())
    with pi.ssh.hanging() as admitted:
        for app in apps:
            m.sh(f"systemctl start --no-block piot-deploy@{app}")
        pi.https.wait_request(count + 1)
        eventually(lambda: admitted() == 2, 30, "two polls over ssh")
        look = (
            # The pattern comes by standard input, so that grep does not find itself.
            "cat >/dev/shm/wanted\n"
            "for p in /proc/[0-9]*; do cat $p/cmdline $p/environ; done 2>/dev/null "
            "| tr '\\0' '\\n' | tee /dev/shm/words | grep -F -f /dev/shm/wanted\n"
            "journalctl -o export | grep -aF -f /dev/shm/wanted\n"
            "systemctl show '*' | grep -F -f /dev/shm/wanted\n"
            "grep -rlaF -f /dev/shm/wanted --exclude-dir=proc --exclude-dir=sys --exclude=wanted "
            "/ 2>/dev/null\n"
            "rm /dev/shm/wanted\n"
        )
        secret = "\n".join([TOKEN, *lines])
        found = m.run(look, input=secret + "\n", check=False, timeout=180)
        words = m.read("/dev/shm/words")
        at_work = [m.sh(f"systemctl show -P ActiveState piot-deploy@{app}") for app in apps]
    pi.https.behave(token=TOKEN)
    assert found.stdout == ""
    assert at_work == ["activating"] * 3, "all this was while they were at it"
    assert words.count("git-upload-pack '/srv/git/") >= 2 and "GIT_SSH_COMMAND=" in words
    store = {
        "app.given.deploy_key.cred": "600 root",
        "app.token.token.cred": "600 root",
        "key.made.cred": "600 root",
    }
    kept = m.sh("cd /var/lib/piot/secrets; stat -c '%n %a %U' *").splitlines()
    assert dict(line.split(" ", 1) for line in kept) == store
    states = "; ".join(f"systemctl show -P ActiveState piot-deploy@{app}" for app in apps)
    eventually(lambda: "activating" not in m.sh(states), 60, "the end of the polls")


def test_a_key_goes_with_its_app(pi: Pi) -> None:
    conf = pi.machine.read(CONF)
    start = conf.index("[app.made]")
    pi.machine.write(CONF, conf[:start] + conf[conf.index("[app.token]") :])
    pi.machine.run(["piot", "apply"], timeout=120)
    assert not pi.machine.exists("/var/lib/piot/secrets/key.made.cred")
    assert not pi.machine.exists("/var/lib/piot/apps/made")
