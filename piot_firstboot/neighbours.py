"""Ask the network which other devices run services of an app, and note it for their units."""

from __future__ import annotations

from piot_firstboot import host, peers
from piot_firstboot.declared import Manifest
from piot_firstboot.render.app_advert import TYPE
from piot_firstboot.render.app_process import peers_file
from piot_firstboot.system import System

_BROWSE = "/usr/bin/avahi-browse"
_BOUND = 5.0  # seconds; a network answers in one, if at all


def note(system: System, app: str, declared: Manifest) -> None:
    """Write down what is advertised; units read it when they start.

    What was known before stays when nothing can be asked or nobody answers: devices are switched
    off and on again, and an old address is worth more than none.
    """
    if not declared.advertised or not system.live or not system.exists(_BROWSE):
        return
    words = (_BROWSE, "--parsable", "--resolve", "--terminate", "--no-db-lookup", TYPE)
    result = system.run(words, timeout=_BOUND)
    found = peers.parse(result.out, app, declared.advertised, host.device(system).host)
    data, path = peers.as_file(found), peers_file(app)
    if found and system.read(path) != data:
        system.write(path, data)


def known(system: System, app: str) -> str:
    """Return what was noted last, as units get it."""
    return (system.read(peers_file(app)) or b"").decode()
