"""The radio's switches and country, as the kernel, systemd and NetworkManager keep them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from piot_firstboot import live
from piot_firstboot.system import System
from tests.kit.fake_command import FakeCommand, fake_command

STATE = "var/lib/NetworkManager/NetworkManager.state"
SWITCH = "sys/class/rfkill/rfkill0"
SAVED = "var/lib/systemd/rfkill"
OFF = "[main]\nNetworkingEnabled=true\nWirelessEnabled=false\nWWANEnabled=true\n"
ON = OFF.replace("WirelessEnabled=false", "WirelessEnabled=true")
# What a Raspberry Pi without a country looks like.
BLOCKED = {
    "sys/class/rfkill/rfkill0/type": "bluetooth\n",
    "sys/class/rfkill/rfkill0/soft": "0\n",
    "sys/class/rfkill/rfkill1/type": "wlan\n",
    "sys/class/rfkill/rfkill1/soft": "1\n",
    f"{SAVED}/platform-fe300000.mmcnr:wlan": "1\n",
    f"{SAVED}/platform-soc:bluetooth": "1\n",
    STATE: OFF,
}
GLOBAL = """\
global
country 00: DFS-UNSET
\t(755 - 928 @ 2), (N/A, 20), (N/A), PASSIVE-SCAN

phy#0
country 99: DFS-UNSET
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeCommand]:
    """Put fake iw, rfkill and nmcli into PATH; rfkill does what it is told."""
    bindir = tmp_path / "bin"
    monkeypatch.setenv("PATH", f"{bindir}:{os.environ['PATH']}")
    unblock = f"echo 0 >{tmp_path}/root/sys/class/rfkill/rfkill1/soft"
    return {
        "iw": fake_command(bindir, "iw", stdout=GLOBAL),
        "rfkill": fake_command(bindir, "rfkill", script=unblock),
        "nmcli": fake_command(bindir, "nmcli"),
    }


def tree(tmp_path: Path, files: dict[str, str]) -> System:
    """Return a system with these files."""
    root = tmp_path / "root"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    root.mkdir(exist_ok=True)
    return System(str(root))


@pytest.mark.parametrize(
    ("files", "state"),
    [
        ({}, "on"),
        ({STATE: ON}, "on"),
        ({STATE: OFF}, "off"),
        ({f"{SAVED}/x:wlan": "1\n"}, "off"),
        ({f"{SAVED}/x:bluetooth": "1\n"}, "on"),
        ({name: text for name, text in BLOCKED.items() if name.startswith("sys")}, "off"),
        ({f"{SWITCH}/type": "bluetooth\n", f"{SWITCH}/soft": "1\n"}, "on"),
        (BLOCKED, "off"),
    ],
)  # fmt: skip
def test_switch(tmp_path: Path, files: dict[str, str], state: str) -> None:
    """Any one switch keeps Wi-Fi off; those of other radios do not count."""
    assert live.read(tree(tmp_path, files), "radio") == state


@pytest.mark.usefixtures("tools")
def test_unblock(tmp_path: Path) -> None:
    """All switches of Wi-Fi are on afterwards, and nothing else is touched."""
    system = tree(tmp_path, BLOCKED)
    live.write(system, "radio", "on")
    assert live.read(system, "radio") == "on"
    root = tmp_path / "root"
    assert (root / STATE).read_text() == ON
    assert (root / SAVED / "platform-fe300000.mmcnr:wlan").read_text() == "0\n"
    assert (root / SAVED / "platform-soc:bluetooth").read_text() == "1\n"


def test_unblock_tells_networkmanager(tmp_path: Path, tools: dict[str, FakeCommand]) -> None:
    """One that runs keeps its own memory, and would write it back; else there is none to ask."""
    system = tree(tmp_path, BLOCKED)
    live.write(system, "radio", "on")
    assert tools["nmcli"].calls() == []
    (tmp_path / "root/run/NetworkManager").mkdir(parents=True)
    live.write(system, "radio", "on")
    assert [call.argv for call in tools["nmcli"].calls()] == [("nmcli", "radio", "wifi", "on")]


def test_country(tmp_path: Path, tools: dict[str, FakeCommand]) -> None:
    """The kernel's own country counts, not that of a radio; it is set by iw."""
    system = tree(tmp_path, {})
    assert live.read(system, "regdom") == "00"
    live.write(system, "regdom", "DE")
    assert tools["iw"].calls()[-1].argv == ("iw", "reg", "set", "DE")


def test_country_without_iw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the tool nothing is known, and nothing fails."""
    monkeypatch.setenv("PATH", str(tmp_path))
    system = tree(tmp_path, {})
    assert live.read(system, "regdom") == ""
    live.write(system, "regdom", "DE")
