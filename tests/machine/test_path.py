"""The whole path on a booted machine: piot.conf, app, deploys good and bad, reboot, purge.

One machine a release lives through all of it, in the order of this file, as a device does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.kit import roots
from tests.kit.deb import deb
from tests.kit.git_repo import Repo
from tests.kit.gitserver import GitServer
from tests.kit.machine import Machine
from tests.kit.network import Network
from tests.kit.strace import changes, opened
from tests.kit.wait import eventually

pytestmark = pytest.mark.machine

# "correct horse", hashed by `openssl passwd -6 -salt piot`.
HASH = (
    "$6$piot$59PKoFhAnuyyskpYt7putpgsjdvC5tErnIIL28amIuOdoLWQRH.cJUh7QdryS58KYBCQaifBZYwk7fiCko5vW."
)

MANIFEST = """\
piot: 1
name: garden
secrets: [API_KEY]
services:
  web:
    run: python web.py
    health: {http: "http://localhost:8080/healthz", within: 15s, steady: 3s}
jobs:
  migrate: {run: ./count.sh migrate, once: commit}
  welcome: {run: ./count.sh welcome, once: device}
  selftest: {run: ./count.sh selftest, once: boot}
  tick: {run: ./count.sh tick, every: 5s}
  report: {run: ./count.sh report, at: "02:30", jitter: 20m, catch_up: true}
"""

COUNT = '#!/bin/sh\necho "$1 $PIOT_COMMIT" >>"$STATE_DIRECTORY/ran"\necho "$1 ran"\n'

WEB = """\
import os
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response({status} if self.path == "/healthz" else 200)
        self.end_headers()
        key = Path(os.environ["CREDENTIALS_DIRECTORY"], "API_KEY").read_text()
        self.wfile.write(f"{{os.environ['PIOT_COMMIT']}} {{len(key)}}".encode())
    def log_message(self, *args):
        pass

print("web up", flush=True)
HTTPServer(("", 8080), Page).serve_forever()
"""
GOOD_WEB = WEB.format(status=200)
SECRET = "s3cr3t-value-of-the-api"


@dataclass
class Pi:
    """The machine under test with its app's repository."""

    machine: Machine
    repo: Repo
    server: GitServer
    key: Path
    url: str

    def conf(self, **replace: str) -> str:
        """Return the piot.conf of the test, with values replaced."""
        values = {"hostname": "garden-pi", "repo": self.url, "poll": "1h", **replace}
        public = self.key.with_suffix(".pub").read_text().strip()
        return (
            f"[device]\nhostname = {values['hostname']}\ntimezone = Europe/Berlin\n"
            f"[user]\nname = ada\npassword_hash = {HASH}\nauthorized_key = {public}\n"
            "sudo = nopasswd\n"
            "[ssh]\nenabled = yes\npassword_login = no\n"
            f"[app]\nrepo = {values['repo']}\npoll = {values['poll']}\n"
            f"[secrets]\nAPI_KEY = {SECRET}\n"
        )

    def status(self) -> dict[str, Any]:
        """Return `piot status --json` of the app."""
        row: dict[str, Any] = json.loads(self.machine.sh("piot status --json"))["apps"][0]
        return row

    def quiet(self) -> None:
        """End what timers have begun, so that what follows is the test's doing alone."""
        self.machine.sh("systemctl stop piot-deploy@garden.timer piot-retry-garden.timer; true")
        state = "systemctl show -P ActiveState piot-deploy@garden"
        ended = ("inactive", "failed")
        eventually(lambda: self.machine.sh(state) in ended, 120, "the end of a poll", 0.2)

    def push(self, files: dict[str, str | None], message: str) -> str:
        """Commit and push while no timer can come in between."""
        self.quiet()
        return self.repo.commit(files, message)

    def deploy(self) -> tuple[int, str]:
        """Start the deploy unit as its timer does, wait, and return its exit status and journal."""
        self.quiet()
        self.machine.run(["systemctl", "start", "piot-deploy@garden"], check=False, timeout=180)
        shown = self.machine.sh("systemctl show -P ExecMainStatus piot-deploy@garden")
        log = self.machine.sh(
            "journalctl -o cat _SYSTEMD_INVOCATION_ID=$(systemctl show -P InvocationID "
            "piot-deploy@garden)"
        )
        return int(shown), log

    def ran(self, job: str) -> list[str]:
        """Return the commits for which a job ran, oldest first."""
        path = "/var/lib/piot-garden/ran"
        lines = self.machine.read(path).splitlines() if self.machine.exists(path) else []
        return [line.split()[1] for line in lines if line.split()[0] == job]

    def serves(self) -> str:
        """Return what the app's page says: its commit, and the length of its secret."""
        return self.machine.sh("curl -sS --max-time 5 http://localhost:8080/")


