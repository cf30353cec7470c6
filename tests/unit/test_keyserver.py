"""Keys from GitHub and Launchpad: bounded, judged, and refused with words."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from piot_firstboot import keyserver
from piot_firstboot.errors import ApplyError

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIP60Jb5IUMtw4XyjIaeW+nxoJyu2oD9i59eaaXTy6QIa"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOB5IJq4WkfjuxH90Y3msiyt+J+xfqGkPOWEhagFFNM5"


class Handler(BaseHTTPRequestHandler):
    """Answers as the test says."""

    status = 200
    text = b""
    drip = 0.0

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(self.status)
        if self.status == 302:
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
        self.end_headers()
        try:
            while self.drip:
                self.wfile.write(b"#" * 4096)
                time.sleep(self.drip)
            self.wfile.write(self.text)
        except OSError:
            pass

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Handler]]:
    """Serve in place of GitHub."""
    handler = type("Here", (Handler,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        http.daemon_threads = True
        threading.Thread(target=http.serve_forever, daemon=True).start()
        page = f"http://127.0.0.1:{http.server_address[1]}/{{}}.keys"
        monkeypatch.setitem(keyserver.PAGES, "gh", page)
        yield handler
        http.shutdown()


def test_keys(server: type[Handler]) -> None:
    server.text = f"{KEY}\r\n\n# comment\n{OTHER} anna@laptop\n{KEY}\n".encode()
    assert keyserver.fetch("gh:anna") == (KEY, f"{OTHER} anna@laptop")


def test_a_bad_line_costs_nobody_the_good_ones(
    server: type[Handler], capsys: pytest.CaptureFixture[str]
) -> None:
    server.text = f"ssh-dss AAAA\nssh-ed25519 AAAA\n\xff\n{KEY}\n".encode("latin-1")
    assert keyserver.fetch("gh:anna") == (KEY,)
    assert "line 1 is left out: sshd no longer takes DSA keys" in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    "line", [f'command="reboot" {KEY}', f"cert-authority {KEY}", f"{KEY} a\x1b[2J"]
)
def test_a_server_does_not_set_options(server: type[Handler], line: str) -> None:
    server.text = f"{line}\n".encode()
    with pytest.raises(ApplyError, match="no usable key"):
        keyserver.fetch("gh:anna")


@pytest.mark.parametrize(
    ("status", "text", "message"),
    [
        (404, b"Not Found", "nobody is called anna there"),
        (500, b"", "answers 500"),
        (302, b"", "answers 302"),
        (200, b"", "no usable key"),
        (200, b"<html>Welcome to the hotel</html>", "no usable key"),
        (200, b"x" * 100_000, "more than 64 KiB"),
    ],
)
def test_what_is_no_list_of_keys(
    server: type[Handler], status: int, text: bytes, message: str
) -> None:
    server.status, server.text = status, text
    with pytest.raises(ApplyError, match=message):
        keyserver.fetch("gh:anna")


def test_a_server_that_drips(server: type[Handler], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyserver, "PATIENCE", 0.5)
    server.drip = 0.1
    start = time.monotonic()
    with pytest.raises(ApplyError, match="no end of the answer"):
        keyserver.fetch("gh:anna")
    assert time.monotonic() - start < 5


def test_no_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(keyserver.PAGES, "lp", "http://127.0.0.1:9/{}")
    with pytest.raises(ApplyError, match="connection refused"):
        keyserver.fetch("lp:anna")
