"""docs/tutorial.md is true: a new user's first hour, played on a laptop and a device.

After a wanted change of what is printed:

    PIOT_REWRITE=1 ./dev test tests/machine/test_tutorial.py && git diff docs/tutorial.md
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.kit import deb, roots
from tests.kit.git_repo import ENVIRONMENT
from tests.kit.gitserver import GitServer
from tests.kit.machine import Machine
from tests.kit.network import MACHINE, Network
from tests.kit.tutorial import TUTORIAL, play
from tests.kit.wait import eventually

CHECKOUT = Path(__file__).parents[2]
ADDRESS = "https://git.example.org/ada/station.git"  # in the tutorial; here it is the test's server
FOLLOWED = 12  # seconds of what would go on for ever
REWRITE = bool(os.environ.get("PIOT_REWRITE"))


def test_the_tutorial_is_true(tmp_path: Path) -> None:
    """On the newest release; the laptop is this computer, with nothing but Python and git."""
    laptop = tmp_path / "station"
    laptop.mkdir()
    programs = tmp_path / "bin"
    programs.mkdir()
    launcher = f'#!/bin/sh\nexec {sys.executable} -m piot_firstboot "$@"\n'
    (programs / "piot").write_text(launcher)
    (programs / "piot").chmod(0o755)
    root = deb.machine_root(roots.RELEASES[0], deb.deb())
    with (
        Network() as network,
        GitServer(network.folder / "git", network) as server,
        Machine(root, network, hostname="station") as pi,
    ):
        pi.boot()
        repo = server.repo("station")
        settings = {
            **os.environ,
            **ENVIRONMENT,
            "HOME": str(tmp_path),
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(CHECKOUT),
            "TZ": "Europe/Berlin",
            "GIT_CONFIG_GLOBAL": str(tmp_path / ".gitconfig"),
        }
        config = f'[init]\n\tdefaultBranch = main\n[url "{repo.bare}"]\n\tinsteadOf = {ADDRESS}\n'
        (tmp_path / ".gitconfig").write_text(config)
        log_in(pi, network, tmp_path)

        def run(command: str, on_device: bool) -> str:
            if on_device:
                return on_pi(command)
            words = ["sh", "-c", command]
            done = subprocess.run(
                words, cwd=laptop, env=settings, text=True, timeout=60, check=False,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            return done.stdout

        def on_pi(command: str) -> str:
            if command.endswith("-f"):
                command = f"timeout {FOLLOWED} {command}"
            script = f"cd /; {command.replace('sudo ', '')} 2>&1"
            printed = pi.run(script, check=False, timeout=180).stdout
            if "piot apply" in command:
                deployed(pi, "committed")
            return printed.replace(repo.url, ADDRESS)

        def write(name: str, text: str) -> None:
            if name.startswith("pi:"):
                pi.write(name[3:], text.replace(ADDRESS, repo.url))
                return
            (laptop / name).write_text(text)
            (laptop / name).chmod(0o755 if text.startswith("#!") else 0o644)

        text = TUTORIAL.read_text()
        played, wrong = play(text, run, write)
        if REWRITE:
            TUTORIAL.write_text(played)
        assert not wrong, "\n".join(wrong) + shlex.join(["", pi.diagnosis()])
        # And what is deployed is what its folder would become.
        pi.run(["git", "clone", "-q", repo.url, "/srv/station"])
        assert re.fullmatch(r"\d+ units of station as they are", pi.sh("piot plan /srv/station"))


def log_in(pi: Machine, network: Network, folder: Path) -> None:
    """Give ada an account on the device, and the laptop its name: the real ssh, a real sshd."""
    key = folder / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    pi.sh("useradd --create-home ada && install -d -m 0700 -o ada /home/ada/.ssh")
    pi.write("/home/ada/.ssh/authorized_keys", key.with_suffix(".pub").read_text())
    pi.sh("ssh-keygen -A && systemctl restart ssh")
    config = folder / "ssh_config"
    config.write_text(
        f"Host station.local\nHostName {MACHINE}\nIdentityFile {key}\nIdentitiesOnly yes\n"
        f"UserKnownHostsFile {folder / 'known_hosts'}\nStrictHostKeyChecking accept-new\n"
    )
    ssh = shlex.join(network.server_command("/usr/bin/ssh", "-F", str(config)))
    (folder / "bin/ssh").write_text(f'#!/bin/sh\nexec {ssh} "$@"\n')
    (folder / "bin/ssh").chmod(0o755)


def deployed(pi: Machine, step: str) -> None:
    """Wait until the deploy that `piot apply` started has come to its end."""
    state = "/var/lib/piot/apps/station/state.json"
    eventually(
        lambda: pi.exists(state) and f'"{step}"' in pi.read(state), 90, "the first deploy", 0.3
    )
