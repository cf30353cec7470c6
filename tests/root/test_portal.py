"""The server of the fallback page, with clients that behave and clients that do not."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlencode

import pytest

from piot_firstboot import portal
from piot_firstboot.fallback import Desk
from piot_firstboot.newwifi import Network
from piot_firstboot.portal import MOST_BODY, Site, answer
from piot_firstboot.system import System

NEAR = (Network(b"home", 80, "WPA2"),)
CONF = b"[device]\nhostname = garden\n"
GOOD = {"network": "686f6d65", "password": "correct horse", "country": "DE"}
KIND = "application/x-www-form-urlencoded"


class Server:
    """The page's server in a thread."""

    def __init__(self, root: Path) -> None:
        self.desk = Desk(System(str(root)), "garden", NEAR)
        self.socket = portal.listen("127.0.0.1", 0)
        self.port = self.socket.getsockname()[1]
        self.host = f"127.0.0.1:{self.port}"
        self.stopped = threading.Event()
        self.errors: list[BaseException] = []
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        site = Site((self.host, "garden.local"), self.desk.show, self.desk.take)
        try:
            portal.serve(self.socket, site, lambda: not self.stopped.is_set())
        except BaseException as error:
            self.errors.append(error)

    def ask(
        self, method: str, path: str = "/", body: bytes = b"", **headers: str
    ) -> tuple[http.client.HTTPResponse, str]:
        """Send a request as a browser on the page would."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if method == "POST":
            named = {"Content-Type": KIND, **named}
        connection.request(method, path, body if method == "POST" else None, named)
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        return response, text

    def post(self, values: dict[str, str], **headers: str) -> tuple[int, str]:
        """Send the form, with the page's token unless it says otherwise."""
        body = urlencode({"token": self.desk.token, **values}).encode()
        response, text = self.ask("POST", "/", body, **headers)
        return response.status, text

    def raw(self, data: bytes) -> bytes:
        """Send bytes and return all that comes back."""
        with socket.create_connection(("127.0.0.1", self.port), 15) as client:
            client.sendall(data)
            return b"".join(iter(lambda: client.recv(65536), b""))

    def conf(self) -> bytes:
        """Return the piot.conf."""
        return Path(self.desk.system.path("/boot/piot.conf")).read_bytes()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot/piot.conf").write_bytes(CONF)
    running = Server(tmp_path)
    yield running
    running.stopped.set()
    running.thread.join(10)
    running.socket.close()
    assert not running.errors


def test_the_page_and_what_goes_with_it(server: Server) -> None:
    response, text = server.ask("GET")
    assert response.status == 200
    assert response.getheader("Content-Type") == "text/html; charset=utf-8"
    assert response.getheader("Cache-Control") == "no-store"
    policy = response.getheader("Content-Security-Policy") or ""
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert server.desk.token in text
    response, text = server.ask("HEAD")
    assert (response.status, text) == (200, "")


def test_a_good_form_is_written(server: Server) -> None:
    status, text = server.post(GOOD, Origin=f"http://{server.host}")
    assert status == 200
    assert "Saved" in text
    assert server.conf() == CONF + (
        b"\n[wifi]\nssid = home\npassword = correct horse\ncountry = DE\n"
    )
    assert "Saved" in server.ask("GET")[1], "and a second look does not show the form again"


@pytest.mark.parametrize(
    "path", ["/generate_204", "/hotspot-detect.html", "/connecttest.txt", "/", "/ncsi.txt"]
)
def test_other_names_lead_to_the_page(server: Server, path: str) -> None:
    response, _ = server.ask("GET", path, Host="connectivitycheck.gstatic.com")
    assert response.status == 302
    assert response.getheader("Location") == f"http://{server.host}/"


def test_its_own_name_serves_one_path(server: Server) -> None:
    assert server.ask("GET", "/", Host="GARDEN.local")[0].status == 200
    assert server.ask("GET", "/?x=1")[0].status == 200
    for path in ("/favicon.ico", "/etc/passwd", "/../../etc/passwd", "//", "/index.html"):
        assert server.ask("GET", path)[0].status == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
        ({"Transfer-Encoding": "chunked"}, 501),
    ],
)
def test_forms_from_elsewhere_are_refused(
    server: Server, headers: dict[str, str], status: int
) -> None:
    assert server.post(GOOD, **{k.replace("-", "_"): v for k, v in headers.items()})[0] == status
    assert server.conf() == CONF


def test_a_form_without_the_pages_token_is_shown_again(server: Server) -> None:
    for token in ("", "x", "é" * 20):
        status, text = server.post({**GOOD, "token": token})
        assert status == 422
        assert "send it again" in text
    assert server.conf() == CONF


