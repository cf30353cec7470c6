"""Say in full what a change would do: lines that come and go, accounts, commands."""

from __future__ import annotations

from difflib import unified_diff

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
)
from piot_firstboot.plan import Change, merge

_HIDDEN = "    (a secret: not shown)"


def describe(change: Change) -> str:
    """Return the change in words, and below it, indented, what it comes to."""
    return "\n".join([str(change), *_body(change)])


def _body(change: Change) -> list[str]:
    """Return the lines below a change."""
    match change.item, change.now:
        case File(secret=True), _:
            return [_HIDDEN]
        case File() as item, now:
            old = now.content.decode("utf-8", "replace") if isinstance(now, File) else ""
            return [*_access(item, now), *_differ(old, item.content.decode("utf-8", "replace"))]
        case Lines() as item, now:
            there = now if isinstance(now, Lines) else None
            lines = there.lines if there else ()
            return _differ("\n".join(lines), "\n".join(merge(item, there, ())))
        case Credential(), _:
            return [_HIDDEN]
        case Directory() as item, now:
            return _access(item, now)
        case Symlink() as item, _:
            return [f"    -> {item.target}"]
        case ((State(value=value) | Word(value=value)), now):
            former = f" (now {now.value})" if isinstance(now, State | Word) and now.value else ""
            return [f"    {value}{former}"]
        case Login() as item, now:
            return _login(item, now if isinstance(now, Login) else None)
        case SystemUser() as item, _:
            return [f"    systemd-sysusers: {item.name}, home {item.home}"]
        case Package() as item, _:
            return [f"    apt-get install {item.name}"]
        case Unit() as item, _:
            return [f"    systemctl {change.verb} {item.name}"]
    return []


def _login(item: Login, now: Login | None) -> list[str]:
    """Name the commands that make or change an account; the hash goes through a pipe."""
    lines = []
    if now is None:
        lines.append(f"    useradd --create-home --user-group --shell {item.shell} {item.name}")
    elif now.shell != item.shell:
        lines.append(f"    usermod --shell {item.shell} {item.name}")
    joined = [group for group in item.groups if now is None or group not in now.groups]
    if joined:
        lines.append(f"    usermod -aG {','.join(joined)} {item.name}")
    lines += [
        f"    gpasswd -d {item.name} {group}"
        for group in item.not_groups
        if now and group in now.groups
    ]
    if item.password_hash not in (None, now.password_hash if now else None):
        lines.append("    chpasswd -e  (the hash: not shown)")
    return lines


def _access(item: File | Directory, now: Item | None) -> list[str]:
    """Say who may use a file, where that is new."""
    wanted = (item.mode, item.owner, item.group)
    if isinstance(now, File | Directory) and (now.mode, now.owner, now.group) == wanted:
        return []
    return [f"    {item.mode:04o} {item.owner}:{item.group}"]


def _differ(old: str, new: str) -> list[str]:
    """Return the lines that go and come, with one line around them."""
    rows = unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=1)
    return [f"    {row}" for row in rows if not row.startswith(("---", "+++", "@@"))]
