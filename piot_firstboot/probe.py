"""Ask a service how it is: HTTP, TCP, or a command of its own."""

from __future__ import annotations

import socket

from piot_firstboot.system import System

_TIMEOUT = 5.0  # seconds for one answer


def http(url: str) -> str:
    """Fetch a URL; return "" for any 2xx or 3xx answer, else what went wrong."""
    import requests

    try:
        with requests.get(url, timeout=_TIMEOUT, stream=True, allow_redirects=False) as answer:
            ok = 200 <= answer.status_code < 400
            return "" if ok else f"{url} answers {answer.status_code} {answer.reason}"
    except requests.ConnectionError:
        return f"{url} does not answer"
    except requests.RequestException as error:
        return f"{url}: {type(error).__name__}"


def tcp(address: str) -> str:
    """Open a TCP connection to `port` or `host:port`; return "" or what went wrong."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]") or "localhost", int(port)), _TIMEOUT).close()
    except OSError as error:
        return f"tcp {address}: {error.strerror or error}"
    return ""


def command(system: System, unit: str) -> str:
    """Start the oneshot unit that runs a service's own check; return "" or how it failed."""
    result = system.run(("systemctl", "start", unit), timeout=60)
    return "" if result.code == 0 else f"{unit} failed"
