"""The promise of a deploy on a booted machine: the newest good release runs, whatever happens.

One machine a release goes through all of it, in the order of this file.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
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
from tests.kit.wait import eventually

pytestmark = pytest.mark.machine

DEPLOYS = 50
CONF = "/boot/firmware/piot.conf"
SAFE = "/var/lib/piot/safe.json"
MANIFEST = """\
piot: 1
env: {LEVEL: "1"}
services:
  web: {run: ./web.sh, watch: ["web*"], health: {steady: 0s}}
  feed: {run: ./feed.sh, watch: [feed.sh], health: {steady: 0s}}
jobs:
  long: {run: ./long.sh, at: "01-01 02:30"}
  tick: {run: /bin/true, every: 1h}
"""
RAN = 'echo "$PIOT_COMMIT" >>"$STATE_DIRECTORY/web"\n'
WEB = f"#!/bin/sh\n{RAN}exec sleep 1000000\n"
FILES: dict[str, str | None] = {
    ".piot.yaml": MANIFEST,
    "web.sh": WEB,
    "feed.sh": "#!/bin/sh\nexec sleep 1000000\n",
    # Ends when it is told to, by a file in the directory that it was started in.
    "long.sh": '#!/bin/sh\nuntil [ -e "$STATE_DIRECTORY/end" ]; do sleep 0.2; done\n'
    'cat long.sh >"$STATE_DIRECTORY/ended"\n',
}


@dataclass
class Pi:
    """The machine under test, its app garden and where that comes from."""

    machine: Machine
    network: Network
    server: GitServer
    repo: Repo

    def conf(self, more: str = "", apps: str = "") -> None:
        """Apply a piot.conf with the app and more lines for it."""
        text = f"[app.garden]\nrepo = {self.repo.url}\npoll = off\ntrigger = yes\n{more}{apps}"
        self.machine.write(CONF, text)
        self.machine.run(["piot", "apply"], timeout=120)
        self.settled()

    def settled(self, app: str = "garden") -> None:
        """Wait until no deploy of the app is at work."""
        state = f"systemctl show -P ActiveState piot-deploy@{app}"
        ended = ("inactive", "failed")
        eventually(lambda: self.machine.sh(state) in ended, 120, "the end of a deploy", 0.1)

    def deploy(self, app: str = "garden") -> int:
        """Deploy as a timer would; return the exit status."""
        self.settled(app)
        unit = f"piot-deploy@{app}"
        self.machine.run(["systemctl", "start", unit], check=False, timeout=180)
        return int(self.machine.sh(f"systemctl show -P ExecMainStatus {unit}"))

    def good(self) -> str:
        """Return the commit that runs, and have it be the newest."""
        commit = str(self.status()["commit"])
        self.repo.rewind(commit)
        return commit

    def log(self, app: str = "garden") -> str:
        """Return what the last deploy said."""
        invocation = f"$(systemctl show -P InvocationID piot-deploy@{app})"
        return self.machine.sh(f"journalctl -o cat _SYSTEMD_INVOCATION_ID={invocation}")

    def status(self, app: str = "garden") -> dict[str, Any]:
        """Return `piot status --json` of one app."""
        row: dict[str, Any] = json.loads(self.machine.sh(f"piot status --json {app}"))["apps"][0]
        return row

    def show(self, unit: str, name: str) -> str:
        """Return a property of one of the app's services."""
        return self.machine.sh(f"systemctl show -P {name} piot-garden-{unit}.service")

    def starts(self) -> list[str]:
        """Return the commits with which the service web started, oldest first."""
        return self.machine.read("/var/lib/piot-garden/web").split()

    def units(self) -> str:
        """Return all units of the app, of whichever release, and when its timers fire."""
        files = (
            'cd /etc/systemd/system; for f in $(ls piot-garden*.*); do echo "## $f"; cat $f; done'
        )
        timers = "systemctl show -p TimersCalendar,TimersMonotonic piot-garden-long.timer"
        spec = "sed 's/next_elapse=[^;}]*//'"
        text = self.machine.sh(f"{files}; ls *.wants/piot-garden* ; {timers} | {spec}")
        return re.sub(r"\b[0-9a-f]{40}\b", "COMMIT", text)

    def environment(self) -> str:
        """Return LEVEL in the environment of the running web service."""
        pid = self.show("web", "MainPID")
        return self.machine.sh(f"tr '\\0' '\\n' </proc/{pid}/environ | grep ^LEVEL=")


