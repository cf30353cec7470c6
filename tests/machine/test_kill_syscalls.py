"""The deploy of a booted machine stopped at system calls, by strace, in good deploys and bad ones.

Here it is the unit's own process that is killed, with all that it started, and systemd, the
kernel and the app are real. Then the unit is started again, or the machine is, in order or by a
power cut. At which calls is drawn by lot: three of each kind, fifteen with `--long`.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from tests.kit import roots
from tests.kit.deb import deb, machine_root
from tests.kit.git_repo import Repo
from tests.kit.gitserver import GitServer
from tests.kit.machine import Machine
from tests.kit.network import Network
from tests.kit.wait import eventually

Call = tuple[str, int]  # its name, and which of that name
Kind = Literal["good", "bad"]
SAMPLE, LONG = 3, 15
# All that changes a file, and where PioT waits for a program: systemctl, git, systemd-run.
CALLS = (
    "rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,rmdir,mkdir,mkdirat,"
    "fsync,fdatasync,write,pwrite64,ftruncate,vfork,wait4"
)
MANIFEST = """\
piot: 1
services:
  web: {{run: ./web.sh, health: {{within: 30s, steady: {steady}}}}}
jobs:
  {extra}: {{run: "true", every: 2h}}
"""
WEB = """\
#!/bin/sh
read number <number
echo "$number" >"$RUNTIME_DIRECTORY/number"
exec sleep infinity
"""
ILL = "#!/bin/sh\nexit 1\n"
UNIT = "piot-deploy@garden"
STRACED = "/run/systemd/system/piot-deploy@garden.service.d/strace.conf"
LOG = "/var/tmp/strace.log"
# Right after a boot, and then not again while a test lasts.
ONCE_A_BOOT = "[Timer]\nOnActiveSec=\nOnActiveSec=1s\nRandomizedDelaySec=0\n"


@dataclass
class Bed:
    """A machine, its app, and the commit of it that is good."""

    machine: Machine
    repo: Repo
    good: str = ""
    number: int = 0

    def push(self, kind: Kind) -> str:
        """Push a commit; every other one has another job, and only bad ones have `ill`."""
        self.number += 1
        extra = f"extra{self.number % 2}" if kind == "good" else "ill"
        # A crash is seen long before half a minute is over, however slow the machine is.
        steady = "1s" if kind == "good" else "30s"
        files = {
            ".piot.yaml": MANIFEST.format(extra=extra, steady=steady),
            "web.sh": WEB if kind == "good" else ILL,
            "number": f"{self.number}\n",
        }
        commit = self.repo.commit(files, f"number {self.number}, {kind}")
        self.good = commit if kind == "good" else self.good
        return commit

    def deploy(self, strace: str = "") -> None:
        """Deploy as the timer does, under strace if its words are given, until it ends."""
        if strace:
            # With -D the traced process is the unit's main one, as ever.
            traced = f"/usr/bin/strace -D -qq -o {LOG} {strace} /usr/bin/piot deploy %i"
            self.machine.write(STRACED, f"[Service]\nExecStart=\nExecStart={traced}\n")
        else:
            self.machine.run(["rm", "-f", STRACED])
        self.machine.run(["systemctl", "daemon-reload"])
        self.machine.run(["systemctl", "start", UNIT], check=False, timeout=180)

    def record(self) -> dict[str, Any]:
        """Read the record as a person does."""
        status = json.loads(self.machine.sh("piot status --json garden"))
        row: dict[str, Any] = status["apps"][0]
        return row

    def judge(self, kind: Kind, commit: str) -> None:
        """Check that one run has brought everything to its end."""
        m, row = self.machine, self.record()
        assert (row["commit"], row["target"], row["ready"]) == (self.good, "", ""), row
        assert row["step"] in ("committed", "rolled-back"), row
        final = [b["deterministic"] for b in row["bad"] if b["commit"] == commit]
        assert final == ([] if kind == "good" else [True]), row["bad"]
        number = self.repo.git("show", f"{self.good}:number").strip()
        asked = "systemctl is-active -q piot-garden-web && cat /run/piot-garden/number"
        assert m.sh(asked) == number
        extra = re.search(r"extra\d", self.repo.git("show", f"{self.good}:.piot.yaml"))
        assert extra
        jobs = [f"piot-garden-{extra[0]}.{kind}" for kind in ("service", "timer")]
        units = sorted([*jobs, "piot-garden-web.service"])
        listed = m.sh("cd /etc/systemd/system; ls -A | grep -E '^piot-garden-|piot$|tmp'").split()
        assert listed == units, "on disk"
        known = m.sh("systemctl list-units --all --plain --no-legend 'piot-garden-*'")
        names = {line.split()[0] for line in known.splitlines()}
        assert {jobs[1], "piot-garden-web.service"} <= names <= set(units), "in systemd's memory"
        folder = "/var/lib/piot/apps/garden"
        kept = m.sh(f"ls -A {folder}/releases").split()
        assert self.good in kept and not [k for k in kept if not re.fullmatch("[0-9a-f]{40}", k)]
        m.run(f"git --git-dir={folder}/mirror.git fsck --strict --no-dangling")
        m.run(["flock", "--nonblock", "/run/piot/garden.lock", "true"])
        failed = m.sh("systemctl list-units --failed --plain --no-legend").split()
        assert failed[:1] in ([], [f"{UNIT}.service"] if kind == "bad" else []), failed


@pytest.fixture(scope="module", params=roots.RELEASES)
def bed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """Boot a machine that has deployed its app, and asks for it once a boot."""
    folder = tmp_path_factory.mktemp(request.param)
    with (
        Network() as network,
        GitServer(folder / "git", network) as server,
        Machine(machine_root(request.param, deb()), network) as machine,
    ):
        made = Bed(machine, server.repo("garden"))
        made.push("good")
        conf = f"[app]\nname = garden\nrepo = {made.repo.url}\npoll = 6h\n"
        machine.write("/boot/firmware/piot.conf", conf)
        machine.write("/etc/systemd/system/piot-deploy@garden.timer.d/zz.conf", ONCE_A_BOOT)
        machine.boot()
        asked_since_boot(machine)
        made.judge("good", made.good)
        yield made


def asked_since_boot(machine: Machine) -> None:
    """Wait for the end of the deploy that the timer starts after each boot."""
    show = f"systemctl show -p ActiveState,InactiveEnterTimestampMonotonic {UNIT}"

    def ended() -> bool:
        # Just after its power came on it does not answer.
        words = machine.run(show, check=False).stdout.split()
        at_rest = {"ActiveState=inactive", "ActiveState=failed"} & set(words)
        return bool(at_rest) and "InactiveEnterTimestampMonotonic=0" not in words

    eventually(ended, 180, "the deploy after the boot", 0.2)


def calls(log: str) -> list[Call]:
    """List the calls in the order in which they were made."""
    seen: Counter[str] = Counter()
    made = []
    for name in re.findall(r"(?m)^(\w+)\(", log):
        seen[name] += 1
        made.append((name, seen[name]))
    return made


@pytest.mark.parametrize("kind", ["good", "bad"])
def test_stopped_at_a_system_call_the_next_run_ends_it(
    bed: Bed,
    kind: Kind,
    lot: random.Random,
    pytestconfig: pytest.Config,
    tell: Callable[[str], None],
) -> None:
    m = bed.machine
    commit = bed.push(kind)
    bed.deploy(f"-e trace={CALLS}")
    bed.judge(kind, commit)
    every = calls(m.read(LOG))
    told: list[str] = []
    for at in lot.sample(every, LONG if pytestconfig.getoption("--long") else SAMPLE):
        how = ("again", "reboot", "power cut")[len(told) % 3]
        commit = bed.push(kind)
        bed.deploy(f"-e trace={at[0]} -e inject={at[0]}:signal=SIGKILL:when={at[1]}")
        killed = m.sh(f"systemctl show -P Result {UNIT}") == "signal"
        step = bed.record()["step"]
        try:
            if how == "again":
                bed.deploy()
            else:
                m.poweroff() if how == "reboot" else m.kill()
                m.boot(wait=False)
                asked_since_boot(m)
            bed.judge(kind, commit)
        except AssertionError as error:
            raise AssertionError(f"{at} ({step}), then {how}: {error}\n{m.diagnosis()}") from error
        told.append(f"{at[0]} {at[1]} ({step}, {how})" if killed else "not reached")
    tell(f"{m.release}, {kind} deploys, {len(every)} system calls, stopped at: {', '.join(told)}")
    assert told.count("not reached") < len(told), "nothing was stopped"
