"""What `piot plan` prints of each change."""

from __future__ import annotations

import pytest

from piot_firstboot.describe import describe
from piot_firstboot.items import (
    Credential,
    Directory,
    File,
    Item,
    Lines,
    Login,
    Package,
    State,
    Symlink,
    SystemUser,
    Unit,
    Word,
    key,
)
from piot_firstboot.plan import Change


@pytest.mark.parametrize(
    ("verb", "item", "now", "text"),
    [
        (
            "create",
            File("/etc/hostname", b"garden\n"),
            None,
            "create file /etc/hostname\n    0644 root:root\n    +garden",
        ),
        (
            "change",
            File("/etc/x", b"a\nb\nnew\nd\ne\n"),
            File("/etc/x", b"a\nb\nold\nd\ne\n"),
            "change file /etc/x\n     b\n    -old\n    +new\n     d",
        ),
        (
            "create",
            File("/etc/key", b"hunter2", 0o600, secret=True),
            None,
            "create file /etc/key\n    (a secret: not shown)",
        ),
        (
            "create",
            Credential("TOKEN", "hunter2"),
            None,
            "create secret TOKEN\n    (a secret: not shown)",
        ),
        (
            "change",
            Lines("/etc/hosts", ("127.0.1.1\tgarden",), "127.0.1.1"),
            Lines("/etc/hosts", ("127.0.0.1 localhost", "127.0.1.1 pi")),
            "change lines /etc/hosts\n     127.0.0.1 localhost\n    -127.0.1.1 pi\n"
            "    +127.0.1.1\tgarden",
        ),
        ("create", Directory("/etc/d", 0o700), None, "create directory /etc/d\n    0700 root:root"),
        ("create", Symlink("/etc/a", "b"), None, "create symlink /etc/a\n    -> b"),
        (
            "change",
            State("hostname", "garden"),
            State("hostname", "pi"),
            "change state hostname\n    garden (now pi)",
        ),
        (
            "create",
            Word("/boot/firmware/cmdline.txt", "a", "DE"),
            None,
            "create word /boot/firmware/cmdline.txt a\n    DE",
        ),
        ("create", Package("htop"), None, "create package htop\n    apt-get install htop"),
        (
            "create",
            Login("ada", "$6$secret", ("sudo",)),
            None,
            "create login ada\n    useradd --create-home --user-group --shell /bin/bash ada\n"
            "    usermod -aG sudo ada\n    chpasswd -e  (the hash: not shown)",
        ),
        (
            "change",
            Login("ada", "$6$same", (), ("sudo",), "/bin/sh"),
            Login("ada", "$6$same", ("sudo",), ()),
            "change login ada\n    usermod --shell /bin/sh ada\n    gpasswd -d ada sudo",
        ),
        (
            "create",
            SystemUser("piot-a", "/var/lib/piot-a"),
            None,
            "create user piot-a\n    systemd-sysusers: piot-a, home /var/lib/piot-a",
        ),
        (
            "restart",
            Unit("piot-a.timer", True),
            None,
            "restart unit piot-a.timer\n    systemctl restart piot-a.timer",
        ),
    ],
)
def test_describe(verb: str, item: Item, now: Item | None, text: str) -> None:
    """Each kind of change says what it would do, and no secret is among it."""
    assert describe(Change(verb, key(item), item, now)) == text


def test_a_removal_is_one_line() -> None:
    """Nothing comes, so nothing is shown below."""
    change = Change("remove", "file /etc/x", now=File("/etc/x", b"secret"))
    assert describe(change) == "remove file /etc/x"
