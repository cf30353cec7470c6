"""The fallback from its first look to a network that works, with a make-believe nmcli."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piot_firstboot import accesspoint, fallback, idle, vault
from piot_firstboot.errors import ApplyError
from piot_firstboot.render.fallback import (
    ADDRESS,
    SECRET,
    SETTINGS,
    UUID,
    captive_names,
    profile,
    ssid,
)
from piot_firstboot.system import System
from tests.kit.fake_command import FakeCommand, fake_command
from tests.kit.nmlib import read
from tests.kit.wait import eventually

ROUTE = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
V4 = "eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
LINK = "eth0\t0001A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n"
ZERO = "0" * 32
V6 = f"{ZERO} 00 {ZERO} 00 fe800000000000000000000000000001 00000400 1 0 00450003     eth0\n"
LO = f"{ZERO} 00 {ZERO} 00 {ZERO} ffffffff 00000001 00000000 00200200       lo\n"
CONF = "[device]\nhostname = garden\n[wifi]\nssid = old\npassword = old password\ncountry = DE\n"

# Ethernet comes up once a file says so; the trial ends at once, with or without a connection.
NMCLI = """
case "$*" in
  *"wifi list"*) echo 686F6D65:70:WPA2; echo 6F6C64:20:WPA2 ;;
  *"show --active"*)
    test -e $WORLD/open && echo UUID:802-11-wireless:activated
    test -e $WORLD/online && echo 11111111-1111-1111-1111-111111111111:802-3-ethernet:activated ;;
  *"connection up uuid UUID"*) test -e $WORLD/broken && { echo Error: no radio >&2; exit 4; }
    touch $WORLD/open ;;
  *"connection down uuid UUID"*) rm -f $WORLD/open ;;
esac
"""
SYSTEMCTL = """
case "$*" in
  "start piot-firstboot.service")
    grep -Eq "ssid = (home|right)$" $WORLD/boot/piot.conf && touch $WORLD/online ;;
  is-active*) echo inactive; exit 3 ;;
