"""What surrounds a deploy fails: the disk, apt, the network, the clock. The app serves throughout.

One machine, one fault after the other. For each: what the fault counts as (the commit's own or the
surroundings'), when it is tried again, and that it deploys once the fault is gone. All the while
the app is asked every 100 ms for its page.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.kit import deb, roots
from tests.kit.git_repo import Repo
from tests.kit.gitserver import GitServer
from tests.kit.machine import Machine
from tests.kit.network import Network
from tests.kit.wait import eventually

pytestmark = pytest.mark.machine

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
# Asks every 100 ms and writes each miss down.
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
# Holds the lock as another apt does.
LOCK = """\
import fcntl, time
with open("/var/lib/dpkg/lock-frontend", "w") as lock:
    fcntl.lockf(lock, fcntl.LOCK_EX)
    time.sleep(600)
"""
DISK = 192  # megabytes that /var/lib/piot gets; PioT leaves the last ones to the apps


@dataclass
class Bed:
    """A machine whose app is deployed over HTTPS, and which is being watched."""

    machine: Machine
    server: GitServer
    repo: Repo
    network: Network
    number: int = 0

    def push(self, files: dict[str, str | bytes | None] | None = None) -> str:
        """Push a commit that need not restart the service."""
        self.number += 1
        return self.repo.commit({"note": f"{self.number}\n", **(files or {})}, f"n{self.number}")

    def deploy(self, timeout: float = 300) -> int:
        """Deploy as the timer does; return the exit code of the unit's process."""
        self.machine.sh("systemctl stop 'piot-retry-*.timer' 2>/dev/null; true")
        unit = "piot-deploy@garden"
        self.machine.run(["systemctl", "start", unit], check=False, timeout=timeout)
        return int(self.machine.sh(f"systemctl show -P ExecMainStatus {unit}"))

    def record(self) -> dict[str, Any]:
        """Read the record."""
        found: dict[str, Any] = json.loads(
            self.machine.read("/var/lib/piot/apps/garden/state.json")
        )
        return found

    def deployed(self) -> bool:
        """Tell whether anything was deployed yet."""
        there = self.machine.exists("/var/lib/piot/apps/garden/state.json")
        return there and bool(self.record()["commit"])

    def failure(self, commit: str) -> dict[str, Any]:
        """Return why a commit does not run; nothing when it is not on the bad list."""
        rows: list[dict[str, Any]] = self.record()["bad"]
        return next((row for row in rows if row["commit"] == commit), {})

    def waits_for_the_surroundings(self, commit: str) -> str:
        """Check that a commit is tried again by itself, within the minute; return why it waits."""
        row = self.failure(commit)
        assert row and not row["deterministic"], self.record()
        assert 30 <= row["after"] - row["at"] <= 130, row
        return str(row["reason"])

    def comes_right(self, commit: str) -> None:
        """Check that a commit is deployed now that nothing stands in its way."""
        self.machine.run(["piot", "retry", "garden"])
        self.deploy()
        record = self.record()
        assert (record["commit"], record["step"], record["bad"]) == (commit, "committed", [])

    def misses(self) -> list[str]:
        """Return when the app did not answer, since the last time this was asked."""
        script = "cat /run/watched; : >/run/watched"
        lines = eventually(lambda: self.machine.sh(script).splitlines(), 10, "the watcher", 0.2)
        return [line for line in lines if not line.endswith(" up")]


@pytest.fixture(scope="module", params=roots.RELEASES)
def bed(request: pytest.FixtureRequest) -> Iterator[Bed]:
    """Boot a machine with its app, served over HTTPS, its state on a small disk of its own."""
    root = deb.machine_root(request.param, deb.deb())
    with Network() as network, GitServer(network.folder / "git", network, tls=True) as server:
        repo = server.repo("garden")
        repo.commit({".piot.yaml": MANIFEST, "web.py": WEB}, "first")
        with Machine(root, network) as machine:
            machine.trust(server.ca)
            options = f"size={DISK}m,mode=755"
            machine.write("/etc/fstab", f"tmpfs /var/lib/piot tmpfs {options} 0 0\n")
            conf = f"[app]\nname = garden\nrepo = {repo.url}\npoll = 6h\n"
            machine.write("/boot/firmware/piot.conf", conf)
            machine.boot()
            made = Bed(machine, server, repo, network)
            eventually(lambda: made.deployed(), 90, "the first deploy", 0.3)
            machine.write("/opt/watch.py", WATCH)
            machine.sh("systemd-run --quiet --unit=watch python3 /opt/watch.py")
            yield made


