"""Other tools of Debian that a run starts, stopped at each of their changes: the next run ends it.

Those that make accounts: test_accounts.py. git: test_kill_syscalls.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from piot_firstboot import accounts
from piot_firstboot.apply import apply
from piot_firstboot.items import Item, SystemUser, Unit
from piot_firstboot.system import System
from tests.root.test_accounts import stopped_anywhere, tree

# As ssh.service has it: the alias is made first, and with that alone it counts as enabled.
UNIT = (
    "[Service]\nExecStart=/usr/bin/true\n[Install]\nWantedBy=multi-user.target\nAlias=too.service\n"
)
USER = SystemUser("piot-garden", "/var/lib/piot/apps/garden")
SCOPE = "conf.app"
# What is there before, and what shall be after.
TOOLS: dict[str, tuple[str, tuple[Item, ...], tuple[Item, ...]]] = {
    "enable": ("systemctl", (), (Unit("web.service", enabled=True),)),
    "disable": (
        "systemctl",
        (Unit("web.service", enabled=True),),
        (Unit("web.service", enabled=False),),
    ),
    "userdel": ("userdel", (USER,), ()),
}


def act(system: System, *items: Item) -> None:
    """Do what a run does."""
    accounts.recover(system)
    apply(system, SCOPE, items)


def compared(root: Path) -> dict[str, object]:
    """Return what must be the same in the end: accounts, groups and links."""
    system = System(str(root))
    links = (root / "etc/systemd/system").rglob("*")
    return {
        "people": system.accounts("passwd"),
        "groups": system.accounts("group"),
        "links": {str(p.relative_to(root)): p.is_symlink() and p.readlink() for p in links},
        "owned": system.read(f"/var/lib/piot/owned/{SCOPE}"),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", TOOLS)
def test_a_tool_that_was_stopped_anywhere_is_made_good(
    name: str, memory: Path, tell: Callable[[str], None]
) -> None:
    tool, before, after = TOOLS[name]
    root = tree(memory / "device")
    System(str(root)).write("/usr/lib/systemd/system/web.service", UNIT.encode())
    if before:
        act(System(str(root)), *before)
    told = stopped_anywhere(root, memory, tool, lambda system: act(system, *after), compared)
    tell(f"{name}: {told}")
