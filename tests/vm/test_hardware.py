"""What only hardware has: a clock that is wrong by years, a USB stick, limits that bite.

One machine, booted once for all of it, with an app that it polls over https, from a server with an
authority of its own. The app is asked for its page twice a second, all the time.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.kit import deb, vm
from tests.kit.faultbed import WEB
from tests.kit.git_repo import Repo
from tests.kit.gitserver import GitServer
from tests.kit.usbstick import UsbStick
from tests.kit.wait import eventually

pytestmark = pytest.mark.long

YEAR = 31_557_600
CONF = """\
[device]
hostname = garden
[app]
name = garden
repo = https://git.test/garden.git
poll = 6h
"""
MANIFEST = """\
piot: 1
services:
  web:
    run: python3 web.py
    watch: [web.py]
    health: {http: "http://localhost:8080/", within: 2min, steady: 1s}
jobs:
  tick: {run: ./mark tick, every: 20s}
  chime: {run: ./mark chime, at: "*:*:00/20"}
  yearly: {run: ./mark yearly, at: "01-01 02:30"}
"""
# One more service, which takes its time; the first goes on undisturbed.
SLOW = MANIFEST.replace(
    "services:\n", "services:\n  slow: {run: sleep infinity, health: {steady: 20s}}\n"
)
MARK = '#!/bin/sh\necho "$1" >>"$STATE_DIRECTORY/marks"\n'
# Asks twice a second and writes down each miss, and that it is there.
WATCH = """\
import time, urllib.request
while True:
    try:
        word = urllib.request.urlopen("http://localhost:8080/", timeout=20).read().decode()
    except OSError as error:
        word = str(error)
    with open("/run/watched", "a") as log:
        log.write(f"{word}\\n")
    time.sleep(0.5)
"""
FILES = {".piot.yaml": MANIFEST, "web.py": WEB, "mark": MARK}
STATE = "/var/lib/piot/apps/garden/state.json"
UNIT = "piot-deploy@garden"


@dataclass
class Bed:
    """The machine, the repository of its app, and how it is seen from outside."""

    vm: vm.Vm
    repo: Repo
    number: int = 0

    def push(self, files: dict[str, str | bytes | None] | None = None) -> str:
        """Push a commit that need not restart the service."""
        self.number += 1
        return self.repo.commit({"note": f"{self.number}\n", **(files or {})}, f"n{self.number}")

    def at_rest(self) -> None:
        """Wait until no deploy is at work, and let none begin by itself."""
        self.vm.sh("systemctl stop 'piot-retry-*.timer' 'piot-due-*.timer'")
        asked = f"systemctl show -P ActiveState {UNIT}"
        eventually(lambda: self.vm.sh(asked) in ("inactive", "failed"), 300, "a deploy's end", 0.5)
        self.vm.sh("systemctl stop 'piot-retry-*.timer' 'piot-due-*.timer'")

    def deploy(self) -> int:
        """Deploy as the timer does; return the exit code of the unit's process."""
        self.at_rest()
        self.vm.run(f"systemctl start {UNIT}", check=False, timeout=300)
        code = int(self.vm.sh(f"systemctl show -P ExecMainStatus {UNIT}"))
        self.at_rest()
        return code

    def said(self) -> str:
        """Return what the last deploy printed."""
        invocation = f"$(systemctl show -P InvocationID {UNIT})"
        return self.vm.sh(f"journalctl -o cat _SYSTEMD_INVOCATION_ID={invocation}")

    def record(self) -> dict[str, Any]:
        """Read the record."""
        found: dict[str, Any] = json.loads(self.vm.sh(f"cat {STATE} 2>/dev/null || echo {{}}"))
        return found

    def runs(self) -> str:
        """Return the commit that runs, if the record is at rest."""
        found = self.record()
        return str(found["commit"]) if found.get("step") == "committed" else ""

    def set_clock(self, ahead: float = 0) -> None:
        """Set the machine's clock: right, or ahead of the right time by some seconds."""
        self.at_rest()
        self.vm.run(f"date -s @{time.time() + ahead:.0f}")

    def jobs(self) -> dict[str, int]:
        """Count how often each job has run."""
        words = self.vm.sh("cat /var/lib/piot-garden/marks || true").split()
        return {word: words.count(word) for word in ("tick", "chime", "yearly")}

    def jobs_go_on(self, before: dict[str, int]) -> None:
        """Wait until the jobs of every 20 seconds ran twice more than before."""

        def ran() -> bool:
            now = self.jobs()
            return all(now[name] >= before[name] + 2 for name in ("tick", "chime"))

        eventually(ran, 180, "jobs that go on", 2)


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """Boot a machine that has deployed an app over https."""
    folder = tmp_path_factory.mktemp("vm")
    root = deb.machine_root("trixie", deb.deb(), vm.USB_LAYER)
    with GitServer(folder / "https", tls=True) as server:
        repo = Repo(server.folder / "repositories", "garden", "https://git.test/garden.git")
        first = repo.commit(FILES, "first")

        def prepare(tree: Path) -> None:
            (tree / "etc/hosts").write_text(f"127.0.0.1 localhost\n{vm.HTTPS} git.test\n")
            trusted = tree / "usr/local/share/ca-certificates/piot-test.crt"
            trusted.write_bytes(server.ca.read_bytes())
            argv = ["chroot", str(tree), "update-ca-certificates"]
            subprocess.run(argv, check=True, timeout=120, capture_output=True)

        with vm.start_from(vm.image(folder, root, prepare), "pi") as machine:
            machine.served = server.port
            machine.put("piot.conf", CONF)
            machine.boot()
            made = Bed(machine, repo)
            try:
                eventually(lambda: made.runs() == first, 600, "the first deploy", 1)
            except TimeoutError as error:
                raise AssertionError(f"{error}\n{machine.diagnosis()}") from error
            assert machine.up() == "running", machine.diagnosis()
            machine.write("/opt/watch.py", WATCH)
            watch(machine)
            yield made