@pytest.fixture(autouse=True)
def served(bed: Bed) -> Iterator[None]:
    """Hold each test to it: the app answers, however the deploy fares."""
    bed.misses()
    yield
    assert bed.misses() == []


@contextmanager
def shell(bed: Bed, before: str, after: str) -> Iterator[None]:
    """Break something by a command in the machine, and mend it by another."""
    bed.machine.sh(before)
    try:
        yield
    finally:
        bed.machine.sh(after)


@contextmanager
def traffic(bed: Bed, rule: str) -> Iterator[None]:
    """Shape what the server sends, by tc(8)."""
    tc = bed.network.server_command("tc", "qdisc")
    subprocess.run([*tc, "add", "dev", "eth0", "root", *rule.split()], check=True)
    try:
        yield
    finally:
        subprocess.run([*tc, "del", "dev", "eth0", "root"], check=True)


def noise(megabytes: float) -> bytes:
    """Return what no compression makes smaller."""
    import random

    return random.Random(7).randbytes(int(megabytes * 1e6))


def test_a_full_disk(bed: Bed) -> None:
    bed.push({"big": noise(2)})
    filler = "/var/lib/piot/filler"
    fill = f"dd if=/dev/zero of={filler} bs=64k 2>/dev/null; sync; df /var/lib/piot >&2; true"
    with shell(bed, fill, f"rm {filler}"):
        commit = bed.repo.head()
        assert bed.deploy() != 0 or bed.failure(commit)
        bed.machine.sh("piot status --json")  # the record can be read in any case
        assert bed.record()["step"] == "committed"
        if row := bed.failure(commit):
            assert not row["deterministic"], row
    bed.comes_right(commit)
    bed.comes_right(bed.push({"big": None}))


def test_a_disk_that_turned_read_only(bed: Bed) -> None:
    commit = bed.push()
    with shell(bed, "mount -o remount,ro /var/lib/piot", "mount -o remount,rw /var/lib/piot"):
        before = bed.record()
        assert bed.deploy() != 0
        assert bed.record() == before
        log = bed.machine.sh("journalctl -u piot-deploy@garden -n 5 -o cat")
        assert "Read-only file system" in log
    bed.comes_right(commit)


def test_apt_is_locked(bed: Bed) -> None:
    needs = f"needs: {{apt: [surely-no-such-package]}}\n{MANIFEST}"
    bed.machine.write("/opt/lock.py", LOCK)
    hold = "systemd-run --quiet --unit=otherapt python3 /opt/lock.py"
    commit = bed.push({".piot.yaml": needs})
    with shell(bed, hold, "systemctl stop otherapt"):
        began = time.monotonic()
        bed.machine.run(["systemctl", "start", "--no-block", "piot-deploy@garden"])
        status = "systemctl show -P StatusText piot-deploy@garden"
        eventually(lambda: "surely-no" in bed.machine.sh(status), 60, "apt", 0.2)
        time.sleep(5)
        assert bed.machine.sh("systemctl show -P ActiveState piot-deploy@garden") == "activating"
        assert time.monotonic() - began > 5
    state = "systemctl show -P ActiveState piot-deploy@garden"
    eventually(lambda: bed.machine.sh(state) != "activating", 120, "the end of the deploy", 0.3)
    assert "surely-no-such-package" in bed.waits_for_the_surroundings(commit)
    bed.comes_right(bed.push({".piot.yaml": MANIFEST}))


