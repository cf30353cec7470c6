"""The time zone, as Debian keeps it."""

from __future__ import annotations

from collections.abc import Iterable

from piot_firstboot.config import Config
from piot_firstboot.facts import Facts
from piot_firstboot.items import File, Item, Symlink
from piot_firstboot.plan import Part


def render(config: Config, facts: Facts) -> Iterable[Part]:
    """Render `[device] timezone`."""
    zone = config.device.timezone
    if zone is None:
        return ()
    items: tuple[Item, ...] = (
        Symlink("/etc/localtime", f"/usr/share/zoneinfo/{zone}", keep=True),
        File("/etc/timezone", f"{zone}\n".encode(), keep=True),
    )
    return (Part("device", items),)
