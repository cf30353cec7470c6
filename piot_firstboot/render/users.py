"""Accounts of people: password, groups, keys and sudo.

Keys are lines of the person's own file, next to those that were put there otherwise: removing
PioT locks nobody out.
"""

from __future__ import annotations

from collections.abc import Iterable

from piot_firstboot.config import Config
from piot_firstboot.facts import Facts
from piot_firstboot.items import Directory, File, Item, Lines, Login
from piot_firstboot.plan import Part
from piot_firstboot.render.origin import COMMENT
from piot_firstboot.sections.people import Account
from piot_firstboot.values import usable_hash


def render(config: Config, facts: Facts) -> Iterable[Part]:
    """Render `[user]`, and the keys of `[ssh]`."""
    return tuple(Part(account.section, _account(account)) for account in config.accounts)


def _account(account: Account) -> tuple[Item, ...]:
    name = account.name
    sudo = account.sudo or (
        "password" if account.password or usable_hash(account.password_hash) else "nopasswd"
    )
    groups = ("sudo",) if sudo != "no" else ()
    items: list[Item] = [
        Login(name, account.password_hash, groups, ("sudo",) if sudo == "no" else ())
    ]
    if account.authorized_keys:
        folder = f"/home/{name}/.ssh"
        path = f"{folder}/authorized_keys"
        items += [
            Directory(folder, 0o700, name, name),
            Lines(path, account.authorized_keys, mode=0o600, owner=name, group=name),
        ]
    if sudo == "nopasswd":
        rule = f"{COMMENT}\n{name} ALL=(ALL:ALL) NOPASSWD: ALL\n"
        # A file with a mistake in it would keep sudo from working for everyone.
        check = ("visudo", "-cqf", "{}")
        items.append(File(f"/etc/sudoers.d/50-piot-{name}", rule.encode(), 0o440, check=check))
    return tuple(items)
