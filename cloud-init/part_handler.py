"""Let cloud-init's user-data carry a piot.conf, as a MIME part of type text/x-piot-conf.

cloud-init loads this file from /var/lib/cloud/handlers at each boot and calls `list_types` and
`handle_part`. The part is kept as /etc/piot/piot.conf; PioT then applies it in the same boot. A
piot.conf on the boot partition goes before it, as piot.conf(5) says.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

handler_version = 2
frequency = "always"  # compare with what is there at each boot; the part may have changed

_CONF = Path("/etc/piot/piot.conf")
_TYPE = "text/x-piot-conf"
_changed = False


def list_types() -> list[str]:
    """Name the content types that come here (cloud-init's interface)."""
    return [_TYPE]


def handle_part(
    data: object, ctype: str, filename: str | None, payload: str | bytes | None, frequency: str
) -> None:
    """Keep a part; after the last one let PioT apply it (cloud-init's interface)."""
    global _changed
    if ctype == _TYPE and payload is not None:
        content = payload if isinstance(payload, bytes) else payload.encode()
        _changed = _keep(content) or _changed
    elif ctype == "__end__" and _changed:
        # Not awaited: the boot waits for cloud-init, and PioT waits for parts of the boot.
        start = ["systemctl", "start", "--no-block", "piot-firstboot.service"]
        subprocess.run(start, check=False, timeout=30)


def _keep(content: bytes) -> bool:
    """Replace /etc/piot/piot.conf in one step; tell whether it was another one."""
    if _CONF.is_file() and _CONF.read_bytes() == content:
        return False
    _CONF.parent.mkdir(parents=True, exist_ok=True)
    temp = _CONF.with_name(".piot.conf.new")
    # Root only: the part may hold secrets.
    fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temp.replace(_CONF)
    return True
