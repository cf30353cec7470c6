"""Who tells the device what time it is: systemd-timesyncd, or chrony where that is installed."""

from __future__ import annotations

from collections.abc import Iterable

from piot_firstboot.config import Config
from piot_firstboot.facts import Facts
from piot_firstboot.items import File, Package, Unit
from piot_firstboot.plan import Part
from piot_firstboot.render.origin import COMMENT

TIMESYNCD = "/etc/systemd/timesyncd.conf.d/50-piot.conf"
CHRONY = "/etc/chrony/sources.d/piot.sources"
_POOL = ".pool.ntp.org"


def render(config: Config, facts: Facts) -> Iterable[Part]:
    """Render `[time]`."""
    servers = config.time.ntp
    if not servers:
        return
    if facts.ntp == "chrony":
        # chrony.conf(5): a pool stands for several servers.
        lines = (
            f"{'pool' if name.endswith(_POOL) else 'server'} {name} iburst" for name in servers
        )
        file = File(CHRONY, ("\n".join([COMMENT, *lines]) + "\n").encode())
        yield Part("time", (file, Unit("chrony.service", on_change="restart", because=(CHRONY,))))
        return
    # Those that other files name are dropped; those that DHCP names are not.
    text = f"{COMMENT}\n[Time]\nNTP=\nNTP={' '.join(servers)}\n"
    file = File(TIMESYNCD, text.encode())
    if facts.ntp == "timesyncd":
        unit = Unit(
            "systemd-timesyncd.service", enabled=True, on_change="restart", because=(TIMESYNCD,)
        )
        yield Part("time", (file, unit))
    else:
        # Debian starts it when it is installed, and it finds the file.
        yield Part("time", (file,))
        yield Part("time", (Package("systemd-timesyncd"),), late=True)
