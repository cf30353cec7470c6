"""Probes against a real server on loopback."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from piot_firstboot import probe

# types-requests brings a newer urllib3 into the test tools than Debian's requests was made for.
pytestmark = pytest.mark.filterwarnings("ignore:The 'strict' parameter:FutureWarning")


class Page(BaseHTTPRequestHandler):
    """Answers with the status that the path names."""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(int(self.path.strip("/")))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    """Serve on a free port of loopback."""
    server = HTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join(10)
    server.server_close()


@pytest.fixture
def closed() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        number: int = server.getsockname()[1]
    return number


@pytest.mark.parametrize("status", [200, 204, 302])
def test_http_is_content(port: int, status: int) -> None:
    assert probe.http(f"http://127.0.0.1:{port}/{status}") == ""


@pytest.mark.parametrize("status", [404, 500, 503])
def test_http_tells_the_status(port: int, status: int) -> None:
    url = f"http://127.0.0.1:{port}/{status}"
    assert probe.http(url).startswith(f"{url} answers {status}")


def test_http_without_a_server(closed: int) -> None:
    url = f"http://127.0.0.1:{closed}/"
    assert probe.http(url) == f"{url} does not answer"


def test_tcp(port: int, closed: int) -> None:
    assert probe.tcp(f"127.0.0.1:{port}") == ""
    assert probe.tcp(f"127.0.0.1:{closed}") == f"tcp 127.0.0.1:{closed}: Connection refused"