def watch(machine: vm.Vm) -> None:
    """Begin to ask the app for its page."""
    up = "systemctl is-active -q piot-garden-web && curl -s http://localhost:8080/"
    eventually(lambda: machine.run(up, check=False)[1] == "up", 300, "the app", 1)
    machine.run("rm -f /run/watched; systemd-run --quiet --unit=watch python3 /opt/watch.py")


@pytest.fixture(autouse=True)
def served(bed: Bed) -> Iterator[None]:
    """Hold each test to it: the app answers, all the time."""
    misses(bed)
    yield
    assert misses(bed) == []


def misses(bed: Bed) -> list[str]:
    """Return the times that the app did not answer since this was last asked."""
    script = "cat /run/watched 2>/dev/null && : >/run/watched"
    lines = eventually(lambda: bed.vm.run(script, check=False)[1].split("\n")[:-1], 60, "it", 0.5)
    return [line for line in lines if line != "up"]


def test_a_clock_that_is_wrong_by_ten_years(bed: Bed) -> None:
    commit = bed.push()
    for ahead, word in ((10.1 * YEAR, "expired"), (-10.1 * YEAR, "not yet valid")):
        before, jobs = bed.record(), bed.jobs()
        bed.set_clock(ahead)
        assert bed.deploy() == 75, bed.said()
        said = bed.said()
        assert word in said and "is the clock right?" in said, said
        assert bed.record() == before, "a wrong clock is no commit's fault"
        bed.jobs_go_on(jobs)
    jobs = bed.jobs()
    bed.set_clock()
    assert bed.deploy() == 0, bed.said()
    assert (bed.runs(), bed.record()["bad"]) == (commit, [])
    bed.jobs_go_on(jobs)
    # Not in ten years, where it ran last: within one from now.
    due = 'date -d "$(systemctl show -P NextElapseUSecRealtime piot-garden-yearly.timer)" +%s'
    assert 0 < int(bed.vm.sh(due)) - time.time() < 366 * 86400
    assert bed.jobs()["yearly"] == 2, "each of the two jumps over ten of them is one"


