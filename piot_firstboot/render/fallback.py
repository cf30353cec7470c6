"""The fallback: when to open an access point, and the files that it consists of."""

from __future__ import annotations

import json
from collections.abc import Iterable

from piot_firstboot.config import Config
from piot_firstboot.facts import Facts
from piot_firstboot.items import File, Package, Symlink, Unit
from piot_firstboot.plan import Obstacle, Part
from piot_firstboot.render.keyfile import escaped
from piot_firstboot.render.origin import COMMENT

SETTINGS = "/var/lib/piot/fallback.json"
SECRET = "fallback.wifi_ap_password"  # its name in the store
SCHEMA = 1
ADDRESS = "10.42.0.1"  # what NetworkManager itself gives to the first network that it shares
UUID = "6f1d4c0e-5f0b-5d3c-9a86-2b8f1c7c5a3d"

_UNITS = "/etc/systemd/system"
_TIMER = "piot-fallback.timer"
_MOST_SSID = 32  # bytes
_NEEDED = "install it, then reboot: sudo apt install network-manager"


def render(config: Config, facts: Facts) -> Iterable[Part]:
    """Render `[fallback]`."""
    wanted = config.fallback
    if wanted is None:
        return ()
    if facts.network != "networkmanager":
        nobody = Obstacle("only NetworkManager can open an access point", _NEEDED)
        return (Part("fallback", (), obstacle=nobody),)
    said = {"schema": SCHEMA, "after": wanted.wifi_ap_after}
    items = (
        # Not read from piot.conf again: a mistake there must not keep the access point closed.
        File(SETTINGS, (json.dumps(said) + "\n").encode()),
        Symlink(f"{_UNITS}/timers.target.wants/{_TIMER}", f"/usr/lib/systemd/system/{_TIMER}"),
        Unit(_TIMER, active=True),
        # Named so that an access point which is open is closed when the section goes.
        Unit("piot-fallback.service"),
    )
    # It gives out addresses; NetworkManager only recommends it.
    return (Part("fallback", items), Part("fallback", (Package("dnsmasq-base"),), late=True))


def ssid(host: str) -> str:
    """Name the access point after the device."""
    return host.partition(".")[0][:_MOST_SSID] or "piot"


def profile(name: str, password: str) -> bytes:
    """Render NetworkManager's keyfile of the access point; nm-settings-keyfile(5)."""
    lines = (
        COMMENT,
        "[connection]",
        "id=piot-fallback",
        f"uuid={UUID}",
        "type=wifi",
        "autoconnect=false",
        "",
        "[wifi]",
        "mode=ap",
        # The band that every phone has, and that needs no listening for radar first.
        "band=bg",
        f"ssid={escaped(name)}",
        "",
        "[wifi-security]",
        "key-mgmt=wpa-psk",
        "proto=rsn",
        "pairwise=ccmp",
        "group=ccmp",
        f"psk={escaped(password)}",
        "",
        "[ipv4]",
        "method=shared",
        f"address1={ADDRESS}/24",
        "",
        "[ipv6]",
        "method=disabled",
    )
    return ("\n".join(lines) + "\n").encode()


def captive_names() -> bytes:
    """Render what makes every name lead to the page, so that phones show it by themselves.

    NetworkManager's dnsmasq reads it for all networks that it shares, so it must be there only
    while the access point is open.
    """
    return f"{COMMENT}\naddress=/#/{ADDRESS}\n".encode()
