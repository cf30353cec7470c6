"""The time zone, as Debian keeps it."""

from __future__ import annotations

from piot_firstboot.config import Config
from piot_firstboot.facts import Facts
from piot_firstboot.plan import File, Item, Symlink


def render(config: Config, facts: Facts) -> tuple[Item, ...]:
    """Render `[device] timezone`."""
    zone = config.device.timezone
    if zone is None:
        return ()
    return (
        Symlink("/etc/localtime", f"/usr/share/zoneinfo/{zone}", keep=True),
        File("/etc/timezone", f"{zone}\n".encode(), keep=True),
    )
