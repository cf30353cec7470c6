"""People on a booted machine: passwords, keys, sudo and the guard, with the real sshd."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from piot_firstboot.config import parse
from piot_firstboot.facts import Facts
from piot_firstboot.items import File
from piot_firstboot.render import render_config
from tests.kit import roots
from tests.kit.deb import deb, machine_root
from tests.kit.gitserver import make_certificates
from tests.kit.machine import Machine
from tests.kit.network import MACHINE, SERVER, Network
from tests.kit.wait import eventually

PASSWORD = "ключ 🌱🔑 $6$x #"
CONF = "/boot/firmware/piot.conf"
DROP_IN = "/etc/ssh/sshd_config.d/10-piot.conf"
# What a person types when asked, for ssh and sudo alike.
ASK = '#!/bin/sh\nprintf "%s\\n" "$ANSWER"\n'
GITHUB = """\
import http.server, ssl, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.removeprefix("/").removesuffix(".keys")
        path = sys.argv[1] + "/" + name
        try:
            data, status = open(path, "rb").read(), 200
        except OSError:
            data, status = b"Not Found", 404
        self.send_response(status)
        self.end_headers()
        self.wfile.write(data)
server = http.server.ThreadingHTTPServer((sys.argv[2], 443), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1] + "/server.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
print("ready", flush=True)
server.serve_forever()
"""


class Pi:
    """A machine, the network around it, and a laptop that logs in."""

    def __init__(self, machine: Machine, network: Network, folder: Path) -> None:
        self.machine = machine
        self.network = network
        self.folder = folder
        ask = folder / "ask"
        ask.write_text(ASK)
        ask.chmod(0o755)
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ada@laptop"]
        subprocess.run([*argv, "-f", str(folder / "id")], check=True)
        self.key = (folder / "id.pub").read_text().strip()

    def apply(self, text: str, *, code: int = 0) -> dict[str, object]:
        """Write piot.conf, apply it and return the report."""
        self.machine.write(CONF, text)
        done = self.machine.run(["piot", "apply"], check=False, timeout=180)
        assert done.returncode == code, done.stdout + done.stderr
        report: dict[str, object] = json.loads(self.machine.read("/var/lib/piot/report.json"))
        return report

    def ssh(
        self, *words: str, password: str = "", port: int = 22, user: str = "ada", key: str = "id"
    ) -> str:
        """Log in from the laptop, with a key unless a password is given; "" when refused."""
        way = "password" if password else "publickey"
        options = [f"-oPreferredAuthentications={way}", "-oStrictHostKeyChecking=no"]
        options += ["-oUserKnownHostsFile=/dev/null", "-oLogLevel=ERROR", "-oConnectTimeout=10"]
        options += ["-oNumberOfPasswordPrompts=1", "-oIdentitiesOnly=yes", "-F", "none"]
        argv = ["ssh", *options, "-i", str(self.folder / key), "-p", str(port)]
        env = {"PATH": "/usr/bin:/bin", "ANSWER": password, "SSH_ASKPASS_REQUIRE": "force"}
        env |= {"SSH_ASKPASS": str(self.folder / "ask"), "LC_ALL": "C.UTF-8"}
        done = subprocess.run(
            self.network.server_command(*argv, f"{user}@{MACHINE}", *words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=env,
            timeout=60,
            check=False,
        )
        return done.stdout.strip()

    def sudo(self, *words: str, user: str = "ada") -> str:
        """Try to become root without a password; return what sudo says."""
        self.machine.run(["runuser", "-u", user, "--", "sudo", "-K"], check=False)
        argv = ["runuser", "-u", user, "--", "sudo", "-n", *words, "id", "-un"]
        done = self.machine.run(argv, check=False)
        return (done.stdout + done.stderr).strip()


@pytest.fixture(scope="module", params=roots.RELEASES)
def pi(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pi]:
    """Boot a machine with PioT, and as yet without a piot.conf."""
    folder = tmp_path_factory.mktemp("laptop")
    with (
        Network() as network,
        Machine(machine_root(request.param, deb()), network) as machine,
    ):
        yield Pi(machine.boot(), network, folder)


def test_a_password_of_any_characters_lets_in_over_ssh(pi: Pi) -> None:
    """And lies nowhere: not in the file, not in the store, not in the journal."""
    text = f"[user]\nname = ada\npassword = {PASSWORD}\n[ssh]\npassword_login = yes\n"
    pi.apply(text)
    assert pi.ssh("id", "-un", password=PASSWORD) == "ada"
    assert pi.ssh("id", "-un", password=PASSWORD[:-1]) == ""
    shadow = pi.machine.sh("getent shadow ada").split(":")
    assert shadow[1].startswith("$y$")
    assert pi.machine.read(CONF).splitlines()[2] == "password = @stored"
    found = pi.machine.run(["grep", "-rlF", "--", PASSWORD, "/etc", "/var", "/boot"], check=False)
    assert found.stdout == ""
    assert PASSWORD not in pi.machine.sh("journalctl -o export --no-pager | cat -v")
    # The same again, from the store: nothing changes, and it still fits.
    pi.machine.run(["piot", "apply", "--all"], timeout=180)
    assert pi.machine.sh("getent shadow ada").split(":") == shadow


def test_sudo_asks_as_the_file_says_whatever_others_grant(pi: Pi) -> None:
    """Raspberry Pi OS and cloud-init leave NOPASSWD rules for the first user."""
    for name in ("010_pi-nopasswd", "90-cloud-init-users"):
        pi.machine.write(f"/etc/sudoers.d/{name}", "ada ALL=(ALL) NOPASSWD: ALL\n", 0o440)
    base = f"[user]\nname = ada\nauthorized_key = {pi.key}\npassword = @stored\n"
    pi.apply(f"{base}sudo = password\n")
    assert "a password is required" in pi.sudo()
    pi.apply(f"{base}sudo = nopasswd\n")
    assert pi.sudo() == "root"
    pi.apply(f"{base}sudo = no\n")
    # sudo asks for the password before it says no.
    listed = pi.machine.run(["sudo", "-l", "-U", "ada"], check=False).stdout
    assert "!ALL" in listed.splitlines()[-1]
    assert pi.sudo() != "root"
    pi.machine.run("rm /etc/sudoers.d/010_pi-nopasswd /etc/sudoers.d/90-cloud-init-users")


def test_a_key_lets_in_and_another_port_is_listened_on(pi: Pi) -> None:
    base = f"[user]\nname = ada\nauthorized_key = {pi.key}\n[ssh]\npassword_login = no\n"
    pi.apply(base)
    assert pi.ssh("id", "-un") == "ada"
    assert pi.ssh("id", "-un", password=PASSWORD) == ""
    pi.apply(f"{base}port = 2222\n")
    eventually(lambda: pi.ssh("id", "-un", port=2222) == "ada", 20, "sshd at port 2222")
    assert pi.ssh("id", "-un") == ""
    pi.apply(base)
    eventually(lambda: pi.ssh("id", "-un") == "ada", 20, "sshd back at port 22")


def test_sshd_reads_any_key_and_any_setting_as_it_was_meant(pi: Pi) -> None:
    """Keys of each kind with odd options and comments let in; `sshd -T` says the same."""
    lines = [f"authorized_key = {pi.key}"]
    odd = ("🌱 # \"x\" 'y' \\", 'command="id -un" ssh-rsa AAAA', "$(id) %h ;")
    for kind, comment in zip(("ed25519", "rsa", "ecdsa"), odd, strict=True):
        argv = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(pi.folder / kind)]
        subprocess.run(argv, check=True, timeout=60)
        key = " ".join((pi.folder / f"{kind}.pub").read_text().split()[:2])
        options = f'restrict,from="10.0.0.0/8,192.168.*",command="echo \\"{kind}\\" #=,"'
        lines.append(f"authorized_key = {options} {key} {comment}")
    base = "\n".join(("[user]", "name = ada", *lines, ""))
    pi.apply(base)
    for kind in ("ed25519", "rsa", "ecdsa"):
        assert pi.ssh("id", "-un", key=kind) == kind
    assert pi.ssh("id", "-un") == "ada"
    noise = random.Random(7)
    told = {}
    for port in (22, 65535, *(noise.randrange(1024, 65536) for _ in range(10))):
        word = noise.choice(("yes", "no"))
        parts = render_config(
            parse(f"[ssh]\nport = {port}\npassword_login = {word}\n".encode()), Facts()
        )
        items = [item for part in parts for item in part.items if isinstance(item, File)]
        pi.machine.write(f"/tmp/sshd/{port}", items[0].content)
        told[str(port)] = f"port {port} passwordauthentication {word}"
    look = "for f in *; do echo $f $(sshd -T -f $f | grep -E '^(port|passwordauth)'); done"
    said = pi.machine.sh(f"cd /tmp/sshd && PATH=$PATH:/usr/sbin && {look}")
    assert dict(line.split(" ", 1) for line in said.splitlines()) == told


def test_a_port_takes_over_from_socket_activation(pi: Pi) -> None:
    """systemd would go on listening at port 22, and Port would be ignored in silence."""
    base = f"[user]\nname = ada\nauthorized_key = {pi.key}\n"
    pi.apply(base)
    pi.machine.sh("systemctl disable --now ssh.service; systemctl enable --now ssh.socket")
    assert pi.ssh("id", "-un") == "ada"
    pi.apply(f"{base}[ssh]\nport = 2200\n")
    eventually(lambda: pi.ssh("id", "-un", port=2200) == "ada", 20, "sshd at port 2200")
    assert pi.ssh("id", "-un") == ""
    pi.machine.reboot()
    assert pi.ssh("id", "-un", port=2200) == "ada"
    pi.apply(base)
    eventually(lambda: pi.ssh("id", "-un") == "ada", 20, "sshd back at port 22")


def test_a_drop_in_that_sshd_refuses_never_takes_its_place(pi: Pi) -> None:
    script = "from piot_firstboot.render.ssh import _JUDGE; print(_JUDGE)"
    judge = pi.machine.sh(f"cd / && python3 -c '{script}'")
    pi.machine.write("/tmp/bad", "Port 22\nPasswordAuthentication perhaps\n")
    # As early in a first boot: neither host keys nor /run/sshd.
    pi.machine.sh("mkdir /tmp/kept && mv /etc/ssh/ssh_host_* /tmp/kept")
    try:
        done = pi.machine.run(["sh", "-ec", judge, "/tmp/bad"], check=False)
        assert done.returncode and "line 2" in done.stderr
        pi.machine.write("/tmp/good", "Port 22\nPasswordAuthentication no\n")
        assert pi.machine.run(["sh", "-ec", judge, "/tmp/good"]).stderr == ""
    finally:
        pi.machine.sh("mv /tmp/kept/* /etc/ssh && rmdir /tmp/kept")


def test_the_guard_takes_back_what_locks_everyone_out(pi: Pi) -> None:
    """Somebody else's drop-in lets nobody in but a user who does not exist."""
    base = f"[user]\nname = ada\nauthorized_key = {pi.key}\n[ssh]\npassword_login = "
    pi.apply(f"{base}no\n")
    former = pi.machine.read(DROP_IN)
    pi.machine.write("/etc/ssh/sshd_config.d/50-other.conf", "AllowUsers nobody\n")
    report = pi.apply(f"{base}no\nport = 2222\n", code=1)
    assert "AllowUsers nobody" in json.dumps(report)
    assert pi.machine.read(DROP_IN) == former
    pi.machine.sh("rm /etc/ssh/sshd_config.d/50-other.conf && systemctl reload ssh")
    eventually(lambda: pi.ssh("id", "-un") == "ada", 20, "sshd as it was")
    pi.machine.write(CONF, f"{base}no\n")
    pi.machine.run(["piot", "apply", "--all"], timeout=180)


def test_keys_come_from_github_and_stay_when_it_is_away(pi: Pi) -> None:
    pages = pi.folder / "github"
    pages.mkdir(exist_ok=True)
    make_certificates(pages, "github.com")
    (pages / "ada").write_text(f"{pi.key}\nssh-dss AAAA\n")
    pi.machine.trust(pages / "ca.crt")
    pi.machine.sh(f"echo '{SERVER} github.com' >>/etc/hosts; rm -f /home/ada/.ssh/*")
    argv = pi.network.server_command(sys.executable, "-c", GITHUB, str(pages), SERVER)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout and server.stdout.readline() == "ready\n"
            pi.apply("[user]\nname = ada\nimport_keys = gh:ada\n")
            eventually(lambda: pi.ssh("id", "-un") == "ada", 60, "the key of GitHub's ada")
        finally:
            server.kill()
    pi.machine.reboot()
    pi.machine.run(["piot", "apply", "--all"], check=False, timeout=180)
    assert pi.ssh("id", "-un") == "ada"
