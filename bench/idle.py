"""./dev bench idle: what PioT costs while nothing changes, beside its peers, in one run.

Everything runs in one booted machine, the peers and the floors too, so compare within a table.
CPU is user + system of the command and all its children, the median of several runs; MI are
million instructions counted by callgrind over the whole process tree, repeatable to a per cent. KB
wire is what goes over the network in both directions, headers included.
"""

from __future__ import annotations

import argparse
import json
import sys

from tests.kit import roots
from tests.kit.deb import deb
from tests.kit.gitserver import GitServer
from tests.kit.machine import Machine
from tests.kit.network import Network
from tests.kit.sshserver import SshServer, make_key
from tests.kit.strace import changes

RUNS = 15
TOKEN = "token-of-the-bench"
MANY = 500  # tags and pull requests that a busy repository has

# Runs inside: argv[1] times the command, prints the medians as JSON. wait4 counts the children.
TIMER = """\
import json, os, statistics, sys
cpu, wall, rss = [], [], []
import time
for _ in range(int(sys.argv[1])):
    began = time.perf_counter()
    pid = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ, file_actions=[
        (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
        (os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0)])
    _, status, used = os.wait4(pid, 0)
    assert status == 0, (sys.argv, status)
    wall.append(time.perf_counter() - began)
    cpu.append(used.ru_utime + used.ru_stime)
    rss.append(used.ru_maxrss)
m = statistics.median
print(json.dumps([m(cpu) * 1000, m(wall) * 1000, max(rss) / 1024]))
"""

# PID 1, the journal and the unit itself: all that the machine burns for one tick, from cgroups.
UNIT_TIMER = """\
import json, statistics, subprocess, sys
def used():
    text = open("/sys/fs/cgroup/cpu.stat").read()
    return int(dict(line.split() for line in text.splitlines())["usage_usec"])
def burned(argv):
    began = used()
    subprocess.run(argv, check=True)
    return used() - began
runs = int(sys.argv[1])
rest = statistics.median(burned(["true"]) for _ in range(runs))
unit = statistics.median(burned(["systemctl", "start", sys.argv[2]]) for _ in range(runs))
print(json.dumps((unit - rest) / 1000))
"""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="./dev bench idle", description=__doc__)
    parser.add_argument("--release", choices=roots.RELEASES, default="trixie")
    parser.add_argument("--no-ansible", action="store_true", help="leave the slowest peer out")
    args = parser.parse_args()
    ansible = () if args.no_ansible else ("ansible-core",)
    root = roots.base(args.release, ("valgrind", *ansible))
    package = deb()
    with Network() as network:
        folder = network.folder
        with (
            GitServer(folder / "http", network) as plain,
            GitServer(folder / "https", network, tls=True) as tls,
            SshServer(args.release, network) as ssh,
            Machine(root, network) as machine,
        ):
            machine.install(package)
            prepare(machine, plain, tls, ssh)
            measure(machine, plain, tls, peers=not args.no_ansible)
    return 0


def prepare(machine: Machine, plain: GitServer, tls: GitServer, ssh: SshServer) -> None:
    """Give the machine apps over http and https, open and private, and by SSH, all settled."""
    app = {".piot.yaml": "piot: 1\njobs:\n  tick: {run: 'true', every: 1h}\n"}
    book = {
        "local.yml": "- hosts: localhost\n  connection: local\n  gather_facts: no\n  tasks: []\n"
    }
    for server, name in ((plain, "plain"), (tls, "secure")):
        server.repo(name).commit({**app, **book}, "An app")
    by_ssh = ssh.repo("keyed")
    by_ssh.commit(app, "An app")
    ssh.admit("keyed", make_key(machine.folder / "key"))
    machine.copy_in(machine.folder / "key", "/boot/firmware/key")
    machine.trust(tls.ca)
    lines = [f"[app.{n}]\nrepo = {s.url(n)}\npoll = off\n" for s, n in pairs(plain, tls)]
    lines.append(f"[app.token]\nrepo = {tls.url('secure')}\npoll = off\ntoken = {TOKEN}\n")
    lines.append(f"[app.keyed]\nrepo = {by_ssh.url}\npoll = off\ndeploy_key = key\n")
    machine.write("/boot/firmware/piot.conf", "[device]\nhostname = bench\n" + "".join(lines))
    machine.boot()
    for name in ("plain", "secure", "token", "keyed"):
        machine.run(["piot", "deploy", name], timeout=120)
        assert machine.exists(f"/run/piot/poll/{name}")
    for name in ("plain", "secure"):
        machine.run(["git", "clone", "-q", url(plain, tls, name), f"/srv/{name}"])


def pairs(plain: GitServer, tls: GitServer) -> list[tuple[GitServer, str]]:
    """Return each server with the name of its app."""
    return [(plain, "plain"), (tls, "secure")]


def url(plain: GitServer, tls: GitServer, name: str) -> str:
    """Return an app's address."""
    return next(server.url(n) for server, n in pairs(plain, tls) if n == name)