def test_what_the_judge_refuses(server: Server) -> None:
    status, text = server.post({**GOOD, "password": "short"})
    assert status == 422
    assert "a Wi-Fi password has 8 to 63 bytes, this one 5" in text
    assert 'value="short"' not in text
    assert server.conf() == CONF


@pytest.mark.parametrize(
    "body", [b"", b"%", b"\xff\xfe", b"a" * 100, b"&".join([b"a=b"] * 50), b"\0" * 50]
)
def test_no_form_at_all(server: Server, body: bytes) -> None:
    assert server.ask("POST", "/", body)[0].status == 422
    assert server.conf() == CONF


def test_bytes_that_are_no_utf_8_and_lines_in_a_value(server: Server) -> None:
    token = server.desk.token.encode()
    for value, words in ((b"%FF%FEabcdefgh", "is not UTF-8"), (b"correct%0Ahorse", "one line")):
        body = b"network=686f6d65&country=DE&token=" + token + b"&password=" + value
        response, text = server.ask("POST", "/", body)
        assert response.status == 422
        assert words in text
    assert server.conf() == CONF


def test_a_body_that_is_too_long_is_refused_unread(server: Server) -> None:
    response, _ = server.ask("POST", "/", b"a" * (MOST_BODY + 1))
    assert response.status == 413
    began = time.monotonic()
    head = f"POST / HTTP/1.1\r\nHost: {server.host}\r\nContent-Length: 99999999999\r\n\r\n"
    assert server.raw(head.encode()).startswith(b"HTTP/1.1 413 ")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nnonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n folded: x\r\n\r\n", 400),
        (b"PUT / HTTP/1.1\r\n\r\n", 405),
        (b"\xff" * 100 + b"\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 65 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nx: " + b"a" * 9000, 431),
        (b"POST / HTTP/1.1\r\nHost: garden.local\r\n\r\n", 411),
        (b"POST / HTTP/1.1\r\nHost: garden.local\r\nContent-Length: -1\r\n\r\n", 411),
    ],
)
def test_requests_that_are_none(server: Server, data: bytes, status: int) -> None:
    assert server.raw(data).startswith(f"HTTP/1.1 {status} ".encode())


def test_clients_that_say_nothing_hold_up_nobody(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portal, "PATIENCE", 1.5)
    idle = [socket.create_connection(("127.0.0.1", server.port), 10) for _ in range(50)]
    idle[-1].sendall(b"POST / HTTP/1.1\r\n")
    began = time.monotonic()
    assert server.ask("GET")[0].status == 200
    assert time.monotonic() - began < 1
    # And they are shown out.
    for client in idle:
        client.settimeout(10)
        with suppress(ConnectionResetError):
            assert client.recv(10) == b""
        client.close()
    assert server.ask("GET")[0].status == 200


def test_a_slow_client_is_answered_if_it_comes_to_an_end_in_time(server: Server) -> None:
    request = f"GET / HTTP/1.1\r\nHost: {server.host}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", server.port), 15) as client:
        for byte in request:
            client.sendall(bytes([byte]))
            time.sleep(0.005)
        assert client.recv(100).startswith(b"HTTP/1.1 200 ")


def test_a_client_that_reads_nothing_and_one_that_leaves(server: Server) -> None:
    request = f"GET / HTTP/1.1\r\nHost: {server.host}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", server.port), 15) as client:
        client.sendall(request)
        assert server.ask("GET")[0].status == 200
    for _ in range(20):
        socket.create_connection(("127.0.0.1", server.port), 15).close()
    assert server.ask("GET")[0].status == 200


def test_a_partition_that_cannot_be_written_is_said_on_the_page(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **more: object) -> None:
        raise OSError(30, "Read-only file system", "/boot/piot.conf")

    monkeypatch.setattr(System, "write", refuse)
    status, text = server.post(GOOD)
    assert status == 422
    assert "/boot/piot.conf: Read-only file system" in text


def test_a_file_that_went_away_is_not_made_anew(server: Server) -> None:
    Path(server.desk.system.path("/boot/piot.conf")).unlink()
    status, text = server.post(GOOD)
    assert status == 422
    assert "there is no piot.conf" in text


def test_a_file_that_is_no_text_stays(server: Server) -> None:
    Path(server.desk.system.path("/boot/piot.conf")).write_bytes(b"{\\rtf1 x}")
    assert server.ask("GET")[0].status == 200
    status, text = server.post(GOOD)
    assert status == 422
    assert "rich text" in text
    assert server.conf() == b"{\\rtf1 x}"


def test_an_unfinished_request_is_no_answer_yet() -> None:
    site = Site(("x",), lambda: b"page", lambda body: (True, body))
    whole = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: {KIND}\r\nContent-Length: 3\r\n\r\nabc"
    for end in range(len(whole)):
        assert answer(whole[:end].encode(), site) == b""
    assert answer(whole.encode(), site).endswith(b"\r\n\r\nabc")
