"""Debian's account tools stopped at each of their changes: the next run makes the account whole."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from piot_firstboot import accounts
from piot_firstboot.apply import apply
from piot_firstboot.errors import ApplyError
from piot_firstboot.items import Login, SystemUser
from piot_firstboot.system import Result, System
from tests.kit import faults

CALLS = (
    "rename,renameat2,link,unlink,unlinkat,mkdir,mkdirat,chown,fchown,fchownat,chmod,fchmod,"
    "fchmodat,write,fsync"
)
HASH = "$y$j9T$Vhd1bOGbyFJ8f9XQ1BGwA/$0xGbKkgkEaCsnbqVUN0eqvjWJgRYyJzZ7dmxQ5hVwq5"
ADA = Login("ada", None, ("users", "dialout"))
# Copies that the tools keep, and the tools' own locks: a dead process's is no lock.
NOT_COMPARED = re.compile(
    r"/etc/(passwd|group|shadow|gshadow)(-|\+|\.lock|\.\d+)$|/etc/\.#|/etc/\.pwd\.lock"
)
Call = tuple[str, int]


class Cut(BaseException):
    """The power went."""


class Stopped(System):
    """A tree on which one tool is traced, and killed at a call together with what started it."""

    def __init__(self, root: Path, tool: str, log: Path, at: Call | None) -> None:
        super().__init__(str(root))
        self._tool, self._log, self._at = tool, log, at

    def run(self, argv: Sequence[str], **named: Any) -> Result:
        if argv[0] != self._tool:
            return super().run(argv, **named)
        trace = ["strace", "-qq", "-o", str(self._log), "-e", f"trace={CALLS}"]
        if self._at:
            trace += ["-e", f"inject={self._at[0]}:signal=SIGKILL:when={self._at[1]}"]
        result = super().run([*trace, *argv], **{**named, "check": False})
        if result.code < 0:
            raise Cut
        return result


def tree(folder: Path) -> Path:
    """Make the accounts of a small Debian."""
    folder.mkdir()
    system = System(str(folder))
    rows = {
        "passwd": "root:x:0:0:root:/root:/bin/bash",
        "shadow": "root:*:20228:0:99999:7:::",
        "group": "root:x:0:\nsudo:x:27:\nusers:x:100:\ndialout:x:20:",
        "gshadow": "root:*::\nsudo:*::\nusers:*::\ndialout:*::",
        "login.defs": "UID_MIN 1000\nUID_MAX 60000\nGID_MIN 1000\nGID_MAX 60000",
    }
    for name, text in rows.items():
        system.write(f"/etc/{name}", f"{text}\n".encode(), 0o640)
    system.write("/bin/bash", b"", 0o755)
    system.mkdir("/home")
    return folder


def act(system: System, *items: Login | SystemUser) -> None:
    """Do what a run does about people."""
    accounts.recover(system)
    apply(system, "conf.user", items)


def compared(root: Path) -> dict[str, faults.Look]:
    """Return what must be the same in the end."""
    found = {p: entry for p, entry in faults.look(root).items() if not NOT_COMPARED.search(p)}
    return {p: entry for p, entry in found.items() if p.startswith(("/etc/", "/home/"))}


def stopped_anywhere(
    root: Path,
    scratch: Path,
    tool: str,
    act: Callable[[System], None],
    compared: Callable[[Path], Mapping[str, object]],
) -> str:
    """Stop a tool at each of its calls, act again, and hold the end against an undisturbed one.

    Returns how many calls there were.
    """
    log = scratch / "log"

    def attempt(at: Call | None) -> Path:
        copy = faults.copy(root, scratch / "stopped")
        try:
            act(Stopped(copy, tool, log, at))
        except Cut:
            assert at
        else:
            assert not at, f"not stopped at {at}"
        return copy

    wanted = compared(attempt(None))
    made = Counter(re.findall(r"(?m)^(\w+)\(", log.read_text()))
    every = [(call, at) for call, count in made.items() for at in range(1, count + 1)]
    assert every, "it changes nothing"
    ends = set()
    for at in every:
        copy = attempt(at)
        left = faults.fingerprint(copy)
        if left in ends:
            continue
        ends.add(left)
        act(System(str(copy)))
        found = compared(copy)
        assert found.keys() == wanted.keys(), f"stopped at {at}: {found.keys() ^ wanted.keys()}"
        for name, value in wanted.items():
            assert found[name] == value, f"stopped at {at}: {name}: {found[name]} is not {value}"
    return f"stopped at {len(every)} system calls, {len(ends)} different ends"


BEFORE = Login("ada", HASH, ("users", "sudo"))
TOOLS: dict[str, tuple[tuple[Login, ...], Login | SystemUser]] = {
    "useradd": ((), Login("ada", HASH, ("users",))),
    "usermod": ((Login("ada"),), Login("ada", None, ("users", "dialout"))),
    "usermod for the shell": ((Login("ada"),), Login("ada", None, (), (), "/bin/sh")),
    "gpasswd": ((BEFORE,), Login("ada", None, (), ("sudo",))),
    "chpasswd": ((Login("ada"),), BEFORE),
    "systemd-sysusers": ((), SystemUser("piot-garden", "/var/lib/piot/apps/garden")),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TOOLS)
def test_a_tool_that_was_stopped_anywhere_is_made_good(
    name: str, memory: Path, tell: Callable[[str], None]
) -> None:
    before, after = TOOLS[name]
    root = tree(memory / "device")
    for login in before:
        act(System(str(root)), login)
    tool = name.split()[0]
    told = stopped_anywhere(root, memory, tool, lambda system: act(system, after), compared)
    tell(f"{name}: {told}")


@pytest.mark.parametrize(
    "content",
    [pytest.param(b"", id="empty"), pytest.param(b"%d\0" % os.getpid(), id="another program's")],
)
def test_a_lock_that_a_power_cut_left_is_removed(content: bytes, memory: Path) -> None:
    root = tree(memory / "device")
    system = System(str(root))
    system.mkdir(f"/proc/{os.getpid()}")
    system.write(f"/proc/{os.getpid()}/comm", b"python3\n")
    for table in ("passwd", "shadow", "group", "gshadow"):
        system.write(f"/etc/{table}.lock", content)
    act(system, ADA)
    assert "ada" in system.accounts("passwd")
    assert not [name for name in system.names("/etc") if name.endswith(".lock")]


def test_a_lock_in_use_stays(memory: Path) -> None:
    root = tree(memory / "device")
    system = System(str(root))
    pid = os.getpid()
    system.write(f"/proc/{pid}/comm", b"usermod\n")
    system.write("/etc/group.lock", b"%d\0" % pid)
    accounts.recover(system)
    assert system.read("/etc/group.lock") == b"%d\0" % pid


def test_a_refused_account_leaves_nothing(memory: Path) -> None:
    system = System(str(tree(memory / "device")))
    system.write("/home/ada", b"in the way")  # where the home should come
    before = compared(memory / "device")
    with pytest.raises(ApplyError, match="useradd: user ada"):
        act(system, Login("ada", None, (), (), "/no:shell"))
    assert compared(memory / "device") == before


def test_a_home_that_was_there_before_is_kept(memory: Path) -> None:
    root = tree(memory / "device")
    system = System(str(root))
    system.write("/home/ada/diary", b"my own")
    with pytest.raises(Cut):
        act(Stopped(root, "useradd", memory / "log", ("rename", 3)), ADA)
    accounts.recover(system)
    assert system.read("/home/ada/diary") == b"my own"
    assert "ada" not in system.accounts("passwd")
    act(system, ADA)
    assert system.read("/home/ada/diary") == b"my own"


def test_a_group_of_that_name_is_told(memory: Path) -> None:
    system = System(str(tree(memory / "device")))
    with pytest.raises(ApplyError, match="a group of that name") as error:
        act(system, Login("dialout"))
    assert "groupdel dialout" in error.value.hint
    assert "dialout" in system.accounts("group")
