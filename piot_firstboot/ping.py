"""piot ping: tell an address that a run starts, or how it ended, as healthchecks.io has it.

Before a run this is done as the job itself is, in its sandbox and with its credentials; after it,
where these are gone, as root with what PioT has stored. Whatever goes wrong ends here,
within ten seconds: who listens may be down, and that is nothing to the job.
"""

from __future__ import annotations

import os
import signal
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit, urlunsplit
from urllib.request import Request, urlopen

from piot_firstboot import unitvalues
from piot_firstboot.errors import ApplyError
from piot_firstboot.notify import complain

LATER = 75  # an exit code; `cli` says what they mean
_BOUND = 9  # seconds for all of it; looking a name up knows no timeout of its own
_TIMEOUT = 4.0  # seconds for each of two attempts


def tell(when: str, url: str, secret: str) -> int:
    """Tell the address, given or in a credential, of a start or an end; return the exit code."""
    signal.alarm(_BOUND)
    try:
        base = unitvalues.ping(url or _credential(secret))
        if "://" not in base:
            raise ValueError("this is not an address")
    except (OSError, ValueError, ApplyError):
        where = f"the secret {secret} does not hold" if secret else "this is not"
        complain(f"ping: {where} an https address")
        return LATER
    path, text = ("start", "") if when == "start" else ending(dict(os.environ))
    said = send(address(base, path), text)
    if said:
        complain(f"ping: {said}")
    return LATER if said else 0


def address(base: str, path: str) -> str:
    """Put a part behind the path of an address, before its query."""
    parts = urlsplit(base)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{path}"))


def ending(environ: dict[str, str]) -> tuple[str, str]:
    """Say how a run ended by what systemd tells ExecStopPost=: systemd.exec(5), SERVICE_RESULT."""
    result, status = environ.get("SERVICE_RESULT", ""), environ.get("EXIT_STATUS", "")
    if result == "success":
        return "0", ""
    if result == "exit-code" and status.isdecimal() and 0 < int(status) < 256:
        return status, f"ended with status {status}"
    return "fail", f"{result or 'unknown'} {status}".strip()


def send(url: str, text: str) -> str:
    """Send a text to an address, twice if need be; return what went wrong, without the address."""
    said = ""
    for _ in range(2):
        try:
            with urlopen(Request(url, text.encode(), method="POST"), timeout=_TIMEOUT):
                return ""
        except HTTPError as error:
            with error:
                said = f"it was answered with {error.code}"
            if error.code < 500:
                break
        except (OSError, HTTPException, ValueError) as error:
            reason = getattr(error, "reason", error)
            why = reason.strerror if isinstance(reason, OSError) else None
            said = f"it was not heard: {why or 'no answer'}"
    return said


def _credential(name: str) -> str:
    """Read an address from a credential of the unit, or from the store."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if folder and Path(folder, name).is_file():
        return Path(folder, name).read_text("utf-8").strip()
    return _stored(name) if os.geteuid() == 0 else ""


def _stored(name: str) -> str:
    """Read an address from the store."""
    from piot_firstboot import vault
    from piot_firstboot.system import System

    return vault.get(System("/"), name) or ""