@pytest.fixture(scope="module", params=roots.RELEASES)
def pi(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pi]:
    """Boot a bare machine beside a git server; the tests install PioT on it."""
    folder = tmp_path_factory.mktemp(request.param)
    key = folder / "id"
    _ssh_keygen(key)
    with (
        Network() as network,
        GitServer(folder / "git", network) as server,
        Machine(roots.base(request.param), network) as machine,
    ):
        machine.boot()
        yield Pi(machine, server.repo("garden"), server, key, server.url("garden"))


def _ssh_keygen(path: Path) -> None:
    import subprocess

    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ada@laptop", "-f", str(path)]
    subprocess.run(argv, check=True, timeout=30)


# -- install ------------------------------------------------------------------------------------


def snapshot(machine: Machine) -> dict[str, str]:
    """Return what a package could change behind one's back."""
    units = "systemctl list-units --no-legend --plain --state=active -t service,socket,timer,path"
    return {
        "units": machine.sh(f"{units} | awk '{{print $1}}' | grep -v -e '^user' -e '^session'"),
        "accounts": machine.sh("cat /etc/passwd /etc/group"),
        "network": machine.sh("ip -4 -brief address; cat /etc/hosts /etc/hostname"),
        "etc": machine.sh("find /etc -xdev -type f -o -type l | grep -v piot | sort"),
    }


def test_install_without_a_conf_changes_nothing(pi: Pi) -> None:
    before = snapshot(pi.machine)
    pi.machine.install(deb())
    assert snapshot(pi.machine) == before
    assert pi.machine.sh("systemctl is-enabled piot-firstboot") == "enabled"
    assert pi.machine.sh("systemctl is-system-running") == "running"
    assert pi.machine.sh("systemctl show -P ExecMainStartTimestamp piot-firstboot") == ""


def test_a_boot_without_a_conf_is_quiet(pi: Pi) -> None:
    pi.machine.reboot()
    assert pi.machine.sh("systemctl show -P Result piot-firstboot") == "success"
    assert not pi.machine.exists("/var/lib/piot")


def test_an_ordinary_user_is_told_what_needs_root(pi: Pi) -> None:
    for verb in ("apply", "deploy", "rollback", "retry"):
        done = pi.machine.run(["piot", verb], user="nobody", check=False)
        assert done.returncode == 77
        assert f"hint: sudo piot {verb}" in done.stderr


# -- piot.conf ----------------------------------------------------------------------------------


def test_a_wrong_conf_changes_nothing_and_says_all(pi: Pi) -> None:
    wrong = pi.conf(hostname="not_a_host").replace("timezone", "timezoen")
    pi.machine.write("/boot/firmware/piot.conf", wrong)
    before = snapshot(pi.machine)
    done = pi.machine.run(["systemctl", "start", "piot-firstboot"], check=False)
    assert done.returncode != 0
    assert snapshot(pi.machine) == before
    report = pi.machine.read("/boot/firmware/piot-report.txt")
    assert pi.machine.sh("grep -c '[^\r]$' /boot/firmware/piot-report.txt || true") == "0"
    for place in ("piot.conf:2:", "piot.conf:3:"):
        assert place in report
    status = pi.machine.run(["systemctl", "status", "piot-firstboot"], check=False).stdout
    assert "2 problems; nothing was changed" in status


