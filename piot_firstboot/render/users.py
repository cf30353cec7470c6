"""Accounts of people: password, groups, keys and sudo.

Keys are lines of the person's own file, next to those that were put there otherwise: removing
PioT locks nobody out.
"""

from __future__ import annotations

from collections.abc import Iterable

from piot_firstboot.config import Config
from piot_firstboot.facts import Facts, Person
from piot_firstboot.items import Directory, File, Item, Lines, Login
from piot_firstboot.plan import Obstacle, Part
from piot_firstboot.render.origin import COMMENT
from piot_firstboot.sections.people import Account
from piot_firstboot.values import usable_hash

# What the first user of Raspberry Pi OS belongs to; `sudo` has a setting of its own.
_USUAL = (
    "adm dialout cdrom audio video plugdev games users input render netdev lpadmin gpio i2c spi"
).split()
_RULES = {
    "no": "!ALL",
    "password": "PASSWD: ALL",
    "nopasswd": "NOPASSWD: ALL",
}


def render(config: Config, facts: Facts) -> Iterable[Part]:
    """Render `[user]`, and the keys of `[ssh]`."""
    for account in config.accounts:
        caution = _overruled(account, facts)
        yield Part(account.section, _account(account, facts), caution=caution)
        imported = [facts.imported.get(source) for source in account.import_keys]
        # Only when all could be had: a server that is away must not take anyone's keys.
        if imported and all(imported):
            keys = tuple(key for found in imported for key in found or ())
            yield Part(account.section, _keys(account.name, keys, facts), late=True)


def _overruled(account: Account, facts: Facts) -> Obstacle | None:
    """Say which rule of somebody else's lets a person become root more easily than piot.conf."""
    sudo = _sudo(account)
    groups = {f"%{group}" for group in (*_groups(account, sudo, facts), account.name)}
    for path, rule in facts.sudo_after:
        loose = "NOPASSWD" in rule if sudo == "password" else sudo == "no" and "!ALL" not in rule
        if loose and rule.split()[0] in {account.name, "ALL", *groups}:
            return Obstacle(
                f"sudo = {sudo} does not hold: {path} is read later and says {rule}",
                "remove that line, or the file",
            )
    return None


def _sudo(account: Account) -> str:
    """Return how a person may become root; with a password to ask for, it is asked for."""
    usable = account.password or usable_hash(account.password_hash)
    return account.sudo or ("password" if usable else "nopasswd")


def _account(account: Account, facts: Facts) -> tuple[Item, ...]:
    """Render one person."""
    sudo = _sudo(account)
    items: list[Item] = [
        Login(
            account.name,
            account.password_hash,
            _groups(account, sudo, facts),
            ("sudo",) if sudo == "no" else (),
            account.shell or _person(account.name, facts).shell or "/bin/bash",
        )
    ]
    if account.authorized_keys:
        items += _keys(account.name, account.authorized_keys, facts)
    # Without sudo there is nothing to forbid, and nobody asked for it.
    if facts.sudo or account.sudo not in (None, "no"):
        items.append(_rule(account.name, sudo))
    return tuple(items)


def _groups(account: Account, sudo: str, facts: Facts) -> tuple[str, ...]:
    """Return the groups to join: the given ones, or those that suit the main user."""
    main = "." not in account.section
    usual = [group for group in _USUAL if group in facts.groups] if main else []
    groups = (*(account.groups or usual), *(("sudo",) if sudo != "no" else ()))
    return tuple(dict.fromkeys(groups))


def _rule(name: str, sudo: str) -> File:
    """Say how a person may become root, against other files that say something else.

    The last rule that matches counts (sudoers(5)), so this comes behind Raspberry Pi OS's
    `010_pi-nopasswd` and cloud-init's `90-cloud-init-users`.
    """
    rule = f"{COMMENT}\n{name} ALL=(ALL:ALL) {_RULES[sudo]}\n"
    # A file with a mistake in it would keep sudo from working for everyone.
    check = ("visudo", "-cqf", "{}")
    return File(f"/etc/sudoers.d/95-piot-{name}", rule.encode(), 0o440, check=check)


def _keys(name: str, keys: tuple[str, ...], facts: Facts) -> tuple[Item, ...]:
    """Put keys into the person's own file, where other lines stay."""
    person = _person(name, facts)
    folder = f"{person.home.rstrip('/')}/.ssh"
    return (
        Directory(folder, 0o700, name, person.group),
        Lines(f"{folder}/authorized_keys", keys, mode=0o600, owner=name, group=person.group),
    )


def _person(name: str, facts: Facts) -> Person:
    """Return what the account is now, or will be once useradd(8) has made it."""
    return facts.people.get(name, Person(f"/home/{name}", name, ""))
