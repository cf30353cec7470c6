"""Accounts that are there already, and devices that differ: what rendering makes of the facts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from piot_firstboot import device
from piot_firstboot.config import parse
from piot_firstboot.facts import Facts, Person
from piot_firstboot.items import Directory, File, Item, Lines, Login, Unit
from piot_firstboot.render import render_config
from piot_firstboot.system import System
from tests.kit.tree import make_tree

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOB5IJq4WkfjuxH90Y3msiyt+J+xfqGkPOWEhagFFNM5 anna"
PI = frozenset("adm dialout cdrom sudo audio video plugdev users input gpio i2c spi docker".split())
USER = f"[user]\nname = anna\nauthorized_key = {KEY}\n"


def items(text: str, facts: Facts, *, late: bool = False) -> list[Item]:
    """Render all items of a piot.conf that are done at boot, or the late ones."""
    parts = render_config(parse(text.encode()), facts)
    return [item for part in parts if part.late == late for item in part.items]


def login(text: str, facts: Facts) -> Login:
    """Render the one account."""
    (found,) = [item for item in items(text, facts) if isinstance(item, Login)]
    return found


def test_an_account_keeps_its_home_and_main_group() -> None:
    facts = Facts(people={"anna": Person("/srv/anna", "users", "/bin/bash")})
    found = items(USER, facts)
    assert Directory("/srv/anna/.ssh", 0o700, "anna", "users") in found
    (lines,) = [item for item in found if isinstance(item, Lines)]
    assert (lines.path, lines.group) == ("/srv/anna/.ssh/authorized_keys", "users")


@pytest.mark.parametrize(
    ("now", "given", "then"),
    [
        (None, "", "/bin/bash"),
        ("/usr/bin/fish", "", "/usr/bin/fish"),
        ("", "", "/bin/bash"),  # nologin
        ("/usr/bin/fish", "shell = /bin/sh\n", "/bin/sh"),
    ],
)
def test_an_account_keeps_its_shell(now: str | None, given: str, then: str) -> None:
    people = {} if now is None else {"anna": Person("/home/anna", "anna", now)}
    assert login(USER + given, Facts(people=people)).shell == then


def test_the_main_user_joins_the_usual_groups() -> None:
    wanted = "adm dialout cdrom audio video plugdev users input gpio i2c spi sudo".split()
    assert login(USER, Facts(groups=PI)).groups == tuple(wanted)
    assert "sudo" not in login(f"{USER}sudo = no\n", Facts(groups=PI)).groups
    assert login(f"{USER}groups = docker\n", Facts(groups=PI)).groups == ("docker", "sudo")
    other = USER.replace("[user]\nname = anna", "[user.anna]")
    assert login(other, Facts(groups=PI)).groups == ("sudo",)


@pytest.mark.parametrize(
    ("sudo", "rule"), [("no", "!ALL"), ("password", "PASSWD: ALL"), ("nopasswd", "NOPASSWD: ALL")]
)
def test_the_rule_holds_against_those_of_others(sudo: str, rule: str) -> None:
    found = items(f"{USER}sudo = {sudo}\n", Facts())
    (file,) = [item for item in found if isinstance(item, File) and "sudoers" in item.path]
    assert file.content.decode().splitlines()[-1] == f"anna ALL=(ALL:ALL) {rule}"
    assert file.path.rpartition("/")[2] > "90-cloud-init-users"


@pytest.mark.parametrize(
    ("given", "rules"), [("", 0), ("sudo = no\n", 0), ("sudo = password\n", 1)]
)
def test_without_sudo_nothing_is_forbidden(given: str, rules: int) -> None:
    found = items(USER + given, replace(Facts(), sudo=False))
    assert sum(isinstance(item, File) and "sudoers" in item.path for item in found) == rules


def test_imported_keys_come_late_and_all_at_once() -> None:
    text = "[user]\nname = anna\nimport_keys = gh:anna\nimport_keys = lp:anna\n"
    one = {"gh:anna": (KEY,)}
    assert items(text, Facts(imported=one), late=True) == []
    both = {**one, "lp:anna": (KEY, f"{KEY}-2")}
    (_, lines) = items(text, Facts(imported=both), late=True)
    assert isinstance(lines, Lines) and set(lines.lines) == {KEY, f"{KEY}-2"}


def test_keys_from_the_network_need_the_server_too() -> None:
    """An account with import_keys alone was locked out where SSH is off, as on a fresh Pi."""
    found = items("[user]\nname = anna\nimport_keys = gh:anna\n", Facts())
    assert any(isinstance(i, Unit) and i.name == "ssh.service" and i.active for i in found)


@pytest.mark.parametrize(("socket", "change"), [(True, "restart"), (False, "reload")])
def test_a_port_takes_over_from_the_socket(socket: bool, change: str) -> None:
    found = items("[ssh]\nport = 2222\n", replace(Facts(), ssh_socket=socket))
    units = {item.name: item for item in found if isinstance(item, Unit)}
    assert (units["ssh.socket"].active, units["ssh.socket"].enabled) == (False, False)
    assert (units["ssh.service"].active, units["ssh.service"].on_change) == (True, change)
    assert list(units) == ["ssh.socket", "ssh.service"]  # one frees the port for the other


def test_accounts_are_read(tmp_path: Path) -> None:
    root = make_tree(
        tmp_path,
        {
            "/etc/passwd": (
                "anna:x:1000:100::/home/anna:/bin/zsh\n"
                "pi:x:1001:1001:,,,:/home/pi:/usr/bin/gone\n"
                "daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n"
                "damaged:x\n"
            ),
            "/etc/group": "users:x:100:\ndaemon:x:1:\n",
            "/etc/shells": "# comment\n/bin/zsh\n/usr/bin/gone\n",
            "/bin/zsh": "",
        },
    )
    system = System(str(root))
    assert device.people(system) == {
        "anna": Person("/home/anna", "users", "/bin/zsh"),
        "pi": Person("/home/pi", "1001", ""),
        "daemon": Person("/usr/sbin", "daemon", ""),
    }
    assert device.shells(system) == {"/bin/zsh"}
    assert device.facts(system).groups == {"users", "daemon"}
    assert not device.facts(system).sudo
