"""piot ping: what it sends where, against a real server on loopback, and that it stays silent."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from piot_firstboot import ping

HEARD: list[tuple[str, str]] = []


class Listener(BaseHTTPRequestHandler):
    """Answers with the status that the path begins with, and remembers what it was told."""

    def do_POST(self) -> None:
        """Answer."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        HEARD.append((self.path, body))
        self.send_response(int(self.path.split("/")[1]))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def base() -> Iterator[str]:
    """Listen on a free port of loopback."""
    HEARD.clear()
    server = HTTPServer(("127.0.0.1", 0), Listener)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join(10)
    server.server_close()


def test_the_part_goes_behind_the_path() -> None:
    assert ping.address("https://hc/x", "start") == "https://hc/x/start"
    assert ping.address("https://hc/x/?rid=1&b=%20#f", "0") == "https://hc/x/0?rid=1&b=%20#f"


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        ({"SERVICE_RESULT": "success", "EXIT_STATUS": "0"}, "0"),
        ({"SERVICE_RESULT": "exit-code", "EXIT_STATUS": "3"}, "3"),
        ({"SERVICE_RESULT": "exit-code", "EXIT_STATUS": "255"}, "255"),
        ({"SERVICE_RESULT": "timeout", "EXIT_STATUS": "TERM"}, "fail"),
        ({"SERVICE_RESULT": "signal", "EXIT_STATUS": "KILL"}, "fail"),
        ({"SERVICE_RESULT": "oom-kill"}, "fail"),
        ({}, "fail"),
    ],
)
def test_how_a_run_ended(environ: dict[str, str], path: str) -> None:
    assert ping.ending(environ)[0] == path


def test_what_is_sent(base: str) -> None:
    assert ping.send(f"{base}/200/start", "") == ""
    assert ping.send(f"{base}/200/7", "ended with status 7") == ""
    assert HEARD == [("/200/start", ""), ("/200/7", "ended with status 7")]


def test_who_does_not_listen_is_asked_twice_at_most(base: str) -> None:
    assert ping.send(f"{base}/404/x", "") == "it was answered with 404"
    assert len(HEARD) == 1
    assert ping.send(f"{base}/503/x", "") == "it was answered with 503"
    assert len(HEARD) == 3
    assert ping.send("http://127.0.0.1:1/secret", "") == "it was not heard: Connection refused"
    assert "secret" not in ping.send("http://nowhere.invalid/secret", "")
    assert "secret" not in ping.send("http://[bad/secret", "")


@pytest.mark.parametrize("text", ["http://hc/secret", "no address", "", "https://a b/secret"])
def test_a_secret_that_is_no_address_is_not_shown(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "HC").write_text(text)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.setattr("signal.alarm", lambda seconds: 0)
    monkeypatch.setattr(ping, "_stored", lambda name: "")
    assert ping.tell("start", "", "HC") == 75
    assert ping.tell("start", "", "ABSENT") == 75
    said = capsys.readouterr()
    assert said.err == (
        "ping: the secret HC does not hold an https address\n"
        "ping: the secret ABSENT does not hold an https address\n"
    )
    assert said.out == ""


def test_after_a_run_the_store_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """systemd takes the credentials away before ExecStopPost=, which is then root's."""
    monkeypatch.setattr("signal.alarm", lambda seconds: 0)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(ping, "_stored", {"HC": "https://hc.example/x"}.__getitem__)
    monkeypatch.setenv("SERVICE_RESULT", "success")
    sent: list[str] = []

    def send(url: str, text: str) -> str:
        sent.append(url)
        return text

    monkeypatch.setattr(ping, "send", send)
    for folder in ("", str(tmp_path)):
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", folder)
        assert ping.tell("end", "", "HC") == 0
    assert sent == ["https://hc.example/x/0"] * 2