@pytest.fixture(scope="module", params=roots.RELEASES)
def pi(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pi]:
    """Boot a machine with PioT on which the app runs."""
    folder = tmp_path_factory.mktemp(request.param)
    with (
        Network() as network,
        GitServer(folder / "git", network) as server,
        Machine(machine_root(request.param, deb()), network) as machine,
    ):
        machine.boot()
        made = Pi(machine, network, server, server.repo("garden"))
        made.repo.commit(FILES, "first")
        made.conf()
        code = made.deploy()
        assert code == 0 and made.status()["commit"], made.log()
        yield made


def test_many_deploys_leave_what_they_do_not_change_alone(pi: Pi) -> None:
    m = pi.machine
    pid, began = pi.show("feed", "MainPID"), pi.show("long", "ExecMainStartTimestamp")
    m.sh("systemctl start --no-block piot-garden-long")
    eventually(lambda: pi.show("long", "MainPID") != "0", 10, "the job to run", 0.1)
    job = pi.show("long", "MainPID")
    began = pi.show("long", "ExecMainStartTimestamp")
    for number in range(DEPLOYS):
        commit = pi.repo.commit({"web.txt": str(number)}, f"number {number}")
        assert pi.deploy() == 0, pi.log()
    assert (pi.status()["commit"], pi.starts()[-1]) == (commit, commit)
    assert len(pi.starts()) == DEPLOYS + 1, "each of them restarted the service that it changed"
    assert pi.show("web", "NRestarts") == "0"
    assert (pi.show("feed", "NRestarts"), pi.show("feed", "MainPID")) == ("0", pid)
    assert pi.show("long", "MainPID") == job, "the job in flight was left alone"
    assert pi.show("long", "ExecMainStartTimestamp") == began
    m.sh("touch /var/lib/piot-garden/end")
    eventually(lambda: pi.show("long", "MainPID") == "0", 10, "the end of the job", 0.1)
    assert pi.show("long", "Result") == "success"
    assert "STATE_DIRECTORY/end" in m.read("/var/lib/piot-garden/ended"), "its release was kept"


BAD = {
    ".piot.yaml": MANIFEST.replace('"1"', '"2"')
    .replace("01-01 02:30", "02-02 03:00")
    .replace("  tick: {run: /bin/true, every: 1h}", "  tock: {run: /bin/true, every: 2h}")
    .replace("jobs:", "  more: {run: ./feed.sh}\njobs:"),
    "web.sh": f"#!/bin/sh\n{RAN}echo no sensor found\nexit 3\n",
}


def test_a_bad_commit_is_deployed_once_and_leaves_nothing(pi: Pi) -> None:
    m, good = pi.machine, pi.good()
    before, level = pi.units(), pi.environment()
    bad = pi.repo.commit(BAD, "cannot work")
    assert pi.deploy() == 1, pi.log()
    assert pi.units() == before, "units, timers and links are as they were"
    assert pi.environment() == level
    assert pi.show("web", "ActiveState") == "active"
    tried = pi.starts().count(bad)
    assert tried >= 1
    for _ in range(3):
        for _ in range(7):
            assert pi.deploy() == 0, pi.log()
        m.reboot()
    assert pi.deploy() == 0, pi.log()
    assert pi.starts().count(bad) == tried, "22 polls and 3 reboots later"
    assert (pi.status()["commit"], pi.status()["bad"][0]["tries"]) == (good, 1)
    why = json.loads(m.sh("piot why --json"))["apps"][0]
    assert (why["commit"], why["unit"]) == (bad, "piot-garden-web.service")
    assert "no sensor found" in why["lines"]
    assert why["restored"] == f"{good[:12]} runs and is healthy"
    text = m.sh("piot why")
    assert "again     not tried again until a new commit or: sudo piot retry garden" in text
    assert f"sudo piot logs garden/web --commit {bad[:12]}" in text


def test_retry_tries_again_and_a_new_commit_supersedes(pi: Pi) -> None:
    bad = pi.repo.head()
    tried = pi.starts().count(bad)
    done = pi.machine.run(["piot", "retry"], check=False, timeout=120)
    assert done.returncode == 1
    assert pi.starts().count(bad) > tried
    again = pi.repo.commit(FILES | {"more": "x"}, "works again")
    assert pi.deploy() == 0, pi.log()
    assert pi.status()["commit"] == again


