"""Whether anybody can still log in, asked of the system itself after its settings changed."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field

from piot_firstboot import passwords
from piot_firstboot.config import Config
from piot_firstboot.sections.people import Account
from piot_firstboot.system import System

DROP_IN = "/etc/ssh/sshd_config.d/10-piot.conf"
UNITS = ("ssh.service", "ssh.socket")
_SERVER = "/usr/sbin/sshd"
_KEY = "/run/piot/hostkey"  # for one question to sshd, which answers none without a host key
_DAY = 86400

Options = dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class Former:
    """The SSH settings before a change: the drop-in, and of each unit (enabled, active)."""

    drop_in: bytes | None = field(repr=False)
    units: tuple[tuple[bool, bool], ...]


def remember(system: System) -> Former:
    """Return the SSH settings that are in force before a change."""
    return Former(system.read(DROP_IN), _units(system))


def restore(system: System, former: Former) -> None:
    """Put those settings back, and let a running server read them."""
    if former.drop_in is None:
        system.remove(DROP_IN)
    else:
        system.write(DROP_IN, former.drop_in)
    starts = []
    for name, was, now in zip(UNITS, former.units, _units(system), strict=True):
        if was[0] != now[0]:
            system.systemctl("enable" if was[0] else "disable", name)
        if was[1] and not now[1]:
            starts.append(name)
        elif now[1] and not was[1]:
            # Not only queued: the socket does not start beside a server that still runs.
            system.systemctl("stop", name)
    if starts and system.live:
        system.run(("systemctl", "start", "--no-block", *starts))
    if system.live:
        system.run(("systemctl", "try-reload-or-restart", "--no-block", "ssh.service"))


def check(system: System, config: Config) -> str:
    """Return "" when some account of piot.conf can log in as it says, else why none can.

    Where it gives keys, or lets passwords in over SSH, that must work: most devices have neither
    screen nor keyboard. Otherwise a password at the console is enough. Nothing is said where
    piot.conf names no account: then it is not PioT that lets people in.
    """
    accounts = config.accounts
    keys = any(account.authorized_keys or account.import_keys for account in accounts)
    remote = config.ssh.enabled is not False and (keys or config.ssh.password_login is True)
    if not accounts:
        return ""
    if remote and system.exists(_SERVER):
        reasons = [_over_ssh(system, account) for account in accounts]
    else:
        reasons = [_at_console(system, account) for account in accounts]
    return "" if "" in reasons else reasons[0]


# -- one account --------------------------------------------------------------------------------


def _at_console(system: System, account: Account) -> str:
    """Return why an account cannot log in with a password, or ""."""
    reason = _closed(system, account.name)
    if reason or passwords.usable(_hash(system, account.name)):
        return reason
    without = "" if system.exists(_SERVER) else ", and there is no SSH server"
    return f"{account.name} has no usable password{without}"


def _over_ssh(system: System, account: Account) -> str:
    """Return why an account cannot log in over SSH, or ""."""
    name = account.name
    if reason := _closed(system, name):
        return reason
    options, refusal = _options(system, name)
    if refusal:
        return f"sshd refuses its configuration: {refusal}"
    hashed = _hash(system, name)
    if hashed.startswith("!") and not _on(options, "usepam"):
        return f"the password of {name} is locked, and sshd refuses such accounts without UsePAM"
    if reason := _listed(system, name, options):
        return reason
    if _on(options, "passwordauthentication") and passwords.usable(hashed):
        return ""
    if not _on(options, "pubkeyauthentication"):
        return "sshd takes no keys (PubkeyAuthentication no)"
    return _keys(system, account, options)


def _closed(system: System, name: str) -> str:
    """Return why an account is not open at all, or ""."""
    row = system.accounts("passwd").get(name)
    if row is None or len(row) < 7:
        return f"there is no account {name}"
    # An empty field is /bin/sh, passwd(5).
    if row[6] and (not system.runnable(row[6]) or row[6].endswith(("/nologin", "/false"))):
        return f"{name} has no shell to log in to ({row[6]})"
    shadow = system.accounts("shadow").get(name, [])
    expiry = shadow[7] if len(shadow) > 7 else ""
    if expiry.isdigit() and int(expiry) * _DAY <= time.time():
        return f"the account {name} has expired (chage -E -1 {name})"
    return ""


def _listed(system: System, name: str, options: Options) -> str:
    """Return which list in sshd's configuration keeps an account out, or ""."""
    row = system.accounts("passwd")[name]
    groups = [
        group
        for group, fields in system.accounts("group").items()
        if name in fields[-1].split(",") or fields[2:3] == [row[3]]
    ]
    for option, ours, allows in (
        ("DenyUsers", [name], False),
        ("AllowUsers", [name], True),
        ("DenyGroups", groups, False),
        ("AllowGroups", groups, True),
    ):
        words = [word for value in options.get(option.lower(), ()) for word in value.split()]
        if words and any(_matches(words, one, allows) for one in ours) != allows:
            return f"sshd does not let {name} in: {option} {' '.join(words)}"
    return ""


