"""A machine with an app that is asked for its page every 100 ms, however its deploys fare.

What surrounds a deploy is broken and mended here: disk, apt, network, clock.
"""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.kit import deb
from tests.kit.git_repo import Repo
from tests.kit.gitserver import GitServer
from tests.kit.machine import Machine
from tests.kit.network import Network
from tests.kit.wait import eventually

MANIFEST = """\
piot: 1
services:
  web:
    run: python3 web.py
    watch: [web.py]
    health: {http: "http://localhost:8080/", within: 20s, steady: 1s}
"""
WEB = """\
from http.server import BaseHTTPRequestHandler, HTTPServer
class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"up")
    def log_message(self, *args):
        pass
HTTPServer(("", 8080), Page).serve_forever()
"""
# Asks every 100 ms and writes each answer down.
WATCH = """\
import time, urllib.request
while True:
    began = time.monotonic()
    try:
        word = urllib.request.urlopen("http://localhost:8080/", timeout=2).read().decode()
    except OSError as error:
        word = str(error)
    with open("/run/watched", "a") as log:
        log.write(f"{time.time():.1f} {word}\\n")
    time.sleep(max(0, 0.1 - (time.monotonic() - began)))
"""
# Holds the locks of another apt, each for so long, or until its file appears.
LOCK = """\
import fcntl, os, sys, time
began = time.monotonic()
def hold(path):
    file = open(path, "w")
    fcntl.lockf(file, fcntl.LOCK_EX)
    return file
def wait(name, seconds):
    while time.monotonic() - began < float(seconds) and not os.path.exists("/run/free-" + name):
        time.sleep(0.1)
installs, updates = hold("/var/lib/dpkg/lock-frontend"), hold("/var/lib/apt/lists/lock")
with open("/run/locked.part", "w") as note:
    note.write(str(time.time()))
os.rename("/run/locked.part", "/run/locked")
wait("lists", sys.argv[1])
updates.close()
wait("packages", sys.argv[2])
"""
DISK = 192  # megabytes that /var/lib/piot gets; PioT leaves the last ones to the apps
_ENDED = ("inactive", "failed")