def test_what_the_journal_says_decides(pi: Pi) -> None:
    good = pi.good()
    rule = MANIFEST.replace(
        'watch: ["web*"], health: {steady: 0s}',
        "health: {steady: 3s, journal: {expect: ready, within: 5s, reject: Traceback, max: 1}}",
    )
    said = "#!/bin/sh\necho getting ready\n"
    assert rule != MANIFEST
    fine = pi.repo.commit(
        {".piot.yaml": rule, "web.sh": f"{said}echo Traceback\nexec sleep 1000000\n"}, "one is fine"
    )
    assert pi.deploy() == 0, pi.log()
    assert pi.status()["commit"] == fine
    pi.repo.commit({"web.sh": f"{said}while :; do echo Traceback; sleep 1; done\n"}, "too many")
    assert pi.deploy() == 1, pi.log()
    reason = pi.status()["bad"][0]["reason"]
    assert reason == "web: 2 journal lines match 'Traceback': Traceback"
    pi.repo.commit({"web.sh": "#!/bin/sh\nexec sleep 1000000\n"}, "says nothing")
    assert pi.deploy() == 1, pi.log()
    assert pi.status()["bad"][0]["reason"] == "web: has not said 'ready' within 5 s"
    loud = "#!/bin/sh\necho ready\nfor i in $(seq 40); do echo '<3>it burns'; done\nsleep 1000000\n"
    pi.repo.commit({"web.sh": loud}, "writes errors")
    assert pi.deploy() == 1, pi.log()
    assert "errors a minute, the release before 0" in pi.status()["bad"][0]["reason"]
    # A rule of the whole app: what two services write together.
    together = MANIFEST.replace("steady: 0s", "steady: 3s").replace(
        "env:", "health: {journal: {reject: trouble, max: 2, per: 1h}}\nenv:"
    )
    trouble = "#!/bin/sh\necho trouble\nexec sleep 1000000\n"
    files = {".piot.yaml": together, "web.sh": trouble, "feed.sh": trouble}
    two = pi.repo.commit(files, "one each")
    assert pi.deploy() == 0, pi.log()
    assert pi.status()["commit"] == two
    pi.repo.commit({"web.sh": f"#!/bin/sh\necho trouble\n{trouble}", "feed.sh": trouble + "#"}, "3")
    assert pi.deploy() == 1, pi.log()
    failure = pi.status()["bad"][0]
    assert failure["deterministic"] and failure["kind"] == "health", failure
    assert failure["reason"].endswith(": 3 journal lines match 'trouble': trouble"), failure
    assert pi.status()["commit"] == two
    gate = MANIFEST.replace("env:", "update: {gate: [feed]}\nenv:")
    dead = pi.repo.commit({".piot.yaml": gate, "web.sh": "#!/bin/sh\nsleep 2; exit 1\n"}, "ungated")
    assert pi.deploy() == 0, pi.log()
    assert pi.status()["commit"] == dead
    pi.repo.rewind(good)
    assert pi.deploy() == 0, pi.log()
    assert pi.status()["commit"] == good


def test_a_release_that_cuts_the_way_to_its_server_goes(pi: Pi) -> None:
    good = pi.good()
    # systemd signals whatever joins the cgroup while it does so: ip must not hear of it.
    cut = (
        "#!/bin/sh\ntrap 'trap \"\" TERM; ip route del blackhole 10.77.0.1; exit 0' TERM\n"
        "ip route add blackhole 10.77.0.1\nwhile :; do sleep 0.2; done\n"
    )
    manifest = MANIFEST.replace("  web: {", "  web: {root: true, ")
    bad = pi.repo.commit({".piot.yaml": manifest, "web.sh": cut}, "cuts")
    assert pi.deploy() == 1, pi.log()
    failure = pi.status()["bad"][0]
    assert (failure["commit"], failure["kind"], failure["deterministic"]) == (bad, "route", True)
    assert failure["reason"].startswith("the way to the git host is cut: ")
    assert pi.deploy() == 0, "the server is reached again"
    assert (pi.status()["commit"], pi.show("web", "ActiveState")) == (good, "active")
    pi.repo.rewind(good)
    assert pi.deploy() == 0, pi.log()


