"""Accounts, by the system's own tools, whole or not at all.

useradd(8) writes four tables and a home directory, one after the other; systemd-sysusers(8) does
the same but for the home. A power cut in between leaves a name that counts as taken, without a
password row, a group or the files of /etc/skel. So a note says which account is being made, and
the next run takes away what it finds of it first.
"""

from __future__ import annotations

from collections.abc import Sequence

from piot_firstboot.errors import ApplyError
from piot_firstboot.items import Login, SystemUser
from piot_firstboot.system import System

_NOTE = "/var/lib/piot/newuser"  # its name, and "home" when it had none before
_TABLES = ("passwd", "shadow", "group", "gshadow", "subuid", "subgid")
# Who takes a table's .lock: the programs of Debian's passwd package that change accounts.
_TOOLS = frozenset(
    "chage chfn chgpasswd chpasswd chsh cpgr cppw gpasswd groupadd groupdel groupmems groupmod"
    " grpck grpconv grpunconv newusers passwd pwck pwconv pwunconv useradd userdel usermod vigr"
    " vipw".split()
)


def recover(system: System) -> None:
    """Clear away what a power cut left of an account tool's work, before the accounts are read."""
    for table in _TABLES:
        lock = f"/etc/{table}.lock"
        if system.exists(lock) and not _in_use(system, lock):
            system.remove(lock)
    note = (system.read(_NOTE) or b"").decode("utf-8", "replace").split()
    if note:
        _unmake(system, note[0], home_too="home" in note[1:])
    # An empty one is cut short itself: the tool had not begun.
    system.remove(_NOTE)


def _in_use(system: System, lock: str) -> bool:
    """Tell whether an account tool holds a lock.

    It holds the number of a process. The tools give way only when there is no process of that
    number, but after a boot another program may have it; and a cut may leave the lock empty, which
    they take for held for ever (commonio.c of shadow).
    """
    pid = (system.read(lock) or b"").strip(b"\0\n ").decode("ascii", "replace")
    name = system.read(f"/proc/{pid}/comm") if pid.isdecimal() else None
    return (name or b"").decode("ascii", "replace").strip() in _TOOLS


def make(system: System, item: Login, now: Login | None) -> None:
    """Create or change a person's account; the hash travels through a pipe, never in argv.

    Raises ApplyError when a tool refuses, or there is no such group.
    """
    prefix = _prefix(system)
    if now is None:
        _create(system, item.name, item.shell)
    elif now.shell != item.shell:
        system.run(("usermod", *prefix, "--shell", item.shell, item.name), check=True)
    known = system.accounts("group")
    for group in item.groups:
        if group not in known:
            raise ApplyError(f"user {item.name}: there is no group {group}")
    if item.groups:
        system.run(("usermod", *prefix, "-aG", ",".join(item.groups), item.name), check=True)
    for group in item.not_groups if now else ():
        # One that was stopped half-way may have left the name in gshadow alone, which newgrp reads.
        member = now is not None and group in now.groups
        system.run(("gpasswd", *_root(system), "-d", item.name, group), check=member)
    if item.password_hash is not None:
        line = f"{item.name}:{item.password_hash}\n".encode()
        system.run(("chpasswd", *_root(system), "-e"), stdin=line, check=True)


def _create(system: System, name: str, shell: str) -> None:
    """Make an account, its group and its home."""
    if name in system.accounts("group"):
        raise ApplyError(
            f"user {name}: there is a group of that name already, and no such user",
            f"choose another name, or remove the group: sudo groupdel {name}",
        )
    home_too = not system.exists(f"/home/{name}")
    user = ("useradd", *_prefix(system), "--create-home", "--user-group", "--shell", shell, name)
    _add(system, name, user, home_too=home_too)


def make_system(system: System, item: SystemUser) -> None:
    """Create a system user through systemd-sysusers, which also knows trees."""
    line = f'u {item.name} - "{item.comment or item.name}" {item.home}\n'
    where = () if system.root == "/" else (f"--root={system.root}",)
    _add(system, item.name, ("systemd-sysusers", *where, "-"), stdin=line.encode())


def _add(
    system: System, name: str, argv: Sequence[str], *, stdin: bytes = b"", home_too: bool = False
) -> None:
    """Let a tool make an account, under the note; take away what it leaves when it fails."""
    system.write(_NOTE, f"{name}{' home' * home_too}\n".encode(), 0o600)
    result = system.run(argv, stdin=stdin)
    if result.code != 0:
        _unmake(system, name, home_too=home_too)
    system.remove(_NOTE)
    if result.code != 0:
        raise ApplyError(f"{argv[0]}: user {name}: {result.reason}")


def _unmake(system: System, name: str, *, home_too: bool) -> None:
    """Take away as much of a new account as there is; what is not there is no error."""
    system.run(("userdel", *_prefix(system), name))
    # Of an account whose row in passwd never came to be, or went first.
    if name in system.accounts("group"):
        system.run(("groupdel", *_prefix(system), name))
    if home_too:
        system.remove_tree(f"/home/{name}")


def remove(system: System, name: str) -> None:
    """Remove a system user, under the same note; its files are other items."""
    system.write(_NOTE, f"{name}\n".encode(), 0o600)
    _unmake(system, name, home_too=False)
    system.remove(_NOTE)


def _prefix(system: System) -> tuple[str, ...]:
    """Let the account tools work on a tree instead of the running system."""
    return () if system.root == "/" else ("--prefix", system.root)


def _root(system: System) -> tuple[str, ...]:
    """Name the tree for the tools that know --root and not --prefix."""
    return () if system.root == "/" else ("--root", system.root)