def test_dry_run_says_what_apply_would_do(pi: Pi) -> None:
    pi.repo.commit({".piot.yaml": MANIFEST, "web.py": GOOD_WEB, "count.sh": COUNT}, "first")
    pi.machine.write("/boot/firmware/piot.conf", pi.conf())
    before = snapshot(pi.machine)
    shown = pi.machine.sh("piot apply --dry-run")
    for change in ("create login ada", "change file /etc/hostname", "change state hostname"):
        assert change in shown
    assert SECRET not in shown
    assert snapshot(pi.machine) == before


def test_first_boot_with_a_conf(pi: Pi) -> None:
    first = pi.repo.head()
    pi.machine.reboot(wait=False)
    pi.machine.wait_running(timeout=120)
    m = pi.machine
    assert m.sh("hostname") == "garden-pi"
    assert m.read("/etc/hostname") == "garden-pi\n"
    assert m.sh("getent hosts garden-pi").split()[1] == "garden-pi"
    assert m.sh("date +%Z") in ("CET", "CEST")
    assert m.sh("getent shadow ada").split(":")[1] == HASH
    assert "sudo" in m.sh("id -nG ada").split()
    assert m.run(["sudo", "-n", "id", "-u"], user="ada").stdout.strip() == "0"
    effective = m.sh("sshd -T -C user=ada")
    assert "passwordauthentication no" in effective
    assert m.sh("systemctl is-active ssh.service") == "active"
    eventually(lambda: pi.status()["commit"] == first, 60, "the first deploy", 0.5)
    assert m.sh("systemctl is-system-running --wait") == "running"


def test_ssh_lets_the_key_in_and_no_password(pi: Pi) -> None:
    import subprocess

    options = ("-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null")
    login = pi.machine.network.server_command("ssh", *options, "-i", str(pi.key), "ada@10.77.0.2")
    done = subprocess.run([*login, "id -un"], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "ada", done.stderr
    bare = pi.machine.network.server_command(
        "ssh", *options, "-oPubkeyAuthentication=no", "-oBatchMode=yes", "ada@10.77.0.2", "true"
    )
    refused = subprocess.run(bare, capture_output=True, text=True, timeout=60)
    assert "Permission denied (publickey)" in refused.stderr


# -- the app ------------------------------------------------------------------------------------


def test_the_app_runs_sandboxed_as_its_own_user(pi: Pi) -> None:
    m = pi.machine
    assert pi.serves() == f"{pi.repo.head()} {len(SECRET)}"
    pid = m.sh("systemctl show -P MainPID piot-garden-web.service")
    assert m.sh(f"ps -o user= -p {pid}").strip() == "piot-garden"
    assert SECRET not in m.sh(f"tr '\\0' '\\n' </proc/{pid}/environ; systemctl cat 'piot-*'")
    listed = m.sh("systemctl list-timers --all 'piot-*'")
    for timer in ("piot-garden-tick.timer", "piot-garden-report.timer", "piot-deploy@garden.timer"):
        assert timer in listed
    score = m.sh("systemd-analyze security --no-pager piot-garden-web.service | tail -1")
    assert float(score.split(":")[1].split()[0]) <= 2.5, score


def test_every_unit_verifies_in_silence(pi: Pi) -> None:
    names = pi.machine.sh(
        "ls /etc/systemd/system/piot-* /usr/lib/systemd/system/piot-*.service -d | grep -v '\\.d$' "
        "| grep -v wants | grep -v @"
    ).split()
    assert len(names) > 10
    argv = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *names]
    done = pi.machine.run([*argv, "piot-deploy@garden.service", "piot-deploy@garden.timer"])
    assert done.stderr == ""


