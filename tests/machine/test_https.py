"""Polling over https: one certificate authority is enough, and a change of it no obstacle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit import roots
from tests.kit.deb import deb, machine_root
from tests.kit.git_repo import Repo
from tests.kit.gitserver import GitServer
from tests.kit.machine import Machine
from tests.kit.network import Network
from tests.kit.strace import changes, opened

APP = {".piot.yaml": "piot: 1\njobs:\n  tick: {run: 'true', every: 1h}\n"}
POLL = ["piot", "deploy", "garden"]
ANCHOR = "/run/piot/ca/garden.pem"
Pi = tuple[Machine, GitServer, Repo]

BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


@pytest.fixture(scope="module", params=roots.RELEASES)
def pi(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pi]:
    """Boot a machine that has deployed an app from an https server."""
    with (
        Network() as network,
        GitServer(tmp_path_factory.mktemp("git") / "git", network, tls=True) as server,
        Machine(machine_root(request.param, deb()), network) as machine,
    ):
        repo = server.repo("garden")
        repo.commit(APP, "first")
        machine.trust(server.ca)
        conf = f"[app]\nrepo = {server.url('garden')}\npoll = off\n"
        machine.write("/boot/firmware/piot.conf", conf)
        machine.boot()
        machine.run(POLL, timeout=120)
        yield machine, server, repo


def test_the_idle_poll_trusts_the_one_authority_it_needs(pi: Pi) -> None:
    machine, server, _ = pi
    ours = "".join(Path(server.ca).read_text().split())
    assert "".join(machine.read(ANCHOR).split()) == ours
    read = opened(machine, POLL)
    assert ANCHOR in read and BUNDLE not in read and "/argparse" not in read
    assert changes(machine, POLL) == []


def test_a_server_with_another_authority_costs_one_full_poll(pi: Pi) -> None:
    machine, _, _ = pi
    mine = machine.read(ANCHOR)
    machine.write(ANCHOR, "not a certificate\n")
    machine.run(POLL, timeout=120)
    assert machine.read(ANCHOR) == mine
    assert BUNDLE not in opened(machine, POLL)


def test_a_job_tells_its_address_of_each_run(pi: Pi) -> None:
    machine, server, repo = pi
    address = server.url("garden").replace("garden.git", "ping/s3cret")
    job = "piot: 1\njobs:\n  tick: {run: ./tick, every: 1h, ping: HC}\n"
    repo.commit({".piot.yaml": job, "tick": "#!/bin/sh\nexit ${1:-7}\n"}, "pings")
    machine.sh(f"printf {address} | piot secret set HC")
    machine.run(["systemctl", "start", "piot-deploy@garden"], timeout=120)
    before = len(server.requests())
    assert machine.run(["systemctl", "start", "piot-garden-tick"], check=False).returncode != 0
    asked = [(row["method"], row["path"]) for row in server.requests()[before:]]
    assert asked == [("POST", "/ping/s3cret/start"), ("POST", "/ping/s3cret/7")]
    assert "s3cret" not in machine.sh("systemctl cat piot-garden-tick; journalctl -o cat")


def test_an_authority_that_is_not_trusted_is_refused(pi: Pi) -> None:
    machine, _, _ = pi
    machine.sh("rm /usr/local/share/ca-certificates/piot-test.crt; update-ca-certificates --fresh")
    machine.sh(f"rm {ANCHOR}")
    done = machine.run(POLL, check=False, timeout=120)
    assert done.returncode == 75
    assert "certificate" in done.stderr and "hint: is the clock right?" in done.stderr
