"""./dev demo: a machine boots from the README's piot.conf and follows a git repository, live."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from tests.kit import bed, deb, roots
from tests.kit.git_repo import Repo
from tests.kit.gitserver import GitServer
from tests.kit.machine import Machine
from tests.kit.network import Network

CHECKOUT = Path(__file__).parents[2]
APP = CHECKOUT / "examples/garden"
DEPLOY_SECONDS = 120


def main() -> int:
    """Run the demonstration and return its exit code."""
    parser = argparse.ArgumentParser(prog="./dev demo", description=__doc__)
    parser.add_argument("--release", choices=roots.RELEASES, default="trixie")
    parser.add_argument("--keep", action="store_true", help="leave the machine running")
    parser.add_argument("--clear", action="store_true", help="end one that was left running")
    args = parser.parse_args()
    bed.sweep(kept=True)
    if args.clear:
        return 0
    began = time.monotonic()
    step("building the package and the machine (cached after the first time)")
    package = deb.deb()
    root = deb.machine_root(args.release, package)
    with ExitStack() as stack:
        network = stack.enter_context(Network())
        server = stack.enter_context(GitServer(network.folder / "git", network))
        machine = stack.enter_context(Machine(root, network))
        show(machine, server.repo("garden"))
        if args.keep:
            enter = machine.keep()
            stack.pop_all()
            step("the machine and its git server run on")
            print(f"    sudo {enter}")
            print(f"    sudo git clone {server.folder}/repositories/garden.git   # push to deploy")
            print("    ./dev demo --clear                                # ends both")
    step(f"done in {time.monotonic() - began:.0f} s")
    return 0


def show(machine: Machine, repo: Repo) -> None:
    """Boot, deploy, deploy again, break, roll back."""
    first = repo.commit(app_files(), "The garden, first version")
    conf = readme_conf().replace("https://git.example.org/ada/garden.git", repo.url)
    machine.write("/boot/firmware/piot.conf", conf)
    step(f"booting a Debian {machine.release} machine with this piot.conf on its boot partition")
    print(indent(conf))
    machine.boot(wait=False)
    follow(machine, first, "piot-firstboot", "piot-deploy@garden")
    machine.wait_running(timeout=90)

    step("what systemd will run, and when")
    command(machine, "systemctl list-timers --all --no-pager 'piot-*'")
    step("what PioT says")
    command(machine, "piot status")
    step("what the app says")
    time.sleep(11)  # the periodic job of the example runs every 10 s
    command(machine, "piot logs garden -n 12")

    step("pushing a new commit")
    page = (APP / "web.py").read_text()
    second = repo.commit({"web.py": page.replace("nothing measured", "nothing read")}, "Reword")
    deploy(machine, second)
    command(machine, "piot status | head -5")

    step("pushing a commit that cannot work")
    broken = repo.commit({"web.py": "raise SystemExit('no sensor found')\n"}, "Break it")
    deploy(machine, broken)
    command(machine, "piot status")
    served = machine.sh("systemctl show -P Environment piot-garden-web")
    good = re.search(r"PIOT_COMMIT=(\w+)", served)
    if not good or good[1] != second:
        raise SystemExit("the broken commit was not rolled back")
    print(f"\n  {second[:12]} serves on: {machine.sh('curl -sS http://localhost:8080/healthz')}")


def app_files() -> dict[str, str]:
    """Read the example app."""
    return {str(f.relative_to(APP)): f.read_text() for f in APP.rglob("*") if f.is_file()}


def readme_conf() -> str:
    """Take the piot.conf out of the README, so that what it shows is what runs."""
    blocks = re.findall(r"```ini\n(.*?)```", (CHECKOUT / "README.md").read_text(), re.DOTALL)
    return str(blocks[0])


def deploy(machine: Machine, commit: str) -> None:
    """Start the unit that the timer starts, and follow it."""
    machine.run(["systemctl", "start", "--no-block", "piot-deploy@garden"])
    follow(machine, commit, "piot-deploy@garden")


def follow(machine: Machine, commit: str, *units: str) -> None:
    """Print the units' status lines as they change, until the commit has been dealt with."""
    shown: dict[str, str] = {}
    until = time.monotonic() + DEPLOY_SECONDS
    while time.monotonic() < until:
        for unit in units:
            # Early in the boot there is no systemd to ask yet.
            asked = machine.run(["systemctl", "show", "-P", "StatusText", unit], check=False)
            text = asked.stdout.strip()
            if text and text != shown.get(unit):
                shown[unit] = text
                print(f"    {text}", flush=True)
        if settled(machine, commit):
            return
        time.sleep(0.2)
    raise SystemExit(f"no end after {DEPLOY_SECONDS} s\n{machine.diagnosis()}")


def settled(machine: Machine, commit: str) -> bool:
    """Tell whether a commit is deployed or given up."""
    path = "/var/lib/piot/apps/garden/state.json"
    if not machine.exists(path):
        return False
    record = json.loads(machine.read(path))
    done = record["step"] in ("committed", "rolled-back")
    return done and (record["commit"] == commit or commit in [b["commit"] for b in record["bad"]])


def command(machine: Machine, script: str) -> None:
    """Show a command and what it prints in the machine."""
    print(f"  # {script}\n{indent(machine.sh(script))}", flush=True)


def indent(text: str) -> str:
    """Set a block apart."""
    return "".join(f"    {line}\n" for line in text.splitlines())


def step(text: str) -> None:
    """Announce the next part."""
    print(f"\n==> {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