def test_what_a_clock_dates_that_is_ahead_lasts_no_longer_than_it(bed: Bed) -> None:
    """The certificate is still valid after nine years, so that all else goes on there."""
    bed.set_clock(9 * YEAR)
    lacking = bed.push({".piot.yaml": f"secrets: [LATER]\n{MANIFEST}"})
    assert bed.deploy() == 1
    (bad,) = bed.record()["bad"]
    assert (bad["commit"], bad["deterministic"], bad["tries"]) == (lacking, False, 1)
    # Dates the file itself and what is kept of it: what the clock is raised to at the next boot.
    bed.vm.run("echo >>/boot/firmware/piot.conf && piot apply", timeout=600)
    floor = 'python3 -c "from piot_firstboot import idle; print(idle.clock_floor(str()))"'
    assert float(bed.vm.sh(floor)) > time.time() + 8 * YEAR
    bed.set_clock()
    assert "next try at the next poll" in bed.vm.sh("piot status garden")
    assert bed.deploy() == 1
    (bad,) = bed.record()["bad"]
    assert bad["tries"] == 2 and abs(bad["after"] - time.time()) < 600, "it was not waited for"
    assert float(bed.vm.sh(floor)) < time.time() + 60
    commit = bed.push({".piot.yaml": SLOW})
    bed.vm.run(f"systemctl start --no-block {UNIT}")
    text = f"systemctl show -P StatusText {UNIT}"
    eventually(lambda: "healthy" in bed.vm.sh(text), 180, "probation", 0.3)
    bed.vm.run(f"date -s @{time.time() + 9 * YEAR:.0f}")
    bed.at_rest()
    assert bed.runs() == commit, bed.said()
    bed.set_clock()
    assert "committed, at a time that is still to come" in bed.vm.sh("piot status garden")


def plugged(bed: Bed, folder: Path, name: str) -> UsbStick:
    """Put the repository, as it is now, onto a stick, and plug that in."""
    bundle = folder / f"{name}.bundle"
    bed.repo.git("bundle", "create", "--quiet", str(bundle), "HEAD", "main")
    stick = UsbStick(folder, name, {"garden.bundle": bundle})
    stick.plug(bed.vm)
    return stick


def at_work(bed: Bed) -> str:
    """Return what systemd knows of units for sticks, but for those that have ended."""
    units = bed.vm.sh("systemctl list-units --all --no-legend --plain 'piot-usb@*'").splitlines()
    return "\n".join(unit for unit in units if unit.split()[2] not in ("inactive", "failed"))


def nothing_is_mounted(bed: Bed) -> None:
    """Check that no process at all has a stick mounted any more."""
    eventually(lambda: not at_work(bed), 300, "the end of the stick's deploy", 0.5)
    assert bed.vm.sh("grep -ls /run/piot/usb /proc/[0-9]*/mountinfo || true") == ""
    assert bed.vm.sh("ls -A /run/piot/usb 2>/dev/null || true") == ""


def test_a_stick_brings_a_commit_where_that_is_allowed(bed: Bed, tmp_path: Path) -> None:
    was, commit = bed.runs(), bed.push()
    stick = plugged(bed, tmp_path, "unasked")
    assert bed.vm.sh("systemctl list-units --all --no-legend 'piot-usb@*'") == ""
    assert bed.vm.run("grep -q unasked /proc/mounts", check=False)[0] == 1
    assert bed.runs() == was
    stick.pull(bed.vm)
    # Below [app], the last section. It lets the app look at once, which would find the commit.
    bed.vm.write("/etc/hosts", "127.0.0.1 localhost garden\n")
    bed.vm.run("echo 'usb = yes' >>/boot/firmware/piot.conf; piot apply", timeout=600)
    bed.at_rest()
    assert bed.runs() == was
    stick = plugged(bed, tmp_path, "welcome")
    eventually(lambda: bed.runs() == commit, 300, "the commit of the stick", 1)
    nothing_is_mounted(bed)
    stick.pull(bed.vm)


