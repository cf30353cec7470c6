"""Whether anybody can still log in, asked of the system itself after its settings changed."""

from __future__ import annotations

import re

from piot_firstboot.config import Config
from piot_firstboot.sections.people import Account
from piot_firstboot.system import System
from piot_firstboot.values import usable_hash

DROP_IN = "/etc/ssh/sshd_config.d/10-piot.conf"
_SERVER = "/usr/sbin/sshd"
_NO_LOGIN = ("/usr/sbin/nologin", "/sbin/nologin", "/bin/false", "/usr/bin/false")

Former = bytes | None


def remember(system: System) -> Former:
    """Return the SSH settings that are in force before a change."""
    return system.read(DROP_IN)


def restore(system: System, former: Former) -> None:
    """Put those settings back, and let a running server read them."""
    if former is None:
        system.remove(DROP_IN)
    else:
        system.write(DROP_IN, former)
    system.run(("systemctl", "try-reload-or-restart", "--no-block", "ssh.service"))


def check(system: System, config: Config) -> str:
    """Return "" when some account of piot.conf can log in, else why none can.

    Nothing is said where piot.conf names no account: then it is not PioT that lets people in. A
    password counts at the console, too; a key needs an SSH server that takes it.
    """
    if not config.accounts:
        return ""
    shadow = system.accounts("shadow")
    for account in config.accounts:
        row = shadow.get(account.name, ["", ""])
        if usable_hash(row[1]) and _may_log_in(system, account):
            return ""
    if not system.exists(_SERVER):
        return "no account has a usable password, and there is no SSH server for keys"
    shown = system.run((_SERVER, "-T"))
    if shown.code != 0:
        # Early in a boot it has no host keys yet; that says nothing about its settings.
        missing = "hostkeys" in shown.err or "Missing privilege" in shown.err
        return "" if missing else f"sshd refuses its configuration: {shown.reason}"
    options = [line.partition(" ")[::2] for line in shown.out.splitlines()]
    reasons = [_refusal(system, account, options) for account in config.accounts]
    return "" if "" in reasons else reasons[0]


def _refusal(system: System, account: Account, options: list[tuple[str, str]]) -> str:
    """Return why an account cannot log in with a key, or ""."""
    if dict(options).get("pubkeyauthentication") != "yes":
        return "sshd takes no keys (PubkeyAuthentication no)"
    if not _may_log_in(system, account):
        return f"{account.name} has no shell to log in to"
    row = system.accounts("passwd")[account.name]
    groups = [g for g, f in system.accounts("group").items() if account.name in f[-1].split(",")]
    for option, ours, allows in (
        ("denyusers", [account.name], False),
        ("allowusers", [account.name], True),
        ("denygroups", groups, False),
        ("allowgroups", groups, True),
    ):
        listed = [word for key, value in options if key == option for word in value.split()]
        if listed and any(_matches(word, name) for word in listed for name in ours) != allows:
            return f"sshd does not let {account.name} in ({option} in its configuration)"
    data = system.read(f"{row[5]}/.ssh/authorized_keys")
    if not data or not data.strip():
        return f"{account.name} has neither a key nor a usable password"
    listed_keys = system.run(("ssh-keygen", "-l", "-f", "-"), stdin=data)
    return "" if listed_keys.code == 0 else f"no key of {account.name} can be read"


def _may_log_in(system: System, account: Account) -> bool:
    """Tell whether an account is there and has a shell."""
    row = system.accounts("passwd").get(account.name)
    return row is not None and row[-1] not in _NO_LOGIN


def _matches(pattern: str, name: str) -> bool:
    """Match a name with a pattern of sshd; what stands behind `@` is a host, and may be ours."""
    expression = re.escape(pattern.partition("@")[0]).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, name) is not None