def measure(machine: Machine, plain: GitServer, tls: GitServer, *, peers: bool) -> None:
    """Print the tables."""
    head("boot: piot.conf is unchanged")
    row(machine, "floor: python3 -IS -c pass", ["python3", "-IS", "-c", "pass"])
    row(machine, "piot firstboot", ["piot", "firstboot"])
    unit = machine_cpu(machine, "piot-firstboot.service")
    print(f"  piot-firstboot.service, whole machine: {unit:.0f} ms CPU")
    for name, kind in (("plain", "http"), ("secure", "https")):
        address = url(plain, tls, name)
        head(f"poll over {kind}: no new commit")
        script = f"git ls-remote --heads {address} main"
        row(machine, "floor: sh + git ls-remote --heads", ["sh", "-c", f"{script}; :"])
        row(machine, "piot deploy APP", ["piot", "deploy", name])
        row(machine, "peer: git fetch", ["git", "-C", f"/srv/{name}", "fetch", "-q"])
        if peers:
            pull = ["ansible-pull", "-o", "-U", address, "-d", f"/srv/pull-{name}", "local.yml"]
            row(machine, "peer: ansible-pull -o", pull, runs=3)
        unit = machine_cpu(machine, f"piot-deploy@{name}.service")
        print(f"  piot-deploy@{name}.service, whole machine: {unit:.0f} ms CPU")
    head(f"poll over http: {MANY} tags and {MANY} pull requests")
    grow(plain)
    address = url(plain, tls, "plain")
    row(machine, "peer: git ls-remote REF", ["git", "ls-remote", address, "main"])
    row(machine, "piot deploy APP", ["piot", "deploy", "plain"])
    if peers:
        pull = ["ansible-pull", "-o", "-U", address, "-d", "/srv/pull-plain", "local.yml"]
        row(machine, "peer: ansible-pull -o", pull, runs=3)
    head("poll of a private repository: no new commit")
    tls.behave(token=TOKEN)
    row(machine, "piot deploy APP, https with token", ["piot", "deploy", "token"])
    row(machine, "piot deploy APP, SSH with key", ["piot", "deploy", "keyed"])
    resident = machine.sh("pgrep -c -f '[/]usr/bin/piot' || true")
    print(f"\nprocesses of PioT between two ticks: {resident}")


def grow(server: GitServer) -> None:
    """Give the repository `plain` the refs of a busy one."""
    bare = server.folder / "repositories/plain.git"
    commit = (bare / "refs/heads/main").read_text().strip()
    names = [f"refs/pull/{n}/head" for n in range(MANY)] + [f"refs/tags/v{n}" for n in range(MANY)]
    rows = "".join(f"{commit} {name}\n" for name in sorted(names))
    (bare / "packed-refs").write_text(f"# pack-refs with: peeled fully-peeled sorted \n{rows}")


def head(title: str) -> None:
    """Print the head of a table."""
    columns = f"{'CPU ms':>8}{'wall ms':>9}{'MI':>8}{'MB':>7}{'KB wire':>9}{'changes':>9}"
    print(f"\n{title}\n  {'':36}{columns}")


def row(machine: Machine, name: str, argv: list[str], runs: int = RUNS) -> None:
    """Measure one command and print its line."""
    machine.run(argv, timeout=300)  # warm: bytecode, page cache, a first clone
    told = machine.run(["python3", "-c", TIMER, str(runs), *argv], timeout=600).stdout
    cpu, wall, memory = json.loads(told)
    wire = -sent(machine)
    machine.run(argv, timeout=300)
    wire += sent(machine)
    changed = len([call for call in changes(machine, argv) if not _in_memory(call)])
    count = instructions(machine, argv) if runs == RUNS else float("nan")
    print(
        f"  {name:36}{cpu:8.1f}{wall:9.1f}{count:8.0f}{memory:7.1f}{wire:9.1f}{changed:9}",
        flush=True,
    )


def sent(machine: Machine) -> float:
    """Return the kilobytes that went over the machine's cable so far."""
    told = machine.sh("awk '/eth0:/ {print $2 + $10}' /proc/net/dev")
    return int(told) / 1000


def _in_memory(call: str) -> bool:
    """Tell calls that change no file system: a key's mode in memory, a directory that is there."""
    return "fchmod(3, 0600)" in call or "EEXIST" in call


def instructions(machine: Machine, argv: list[str]) -> float:
    """Count the million instructions of a command and its children."""
    # Into files, because a child's standard error may go elsewhere.
    grind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    machine.sh("rm -rf /run/grind && mkdir /run/grind")
    grind += ["--log-file=/run/grind/%p", "--trace-children=yes"]
    machine.run([*grind, *argv], timeout=600)
    said = machine.sh("cat /run/grind/*").splitlines()
    return sum(int(line.split(":")[-1]) for line in said if "Collected" in line) / 1e6


def machine_cpu(machine: Machine, unit: str) -> float:
    """Return the CPU milliseconds that one start of a unit costs the machine, PID 1 included."""
    argv = ["python3", "-c", UNIT_TIMER, str(RUNS), unit]
    return float(json.loads(machine.run(argv, timeout=300).stdout))


if __name__ == "__main__":
    sys.exit(main())
