"""The SSH server: whether it runs, on which port, and whether it takes passwords."""

from __future__ import annotations

from collections.abc import Iterable

from piot_firstboot.config import Config
from piot_firstboot.facts import Facts
from piot_firstboot.items import File, Item, Unit
from piot_firstboot.plan import Obstacle, Part
from piot_firstboot.render.origin import COMMENT

# sshd takes the first value it meets, and Debian includes this directory before all else; `10`
# comes before cloud-init's `50-cloud-init.conf`.
DROP_IN = "/etc/ssh/sshd_config.d/10-piot.conf"
# Early in a first boot sshd has neither host keys nor /run/sshd, and judges nothing without them.
_JUDGE = "; ".join(
    (
        "test -x /usr/sbin/sshd || exit 0",
        "mkdir -p /run/sshd",
        "d=$(mktemp -d)",
        "trap 'rm -r $d' EXIT",
        "ssh-keygen -qt ed25519 -N '' -f $d/key",
        "/usr/sbin/sshd -t -h $d/key -f $0",
    )
)


def render(config: Config, facts: Facts) -> Iterable[Part]:
    """Render `[ssh]`."""
    ssh = config.ssh
    items: list[Item] = []
    lines = []
    if ssh.port is not None:
        lines.append(f"Port {ssh.port}")
    if ssh.password_login is not None:
        lines.append(f"PasswordAuthentication {'yes' if ssh.password_login else 'no'}")
        if not ssh.password_login:
            # PAM would ask for the password in its own dialogue.
            lines.append("KbdInteractiveAuthentication no")
    obstacle = _overruled(lines, facts)
    if lines:
        text = "\n".join((COMMENT, *lines)) + "\n"
        items.append(File(DROP_IN, text.encode(), check=("sh", "-ec", _JUDGE, "{}")))
    enabled = ssh.enabled
    keys = any(account.authorized_keys or account.import_keys for account in config.accounts)
    if enabled is None and (keys or ssh.password_login or ssh.port is not None):
        enabled = True
    if enabled is False or ssh.port is not None:
        # It would start the server at the next connection, and knows nothing of `Port`.
        items.append(Unit("ssh.socket", active=False, enabled=False))
    # What systemd listened for is handed over only to a server that starts.
    change = "restart" if facts.ssh_socket and ssh.port is not None else "reload"
    # Named even where it shall stay as it is: sshd must notice that a drop-in has gone.
    unit = Unit("ssh.service", enabled, enabled, on_change=change, because=(DROP_IN,))
    return (Part("ssh", (*items, unit), obstacle=obstacle),)


def _overruled(lines: Iterable[str], facts: Facts) -> Obstacle | None:
    """Say which of these lines sshd would not obey."""
    if lines and not facts.sshd_includes:
        return Obstacle(
            "/etc/ssh/sshd_config does not read /etc/ssh/sshd_config.d",
            "make this its first line: Include /etc/ssh/sshd_config.d/*.conf",
        )
    for line in lines:
        option = line.split()[0]
        where = facts.sshd_before.get(option.lower())
        if where:
            reason = f"{where} says {option} before PioT can"
            return Obstacle(reason, "remove that line there, then run: sudo piot apply")
    return None