def test_jobs_ran_as_often_as_they_say(pi: Pi) -> None:
    eventually(lambda: len(pi.ran("tick")) >= 2, 30, "two runs of the periodic job", 0.5)
    head = pi.repo.head()
    assert (pi.ran("migrate"), pi.ran("welcome"), pi.ran("selftest")) == ([head], [head], [head])
    assert pi.ran("report") == []


def test_a_service_that_died_is_restarted(pi: Pi) -> None:
    m = pi.machine
    pid = m.sh("systemctl show -P MainPID piot-garden-web.service")
    m.run(["kill", "-9", pid])
    again = "systemctl show -P MainPID piot-garden-web.service"
    eventually(lambda: m.sh(again) not in (pid, "0"), 30, "a new process", 0.5)
    eventually(lambda: m.run("curl -s http://localhost:8080/", check=False).stdout, 10, "its page")


def test_run_and_logs(pi: Pi) -> None:
    done = pi.machine.run(["piot", "run", "report"])
    assert "report ran" in done.stdout
    assert pi.ran("report") == [pi.repo.head()]
    assert "web up" in pi.machine.sh("piot logs garden/web")
    assert "report ran" in pi.machine.sh(f"piot logs garden --commit {pi.repo.head()[:10]}")
    done = pi.machine.run(["piot", "run", "nothing"], check=False)
    assert done.returncode == 1
    assert "garden/report" in done.stderr


# -- idle ---------------------------------------------------------------------------------------


HEAVY = ("/yaml/", "/requests/", "/argparse", "/subprocess", "/dataclasses", "/systemd/journal")


def test_an_empty_poll_writes_nothing_and_loads_little(pi: Pi) -> None:
    pi.deploy()
    poll = ["piot", "deploy", "garden"]
    assert changes(pi.machine, poll) == []
    cursor = "journalctl -n 1 -o export | sed -n 's/^__CURSOR=//p'"
    before = pi.machine.sh(cursor)
    pi.machine.run(["systemctl", "start", "piot-deploy@garden"])
    assert pi.machine.sh(cursor) == before, (
        "a poll that finds nothing leaves no line in the journal"
    )
    loaded = opened(pi.machine, poll)
    assert "/piot_firstboot/" in loaded
    assert [module for module in HEAVY if module in loaded] == []


def test_a_second_boot_with_nothing_changed_writes_nothing(pi: Pi) -> None:
    pi.machine.reboot()
    assert changes(pi.machine, ["piot", "firstboot"]) == []
    loaded = opened(pi.machine, ["piot", "firstboot"])
    assert "/piot_firstboot/" in loaded
    assert [module for module in HEAVY if module in loaded] == []
    assert pi.machine.sh("piot apply").startswith("/boot/firmware/piot.conf is applied; nothing")
    head = pi.repo.head()
    eventually(lambda: len(pi.ran("selftest")) == 2, 30, "the job of each boot", 0.5)
    assert (pi.ran("migrate"), pi.ran("welcome")) == ([head], [head])


# -- deploys ------------------------------------------------------------------------------------


def test_a_second_commit_is_deployed(pi: Pi) -> None:
    second = pi.push({"note": "two"}, "second")
    code, log = pi.deploy()
    assert (code, pi.status()["commit"]) == (0, second), log
    assert pi.serves().startswith(second)
    assert pi.ran("migrate")[-1] == second
    assert (len(pi.ran("migrate")), len(pi.ran("welcome")), len(pi.ran("selftest"))) == (2, 1, 2)


HTTP = '{http: "http://localhost:8080/healthz", within: 15s, steady: 3s}'
TCP = MANIFEST.replace(HTTP, "{tcp: 8080, within: 15s, steady: 2s}")
COMMAND = MANIFEST.replace(HTTP, "{command: ./check.sh, within: 10s, steady: 2s}")
CHECK = '#!/bin/sh\ncurl -sf "http://localhost:8080/healthz"\n'


