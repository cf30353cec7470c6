"""A web server for one page, as long as the fallback access point is open.

Whoever joins may send it anything. So it is small: one thread that never waits for a client, a few
connections at a time, each with little memory and little time, and one path.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from piot_firstboot.page import POLICY

MOST_HEAD = 8 * 1024  # bytes of a request before its body
MOST_BODY = 8 * 1024
MOST_HEADERS = 64
PATIENCE = 10.0  # seconds for a connection, from its beginning to its end
_MOST_CONNECTIONS = 32  # browsers open several, some of them only to have them
_PIECE = 16 * 1024
_TICK = 0.25  # seconds between looks at the clock

_REASONS = {
    200: "OK",
    302: "Found",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    411: "Length Required",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    431: "Request Header Fields Too Large",
    501: "Not Implemented",
}
_FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Response:
    """What is sent back; `location` sends the browser elsewhere."""

    status: int
    body: bytes = b""
    location: str = ""

    def encoded(self, *, head: bool = False) -> bytes:
        """Return the response as it goes over the wire, without its body for HEAD."""
        body = self.body or f"{self.status} {_REASONS[self.status]}\n".encode()
        kind = "text/html" if self.body else "text/plain"
        lines = [
            f"HTTP/1.1 {self.status} {_REASONS[self.status]}",
            f"Content-Type: {kind}; charset=utf-8",
            f"Content-Length: {len(body)}",
            "Connection: close",
            # Phones must ask again once they are in another network.
            "Cache-Control: no-store",
            f"Content-Security-Policy: {POLICY}",
            "X-Content-Type-Options: nosniff",
            # Not no-referrer: with that, browsers say "Origin: null" with the form.
            "Referrer-Policy: same-origin",
        ]
        if self.location:
            lines.append(f"Location: {self.location}")
        return "\r\n".join([*lines, "", ""]).encode() + (b"" if head else body)


@dataclass(frozen=True, slots=True)
class Site:
    """The page: what it shows, what becomes of a form, and by which names it is asked for.

    The first of `hosts` is where everyone else is sent, above all the probes with which phones find
    out whether there is a way to the Internet (/generate_204, /hotspot-detect.html and the like).
    """

    hosts: tuple[str, ...]
    show: Callable[[], bytes]
    take: Callable[[bytes], tuple[bool, bytes]]


@dataclass(slots=True)
class _Connection:
    """A client, what it has sent so far and what it has still to get."""

    socket: socket.socket
    until: float
    data: bytearray = field(default_factory=bytearray)
    out: bytes = b""
    closing: bool = False  # all is sent; what it still says is read and dropped


def listen(host: str, port: int) -> socket.socket:
    """Open the server's socket; raises OSError where the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server = socket.create_server((host, port), family=family, backlog=_MOST_CONNECTIONS)
    server.setblocking(False)
    return server


def serve(server: socket.socket, site: Site, go_on: Callable[[], bool]) -> None:
    """Answer requests while `go_on`, which is asked a few times a second and after each request."""
    with selectors.DefaultSelector() as selector:
        selector.register(server, selectors.EVENT_READ)
        open_ones: dict[int, _Connection] = {}
        try:
            while go_on() or any(one.out for one in open_ones.values()):
                for key, _ in selector.select(_TICK):
                    if key.fileobj is server:
                        _accept(server, selector, open_ones)
                    elif one := open_ones.get(key.fd):
                        _step(one, site, selector, open_ones)
                now = time.monotonic()
                for one in [one for one in open_ones.values() if one.until <= now]:
                    _drop(one, selector, open_ones)
        finally:
            for one in list(open_ones.values()):
                _drop(one, selector, open_ones)


def _accept(
    server: socket.socket, selector: selectors.BaseSelector, open_ones: dict[int, _Connection]
) -> None:
    """Take a new client; the one that has been here longest makes room."""
    try:
        client, _ = server.accept()
    except OSError:  # it went away again
        return
    client.setblocking(False)
    if len(open_ones) >= _MOST_CONNECTIONS:
        _drop(min(open_ones.values(), key=lambda one: one.until), selector, open_ones)
    one = _Connection(client, time.monotonic() + PATIENCE)
    open_ones[client.fileno()] = one
    selector.register(client, selectors.EVENT_READ)


