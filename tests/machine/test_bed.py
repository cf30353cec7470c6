"""The bed itself: a bare Debian boots clean, reaches the git server, and leaves nothing behind."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kit.gitserver import GitServer
from tests.kit.machine import CommandFailed, Machine
from tests.kit.network import Network
from tests.kit.roots import Root

Machines = Callable[..., Machine]
GitServers = Callable[..., GitServer]


def test_a_bare_machine_runs_without_a_failed_unit(machine: Machines) -> None:
    pi = machine(hostname="garden").boot()
    assert pi.sh("systemctl list-units --failed --no-legend") == ""
    assert pi.sh("hostname; cat /sys/class/net/eth0/operstate") == "garden\nup"
    assert pi.sh("systemd-detect-virt") == "systemd-nspawn"
    assert pi.exists("/boot/firmware")


def test_the_first_boot_of_an_image_applies_presets(machine: Machines) -> None:
    pi = machine(first_boot=True)
    pi.write("/usr/lib/systemd/system/mark.service", MARK)
    pi.write("/usr/lib/systemd/system-preset/00-mark.preset", "enable mark.service\n")
    pi.boot()
    assert pi.sh("systemctl is-enabled mark.service") == "enabled"
    assert len(pi.read("/etc/machine-id").strip()) == 32


MARK = """\
[Service]
ExecStart=true
[Install]
WantedBy=multi-user.target
"""


def test_files_survive_a_reboot_and_a_power_cut(machine: Machines) -> None:
    pi = machine().boot()
    ident = pi.read("/etc/machine-id")
    pi.write("/var/lib/mark", "one")
    boot = pi.sh("cat /proc/sys/kernel/random/boot_id")
    pi.reboot()
    assert pi.read("/var/lib/mark") == "one"
    assert pi.read("/etc/machine-id") == ident
    assert pi.sh("cat /proc/sys/kernel/random/boot_id") != boot
    pi.write("/var/lib/mark", "two")
    pi.kill()
    assert not pi.running
    assert pi.read("/var/lib/mark") == "two"
    pi.boot()
    assert pi.read("/var/lib/mark") == "two"


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_git_reaches_the_server(machine: Machines, git_server: GitServers, tls: bool) -> None:
    pi = machine().boot()
    server = git_server(pi, tls=tls)
    repo = server.repo("app")
    commit = repo.commit({"run.sh": "#!/bin/sh\necho hello\n", "data/a": "1\n"})
    if tls:
        assert pi.run(["git", "ls-remote", repo.url], check=False).returncode
        pi.trust(server.ca)
    assert pi.sh(f"git ls-remote --heads {repo.url}") == f"{commit}\trefs/heads/main"
    pi.sh(f"git clone -q {repo.url} /srv/app")
    assert pi.sh("/srv/app/run.sh") == "hello"


def test_the_server_refuses_hangs_and_stops_as_told(
    machine: Machines, git_server: GitServers
) -> None:
    pi = machine().boot()
    server = git_server(pi)
    repo = server.repo("app")
    repo.commit({"a": "1"})
    server.behave(token="sesame")
    bad = pi.run(f"GIT_TERMINAL_PROMPT=0 git ls-remote {repo.url}", check=False)
    assert bad.returncode == 128
    assert "Username" in bad.stderr
    assert "refs/heads/main" in pi.sh(f"git ls-remote {repo.url.replace('//', '//x:sesame@')}")
    server.behave(status=503, text="be back soon")
    assert "503" in pi.run(["git", "ls-remote", repo.url], check=False).stderr
    server.behave(hang=True)
    assert pi.run(["timeout", "1", "git", "ls-remote", repo.url], check=False).returncode == 124
    server.stop()
    assert "onnect" in pi.run(["git", "ls-remote", repo.url], check=False).stderr
    server.behave()
    server.start()
    assert "refs/heads/main" in pi.sh(f"git ls-remote {repo.url}")


def test_the_cable_can_be_cut(machine: Machines, git_server: GitServers) -> None:
    pi = machine().boot()
    repo = git_server(pi).repo("app")
    repo.commit({"a": "1"})
    pi.network.cut()
    assert pi.read("/sys/class/net/eth0/carrier") == "0\n"
    assert pi.run(["timeout", "2", "git", "ls-remote", repo.url], check=False).returncode
    pi.network.restore()
    assert "refs/heads/main" in pi.sh(f"git ls-remote {repo.url}")


def test_a_failed_unit_fails_the_boot_and_is_named(machine: Machines) -> None:
    pi = machine()
    pi.write("/etc/systemd/system/broken.service", MARK.replace("=true", "=false\nType=oneshot"))
    pi.run(["systemctl", "enable", "broken"])
    with pytest.raises(AssertionError, match=r"degraded, not running[^$]*\$[^$]*broken\.service"):
        pi.boot()
    with pytest.raises(CommandFailed, match="exit 3"):
        pi.run("exit 3")


def test_two_machines_share_one_root_and_nothing_else(machine: Machines) -> None:
    one, two = machine(hostname="one").boot(), machine(hostname="two").boot()
    one.write("/etc/mark", "x")
    assert not two.exists("/etc/mark")
    one.poweroff()
    assert two.sh("systemctl is-system-running; hostname") == "running\ntwo"


def test_a_killed_machine_leaves_nothing_behind(root: Root) -> None:
    with Machine(root) as pi:
        pi.boot()
        assert pi.name in _traces(pi.name)
    assert _traces(pi.name) == ""
    with Network() as network:
        with Machine(root, network) as pi:
            pi.boot()
        assert not pi.running
        assert "overlay" not in _traces(pi.name)
    assert _traces(pi.name) == ""


def _traces(name: str) -> str:
    """Return every mount, process, namespace and cgroup that bears the name of a bed."""
    commands = ("cat /proc/mounts", "ps -eo args", "ip netns", "find /sys/fs/cgroup -type d")
    found = [
        line
        for command in commands
        for line in subprocess.run(
            command.split(), capture_output=True, text=True, check=False
        ).stdout.splitlines()
        if name in line
    ]
    found += [str(p) for p in Path("/run/systemd/nspawn/propagate").glob(name)]
    return "\n".join(found)