@pytest.mark.parametrize(
    "change",
    [{".piot.yaml": TCP}, {".piot.yaml": COMMAND, "check.sh": CHECK}],
    ids=["tcp", "command"],
)
def test_other_health_checks_pass_too(pi: Pi, change: dict[str, str | None]) -> None:
    before = str(pi.status()["commit"])
    commit = pi.push(change, "another check")
    code, log = pi.deploy()
    assert (code, pi.status()["commit"]) == (0, commit), log
    # A branch that is forced back is followed like any other.
    pi.repo.rewind(before)
    code, log = pi.deploy()
    assert (code, pi.status()["commit"]) == (0, before), log


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({".piot.yaml": TCP.replace("8080", "9").replace("15s", "2s")}, "tcp localhost:9"),
        (
            {".piot.yaml": COMMAND.replace("10s", "2s"), "check.sh": "#!/bin/sh\nexit 1\n"},
            "piot-garden-web-check.service failed",
        ),
        ({"web.py": "raise SystemExit('boom')\n"}, "crashed"),
        ({"web.py": WEB.format(status=500)}, "not healthy within 15 s"),
        ({".piot.yaml": MANIFEST + "  oops: {rnu: x, evry: 5m}\n"}, ".piot.yaml:14:"),
        ({".piot.yaml": None}, "has no .piot.yaml"),
        ({".piot.yaml": MANIFEST.replace("python web", "no-such-program web")}, "no program"),
        ({"count.sh": "#!/bin/sh\nexit 3\n"}, "piot-garden-migrate.service"),
    ],
    ids=[
        "deaf",
        "failing-check",
        "crash",
        "unhealthy",
        "manifest",
        "no-manifest",
        "no-program",
        "failing-job",
    ],
)
def test_a_bad_commit_is_not_kept(pi: Pi, change: dict[str, str | None], reason: str) -> None:
    good = str(pi.status()["commit"])
    bad = pi.push(change, "bad")
    try:
        code, log = pi.deploy()
        assert code == 1, log
        assert pi.serves() == f"{good} {len(SECRET)}"
        status = pi.status()
        assert (status["commit"], status["bad"][0]["commit"]) == (good, bad)
        assert reason in status["bad"][0]["reason"]
        shown = pi.machine.run(["systemctl", "status", "piot-deploy@garden"], check=False).stdout
        assert bad[:12] in shown and good[:12] in shown
        shown = pi.machine.sh("piot status")
        assert bad[:12] in shown and reason in shown and "not tried again" in shown
        started = pi.machine.sh("systemctl show -P ExecMainStartTimestamp piot-garden-web")
        for _ in range(2):
            code, log = pi.deploy()
            assert code == 0, log
        assert pi.machine.sh("systemctl show -P ExecMainStartTimestamp piot-garden-web") == started
    finally:
        pi.repo.rewind(good)


def test_a_new_commit_after_a_bad_one_is_deployed(pi: Pi) -> None:
    third = pi.push({"note": "three"}, "third")
    code, log = pi.deploy()
    assert (code, pi.status()["commit"]) == (0, third), log


def test_rollback_and_retry_by_hand(pi: Pi) -> None:
    newest, before = pi.status()["commit"], pi.status()["good"][0]
    pi.machine.run(["piot", "rollback"], timeout=120)
    assert pi.serves().startswith(str(before))
    pi.deploy()
    assert pi.status()["commit"] == before
    pi.machine.run(["piot", "retry", "garden"], timeout=120)
    assert pi.status()["commit"] == newest


def test_status_line_tells_what_it_is_doing(pi: Pi) -> None:
    pi.push({"note": "watch me"}, "watched")
    pi.machine.run(["systemctl", "start", "--no-block", "piot-deploy@garden"])
    seen: set[str] = set()

    def ended() -> bool:
        shown = pi.machine.sh("systemctl show -p StatusText,ActiveState piot-deploy@garden")
        values = dict(line.split("=", 1) for line in shown.splitlines())
        seen.add(values["StatusText"])
        return values["ActiveState"] == "inactive"

    eventually(ended, 60, "the end of the deploy", 0.1)
    assert any("web healthy" in text and " of 3 s" in text for text in seen), seen