def _step(
    one: _Connection,
    site: Site,
    selector: selectors.BaseSelector,
    open_ones: dict[int, _Connection],
) -> None:
    """Go on with a client that has sent something, or can take more."""
    try:
        if one.out:
            one.out = one.out[one.socket.send(one.out) :]
        else:
            piece = one.socket.recv(_PIECE)
            if not piece:
                _drop(one, selector, open_ones)
                return
            if one.closing:
                return
            one.data += piece
            one.out = answer(bytes(one.data), site)
            if one.out:
                one.data.clear()
                selector.modify(one.socket, selectors.EVENT_WRITE)
            return
    except BlockingIOError:
        return
    except OSError:
        _drop(one, selector, open_ones)
        return
    if not one.out:
        # To close while there is unread input would make the kernel take back what was sent.
        one.closing = True
        with suppress(OSError):
            one.socket.shutdown(socket.SHUT_WR)
        selector.modify(one.socket, selectors.EVENT_READ)


def _drop(
    one: _Connection, selector: selectors.BaseSelector, open_ones: dict[int, _Connection]
) -> None:
    """Close a connection."""
    selector.unregister(one.socket)
    del open_ones[one.socket.fileno()]
    one.socket.close()


# -- one request --------------------------------------------------------------------------------


def answer(data: bytes, site: Site) -> bytes:
    """Answer what has come so far of a request; nothing while it is not complete."""
    head, end, body = data.partition(b"\r\n\r\n")
    if len(head) > MOST_HEAD:
        return Response(431).encoded()
    if not end:
        return b""
    try:
        request, *lines = head.decode("latin-1").split("\r\n")
        method, path, version = request.split(" ")
        headers = _headers(lines)
    except ValueError:
        return Response(400).encoded()
    if not version.startswith("HTTP/1.") or len(lines) > MOST_HEADERS:
        return Response(400 if len(lines) <= MOST_HEADERS else 431).encoded()
    if "transfer-encoding" in headers:
        return Response(501).encoded()
    response: Response | None
    if method in ("GET", "HEAD"):
        response = _get(path, headers, site)
    elif method == "POST":
        response = _post(path, headers, body, site)
    else:
        response = Response(405)
    return response.encoded(head=method == "HEAD") if response else b""


def _headers(lines: list[str]) -> dict[str, str]:
    """Read header lines; ValueError for what is none, and for one that stands twice."""
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.lower()
        if not colon or not name or name != name.strip():
            raise ValueError(line)
        if name in ("host", "content-length", "origin") and name in headers:
            raise ValueError(line)
        headers[name] = value.strip()
    return headers


def _get(path: str, headers: Mapping[str, str], site: Site) -> Response:
    """Show the page, and send everyone who asks for something else to it."""
    if headers.get("host", "").lower() not in site.hosts:
        return Response(302, location=f"http://{site.hosts[0]}/")
    return Response(200, site.show()) if path.partition("?")[0] == "/" else Response(404)


def _post(path: str, headers: Mapping[str, str], body: bytes, site: Site) -> Response | None:
    """Take a form that was sent from the page itself; None while it is not complete.

    The host must be the page's own, else a site that has its name point here could send a form;
    so must the origin, where the browser names one.
    """
    host = headers.get("host", "").lower()
    origin = headers.get("origin", f"http://{host}").lower()
    if host not in site.hosts or origin != f"http://{host}":
        return Response(403)
    if path != "/":
        return Response(404)
    length = headers.get("content-length", "")
    if not (length.isascii() and length.isdigit()):
        return Response(411)
    if len(length) > 9 or int(length) > MOST_BODY:
        return Response(413)
    if headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        return Response(415)
    if len(body) < int(length):
        return None
    taken, page = site.take(body[: int(length)])
    return Response(200 if taken else 422, page)
