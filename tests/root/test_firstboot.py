"""piot firstboot and piot apply against a temporary root: files only, nothing started."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piot_firstboot import firstboot, idle, trial
from piot_firstboot.describe import describe
from piot_firstboot.errors import ApplyError
from piot_firstboot.system import System
from tests.kit.fake_command import fake_command
from tests.kit.small import Tree
from tests.kit.tree import texts
from tests.unit.test_config import CONFS

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIP60Jb5IUMtw4XyjIaeW+nxoJyu2oD9i59eaaXTy6QIa ada@laptop"
CONF = f"""\
[device]
hostname = garden
timezone = Europe/Berlin
[user]
name = ada
authorized_key = {KEY}
[ssh]
password_login = no
[app]
repo = https://git.example.org/ada/garden.git
[secrets]
API_KEY = s3cr3t-value
"""


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Make a tree."""
    return Tree(tmp_path)


MADE = {
    "/boot/firmware/piot-report.txt",
    "/etc/hostname",
    "/etc/localtime",
    "/etc/ssh/sshd_config.d/10-piot.conf",
    "/etc/sudoers.d/95-piot-ada",
    "/etc/systemd/system/multi-user.target.wants/ssh.service",
    "/etc/systemd/system/piot-deploy@garden.timer.d/poll.conf",
    "/etc/systemd/system/timers.target.wants/piot-deploy@garden.timer",
    "/etc/timezone",
    "/home/ada/.ssh/authorized_keys",
    "/run/piot/conf.lock",
    "/run/piot/garden.lock",
    "/var/lib/piot/apps/garden/app.json",
    "/var/lib/piot/owned/conf.app",
    "/var/lib/piot/owned/conf.device",
    "/var/lib/piot/owned/conf.secrets",
    "/var/lib/piot/owned/conf.ssh",
    "/var/lib/piot/owned/conf.user",
    "/var/lib/piot/report.json",
    "/var/lib/piot/secrets/API_KEY",
}
# What useradd and systemd-sysusers leave behind: copies of their tables, locks, mail, skeletons.
TOOLS = re.compile(
    r"/etc/(passwd|group|shadow|gshadow|subuid|subgid|\.)|/var/mail/|/home/ada/\.[bp]"
)


def test_everything_is_in_place_and_nothing_else(tree: Tree) -> None:
    tree.conf(CONF)
    before = texts(tree.root)
    report = firstboot.converge(tree.system)
    assert report.ok, report.text()
    made = {path for path in texts(tree.root) if path not in before and not TOOLS.match(path)}
    assert made == MADE
    assert tree.read("etc/hostname") == "garden\n"
    assert tree.read("etc/hosts") == "127.0.0.1 localhost\n127.0.1.1\tgarden\n"
    assert (tree.root / "etc/localtime").readlink() == Path("/usr/share/zoneinfo/Europe/Berlin")
    assert tree.read("home/ada/.ssh/authorized_keys") == f"{KEY}\n"
    assert tree.read("var/lib/piot/secrets/API_KEY") == "s3cr3t-value"
    assert json.loads(tree.read("var/lib/piot/apps/garden/app.json"))["name"] == "garden"
    assert "PasswordAuthentication no" in tree.read("etc/ssh/sshd_config.d/10-piot.conf")
    accounts = tree.system.accounts("passwd")
    assert accounts["ada"][5] == "/home/ada" and "piot-garden" in accounts
    assert "ada" in tree.system.accounts("group")["sudo"][3].split(",")
    wanted = tree.root / "etc/systemd/system/multi-user.target.wants/ssh.service"
    assert wanted.is_symlink()