@pytest.mark.parametrize("end", ["power cut", "shutdown"])
def test_a_deploy_that_is_cut_off_is_taken_up_again(pi: Pi, end: str) -> None:
    commit = pi.push({"note": end}, f"meets a {end}")
    pi.machine.run(["systemctl", "start", "--no-block", "piot-deploy@garden"])
    state = "/var/lib/piot/apps/garden/state.json"
    step = "probation"
    eventually(lambda: json.loads(pi.machine.read(state))["step"] == step, 60, step, 0.1)
    if end == "shutdown":
        pi.machine.poweroff()
    else:
        pi.machine.kill()
    pi.machine.boot()
    eventually(lambda: pi.status()["commit"] == commit, 90, "the end of the deploy", 0.5)
    assert pi.serves().startswith(commit)


def test_a_first_commit_that_crashes_leaves_the_app_stopped_and_others_alone(pi: Pi) -> None:
    m = pi.machine
    pi.quiet()
    pid = m.sh("systemctl show -P MainPID piot-garden-web")
    shed = pi.server.repo("shed")
    unit = "piot: 1\nservices:\n  door: {run: ./door.sh, health: {steady: 1s}}\n"
    bad = shed.commit({".piot.yaml": unit, "door.sh": "#!/bin/sh\nexit 1\n"}, "crashes")
    two = f"[app.garden]\nrepo = {pi.url}\npoll = 1h\n[app.shed]\nrepo = {shed.url}\npoll = 1h\n"
    one = f"[app]\nrepo = {pi.url}\npoll = 1h\n"
    m.write("/boot/firmware/piot.conf", pi.conf().replace(one, two))
    m.run(["piot", "apply"])

    def record() -> dict[str, Any]:
        rows: dict[str, Any] = json.loads(m.sh("piot status --json shed"))["apps"][0]
        return rows

    eventually(lambda: record()["step"] == "rolled-back", 60, "the end of the first deploy", 0.5)
    assert (record()["commit"], record()["bad"][0]["commit"]) == ("", bad)
    assert m.sh("find /etc/systemd/system -name 'piot-shed-*'") == ""
    assert "there is no earlier release" in m.sh("piot status shed")
    good = shed.commit({"door.sh": "#!/bin/sh\nexec sleep 1000000\n"}, "holds")
    m.run(["systemctl", "start", "piot-deploy@shed"], timeout=120)
    assert record()["commit"] == good
    assert m.sh("systemctl is-active piot-shed-door") == "active"
    assert m.sh("systemctl show -P MainPID piot-garden-web") == pid
    pi.quiet()
    m.write("/boot/firmware/piot.conf", pi.conf())
    m.run(["piot", "apply"])
    assert m.sh("systemctl list-units --all --plain --no-legend 'piot-shed*'") == ""
    assert m.sh("systemctl show -P MainPID piot-garden-web") == pid


# -- the remote ---------------------------------------------------------------------------------


def test_a_remote_that_is_away_harms_nothing(pi: Pi) -> None:
    pi.machine.network.cut()
    try:
        code, log = pi.deploy()
        assert code == 75, log
        assert "10.77.0.1" in log or "git.test" in log
        assert pi.serves().startswith(str(pi.status()["commit"]))
        assert "piot-retry-garden.timer" in pi.machine.sh("systemctl list-timers 'piot-*'")
    finally:
        pi.machine.network.restore()
    pi.machine.run(["systemctl", "stop", "piot-retry-garden.timer"])
    assert pi.deploy()[0] == 0


def test_a_ref_that_is_missing_is_named(pi: Pi) -> None:
    m = pi.machine
    m.write("/boot/firmware/piot.conf", pi.conf().replace("[secrets]", "ref = nosuch\n[secrets]"))
    m.run(["piot", "apply"])
    try:
        code, log = pi.deploy()
        assert code == 1
        assert "has no branch or tag 'nosuch'" in log
        assert pi.serves()
    finally:
        m.write("/boot/firmware/piot.conf", pi.conf())
        m.run(["piot", "apply"])
    assert pi.deploy()[0] == 0


