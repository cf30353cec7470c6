"""The SSH server: whether it runs, and whether it takes passwords."""

from __future__ import annotations

from collections.abc import Iterable

from piot_firstboot.config import Config
from piot_firstboot.facts import Facts
from piot_firstboot.items import File, Item, Unit
from piot_firstboot.plan import Part
from piot_firstboot.render.origin import COMMENT

# sshd takes the first value it meets, and Debian includes this directory before all else; `10`
# comes before cloud-init's `50-cloud-init.conf`.
DROP_IN = "/etc/ssh/sshd_config.d/10-piot.conf"


def render(config: Config, facts: Facts) -> Iterable[Part]:
    """Render `[ssh]`.

    The drop-in has no `check`: `sshd -t` fails in early boot for want of host keys and of
    /run/sshd, and nothing but fixed words is written here. ssh.service runs it at each reload.
    """
    login = config.ssh.password_login
    items: list[Item] = []
    if login is not None:
        lines = [COMMENT, f"PasswordAuthentication {'yes' if login else 'no'}"]
        if not login:
            # PAM would ask for the password in its own dialogue.
            lines.append("KbdInteractiveAuthentication no")
        items.append(File(DROP_IN, ("\n".join(lines) + "\n").encode()))
    enabled = config.ssh.enabled
    keys = any(account.authorized_keys for account in config.accounts)
    if enabled is None and (keys or login):
        enabled = True
    # Named even where it shall stay as it is: sshd must notice that a drop-in has gone.
    unit = Unit("ssh.service", enabled, enabled, on_change="reload", because=(DROP_IN,))
    if enabled is False:
        # Socket activation would start the server at the next connection.
        items.append(Unit("ssh.socket", active=False, enabled=False))
    return (Part("ssh", (*items, unit)),)