def test_a_hash_goes_through_a_pipe(
    tree: Tree, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    bindir = tmp_path_factory.mktemp("bin")
    fake = fake_command(bindir, "chpasswd")
    monkeypatch.setenv("PATH", f"{bindir}:{os.environ['PATH']}")
    hashed = "$6$piot$59PKoFhAnuyyskpYt7putpgsjdvC5tErnIIL28amIuOdoLWQRH.cJUh7QdryS58KYBCQaifBZY"
    hashed += "wk7fiCko5vW."
    tree.conf(CONF.replace("name = ada", f"name = ada\npassword_hash = {hashed}"))
    report = firstboot.converge(tree.system)
    assert report.ok, report.text()
    (call,) = fake.calls()
    assert call.argv == ("chpasswd", "--root", str(tree.root), "-e")
    assert call.stdin == f"ada:{hashed}\n"
    assert hashed not in report.text() + report.json()


def test_twice_is_once(tree: Tree) -> None:
    tree.conf(CONF)
    firstboot.converge(tree.system)
    # The report of the first time lists its changes; from the second on nothing is left to say.
    assert firstboot.converge(tree.system).changes == ()
    before = tree.state()
    assert firstboot.converge(tree.system).changes == ()
    assert tree.state() == before


def test_a_tree_with_secrets_in_the_file_is_not_done(tree: Tree) -> None:
    """The first boot of the device moves them to the store; no stamp may keep it from that."""
    tree.conf(CONF)
    assert firstboot.converge(tree.system).ok
    assert not idle.unchanged(str(tree.root))
    tree.conf(CONF.replace("API_KEY = s3cr3t-value", "API_KEY = @stored"))
    assert firstboot.converge(tree.system).ok
    assert idle.unchanged(str(tree.root))


def test_plan_tells_and_touches_nothing(tree: Tree) -> None:
    tree.conf(CONF)
    before = tree.state()
    report, changes = firstboot.plan(tree.system)
    assert {"create login ada", "create symlink /etc/localtime"} <= set(map(str, changes))
    assert tree.state() == before
    assert "s3cr3t-value" not in "\n".join([report.text(), report.json(), *map(describe, changes)])


def test_a_wrong_file_applies_nothing_and_reports_every_problem(tree: Tree) -> None:
    tree.conf(CONF)
    firstboot.converge(tree.system)
    hostname = tree.read("etc/hostname")
    tree.conf(CONF.replace("hostname = garden", "hostnam = x").replace("[ssh]", "[shh]"))
    report = firstboot.converge(tree.system)
    assert not report.ok and len(report.problems) >= 2
    assert tree.read("etc/hostname") == hostname
    said = (tree.root / "boot/firmware/piot-report.txt").read_bytes().decode()
    assert "piot.conf:2:1: " in said and "did you mean" in said and "[shh]" in said
    assert "\n" not in said.replace("\r\n", "")
    assert "s3cr3t-value" not in said
    assert json.loads(tree.read("var/lib/piot/report.json"))["ok"] is False
    assert not idle.unchanged(str(tree.root))


def test_the_former_file_brought_back_clears_the_report(tree: Tree) -> None:
    tree.conf(CONF)
    firstboot.converge(tree.system)
    tree.conf("[nonsense]\n")
    firstboot.converge(tree.system)
    tree.conf(CONF)
    assert not idle.unchanged(str(tree.root)), "else the old report would stay"
    assert firstboot.converge(tree.system).ok
    assert "nonsense" not in tree.read("boot/firmware/piot-report.txt")


def test_removed_settings_take_back_what_they_made(tree: Tree) -> None:
    tree.conf(CONF)
    firstboot.converge(tree.system)
    tree.conf("[device]\nhostname = garden\n")
    assert firstboot.converge(tree.system).ok
    for gone in (
        "etc/ssh/sshd_config.d/10-piot.conf",
        "etc/sudoers.d/95-piot-ada",
        "var/lib/piot/secrets",
        "var/lib/piot/apps/garden",
        "etc/systemd/system/piot-deploy@garden.timer.d/poll.conf",
    ):
        assert not (tree.root / gone).exists(), gone
    accounts = tree.system.accounts("passwd")
    assert "ada" in accounts, "a person's account is never removed"
    assert "piot-garden" not in accounts


@pytest.mark.parametrize("data", [b"", b"\r\n \r\n", b"\xff\xfe", b"\xef\xbb\xbf\n"])
def test_an_empty_file_is_a_card_that_was_pulled_out_and_takes_nothing_back(
    tree: Tree, data: bytes
) -> None:
    file = tree.root / "boot/firmware/piot.conf"
    file.write_bytes(data)
    assert firstboot.converge(tree.system).ok, "nothing was applied yet, and nothing is to do"
    tree.conf(CONF)
    firstboot.converge(tree.system)
    profile = tree.root / "etc/ssh/sshd_config.d/10-piot.conf"
    before = profile.read_bytes()
    file.write_bytes(data)
    for report in (firstboot.plan(tree.system)[0], firstboot.converge(tree.system, boot=True)):
        assert not report.ok and report.headline == "/boot/firmware/piot.conf: the file is empty"
        assert "a comment is enough" in report.next_step
    assert profile.read_bytes() == before and not idle.unchanged(str(tree.root))
    tree.conf("# nothing any more\n")
    assert firstboot.converge(tree.system).ok
    assert not profile.exists()


def test_a_link_that_leads_nowhere_takes_nothing_back(tree: Tree) -> None:
    tree.conf(CONF)
    firstboot.converge(tree.system)
    before = texts(tree.root / "etc")
    file = tree.root / "boot/firmware/piot.conf"
    file.unlink()
    file.symlink_to("/mnt/stick/piot.conf")
    for report in (firstboot.plan(tree.system)[0], firstboot.converge(tree.system, boot=True)):
        assert not report.ok
        assert report.headline == "/boot/firmware/piot.conf: a link that leads nowhere"
    assert texts(tree.root / "etc") == before and not idle.unchanged(str(tree.root))


def test_what_nothing_acts_on_is_said(tree: Tree) -> None:
    tree.conf(CONF + "[health]\ndisk_min = 10%\n[status]\nweb = on\n")
    note = "[health] [status]: accepted; this version does nothing with what it asks yet"
    assert firstboot.plan(tree.system)[0].notes == (note,)
    report = firstboot.converge(tree.system)
    assert report.ok and report.notes == (note,)
    states = {line.key: line.state for line in report.lines}
    assert states["disk_min"] == states["web"] == "noted"


def test_keys_that_others_added_stay(tree: Tree) -> None:
    tree.conf(CONF)
    firstboot.converge(tree.system)
    keys = tree.root / "home/ada/.ssh/authorized_keys"
    keys.write_text("ssh-ed25519 AAAA theirs\n" + keys.read_text())
    tree.conf(CONF.replace("ada@laptop", "ada@desk"))
    assert firstboot.converge(tree.system).ok
    assert keys.read_text().splitlines() == [
        "ssh-ed25519 AAAA theirs",
        KEY.replace("ada@laptop", "ada@desk"),
    ]


def test_no_conf_is_no_error(tree: Tree) -> None:
    report = firstboot.converge(tree.system)
    assert report.ok and "there is no piot.conf" in report.headline
    assert not (tree.root / "var").exists()


def test_a_boot_partition_that_cannot_be_written_is_no_failure(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree.conf(CONF.partition("[secrets]")[0])
    write = System.write

    def refuse(self: System, path: str, *args: object, **more: object) -> None:
        if path.startswith("/boot"):
            raise OSError(30, "Read-only file system")
        write(self, path, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(System, "write", refuse)
    assert firstboot.converge(tree.system).ok
    assert idle.unchanged(str(tree.root))


def test_one_run_at_a_time(tree: Tree) -> None:
    tree.conf(CONF)
    with (
        tree.system.lock("/run/piot/conf.lock"),
        pytest.raises(ApplyError, match="is being applied"),
    ):
        firstboot.converge(tree.system)


def test_what_the_device_cannot_do_keeps_back_its_own_section_only(tree: Tree) -> None:
    """No program that reads network profiles: the rest is applied, and it is tried again."""
    tree.conf("[device]\nhostname = garden\n[wifi]\nssid = x\ncountry = DE\n")
    planned, _ = firstboot.plan(tree.system)
    assert not planned.ok and "[wifi] cannot be applied: nothing on this" in planned.text()
    report = firstboot.converge(tree.system)
    assert tree.read("etc/hostname") == "garden\n"
    assert not report.ok and "[wifi] failed: nothing on this device reads" in report.headline
    assert "apt install network-manager" in report.next_step
    states = {(line.section, line.key): line.state for line in report.lines}
    assert states["device", "hostname"] == "applied" and states["wifi", "ssid"] == "failed"
    assert not tree.system.exists(idle.BOOT_STAMP)
    tree.system.write("/usr/sbin/NetworkManager", b"", 0o755)
    assert firstboot.converge(tree.system).ok
    assert "ssid=x" in tree.read("etc/NetworkManager/system-connections/piot-wifi.nmconnection")


def test_a_name_that_cannot_be_made_keeps_back_no_job(tree: Tree) -> None:
    """A device without a serial number: [device] fails, [job] runs under the name there is."""
    tree.conf("[device]\nhostname = pi-{model}\n[job.ping]\nrun = /bin/true\nevery = 1h\n")
    report = firstboot.converge(tree.system)
    assert not report.ok and "does not tell its model" in report.headline
    assert tree.system.exists("/etc/systemd/system/piot-device-ping.timer")


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """Make a tree that is planned for and never changed."""
    made = Tree(tmp_path_factory.mktemp("fuzzed"))
    made.system.write("/usr/sbin/NetworkManager", b"", 0o755)
    return made


@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=300) | CONFS)
def test_any_bytes_are_planned_for_or_refused(fuzzed: Tree, data: bytes) -> None:
    """The whole way to a plan: never a traceback, never a hang, and always something to read."""
    (fuzzed.root / "boot/firmware/piot.conf").write_bytes(data)
    start = time.monotonic()
    report, changes = firstboot.plan(fuzzed.system)
    assert time.monotonic() - start < 5
    assert report.ok or report.problems or "cannot be applied" in report.text()
    "\n".join([report.text(), report.json(), *map(describe, changes)]).encode()


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\xfe\0", b"[]", b'{"schema": 1}', b"\0" * 99])
def test_what_a_worn_card_damaged_is_found_out_again(tree: Tree, damage: bytes) -> None:
    """No file of PioT's own can keep a device from being set up."""
    tree.system.write("/usr/sbin/NetworkManager", b"", 0o755)
    tree.conf(f"{CONF}[wifi]\nssid = x\ncountry = DE\n")
    assert firstboot.converge(tree.system).ok
    made = [path for path in (tree.root / "var/lib/piot").rglob("*") if path.is_file()]
    made = [path for path in made if path.parent.name not in ("secrets", "garden")]
    # What only a running device has.
    ledger, network = tree.root / "var/lib/piot/sections.json", tree.root / "var/lib/piot/network"
    network.mkdir(exist_ok=True)
    for path in (*made, ledger, network / "trial.json", network / "refused.json"):
        path.write_bytes(damage)
    tree.conf(f"{CONF.replace('= garden', '= other', 1)}[wifi]\nssid = y\ncountry = DE\n")
    assert firstboot.plan(tree.system)[0].ok
    assert firstboot.converge(tree.system).ok
    assert tree.read("etc/hostname") == "other\n"
    assert "ssid=y" in tree.read("etc/NetworkManager/system-connections/piot-wifi.nmconnection")
    assert trial.refused(tree.system) is None
    assert trial.judge(tree.system, print) is None and not trial.is_open(tree.system)
