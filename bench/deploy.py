"""./dev bench deploy: what a poll and a switch of units cost, beside peers, in one run.

All in one booted machine; compare within a table. "wire" is what crosses the network card both
ways, "machine" all CPU that the container burned, PID 1 included. Limits are those of the design;
they hold for a calm computer, so missing one is said and is no failure.
"""

from __future__ import annotations

import argparse
import json
import sys

from bench import idle
from tests.kit import roots
from tests.kit.deb import deb
from tests.kit.gitserver import GitServer
from tests.kit.machine import Machine
from tests.kit.network import Network
from tests.kit.sshserver import SshServer
from tests.kit.strace import changes

RUNS = 7

# Runs inside: the applier on units of its own, every round under names that systemd never saw.
SWITCH = """\
import json, statistics, subprocess, sys
sys.path.insert(0, "/usr/lib/python3/dist-packages")
from piot_firstboot.apply import apply
from piot_firstboot.items import File, Symlink, Unit
from piot_firstboot.system import System

TEXT = "[Service]\\nType=exec\\nExecStart=/usr/bin/sleep infinity\\nEnvironment=A=%s\\n"

def used():
    text = open("/sys/fs/cgroup/cpu.stat").read()
    return int(dict(line.split() for line in text.splitlines())["usage_usec"])

def burned(do):
    before = used()
    do()
    return (used() - before) / 1000

def items(number, value):
    for which in range(3):
        name = f"piot-bench{number}-{which}.service"
        path = f"/etc/systemd/system/{name}"
        yield File(path, (TEXT % value).encode())
        yield Symlink(f"/etc/systemd/system/multi-user.target.wants/{name}", path)
        yield Unit(name, active=True, on_change="restart", because=(path,))

def by_hand(number):
    names = [f"piot-hand{number}-{which}.service" for which in range(3)]
    for name in names:
        with open(f"/etc/systemd/system/{name}", "w") as file:
            file.write(TEXT % 1 + "[Install]\\nWantedBy=multi-user.target\\n")
    subprocess.run(["systemctl", "enable", "--now", "-q", *names], check=True)

system, spent, calls = System(), {}, []
run = System.run
def counted(self, argv, **named):
    calls.append(argv[0])
    return run(self, argv, **named)
System.run = counted
for number in range(int(sys.argv[1])):
    def took(what, do):
        spent.setdefault(what, []).append(burned(do))
    took("new", lambda: apply(system, "app.bench", items(number, 1)))
    took("changed", lambda: apply(system, "app.bench", items(number, 2)))
    calls.clear()
    took("nothing", lambda: apply(system, "app.bench", items(number, 2)))
    assert calls == ["systemctl"], calls  # one question, no order
    took("leaving", lambda: apply(system, "app.bench", ()))
    took("hand", lambda: by_hand(number))
print(json.dumps({what: statistics.median(row) for what, row in spent.items()}))
"""
LIMITS = {"new": 90.0, "changed": 260.0, "nothing": 20.0}  # ms of the whole machine
SAID = {
    "new": "3 new units",
    "changed": "3 changed units",
    "nothing": "nothing to do",
    "leaving": "3 units that leave",
    "hand": "peer: systemctl enable --now, 3 units",
}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="./dev bench deploy", description=__doc__)
    parser.add_argument("--release", choices=roots.RELEASES, default="trixie")
    parser.add_argument("--no-ansible", action="store_true", help="leave the slowest peer out")
    args = parser.parse_args()
    root = roots.base(args.release, ("valgrind", *(() if args.no_ansible else ("ansible-core",))))
    with Network() as network:
        folder = network.folder
        with (
            GitServer(folder / "http", network) as plain,
            GitServer(folder / "https", network, tls=True) as tls,
            SshServer(args.release, network) as ssh,
            Machine(root, network) as machine,
        ):
            machine.install(deb())
            idle.prepare(machine, plain, tls, ssh)
            polls(machine, tls.url("secure"), peers=not args.no_ansible)
            switches(machine)
    return 0


def polls(machine: Machine, url: str, *, peers: bool) -> None:
    """Print what a poll over https costs when there is nothing new."""
    print("\npoll over https: no new commit")
    print(f"  {'':36}{'CPU ms':>8}{'wall ms':>9}{'MB':>7}{'wire B':>9}{'changes':>9}")
    floor = ["git", "ls-remote", "--heads", url, "main"]
    row(machine, "floor: git ls-remote --heads", floor, RUNS)
    row(machine, "piot deploy APP", ["piot", "deploy", "secure"], RUNS)
    row(machine, "peer: git fetch", ["git", "-C", "/srv/secure", "fetch", "-q"], RUNS)
    if peers:
        pull = ["ansible-pull", "-o", "-U", url, "-d", "/srv/pull-secure", "local.yml"]
        row(machine, "peer: ansible-pull -o", pull, 3)


def row(machine: Machine, name: str, argv: list[str], runs: int) -> None:
    """Measure one command and print its line."""
    machine.run(argv, timeout=300)  # warm: bytecode, page cache, a first clone
    before = wire(machine)
    machine.run(argv, timeout=300)
    crossed = wire(machine) - before
    told = machine.run(["python3", "-c", idle.TIMER, str(runs), *argv], timeout=600).stdout
    cpu, wall, memory = json.loads(told)
    changed = len(changes(machine, argv))
    line = f"  {name:36}{cpu:8.1f}{wall:9.1f}{memory:7.1f}{crossed:9}{changed:9}"
    print(line, flush=True)


def wire(machine: Machine) -> int:
    """Return the bytes that crossed the network card so far."""
    counters = "/sys/class/net/eth0/statistics/[rt]x_bytes"
    return sum(map(int, machine.sh(f"cat {counters}").split()))


def switches(machine: Machine) -> None:
    """Print what it costs to bring units into place, fetch and probation apart."""
    print(f"\nconverge\n  {'':40}{'machine ms':>12}{'limit':>8}")
    told = machine.run(["python3", "-c", SWITCH, str(RUNS)], timeout=600).stdout
    for what, spent in json.loads(told.splitlines()[-1]).items():
        limit = LIMITS.get(what)
        shown = f"{limit:8.0f}{'  missed' * (spent > limit)}" if limit else ""
        print(f"  {SAID[what]:40}{spent:12.1f}{shown}")


if __name__ == "__main__":
    sys.exit(main())
