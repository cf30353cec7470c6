"""What other devices advertise: which lines count, and that a network cannot say just anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piot_firstboot import neighbours, peers
from piot_firstboot.manifest import parse
from piot_firstboot.system import System
from tests.kit.fake_command import fake_command

ROW = "=;eth0;IPv4;app\\032web\\032on\\032{0};_piot._tcp;local;{0}.local;10.0.0.{1};{2};{3}\n"
MINE = '"service=web" "app=app"'


def row(host: str, port: object = 8080, said: str = MINE) -> str:
    """Write a line as avahi-browse does."""
    return ROW.format(host, 7, port, said)


def test_what_counts() -> None:
    """Our app, our services, other devices, each once, in a fixed order."""
    text = (
        "+;eth0;IPv4;app\\032web;_piot._tcp;local\n"
        + row("pi-b")
        + row("pi-b").replace("IPv4", "IPv6").replace("10.0.0.7", "fe80::1")
        + row("pi-a")
        + row("pi-a", 9, '"service=metrics-in" "app=app"')
        + row("Pi")
        + row("pi-c", said='"app=other" "service=web"')
        + row("pi-d", said='"app=app" "service=unknown"')
        + row("pi-e", said='"app=app"')
        + row("pi-f", 0)
        + row("pi-g", "80x")
        + row("pi-h\\nX=1")
        + row("$(reboot)")
        + "=;short\n"
    )
    assert peers.parse(text, "app", ("web", "metrics-in"), "pi") == {
        "PIOT_PEER_METRICS_IN": "pi-a.local:9",
        "PIOT_PEER_WEB": "pi-a.local:8080,pi-b.local:8080",
    }


def test_a_crowd_is_cut() -> None:
    text = "".join(row(f"pi-{n}") for n in range(1000))
    assert len(peers.parse(text, "app", ("web",), "pi")["PIOT_PEER_WEB"].split(",")) == 64


@given(st.text(max_size=60), st.text(max_size=20), st.text(max_size=40))
def test_no_network_adds_a_line(host: str, port: str, said: str) -> None:
    found = peers.parse(row(host, port, said) + row(host) + row("a", port), "app", ("web",), "pi")
    data = peers.as_file(found).decode()
    assert data.count("\n") == len(found) <= 1
    assert set(data.partition("=")[2]) <= set(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:,\n"
    )


def test_what_was_known_stays_when_nobody_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = parse(b"piot: 1\nservices: {web: {run: x, port: 8080, when: {role: hub}}}\n")
    (tmp_path / "root").mkdir()
    system, file = System(str(tmp_path / "root")), "/var/lib/piot/apps/app/peers"
    system.live = True
    system.write("/etc/hostname", b"pi\n")
    neighbours.note(system, "app", manifest)
    assert not system.exists(file)
    fake = fake_command(tmp_path, "avahi-browse", stdout=row("pi-a"))
    monkeypatch.setattr(neighbours, "_BROWSE", str(fake.path))
    system.write(str(fake.path), b"")
    neighbours.note(system, "app", manifest)
    assert system.read(file) == b"PIOT_PEER_WEB=pi-a.local:8080\n"
    fake_command(tmp_path, "avahi-browse")
    neighbours.note(system, "app", manifest)
    assert len(fake.calls()) == 2
    assert system.read(file) == b"PIOT_PEER_WEB=pi-a.local:8080\n"