def test_a_repository_that_is_missing_is_named(pi: Pi) -> None:
    m = pi.machine
    m.write("/boot/firmware/piot.conf", pi.conf(repo=pi.server.url("other/garden")))
    m.run(["piot", "apply"])
    try:
        code, log = pi.deploy()
        assert code == 75
        assert "look at `repo`" in log
    finally:
        m.write("/boot/firmware/piot.conf", pi.conf())
        m.run(["piot", "apply"])
    assert pi.deploy()[0] == 0


def test_a_missing_secret_is_asked_for_and_then_deploys(pi: Pi) -> None:
    m = pi.machine
    needs = MANIFEST.replace("[API_KEY]", "[API_KEY, OTHER]")
    commit = pi.push({".piot.yaml": needs}, "needs another secret")
    code, log = pi.deploy()
    assert code == 1
    assert "add to piot.conf: [secrets] OTHER" in log
    m.write("/boot/firmware/piot.conf", pi.conf() + "OTHER = x\n")
    m.run(["piot", "apply"])
    eventually(lambda: pi.status()["commit"] == commit, 60, "a deploy without being asked", 0.5)


def test_a_changed_secret_restarts_the_units_that_see_it(pi: Pi) -> None:
    m = pi.machine
    pi.quiet()
    started = m.sh("systemctl show -P ExecMainStartTimestampMonotonic piot-garden-web")
    m.write(
        "/boot/firmware/piot.conf", pi.conf().replace(SECRET, "longer" + SECRET) + "OTHER = x\n"
    )
    m.run(["piot", "apply"])
    said = f" {len(SECRET) + 6}"
    page = ["curl", "-s", "http://localhost:8080/"]
    eventually(lambda: said in m.run(page, check=False).stdout, 60, "the new secret", 0.5)
    assert m.sh("systemctl show -P ExecMainStartTimestampMonotonic piot-garden-web") != started


# -- leaving ------------------------------------------------------------------------------------


def test_an_app_that_leaves_the_conf_leaves_the_machine(pi: Pi) -> None:
    m = pi.machine
    conf = pi.conf()
    pi.quiet()
    m.write("/boot/firmware/piot.conf", conf[: conf.index("[app]")])
    m.run(["piot", "apply"])
    assert m.sh("systemctl list-units --all --plain --no-legend 'piot-garden*'") == ""
    assert m.sh("find /etc/systemd/system -name '*garden*'") == ""
    assert m.run(["getent", "passwd", "piot-garden"], check=False).returncode == 2
    assert m.exists("/var/lib/piot-garden/ran"), "what the app wrote is not PioT's to delete"


def test_purge_leaves_nothing_of_piot(pi: Pi) -> None:
    m = pi.machine
    pi.repo.commit({".piot.yaml": MANIFEST}, "needs no other secret")
    m.write("/boot/firmware/piot.conf", pi.conf())
    m.run(["piot", "apply"])
    assert pi.deploy()[0] == 0
    assert pi.serves()
    m.run(["apt-get", "-y", "-q", "purge", "piot"], timeout=180)
    left = m.sh(
        "find / -xdev \\( -path /proc -o -path /sys -o -path /run/log -o -path /var/log "
        "-o -path /boot/firmware -o -path /var/lib/piot-garden \\) -prune -o -iname '*piot*' -print"
    )
    assert left == ""
    assert m.sh("systemctl list-units --all --plain --no-legend 'piot*'") == ""
    assert "piot" not in m.sh("cut -d: -f1 /etc/passwd /etc/group")
    assert m.run(["id", "ada"], check=False).returncode == 0, "a person keeps the account"
    assert m.read("/home/ada/.ssh/authorized_keys").count("ada@laptop") == 1
    assert m.sh("systemctl is-system-running") == "running"