def test_no_dns(bed: Bed) -> None:
    commit = bed.push()
    broken = "cp /etc/hosts /etc/hosts.kept; sed -i /git.test/d /etc/hosts"
    with shell(bed, broken, "cat /etc/hosts.kept >/etc/hosts"):
        assert bed.deploy() == 75
        assert bed.failure(commit) == {}, "a server that cannot be asked is no commit's fault"
        assert "DNS" in bed.machine.sh("journalctl -u piot-deploy@garden -n 8 -o cat")
        assert "piot-retry-garden" in bed.machine.sh("systemctl list-timers --all")
    bed.comes_right(commit)


def test_a_certificate_that_is_not_yet_valid(bed: Bed) -> None:
    # By its own date: the machine's clock is this host's, and not to be turned back.
    commit = bed.push()
    good = bed.server.folder / "server.pem"
    kept = good.read_bytes()
    bed.server.stop()
    future_certificate(bed.server)
    bed.server.start()
    try:
        assert bed.deploy() == 75
        assert bed.failure(commit) == {}
        assert "clock" in bed.machine.sh("journalctl -u piot-deploy@garden -n 8 -o cat")
    finally:
        bed.server.stop()
        good.write_bytes(kept)
        bed.server.start()
    bed.comes_right(commit)


def test_a_server_at_a_crawl(bed: Bed) -> None:
    # Slower than git takes for dead only if nothing comes for a minute: it waits, and gets there.
    commit = bed.push({"big": noise(0.03)})
    with traffic(bed, "tbf rate 16kbit burst 4kb latency 4s"):
        began = time.monotonic()
        assert bed.deploy(timeout=400) == 0
        took = time.monotonic() - began
    assert bed.record()["commit"] == commit
    assert took > 8, f"{took:.0f} s is not slow"


def test_a_server_that_dies_in_the_middle_of_a_pack(bed: Bed) -> None:
    commit = bed.push({"big": noise(3)})
    with traffic(bed, "tbf rate 4mbit burst 16kb latency 400ms"):
        bed.machine.run(["systemctl", "start", "--no-block", "piot-deploy@garden"])
        half = "find /var/lib/piot/apps/garden -name 'tmp_pack_*' -size +700k | grep -q ."
        eventually(lambda: bed.machine.run(half, check=False).returncode == 0, 60, "half a pack")
        bed.server.stop()
    state = "systemctl show -P ActiveState piot-deploy@garden"
    eventually(lambda: bed.machine.sh(state) != "activating", 120, "the end of the deploy", 0.3)
    bed.server.start()
    assert bed.record()["step"] == "committed"
    if row := bed.failure(commit):
        assert not row["deterministic"], row
    mirror = "--git-dir=/var/lib/piot/apps/garden/mirror.git"
    bed.machine.run(f"git {mirror} fsck --strict --no-dangling")
    bed.comes_right(commit)
    bed.machine.run(f"git {mirror} fsck --strict --no-dangling")


def future_certificate(server: GitServer) -> None:
    """Let the server show a certificate that begins in ten years."""
    folder = server.folder
    (folder / "index").write_text("")
    (folder / "serial").write_text("77\n")
    (folder / "ca.cnf").write_text(
        f"[ca]\ndefault_ca=a\n[a]\ndatabase={folder}/index\nserial={folder}/serial\n"
        f"new_certs_dir={folder}\ndefault_md=sha256\npolicy=p\nemail_in_dn=no\n"
        "[p]\ncommonName=supplied\n"
    )
    dates = ["-startdate", "20370101000000Z", "-enddate", "20380101000000Z"]
    sign = ["openssl", "ca", "-batch", "-notext", "-config", "ca.cnf", *dates, "-in", "server.csr"]
    files = ["-cert", "ca.crt", "-keyfile", "ca.key", "-out", "future.crt"]
    subprocess.run(
        [*sign, *files, "-extfile", "extensions"], cwd=folder, check=True, capture_output=True
    )
    both = (folder / "future.crt").read_text() + (folder / "server.key").read_text()
    (folder / "server.pem").write_text(both)
