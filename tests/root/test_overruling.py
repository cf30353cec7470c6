"""What a device cannot do, or others do not let PioT do: told before anything is applied."""

from __future__ import annotations

from pathlib import Path

import pytest

from piot_firstboot import firstboot, overruling
from piot_firstboot.system import System
from tests.kit.small import Tree

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIP60Jb5IUMtw4XyjIaeW+nxoJyu2oD9i59eaaXTy6QIa ada@laptop"
USER = f"[user]\nname = ada\nauthorized_key = {KEY}\n"
DEBIAN = "# x\n\nInclude /etc/ssh/sshd_config.d/*.conf\n#Port 22\nKbdInteractiveAuthentication no\n"
SUDOERS = "Defaults env_reset\nroot ALL=(ALL:ALL) ALL\n@includedir /etc/sudoers.d\n"
DROP_IN = "etc/ssh/sshd_config.d/10-piot.conf"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Make a tree with the files that Debian brings."""
    made = Tree(tmp_path)
    made.system.write("/etc/ssh/sshd_config", DEBIAN.encode())
    made.system.write("/etc/sudoers", SUDOERS.encode(), 0o440)
    return made


def refused(tree: Tree, text: str, section: str) -> tuple[str, str]:
    """Return why a section is not applied and the hint: the same beforehand and afterwards."""
    tree.conf(f"[device]\nhostname = garden\n{text}")
    planned, changes = firstboot.plan(tree.system)
    assert not planned.ok and "create file /etc/hostname" in map(str, changes)
    report = firstboot.converge(tree.system)
    assert tree.read("etc/hostname") == "garden\n", "the rest is applied"
    (line, *_) = (line for line in report.lines if line.section == section)
    assert line.state == "failed" and line.why and line.next_step
    assert f"[{section}] cannot be applied: {line.why}" in planned.text()
    assert line.next_step in planned.text() and line.next_step in report.text()
    return line.why, line.next_step


# -- SSH ----------------------------------------------------------------------------------------


def test_debian_lets_the_drop_in_be_the_first_word(tree: Tree) -> None:
    tree.conf(f"{USER}[ssh]\npassword_login = no\nport = 2222\n")
    assert firstboot.converge(tree.system).ok


@pytest.mark.parametrize(
    "text",
    [
        "Port 22\n",
        "",
        "#Include /etc/ssh/sshd_config.d/*.conf\n",
        "Include /etc/ssh/other/*.conf\n",
    ],
)
def test_an_sshd_config_without_its_include(tree: Tree, text: str) -> None:
    tree.system.write("/etc/ssh/sshd_config", text.encode())
    why, hint = refused(tree, f"{USER}[ssh]\npassword_login = no\n", "ssh")
    assert why == "/etc/ssh/sshd_config does not read /etc/ssh/sshd_config.d"
    assert hint == "make this its first line: Include /etc/ssh/sshd_config.d/*.conf"
    assert not (tree.root / DROP_IN).exists()
    # Where no line of it is asked for, it does not matter.
    tree.conf(f"{USER}[ssh]\nenabled = yes\n")
    assert firstboot.converge(tree.system).ok


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/etc/ssh/sshd_config", f"passwordauthentication yes\n{DEBIAN}"),
        ("/etc/ssh/sshd_config.d/01-vendor.conf", "PasswordAuthentication=yes\n"),
    ],
)
def test_what_sshd_reads_first_goes_first(tree: Tree, path: str, text: str) -> None:
    tree.system.write(path, text.encode())
    why, _ = refused(tree, f"{USER}[ssh]\npassword_login = no\n", "ssh")
    assert why == f"{path} says PasswordAuthentication before PioT can"


def test_what_sshd_reads_later_or_for_some_only(tmp_path: Path) -> None:
    system = System(str(tmp_path))
    assert overruling.sshd_includes(system), "unknown"
    folder = "/etc/ssh/sshd_config.d"
    for name in ("50-cloud-init.conf", "10-piot.conf", "00-off.conf.bak"):
        system.write(f"{folder}/{name}", b"PasswordAuthentication yes\n")
    system.write(f"{folder}/05-some.conf", b"X11Forwarding no\nMatch User x\nPort 9\n")
    system.write("/etc/ssh/sshd_config", f"{DEBIAN}PasswordAuthentication yes\n".encode())
    assert overruling.sshd_before(system) == {"x11forwarding": f"{folder}/05-some.conf"}


# -- sudo ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "rule", "told"),
    [
        ("/etc/sudoers.d/99-all", "ada ALL=(ALL) NOPASSWD: ALL", True),
        ("/etc/sudoers.d/zz", "%sudo ALL = (ALL) \\\n  NOPASSWD: ALL", True),
        ("/etc/sudoers.d/99-all", "ALL ALL=(ALL) NOPASSWD: ALL", True),
        ("/etc/sudoers.d/010_pi-nopasswd", "ada ALL=(ALL) NOPASSWD: ALL", False),
        ("/etc/sudoers.d/99-other", "bob ALL=(ALL) NOPASSWD: ALL", False),
        ("/etc/sudoers.d/99-all", "ada ALL=(ALL) PASSWD: ALL", False),
        ("/etc/sudoers.d/99.bak", "ada ALL=(ALL) NOPASSWD: ALL", False),
        ("/etc/sudoers.d/99-all", "# ada ALL=(ALL) NOPASSWD: ALL", False),
        ("/etc/sudoers", f"{SUDOERS}ada ALL=(ALL) NOPASSWD: ALL", True),
    ],
)
def test_a_rule_that_sudo_reads_later(tree: Tree, path: str, rule: str, told: bool) -> None:
    """The account is made all the same: a person without sudo is better than no person."""
    tree.system.write(path, f"{rule}\n".encode(), 0o440)
    tree.conf(f"{USER}password_hash = !\nsudo = password\n")
    planned, _ = firstboot.plan(tree.system)
    report = firstboot.converge(tree.system)
    assert planned.ok and report.ok and "ada" in tree.system.accounts("passwd")
    for text in (planned.text(), report.text(), firstboot.converge(tree.system).text()):
        assert (f"[user] sudo = password does not hold: {path} is read later" in text) is told
        assert ("remove that line, or the file" in text) is told


def test_no_sudo_at_all(tree: Tree) -> None:
    tree.system.write("/etc/sudoers.d/99-all", b"ada ALL=(ALL) ALL\n", 0o440)
    tree.conf(f"{USER}sudo = no\n")
    assert "sudo = no does not hold" in firstboot.converge(tree.system).text()


# -- what is not there --------------------------------------------------------------------------


def test_a_job_of_a_user_who_is_not_there(tree: Tree) -> None:
    job = "[job.backup]\nrun = /bin/true\nevery = 1h\nuser = bob\n"
    why, hint = refused(tree, job, "job.backup")
    assert why == "there is no user bob"
    assert "[user.bob]" in hint
    # One that the same file makes is there in time.
    tree.conf(f"{job}[user.bob]\nauthorized_key = {KEY}\n")
    assert firstboot.converge(tree.system).ok
    unit = tree.read("etc/systemd/system/piot-device-backup.service")
    assert "User=bob" in unit


def test_an_access_point_where_only_netplan_is(tree: Tree) -> None:
    tree.system.write("/usr/sbin/netplan", b"", 0o755)
    text = "[fallback]\nwifi_ap_after = 5min\nwifi_ap_password = correct horse\n"
    why, hint = refused(tree, text, "fallback")
    assert why == "only NetworkManager can open an access point"
    assert "apt install network-manager" in hint
    assert not tree.system.names("/etc/systemd/system/timers.target.wants")
    tree.system.write("/usr/sbin/NetworkManager", b"", 0o755)
    assert firstboot.converge(tree.system).ok


def test_a_group_that_is_not_there(tree: Tree) -> None:
    """A problem of the file, with its place: it may be a typo."""
    tree.conf(f"{USER}groups = gpio\n")
    report = firstboot.converge(tree.system)
    (problem,) = report.problems
    assert (problem.line, problem.message) == (4, "there is no group gpio")
    assert "sudo groupadd" in problem.hint