def _matches(words: list[str], name: str, allows: bool) -> bool:
    """Match a name with the patterns of a list; one after `!` takes it out, sshd_config(5).

    What stands behind `@` is where one comes from: that may be here, but nobody is always there.
    """
    hit = False
    for word in words:
        user, at, host = word.removeprefix("!").partition("@")
        if at and host != "*" and (word[0] == "!" or not allows):
            continue
        if re.fullmatch(re.escape(user).replace(r"\*", ".*").replace(r"\?", "."), name):
            if word[0] == "!":
                return False
            hit = True
    return hit


def _keys(system: System, account: Account, options: Options) -> str:
    """Return why sshd would take none of a person's keys, or ""."""
    name, home = account.name, system.accounts("passwd")[account.name][5]
    wanted = " ".join(options.get("authorizedkeysfile", [".ssh/authorized_keys"])).split()
    reason = f"{name} has no key in {' or '.join(wanted)}"
    for pattern in wanted:
        path = pattern.replace("%h", home).replace("%u", name).replace("%%", "%")
        path = path if path.startswith("/") else f"{home}/{path}"
        data = system.read(path)
        if not data or not data.strip():
            continue
        if system.run(("ssh-keygen", "-l", "-f", "-"), stdin=data).code != 0:
            reason = f"no key in {path} can be read"
        elif _on(options, "strictmodes") and (open_to := _loose(system, name, home, path)):
            reason = f"sshd trusts no key in {path}, because others may write to {open_to}"
        else:
            return ""
    # piot-setup.service fetches them once there is a network.
    return "" if account.import_keys and not account.authorized_keys else reason


def _loose(system: System, name: str, home: str, path: str) -> str:
    """Return what lies on the way to a file of keys and is open to others, or ""."""
    places = [path]
    while places[-1] not in ("/", home):
        places.append(places[-1].rpartition("/")[0] or "/")
    for place in places:
        there = system.entry(place)
        if there is None or there.kind == "symlink":
            continue
        if there.owner not in ("root", name) or there.mode & 0o022:
            return place
    return ""


# -- asking the system --------------------------------------------------------------------------


def _hash(system: System, name: str) -> str:
    """Return the hash of an account's password."""
    return system.accounts("shadow").get(name, ["", ""])[1]


def _options(system: System, name: str) -> tuple[Options, str]:
    """Ask sshd which options hold for an account, or why it does not start.

    Early in a first boot it has neither host keys nor its directory.
    """
    key = system.path(_KEY)
    system.mkdir("/run/sshd")
    system.mkdir("/run/piot")
    _drop_key(system)
    system.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key))
    who = f"user={name},host=localhost,addr=127.0.0.1,laddr=127.0.0.1,lport=22"
    shown = system.run((system.path(_SERVER), "-T", "-h", key, "-C", who))
    _drop_key(system)
    options: Options = {}
    for line in shown.out.splitlines():
        word, _, value = line.partition(" ")
        options.setdefault(word, []).append(value)
    return options, "" if shown.code == 0 else shown.reason


def _drop_key(system: System) -> None:
    """Remove the host key that was made for one question."""
    system.remove(_KEY)
    system.remove(f"{_KEY}.pub")


def _on(options: Options, word: str) -> bool:
    """Tell whether an option is on; sshd prints each that it knows."""
    return options.get(word) == ["yes"]


def _units(system: System) -> tuple[tuple[bool, bool], ...]:
    """Ask systemd whether the units of sshd are enabled and active."""
    if not system.live:
        return ((False, False),) * len(UNITS)
    shown = system.systemctl("show", "-p", "ActiveState,UnitFileState", *UNITS).out
    found = []
    blocks = shown.strip().split("\n\n")
    for block in (*blocks, *UNITS)[: len(UNITS)]:
        values = dict(line.partition("=")[::2] for line in block.splitlines())
        active = values.get("ActiveState") in ("active", "activating", "reloading")
        found.append((values.get("UnitFileState") == "enabled", active))
    return tuple(found)