def test_a_stick_may_be_pulled_in_the_middle(bed: Bed, tmp_path: Path) -> None:
    commit = bed.push({".piot.yaml": SLOW.replace("slow:", "slower:")})
    stick = plugged(bed, tmp_path, "hasty")
    text = "systemctl show -P StatusText 'piot-usb@*'"
    eventually(lambda: "healthy" in bed.vm.sh(text), 300, "probation", 0.3)
    assert bed.vm.sh("grep -ls /run/piot/usb /proc/[0-9]*/mountinfo || true") != ""
    stick.pull(bed.vm)
    assert at_work(bed), "it was over before the stick was pulled"
    eventually(lambda: bed.runs() == commit, 300, "the commit of the stick", 1)
    nothing_is_mounted(bed)
    bed.vm.write("/etc/hosts", f"127.0.0.1 localhost garden\n{vm.HTTPS} git.test\n")


LIMITED = MANIFEST.replace(
    "services:\n",
    "services:\n"
    "  eater: {run: python3 eater.py, memory: 48M}\n"
    "  spinner: {run: python3 spinner.py, cpu: 20%}\n",
)
# Takes memory without end, once it is told to.
EATER = """\
import os, time
word = os.environ["STATE_DIRECTORY"] + "/eat"
while not os.path.exists(word):
    time.sleep(0.3)
os.unlink(word)
held = []
while True:
    held.append(bytearray(b"x") * 2**20)
"""


def test_what_is_above_its_memory_is_killed_and_says_so(bed: Bed) -> None:
    commit = bed.push(
        {".piot.yaml": LIMITED, "eater.py": EATER, "spinner.py": "while True: pass\n"}
    )
    assert bed.deploy() == 0, bed.said()
    eater = "piot-garden-eater.service"
    assert bed.vm.sh(f"systemctl show -P MemoryMax {eater}") == str(48 * 2**20)
    bed.vm.sh("touch /var/lib/piot-garden/eat")
    restarts = f"systemctl show -P NRestarts {eater}"
    eventually(lambda: bed.vm.sh(restarts) == "1", 300, "its restart", 1)
    assert "Memory cgroup out of memory" in bed.vm.sh("dmesg")
    said = bed.vm.sh("piot status garden")
    assert "1 restarts (last: killed above its memory limit of 48M)" in said, said
    # The next one is refused for it.
    greedy = bed.push(
        {
            "eater.py": EATER.replace(
                "while not os.path.exists(word):", "open(word, 'w').close()\nif 0:"
            )
        }
    )
    assert bed.deploy() == 1
    why = bed.vm.sh("piot why garden")
    assert greedy[:12] in why and "oom-kill" in why and "`memory` in .piot.yaml" in why, why
    assert (bed.record()["commit"], bed.record()["step"]) == (commit, "rolled-back")


def test_a_unit_gets_the_share_of_the_processor_that_is_its_own(bed: Bed) -> None:
    group = "/sys/fs/cgroup$(systemctl show -P ControlGroup piot-garden-spinner.service)/cpu.stat"
    look = f"grep -E '^(usage_usec|nr_throttled)' {group}; cut -d. -f1 /proc/uptime"
    script = f"for _ in 1 2; do {look}; sleep 10; done"
    words = bed.vm.sh(script).split()
    used, throttled, past = (int(words[n + 5]) - int(words[n]) for n in (1, 3, 4))
    assert throttled > 0, "it would take more if it were let"
    assert used / 1e6 / past < 0.3, f"{used} µs in {past} s"


def test_a_hardware_clock_that_wakes_up_in_1970(bed: Bed) -> None:
    commit = bed.push()
    bed.vm.poweroff()
    bed.vm.boot(clock="1970-01-01T00:00:00")
    eventually(lambda: bed.runs() == commit, 600, "the deploy over https", 1)
    watch(bed.vm)
    behind = time.time() - int(bed.vm.sh("date +%s"))
    assert -60 < behind < 86400, "the newest date on the device is of today"
    step = float(bed.vm.sh("cat /run/piot/clock").split()[1])
    assert step > 0, "systemd knows no date as new as PioT does"
    assert bed.vm.up() == "running", bed.vm.diagnosis()
