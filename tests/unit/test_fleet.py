"""Which device has which unit, and what a person should know of it."""

from __future__ import annotations

from dataclasses import replace

from piot_firstboot import fleet
from piot_firstboot.declared import Fleet, Role
from piot_firstboot.fleet import Device
from piot_firstboot.manifest import parse
from piot_firstboot.render.app_notices import notices
from tests.unit.test_app_units import release

ROLES = Fleet(
    (
        Role("gateway", ("pi-gw", "hub-*")),
        Role("sensor", ("pi-s*",), ("*Zero 2*",)),
        Role("camera", (), ("*Pi 5*",)),
        Role("spare"),
    )
)


def test_the_role_of_piot_conf_wins_then_the_first_that_fits() -> None:
    zero, five = "Raspberry Pi Zero 2 W Rev 1.0", "Raspberry Pi 5 Model B"
    for device, role in (
        (Device("pi-gw", five), "gateway"),
        (Device("hub-7"), "gateway"),
        (Device("pi-s1", zero), "sensor"),
        (Device("pi-s1", five), "camera"),
        (Device("pi-s1"), ""),
        (Device("", zero), ""),
        (Device("pi-gw", five, "spare"), "spare"),
        (Device("pi-gw", five, "other"), "other"),
    ):
        assert fleet.role(ROLES, device) == role


def test_a_manifest_for_all_devices_is_left_as_it_is() -> None:
    manifest = parse(b"piot: 1\nsecrets: [A]\nservices: {web: {run: x}}\n")
    assert fleet.pick(manifest, Device()) is manifest


def test_nothing_names_a_unit_that_is_not_there() -> None:
    text = b"""\
piot: 1
secrets: [ALL]
services:
  hub: {run: x, when: {role: hub}, secrets: [HUB, BOTH]}
  web: {run: x, after: [hub], secrets: [BOTH]}
jobs:
  up: {run: x, every: 1h, after: [hub, web, old]}
  old: {run: x, every: 1h, when: {model: "*Pi 3*"}}
update: {gate: [hub, web], reload: {hub: HUP, web: HUP}}
"""
    manifest = parse(text)
    picked = fleet.pick(manifest, Device("a", "Pi 5", "sensor"))
    assert [unit.name for unit in picked.units] == ["web", "up"]
    assert [unit.after for unit in picked.units] == [(), ("web",)]
    assert picked.secrets == ("ALL", "BOTH")
    assert picked.update.gate == ("web",)
    assert picked.update.reload == (("web", "SIGHUP"),)
    assert fleet.pick(picked, Device("a", "Pi 5", "sensor")) == picked
    everything = fleet.pick(manifest, Device("a", "Raspberry Pi 3", "hub"))
    assert everything == manifest


def test_what_is_worth_a_warning() -> None:
    text = b"""\
piot: 1
services:
  a: {run: x, root: true}
  b: {run: x, memory: 8M, cpu: 5%, needs: {devices: [gpio, serial]}}
  c: {run: x, root: true, when: {role: other}}
"""
    frail = replace(release(), groups=frozenset({"dialout"}), controllers=frozenset())
    assert [(n.line, n.message) for n in notices(parse(text), frail)] == [
        (3, "a runs as root, without a sandbox"),
        (4, "b: memory cannot be held by this kernel; each process is limited"),
        (4, "b: cpu cannot be held by this kernel; it yields to others"),
        (4, "b: there is no group gpio on this device to open its devices"),
    ]
    assert [n.message for n in notices(parse(text), release())] == [
        "a runs as root, without a sandbox"
    ]