def test_apps_do_not_wait_for_each_other(pi: Pi) -> None:
    m = pi.machine
    listen = (
        "import socket, time; s = socket.create_server(('10.77.0.1', 8099)); print(1, flush=True);"
        "time.sleep(300)"
    )
    argv = pi.network.server_command("python3", "-c", listen)
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as silent:
        try:
            assert silent.stdout and silent.stdout.readline()
            shed = "[app.shed]\nrepo = http://git.test:8099/shed.git\npoll = off\n"
            m.write(CONF, m.read(CONF) + shed)
            m.run(["piot", "apply"], timeout=120)
            state = "systemctl show -P ActiveState piot-deploy@shed"
            m.sh("systemctl start --no-block piot-deploy@shed")
            eventually(lambda: m.sh(state) == "activating", 10, "a fetch that hangs", 0.1)
            commit, began = pi.repo.commit({"web.txt": "beside"}, "beside"), time.monotonic()
            assert pi.deploy() == 0, pi.log()
            assert pi.status()["commit"] == commit
            assert time.monotonic() - began < 20
            assert m.sh(state) == "activating", "and the other one still hangs"
        finally:
            silent.kill()
    m.sh("systemctl stop piot-deploy@shed")
    pi.conf()
    assert pi.show("web", "ActiveState") == "active"


LAMP: dict[str, str | bytes | None] = {
    ".piot.yaml": "piot: 1\nservices: {lamp: {run: ./lamp.sh, health: {steady: 0s}}}\n",
    "lamp.sh": "#!/bin/sh\nexec sleep 1000000\n",
}


def test_a_bundle_beside_piot_conf_needs_no_network(pi: Pi, tmp_path: Path) -> None:
    m, repo, good = pi.machine, Repo(tmp_path, "shed"), pi.status()["commit"]
    lamp = "systemctl show -P Environment piot-shed-lamp.service"

    def bundle(files: dict[str, str | bytes | None]) -> str:
        """Put a bundle with one more commit where the card is written."""
        commit = repo.commit(files)
        repo.git("bundle", "create", "-q", str(tmp_path / "shed.bundle"), repo.branch)
        m.copy_in(tmp_path / "shed.bundle", "/boot/firmware/shed.bundle")
        return commit

    pi.network.cut()
    try:
        first = bundle(LAMP)
        pi.conf(apps="[app.shed]\nrepo = shed.bundle\npoll = off\n")
        eventually(lambda: pi.status("shed")["commit"] == first, 60, "the first deploy", 0.2)
        assert f"PIOT_COMMIT={first}" in m.sh(lamp).split()
        second = bundle({"lamp.sh": "#!/bin/sh\nexec sleep 2000000\n"})
        assert pi.deploy("shed") == 0, pi.log("shed")
        assert f"PIOT_COMMIT={second}" in m.sh(lamp).split()
        bad = bundle({"lamp.sh": "#!/bin/sh\nexit 3\n"})
        assert pi.deploy("shed") == 1
        failure = pi.status("shed")["bad"][0]
        assert (failure["commit"], failure["deterministic"]) == (bad, True)
        assert pi.status("shed")["commit"] == second
        assert m.sh("systemctl is-active piot-shed-lamp.service") == "active"
        assert pi.deploy() == 75, "the other app cannot be asked for"
        assert (pi.status()["commit"], pi.show("web", "ActiveState")) == (good, "active")
    finally:
        pi.network.restore()
    pi.conf()
    assert not m.exists("/var/lib/piot/apps/shed")
    assert pi.deploy() == 0, pi.log()


def test_a_file_triggers_and_quiet_hours_and_a_hold_keep_waiting(pi: Pi) -> None:
    m, good = pi.machine, pi.good()
    m.sh('piot hold --reason "the roof is open"')
    commit = pi.repo.commit({"web.txt": "later"}, "later")
    m.sh("mkdir -p /run/piot/trigger; touch /run/piot/trigger/garden")
    held = (
        "journalctl -b -u piot-deploy@garden -o cat | grep -c 'on hold: the roof is open' || true"
    )
    eventually(lambda: m.sh(held) == "1", 20, "the deploy that was triggered", 0.2)
    assert not m.exists("/run/piot/trigger/garden")
    assert pi.status()["commit"] == good
    window = "quiet = 00:00-23:59\n"
    pi.conf(window)
    m.run(["piot", "resume"])
    waits = f"{commit[:12]} is staged and waits: quiet until 23:59"
    eventually(lambda: pi.status()["note"] == waits, 30, "the commit to be staged", 0.2)
    pi.settled()
    assert m.sh("systemctl is-active piot-due-garden.timer") == "active"
    assert pi.starts()[-1] != commit
    assert m.exists(f"/var/lib/piot/apps/garden/releases/{commit}")
    # What the timer does when its time has come.
    m.sh("systemctl start piot-due-garden.service")
    pi.settled()
    assert pi.status()["note"] == waits
    pi.conf()
    eventually(lambda: pi.status()["commit"] == commit, 30, "the end of the wait", 0.2)


def boot_and_cut(machine: Machine) -> None:
    """Boot, and cut the power before anything could be reported."""
    machine.boot()
    machine.kill()


