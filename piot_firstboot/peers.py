"""What other devices advertise by DNS-SD → PIOT_PEER_… variables; anyone can say anything there.

Reads what `avahi-browse --parsable --resolve` prints: avahi-browse(1).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_MOST = 64  # peers of one service; a unit's environment is no place for a whole network
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9-]{1,63})*")
_TXT = re.compile(r'"((?:[^"\\]|\\.)*)"')


def variable(service: str) -> str:
    """Name the variable that holds the addresses of a service."""
    return f"PIOT_PEER_{service.upper().replace('-', '_')}"


def parse(text: str, app: str, services: Iterable[str], own: str) -> dict[str, str]:
    """Return the variables for an app's services on other devices than `own`, by host name."""
    known = set(services)
    found: dict[str, set[str]] = {}
    for line in text.splitlines():
        row = line.split(";")
        # =;interface;protocol;name;type;domain;host;address;port;text
        if len(row) < 10 or row[0] != "=":
            continue
        host, port, said = row[6].rstrip("."), row[8], set(_TXT.findall(";".join(row[9:])))
        name = next((word[8:] for word in said if word.startswith("service=")), "")
        if f"app={app}" not in said or name not in known:
            continue
        if host.partition(".")[0].lower() == own.lower() or not _HOST.fullmatch(host):
            continue
        if port.isdecimal() and 0 < int(port) < 65536:
            found.setdefault(name, set()).add(f"{host}:{int(port)}")
    return {variable(name): ",".join(sorted(found[name])[:_MOST]) for name in sorted(found)}


def as_file(variables: dict[str, str]) -> bytes:
    """Write variables as EnvironmentFile= reads them; nothing in them needs a quote."""
    return "".join(f"{name}={value}\n" for name, value in variables.items()).encode()
