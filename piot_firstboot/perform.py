"""Carry out one change at a time: what the applier does with files, accounts and packages."""

from __future__ import annotations

from collections.abc import Iterable

from piot_firstboot import accounts, live, vault
from piot_firstboot.items import (
    Credential,
    Directory,
    File,
    Lines,
    Login,
    State,
    Symlink,
    SystemUser,
    Word,
)
from piot_firstboot.plan import Change, merge
from piot_firstboot.system import System

UNIT_FOLDERS = ("/etc/systemd/system/", "/run/systemd/system/")


def remove(system: System, change: Change) -> None:
    """Remove what PioT made; a directory goes only when nothing else is in it."""
    kind, _, name = change.key.partition(" ")
    if kind == "user":
        accounts.remove(system, name)
        return
    if kind == "secret":
        vault.drop(system, name)
        return
    system.remove(name)
    folder, _, base = name.rpartition("/")
    if folder.startswith(UNIT_FOLDERS) and folder.endswith((".wants", ".d")):
        system.remove(folder)
    if base.endswith(".timer"):
        # When a Persistent= timer fired last: a later one of that name must not inherit it.
        system.remove(f"/var/lib/systemd/timers/stamp-{base}")


def make(system: System, change: Change, before: Iterable[str]) -> None:
    """Create or change one thing on disk."""
    match change.item:
        case File() as item:
            access = (item.mode, item.owner, item.group)
            system.write(item.path, item.content, *access, check=item.check if system.live else ())
        case Directory() as item:
            system.mkdir(item.path, item.mode, item.owner, item.group)
        case Symlink() as item:
            system.symlink(item.path, item.target)
        case Lines() as item:
            now = change.now if isinstance(change.now, Lines) else None
            lines = merge(item, now, before)
            data = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
            system.write(item.path, data, item.mode, item.owner, item.group)
        case State() as item:
            live.write(system, item.name, item.value)
        case Word() as item:
            _make_word(system, item)
        case Credential() as item:
            vault.put(system, item.name, item.value)
        case Login() as item:
            accounts.make(system, item, change.now if isinstance(change.now, Login) else None)
        case SystemUser() as item:
            accounts.make_system(system, item)


def _make_word(system: System, item: Word) -> None:
    """Set one word of a one-line file, in its old place or at its end."""
    text = (system.read(item.path) or b"").decode("utf-8", "surrogateescape")
    words = text.split()
    new = f"{item.name}={item.value}"
    mine = [i for i, word in enumerate(words) if word.partition("=")[0] == item.name]
    # The kernel takes the last of several; one is left.
    words = [word for i, word in enumerate(words) if i not in mine[1:]]
    if mine:
        words[mine[0]] = new
    else:
        words.append(new)
    system.write(item.path, (" ".join(words) + "\n").encode("utf-8", "surrogateescape"))