def test_boots_without_a_report_bring_the_release_before_back(pi: Pi) -> None:
    m = pi.machine
    pi.settled()
    back, bad = pi.good(), pi.repo.commit({"web.txt": "last"}, "last")
    assert pi.deploy() == 0, pi.log()
    m.kill()
    for _ in range(2):
        boot_and_cut(m)
    started = pi.starts().count(bad)
    m.boot()
    assert pi.status()["commit"] == back, "what comes back is known before it runs"
    eventually(lambda: pi.status()["step"] == "rolled-back", 60, "the release before", 0.2)
    assert pi.show("web", "ActiveState") == "active"
    assert pi.status()["bad"][0]["reason"] == "3 boots in a row without a healthy report"
    assert pi.starts().count(bad) == started, "the release that was left did not start again"
    counting = "ls /var/lib/piot/boot"
    eventually(lambda: m.sh(counting) == "", 30, "the healthy report of this boot", 0.2)
    timer = "systemctl show -P LoadState piot-finish-garden.timer"
    eventually(lambda: m.sh(timer) == "not-found", 30, "the end of what finished it", 0.2)


def test_three_more_lead_into_safe_mode(pi: Pi) -> None:
    m = pi.machine
    pi.repo.commit({"web.txt": "very last"}, "very last")
    assert pi.deploy() == 0, pi.log()
    m.kill()
    for _ in range(5):
        boot_and_cut(m)
    m.boot()
    assert pi.show("web", "ActiveState") == pi.show("feed", "ActiveState") == "inactive"
    assert m.sh("systemctl is-active piot-garden-tick.timer || true") == "inactive"
    assert "SAFE MODE" in m.sh("piot status")
    assert "SAFE MODE" in m.read("/run/motd.d/piot")
    m.sh(f"cp {SAFE} /root/")
    assert m.sh("systemctl is-active ssh.service") == "active"
    assert pi.deploy() == 0, "PioT is on"
    assert pi.show("web", "ActiveState") == "inactive", "and leaves the apps off"
    m.reboot()
    assert pi.show("web", "ActiveState") == "inactive"
    commit = pi.repo.commit({"web.txt": "new"}, "new")
    assert pi.deploy() == 0, pi.log()
    assert pi.status()["commit"] == commit
    out_of_safe_mode(pi)


def out_of_safe_mode(pi: Pi) -> None:
    """Check that the app is up again, all of it, and that nothing tells of safe mode."""
    m = pi.machine
    eventually(lambda: pi.show("web", "ActiveState") == "active", 60, "the app", 0.2)
    pi.settled()
    units = "piot-garden-web piot-garden-feed piot-garden-tick.timer piot-garden.target"
    assert m.sh(f"systemctl is-active {units}").split() == ["active"] * 4
    assert "SAFE MODE" not in m.sh("piot status")
    assert m.sh(f"ls {SAFE} /run/motd.d/piot /run/issue.d/piot.issue 2>/dev/null || true") == ""


def test_safe_mode_ends_by_retry_and_by_an_edit_of_piot_conf(pi: Pi) -> None:
    m = pi.machine

    def enter() -> None:
        """Boot into the safe mode that the machine was in before."""
        m.sh(f"cp /root/safe.json {SAFE}")
        m.reboot()
        assert "SAFE MODE" in m.sh("piot status")
        assert pi.show("web", "ActiveState") == pi.show("feed", "ActiveState") == "inactive"

    enter()
    m.run(["piot", "retry", "garden"], timeout=120)
    out_of_safe_mode(pi)
    enter()
    pi.conf("# the roof is closed\n")
    out_of_safe_mode(pi)
    enter()
    m.write(CONF, m.read(CONF).replace("closed", "open"))
    assert pi.show("web", "ActiveState") == "inactive", "an edit counts once it is read"
    m.reboot()
    out_of_safe_mode(pi)
    assert "piot.conf was edited: safe mode ends" in m.sh("journalctl -b -o cat -u piot-bootguard")
    m.reboot()
    out_of_safe_mode(pi)
    pi.conf()


def test_a_proven_release_costs_a_boot_nothing(pi: Pi) -> None:
    m = pi.machine
    m.reboot()
    assert pi.deploy() == 0, pi.log()
    assert m.sh("ls /var/lib/piot/boot") == ""
    m.reboot()
    assert m.sh("systemctl show -P ConditionResult piot-bootguard") == "no"
    assert m.sh("systemctl show -P ExecMainStartTimestamp piot-bootguard") == ""