@dataclass
class Bed:
    """A machine whose app garden is deployed over HTTPS, and which is being watched."""

    machine: Machine
    server: GitServer
    repo: Repo
    network: Network
    number: int = 0
    others: dict[str, Repo] = field(default_factory=dict)
    began: float = 0.0  # when apt was locked

    def push(self, files: dict[str, str | bytes | None] | None = None) -> str:
        """Push a commit that need not restart the service."""
        self.number += 1
        return self.repo.commit({"note": f"{self.number}\n", **(files or {})}, f"n{self.number}")

    def add(self, **manifests: str) -> None:
        """Give the device more apps, each of nothing but a manifest; their deploys begin."""
        for app, manifest in manifests.items():
            self.others[app] = self.server.repo(app)
            self.others[app].commit({".piot.yaml": manifest}, "first")
        self.machine.write("/boot/firmware/piot.conf", self.conf())
        self.machine.run(["piot", "apply"], timeout=120)

    def conf(self) -> str:
        """Return piot.conf."""
        repos = {"garden": self.repo, **self.others}
        return "".join(
            f"[app.{app}]\nrepo = {repo.url}\npoll = 6h\n" for app, repo in repos.items()
        )

    def deploy(self, timeout: float = 300) -> int:
        """Deploy as the timer does; return the exit code."""
        self.alone()
        unit = "piot-deploy@garden"
        self.machine.run(["systemctl", "start", unit], check=False, timeout=timeout)
        return int(self.machine.sh(f"systemctl show -P ExecMainStatus {unit}"))

    def alone(self) -> None:
        """See to it that no timer starts a deploy, and wait for the end of one that is at work."""
        timers = " ".join(f"piot-{kind}-garden.timer" for kind in ("retry", "due"))
        self.machine.sh(f"systemctl stop piot-deploy@garden.timer; systemctl stop {timers} || true")
        self.ends()

    def begin(self) -> None:
        """Start a deploy, without waiting for it."""
        self.alone()
        self.machine.run(["systemctl", "start", "--no-block", "piot-deploy@garden"])

    def ends(self, timeout: float = 120) -> None:
        """Wait for the end of a deploy that was begun."""
        eventually(lambda: self.at_work() in _ENDED, timeout, "the end of the deploy", 0.3)

    def at_work(self, app: str = "garden") -> str:
        """Return what an app's deploy is, in systemd's words."""
        return self.machine.sh(f"systemctl show -P ActiveState piot-deploy@{app}")

    def doing(self, app: str = "garden") -> str:
        """Return what an app's deploy says that it does."""
        return self.machine.sh(f"systemctl show -P StatusText piot-deploy@{app}")

    def said(self, lines: int = 8) -> str:
        """Return the last lines of the deploy's journal."""
        return self.machine.sh(f"journalctl -u piot-deploy@garden -n {lines} -o cat")

    def record(self, app: str = "garden") -> dict[str, Any]:
        """Read an app's record."""
        text = self.machine.read(f"/var/lib/piot/apps/{app}/state.json")
        found: dict[str, Any] = json.loads(text)
        return found

    def deployed(self, app: str = "garden") -> bool:
        """Tell whether anything of an app was deployed yet."""
        there = self.machine.exists(f"/var/lib/piot/apps/{app}/state.json")
        return there and bool(self.record(app)["commit"])

    def why(self) -> dict[str, Any]:
        """Return what `piot why --json` says of the app."""
        rows = json.loads(self.machine.sh("piot why --json garden"))["apps"]
        found: dict[str, Any] = rows[0]
        return found

    def failure(self, commit: str) -> dict[str, Any]:
        """Return why a commit does not run; nothing when it is not on the bad list."""
        rows: list[dict[str, Any]] = self.record()["bad"]
        return next((row for row in rows if row["commit"] == commit), {})

    def next_try(self, timer: str) -> float:
        """Return in how many seconds a timer of the app fires."""
        argv = f"systemctl list-timers --all --output=json piot-{timer}-garden.timer"
        (row,) = json.loads(self.machine.sh(argv))
        return float(row["next"]) / 1e6 - time.time()

    def waits_for_the_surroundings(self, commit: str, kind: str, reason: str) -> None:
        """Check that a commit is not to blame, what is, and when it is tried again."""
        self.is_not_blamed(commit, kind, reason)
        loaded = "systemctl show -P LoadState piot-due-garden.timer"
        assert self.machine.sh(loaded) == "loaded"
        assert self.next_try("due") <= 70

    def is_not_blamed(self, commit: str, kind: str, reason: str) -> None:
        """Check what record and `piot why` say of a commit that fails for another's fault."""
        row, why = self.failure(commit), self.why()
        assert row and not row["deterministic"], self.record()
        assert (row["kind"], why["kind"], why["commit"]) == (kind, kind, commit), row
        assert reason in row["reason"] and why["reason"] == row["reason"], row
        assert row["tries"] == 1 and 60 <= row["after"] - row["at"] <= 66, row
        assert why["again"] == "next try in 1 min" and why["todo"], why
        assert why["restored"].endswith(("keeps running", "runs and is healthy")), why

    def asks_again(self) -> None:
        """Check that nothing was found out about any commit, and that a timer will ask again."""
        assert self.record()["bad"] == [] and self.why()["commit"] == ""
        assert 1 <= self.next_try("retry") <= 70

    def comes_right(self, commit: str) -> None:
        """Check that a commit is deployed now that nothing stands in its way."""
        self.alone()
        self.machine.run(["piot", "retry", "garden"])
        self.deploy()
        self.is_deployed(commit)

    def is_deployed(self, commit: str) -> None:
        """Check that a commit runs and nothing is left of its failures."""
        record = self.record()
        assert (record["commit"], record["step"], record["bad"]) == (commit, "committed", [])
        timers = "systemctl list-units --all --no-legend 'piot-due-garden*' 'piot-retry-garden*'"
        assert self.machine.sh(timers) == ""

    def misses(self) -> list[str]:
        """Return when the app did not answer, since the last time this was asked."""
        script = "cat /run/watched; : >/run/watched"
        lines = eventually(lambda: self.machine.sh(script).splitlines(), 10, "the watcher", 0.2)
        return [line for line in lines if not line.endswith(" up")]

    # -- faults -------------------------------------------------------------------------------

    @contextmanager
    def broken(self, before: str, after: str) -> Iterator[None]:
        """Break something by a command in the machine, and mend it by another."""
        self.machine.sh(before)
        try:
            yield
        finally:
            self.machine.sh(after)

    @contextmanager
    def traffic(self, rule: str) -> Iterator[None]:
        """Shape what the server sends, by tc(8)."""
        tc = self.network.server_command("tc", "qdisc")
        subprocess.run([*tc, "add", "dev", "eth0", "root", *rule.split()], check=True)
        try:
            yield
        finally:
            subprocess.run([*tc, "del", "dev", "eth0", "root"], check=True)

    def lock_apt(self, lists: float, packages: float) -> float:
        """Hold apt's locks for so many seconds, from the moment on that is returned."""
        self.machine.write("/opt/lock.py", LOCK)
        unit = "systemd-run --quiet --collect --unit=otherapt"
        self.machine.sh(f"{unit} python3 /opt/lock.py {lists} {packages}")
        eventually(lambda: self.machine.exists("/run/locked"), 30, "the locks")
        return float(self.machine.read("/run/locked"))

    def free_apt(self, what: str) -> None:
        """Let go of the lock of `lists` or `packages` at once."""
        self.machine.sh(f"touch /run/free-{what}")


@contextmanager
def boot(release: str) -> Iterator[Bed]:
    """Boot a machine with its app, served over HTTPS, its state on a small disk of its own."""
    root = deb.machine_root(release, deb.deb())
    with Network() as network, GitServer(network.folder / "git", network, tls=True) as server:
        repo = server.repo("garden")
        repo.commit({".piot.yaml": MANIFEST, "web.py": WEB}, "first")
        with Machine(root, network) as machine:
            made = Bed(machine, server, repo, network)
            machine.trust(server.ca)
            options = f"size={DISK}m,mode=755"
            machine.write("/etc/fstab", f"tmpfs /var/lib/piot tmpfs {options} 0 0\n")
            machine.write("/boot/firmware/piot.conf", made.conf())
            machine.boot()
            eventually(lambda: made.deployed(), 90, "the first deploy", 0.3)
            machine.write("/opt/watch.py", WATCH)
            machine.sh("systemd-run --quiet --unit=watch python3 /opt/watch.py")
            yield made


def noise(megabytes: float) -> bytes:
    """Return what no compression makes smaller."""
    return random.Random(7).randbytes(int(megabytes * 1e6))