esac
"""


@dataclass
class World:
    """A tree that is taken for a live system, and the commands that it meets."""

    root: Path
    system: System
    nmcli: FakeCommand
    systemctl: FakeCommand

    def due(self, seconds: float) -> None:
        """Have the access point be due in so many seconds."""
        at = time.clock_gettime(time.CLOCK_BOOTTIME) + seconds
        self.system.write(idle.FALLBACK_DUE, f"{at}".encode())

    def called(self, words: str) -> bool:
        """Tell whether nmcli was called with these words."""
        return any(words in " ".join(call.argv) for call in self.nmcli.calls())

    def leaves_nothing(self) -> bool:
        """Tell whether no trace of the access point is there."""
        paths = (self.root / "open", self.tree(idle.CAPTIVE), self.tree(accesspoint.PROFILE))
        return not any(path.exists() for path in paths)

    def tree(self, path: str) -> Path:
        """Return where a path of the system lies."""
        return Path(self.system.path(path))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    root = tmp_path / "root"
    for name in ("boot", "proc/net", "etc"):
        (root / name).mkdir(parents=True)
    (root / "boot/piot.conf").write_text(CONF)
    (root / "proc/net/route").write_text(ROUTE)
    (root / "proc/net/ipv6_route").write_text(LO)
    system = System(str(root))
    system.write(SETTINGS, json.dumps({"schema": 1, "after": 300.0}).encode())
    vault.put(system, SECRET, "correct horse")
    system.live = True
    monkeypatch.setattr(System, "hostname", lambda self: "garden")
    monkeypatch.setattr(fallback, "ADDRESS", "127.0.0.1")
    monkeypatch.setattr(fallback, "_PORTS", (0, 0))
    monkeypatch.setattr(fallback, "_FAREWELL", 0.1)
    monkeypatch.setattr(fallback, "_LOOK", 0.2)
    monkeypatch.setattr(signal, "signal", lambda *args: None)  # only the main thread may
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")

    def fake(name: str, script: str) -> FakeCommand:
        text = script.replace("$WORLD", str(root)).replace("UUID", UUID)
        return fake_command(tmp_path / "bin", name, script=text)

    return World(root, system, fake("nmcli", NMCLI), fake("systemctl", SYSTEMCTL))


def visit(capsys: pytest.CaptureFixture[str], answers: list[dict[str, str]]) -> list[str]:
    """Be the person with the phone: wait for each opening and send the next answer."""
    pages: list[str] = []
    said = ""

    def address() -> re.Match[str] | None:
        nonlocal said
        said += capsys.readouterr().out
        return re.search(r"is open: http://127.0.0.1:(\d+)/", said)

    for answer in answers:
        found = eventually(address, 10, "the page")
        assert found
        said = said[found.end() :]
        port = int(found[1])
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        client.request("GET", "/")
        page = client.getresponse().read().decode()
        pages.append(page)
        token = re.search('name="token" value="([^"]+)"', page)
        assert token
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        client.request("POST", "/", urlencode({"token": token[1], **answer}), kind)
        pages.append(client.getresponse().read().decode())
    return pages


def in_thread(job: Callable[[], None]) -> threading.Thread:
    """Start something that takes its time."""
    thread = threading.Thread(target=job)
    thread.start()
    return thread


# -- when it opens ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("v4", "v6", "routed"),
    [
        (ROUTE, LO, False),
        (ROUTE + LINK, LO, False),
        (ROUTE + V4, LO, True),
        (ROUTE + V4.replace("0003", "0200"), LO, False),
        (ROUTE, V6 + LO, True),
        ("", "", False),
    ],
)
def test_a_default_route_is_a_way_out(tmp_path: Path, v4: str, v6: str, routed: bool) -> None:
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / "proc/net/route").write_text(v4)
    (tmp_path / "proc/net/ipv6_route").write_text(v6)
    assert idle.routed(str(tmp_path)) == routed


def test_the_kernels_own_tables_are_read() -> None:
    shown = subprocess.run(["ip", "route", "show", "default"], capture_output=True, text=True)
    if shown.stdout:
        assert idle.routed("")


def test_the_next_look_is_needless_while_there_is_a_way_out_or_time(world: World) -> None:
    root = str(world.root)
    assert not idle.needless(root), "the first look without a connection notes the time"
    world.due(60)
    assert idle.needless(root)
    world.due(-1)
    assert not idle.needless(root)
    (world.root / "proc/net/route").write_text(ROUTE + V4)
    assert not idle.needless(root), "what was noted must go"
    world.system.remove(idle.FALLBACK_DUE)
    assert idle.needless(root)
    world.system.write(idle.CAPTIVE, captive_names())
    assert not idle.needless(root), "a power cut left this"


def test_a_look_loads_next_to_nothing(tmp_path: Path) -> None:
    package = Path(idle.__file__).parent.parent
    code = (
        f"import sys; sys.path.insert(0, {str(package)!r}); from piot_firstboot import idle; "
        f"idle.needless({str(tmp_path)!r}); print(*sys.modules)"
    )
    run = subprocess.run([sys.executable, "-IS", "-c", code], capture_output=True, text=True)
    heavy = {"subprocess", "json", "re", "dataclasses", "pathlib", "socket", "http", "argparse"}
    assert heavy.isdisjoint(run.stdout.split())


def test_it_waits_first_and_forgets_when_connected(world: World) -> None:
    fallback.tick(world.system)
    due = idle.fallback_due(str(world.root))
    assert due
    assert 295 < due - time.clock_gettime(time.CLOCK_BOOTTIME) < 305
    fallback.tick(world.system)
    assert idle.fallback_due(str(world.root)) == due
    assert not world.called("connection up")
    (world.root / "proc/net/route").write_text(ROUTE + V4)
    fallback.tick(world.system)
    assert idle.fallback_due(str(world.root)) is None


def test_a_cable_without_a_default_route_is_a_connection(world: World) -> None:
    (world.root / "online").touch()
    world.due(-1)
    fallback.tick(world.system)
    assert not world.called("connection up")
    assert idle.needless(str(world.root)), "and is not looked at again at once"


def test_what_a_power_cut_left_is_cleared(world: World) -> None:
    world.system.write(idle.CAPTIVE, captive_names())
    (world.root / "proc/net/route").write_text(ROUTE + V4)
    fallback.tick(world.system)
    assert world.leaves_nothing()
    assert idle.needless(str(world.root))


def test_without_fallback_nothing_is_done(world: World) -> None:
    world.system.remove(SETTINGS)
    world.due(-1)
    fallback.tick(world.system)
    assert not world.called("connection up")


def test_a_tree_has_no_radio(tmp_path: Path) -> None:
    with pytest.raises(ApplyError, match="no radio"):
        fallback.tick(System(str(tmp_path)))


# -- while it is open ---------------------------------------------------------------------------


def test_what_is_entered_is_written_applied_and_connects(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.due(-1)
    thread = in_thread(lambda: fallback.tick(world.system))
    pages = visit(capsys, [{"network": "686f6d65", "password": "correct horse", "country": "DE"}])
    thread.join(20)
    assert not thread.is_alive()
    assert "home" in pages[0]
    assert "Saved" in pages[1]
    conf = (world.root / "boot/piot.conf").read_text()
    assert conf == CONF + "\n[wifi.home]\nssid = home\npassword = correct horse\n"
    calls = [" ".join(call.argv) for call in world.systemctl.calls()]
    assert "systemctl start piot-firstboot.service" in calls
    assert "systemctl start --no-block piot-setup.service" in calls
    assert world.leaves_nothing()
    assert not any("correct horse" in " ".join(call.argv) for call in world.nmcli.calls())


def test_a_failure_opens_it_again_says_why_and_the_next_try_takes_its_place(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.due(-1)
    thread = in_thread(lambda: fallback.tick(world.system))
    first = {"network": "", "ssid": "typo", "password": "correct horse", "country": "DE"}
    pages = visit(capsys, [first, {**first, "ssid": "right"}])
    thread.join(20)
    assert not thread.is_alive()
    assert "typo did not connect: the password may be wrong" in pages[2]
    conf = (world.root / "boot/piot.conf").read_text()
    assert "typo\n" not in conf.replace("[wifi.typo]", "")
    assert conf.endswith("[wifi.typo]\nssid = right\npassword = correct horse\nhidden = yes\n")


def test_a_cable_closes_it(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.due(-1)
    thread = in_thread(lambda: fallback.tick(world.system))
    eventually(lambda: (world.root / "open").exists(), 10, "an access point")
    assert world.tree(accesspoint.PROFILE).stat().st_mode & 0o777 == 0o600
    assert world.tree(idle.CAPTIVE).read_bytes() == captive_names()
    (world.root / "online").touch()
    thread.join(20)
    assert not thread.is_alive()
    assert world.leaves_nothing()
    assert (world.root / "boot/piot.conf").read_text() == CONF


def test_when_nobody_comes_the_known_networks_get_their_chance(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fallback, "_OPEN", 0.5)
    folder = world.root / "etc/NetworkManager/system-connections"
    folder.mkdir(parents=True)
    keyfile = "[connection]\nid=piot-wifi\nuuid=2222\ntype=wifi\n"
    (folder / "piot-wifi.nmconnection").write_text(keyfile)
    world.due(-1)
    fallback.tick(world.system)
    assert world.called("connection up uuid 2222")
    assert world.leaves_nothing()
    due = idle.fallback_due(str(world.root))
    assert due
    assert 290 < due - time.clock_gettime(time.CLOCK_BOOTTIME) < 305


def test_an_access_point_that_does_not_open_is_tried_again_later(world: World) -> None:
    (world.root / "broken").touch()
    world.due(-1)
    with pytest.raises(ApplyError, match="does not open: Error: no radio"):
        fallback.tick(world.system)
    assert world.leaves_nothing()
    assert idle.needless(str(world.root))


# -- the profile --------------------------------------------------------------------------------

PASSWORDS = st.text(
    st.characters(min_codepoint=32, max_codepoint=126), min_size=8, max_size=63
).filter(lambda text: text.isascii())
HOSTS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)


@given(HOSTS, PASSWORDS)
@settings(deadline=None)
def test_network_manager_reads_the_profile_as_it_was_meant(host: str, password: str) -> None:
    found = read(profile(ssid(host), password))
    assert (found.ssid.decode(), found.psk, found.warnings) == (host[:32], password, ())
    radio = found.profile.get_setting_wireless()
    assert (radio.get_mode(), radio.get_band()) == ("ap", "bg")
    assert found.profile.get_setting_wireless_security().get_key_mgmt() == "wpa-psk"
    v4 = found.profile.get_setting_ip4_config()
    assert (v4.get_method(), v4.get_address(0).get_address()) == ("shared", ADDRESS)
    assert not found.profile.get_setting_connection().get_autoconnect()


def test_its_name_is_the_hosts() -> None:
    assert ssid("garden.example.org") == "garden"
    assert len(ssid("x" * 63)) == 32


def test_dnsmasq_takes_the_file(tmp_path: Path) -> None:
    (tmp_path / "captive.conf").write_bytes(captive_names())
    argv = ["dnsmasq", "--test", "--conf-file=/dev/null", f"--conf-dir={tmp_path}"]
    run = subprocess.run(argv, capture_output=True, text=True)
    assert "OK" in run.stderr


# -- only the page ------------------------------------------------------------------------------


def test_the_page_alone_ends_when_it_was_used(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.system.live = False
    (world.root / "etc/hostname").write_text("shed\n")
    thread = in_thread(lambda: fallback.page_only(world.system, ("127.0.0.1", 0)))
    said = ""

    def address() -> re.Match[str] | None:
        nonlocal said
        said += capsys.readouterr().out
        return re.search(r"http://127.0.0.1:(\d+)/", said)

    found = eventually(address, 10, "the page")
    assert found
    client = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=10)
    client.request("GET", "/")
    page = client.getresponse().read().decode()
    assert "Connect shed to" in page
    token = re.search('name="token" value="([^"]+)"', page)
    assert token
    form = {"token": token[1], "ssid": "x", "password": "correct horse", "country": "DE"}
    client = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=10)
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    client.request("POST", "/", urlencode(form), kind)
    assert "Saved" in client.getresponse().read().decode()
    thread.join(10)
    assert not thread.is_alive()
    assert "ssid = x\n" in (world.root / "boot/piot.conf").read_text()
    assert not world.nmcli.calls()
