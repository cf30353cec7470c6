"""Rendering piot.conf: rules that hold for every file, and facts of the device."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from piot_firstboot.config import parse
from piot_firstboot.errors import ApplyError
from piot_firstboot.facts import Facts, host_name
from piot_firstboot.items import Directory, File, Item, Lines, Login, SystemUser, Unit, key
from piot_firstboot.plan import diff
from piot_firstboot.render import render_config

PI = Facts(
    serial="10000000abcdef12", mac="b8:27:eb:cd:ef:12", model="Raspberry Pi Zero 2 W Rev 1.0"
)
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIN37PX93Wq9BkAzh/habblgwdFoT1UyFbp2B+zuWRZv6 anna@laptop"
HASH = "$6$" + "s" * 16 + "$" + "h" * 86
ALL = f"""
[device]
hostname = pi-{{serial8}}
timezone = Europe/Berlin
[user]
name = anna
authorized_key = {KEY}
[user.bert]
password_hash = {HASH}
[ssh]
password_login = no
[app.one]
repo = /srv/one.git
[app.two]
repo = https://h/"two"
poll = off
[secrets]
A = hunter2
"""


def render(text: str) -> tuple[Item, ...]:
    """Render a piot.conf for a Pi."""
    parts = render_config(parse(text.encode()), PI)
    return tuple(item for part in parts for item in part.items)


def find(items: tuple[Item, ...], name: str) -> Item:
    """Find an item by its key."""
    return next(item for item in items if key(item) == name)


@pytest.mark.parametrize(
    ("pattern", "facts", "name"),
    [
        ("garden", Facts(), "garden"),
        ("{serial}", PI, "10000000abcdef12"),
        ("pi-{serial8}", PI, "pi-abcdef12"),
        ("{mac}", PI, "b827ebcdef12"),
        ("{mac6}", PI, "cdef12"),
        ("{model}", PI, "raspberry-pi-zero-2-w"),
        ("pi-{serial8}", Facts(mac="525400123456"), "pi-00123456"),
        ("pi-{mac6}", Facts(serial="10000000ABCDEF12"), "pi-cdef12"),
        ("{model}-x", Facts(model="m" * 80), "m" * 63),
        ("{model}", Facts(model="x" * 62 + " y"), "x" * 62),
        ("{model}.example", Facts(model="m" * 80), "m" * 63),
    ],
)
def test_host_name(pattern: str, facts: Facts, name: str) -> None:
    """Placeholders are filled from what is known, and the result is a valid name."""
    assert host_name(pattern, facts) == name


@pytest.mark.parametrize("pattern", ["{serial}", "{mac6}", "{model}"])
def test_host_name_of_an_unknown_device(pattern: str) -> None:
    """A device that tells nothing of itself gets no made-up name."""
    with pytest.raises(ApplyError, match="does not tell"):
        host_name(pattern, Facts())


def test_nothing_asked_nothing_changed() -> None:
    """An empty file wants nothing of the system."""
    assert diff(render(""), {}) == ()


def test_keys_are_unique_and_owners_exist() -> None:
    """No two items name the same thing; who owns a file is made by the same plan."""
    items = render(ALL)
    names = [key(item) for item in items]
    assert len(set(names)) == len(names)
    made = {"root"} | {item.name for item in items if isinstance(item, Login | SystemUser)}
    for item in items:
        if isinstance(item, File | Directory | Lines):
            assert item.owner in made and item.group in made


def test_secrets_are_for_root_and_marked() -> None:
    """Only the secret store holds a secret."""
    for item in render(ALL):
        if isinstance(item, File):
            assert item.secret == (b"hunter2" in item.content)
            assert not item.secret or (item.mode, item.owner) == (0o600, "root")
        assert "hunter2" not in repr(item) and "hhh" not in repr(item)


def test_files_say_where_they_come_from() -> None:
    """Each file with comments names its source and what to do."""
    for item in render(ALL):
        if isinstance(item, File) and item.path.startswith(("/etc/ssh", "/etc/sudo", "/etc/sys")):
            assert item.content.startswith(b"# Made by PioT from piot.conf; ")


def test_app_json() -> None:
    """The file for deploys holds what piot.conf says."""
    item = find(render(ALL), "file /var/lib/piot/apps/two/app.json")
    assert isinstance(item, File)
    wanted = {"schema": 1, "name": "two", "repo": 'https://h/"two"', "ref": "", "poll": None}
    found = json.loads(item.content)
    assert {name: found[name] for name in wanted} == wanted
    assert found["keep"] == 3 and "token" not in found and "deploy_key" not in found


@pytest.mark.parametrize(
    ("lines", "groups", "not_groups", "rule"),
    [
        (f"authorized_key = {KEY}", ("sudo",), (), True),
        (f"password_hash = {HASH}", ("sudo",), (), False),
        (f"password_hash = {HASH}\nsudo = nopasswd", ("sudo",), (), True),
        (f"authorized_key = {KEY}\npassword_hash = !", ("sudo",), (), True),
        (f"authorized_key = {KEY}\nsudo = password", ("sudo",), (), False),
        (f"authorized_key = {KEY}\nsudo = no", (), ("sudo",), False),
    ],
)
def test_sudo(lines: str, groups: tuple[str], not_groups: tuple[str], rule: bool) -> None:
    """What is given wins; else a password if there is one, so that nobody is left without."""
    items = render(f"[user]\nname = anna\n{lines}\n")
    login = find(items, "login anna")
    assert isinstance(login, Login)
    assert (login.groups, login.not_groups) == (groups, not_groups)
    file = find(items, "file /etc/sudoers.d/95-piot-anna")
    assert isinstance(file, File) and (b"NOPASSWD" in file.content) == rule


@pytest.mark.parametrize(
    ("text", "enabled"),
    [
        ("", None),
        ("[ssh]\npassword_login = no\n", None),
        ("[ssh]\npassword_login = yes\n", True),
        ("[ssh]\nenabled = no\npassword_login = yes\n", False),
        (f"[user]\nname = anna\nauthorized_key = {KEY}\n", True),
        (f"[user]\nname = anna\npassword_hash = {HASH}\n", None),
        (f"[user.bert]\nauthorized_key = {KEY}\n[ssh]\nenabled = yes\n", True),
    ],
)
def test_ssh_is_on_when_it_is_the_way_in(text: str, enabled: bool | None) -> None:
    """A key or password_login turns SSH on; else it stays as it is."""
    unit = find(render(text), "unit ssh.service")
    assert isinstance(unit, Unit)
    assert (unit.active, unit.enabled) == (enabled, enabled)


def test_sshd_rereads_when_the_drop_in_goes() -> None:
    """Taking password_login out of piot.conf reaches a running server."""
    drop_in = File("/etc/ssh/sshd_config.d/10-piot.conf", b"x")
    now: dict[str, Item] = {key(item): item for item in (drop_in, Unit("ssh.service", True, True))}
    assert [str(change) for change in diff(render(""), now, [key(drop_in)])] == [
        "remove file /etc/ssh/sshd_config.d/10-piot.conf",
        "reload unit ssh.service",
    ]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_poll_drop_in_is_valid(tmp_path: Path) -> None:
    """systemd reads the interval out of the drop-in, and has nothing to complain of."""
    item = find(render(ALL), "file /etc/systemd/system/piot-deploy@one.timer.d/poll.conf")
    assert isinstance(item, File)
    (tmp_path / "piot-deploy@.service").write_text("[Service]\nType=oneshot\nExecStart=/bin/true\n")
    (tmp_path / "piot-deploy@.timer").write_text(
        "[Timer]\nOnBootSec=1min\nOnUnitInactiveSec=5min\n"
    )
    folder = tmp_path / "piot-deploy@one.timer.d"
    folder.mkdir()
    (folder / "poll.conf").write_bytes(item.content)
    timer = str(tmp_path / "piot-deploy@one.timer")
    argv = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", timer]
    where = {**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=where)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not shutil.which("visudo"), reason="needs sudo")
def test_sudo_rule_is_valid(tmp_path: Path) -> None:
    """The check that guards the rule accepts it."""
    item = find(render(ALL), "file /etc/sudoers.d/95-piot-anna")
    assert isinstance(item, File)
    file = tmp_path / "rule"
    file.write_bytes(item.content)
    file.chmod(0o440)
    argv = [word.replace("{}", str(file)) for word in item.check]
    assert subprocess.run(argv, check=False).returncode == 0
