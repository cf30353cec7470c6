"""The name of the device: in its file, in /etc/hosts, and in the running kernel."""

from __future__ import annotations

from collections.abc import Iterable

from piot_firstboot.config import Config
from piot_firstboot.facts import Facts, host_name
from piot_firstboot.items import File, Item, Lines, State
from piot_firstboot.plan import Part

_SELF = "127.0.1.1"  # Debian's address for a host's own name; Debian Reference, 5.1.1


def render(config: Config, facts: Facts) -> Iterable[Part]:
    """Render `[device] hostname`."""
    if config.device.hostname is None:
        return ()
    name = host_name(config.device.hostname, facts)
    short = name.partition(".")[0]
    names = name if name == short else f"{name} {short}"
    items: tuple[Item, ...] = (
        # hostname(5) allows comments, but other readers of this file do not know that.
        File("/etc/hostname", f"{name}\n".encode(), keep=True),
        Lines("/etc/hosts", (f"{_SELF}\t{names}",), replaces=_SELF),
        State("hostname", name),
    )
    return (Part("device", items),)
