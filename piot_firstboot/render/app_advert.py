"""`port` → a service file for avahi, which tells the network by DNS-SD: avahi.service(5).

The file costs nothing where avahi is not installed, and counts as soon as it is.
"""

from __future__ import annotations

import zlib
from html import escape

from piot_firstboot.declared import Service
from piot_firstboot.items import File
from piot_firstboot.render.app_release import Release

TYPE = "_piot._tcp"
_FOLDER = "/etc/avahi/services"
_MOST = 63  # bytes of an instance's name: RFC 6763, 4.1.1


def advert(service: Service, release: Release) -> File:
    """Render what the network is told of a service."""
    name = escape(_instance(f"{release.app} {service.name} on {release.hostname}"))
    text = f"""\
<?xml version="1.0" standalone="no"?>
<!DOCTYPE service-group SYSTEM "avahi-service.dtd">
<!-- Made by PioT for {release.app}. -->
<service-group>
  <name>{name}</name>
  <service>
    <type>{TYPE}</type>
    <port>{service.port}</port>
    <txt-record>app={release.app}</txt-record>
    <txt-record>service={service.name}</txt-record>
  </service>
</service-group>
"""
    return File(f"{_FOLDER}/{release.prefix}-{service.name}.service", text.encode())


def _instance(name: str) -> str:
    """Shorten a name that DNS-SD would refuse, so that two long ones still differ."""
    data = name.encode()
    if len(data) <= _MOST:
        return name
    mark = f"~{zlib.crc32(data):08x}"
    return data[: _MOST - len(mark)].decode(errors="ignore") + mark
