"""The device: its name, its place in the world, and what it is among others."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from piot_firstboot.config import Config
from piot_firstboot.errors import ApplyError
from piot_firstboot.facts import Facts, host_name
from piot_firstboot.items import File, Item, Lines, Package, State, Symlink, Unit
from piot_firstboot.plan import Obstacle, Part
from piot_firstboot.render.origin import COMMENT

SAID = "/var/lib/piot/device.json"
SCHEMA = 1  # of device.json

_SELF = "127.0.1.1"  # Debian's address for a host's own name; Debian Reference, 5.1.1
_KEYBOARD = "/etc/default/keyboard"
_ALWAYS_THERE = ("C.UTF-8",)  # built into glibc
# Where the locale is a file of its own; later systemd makes it a link at each boot
# (/usr/lib/tmpfiles.d/debian.conf), and what else lies there is lost.
_FILE_OF_ITS_OWN = ("bookworm", "jammy", "noble")


def render(config: Config, facts: Facts) -> Iterable[Part]:
    """Render `[device]`."""
    late = tuple(_locale(config, facts))
    try:
        early = (*_name(config, facts), *_zone(config), *_keyboard(config), *_said(config, facts))
    except ApplyError as error:
        early = ()
        yield Part("device", (), obstacle=Obstacle(str(error), error.hint))
    if early:
        yield Part("device", early)
    if late:
        # Nothing may name a locale before it is there, and building one takes a minute on a Pi.
        yield Part("device", late, late=True)


def _name(config: Config, facts: Facts) -> Iterator[Item]:
    """Set the host name: in its file, in /etc/hosts, and in the running kernel."""
    if config.device.hostname is None:
        return
    name = host_name(config.device.hostname, facts)
    short = name.partition(".")[0]
    names = name if name == short else f"{name} {short}"
    # hostname(5) allows comments, but other readers of this file do not know that.
    yield File("/etc/hostname", f"{name}\n".encode(), keep=True)
    yield Lines("/etc/hosts", (f"{_SELF}\t{names}",), replaces=_SELF)
    yield State("hostname", name)


def _zone(config: Config) -> Iterator[Item]:
    """Set the time zone, as Debian keeps it."""
    zone = config.device.timezone
    if zone is not None:
        yield Symlink("/etc/localtime", f"/usr/share/zoneinfo/{zone}", keep=True)
        yield File("/etc/timezone", f"{zone}\n".encode(), keep=True)


def _keyboard(config: Config) -> Iterator[Item]:
    """Set the keyboard, for the console and for all that reads keyboard(5)."""
    if config.device.keyboard is None:
        return
    layout, _, variant = config.device.keyboard.partition(" ")
    lines = (
        COMMENT,
        'XKBMODEL="pc105"',
        f'XKBLAYOUT="{layout}"',
        f'XKBVARIANT="{variant}"',
        'XKBOPTIONS=""',
        'BACKSPACE="guess"',
    )
    yield File(_KEYBOARD, ("\n".join(lines) + "\n").encode(), keep=True)
    # Loads the new layout into the console; not there without the package console-setup.
    yield Unit("console-setup.service", on_change="restart", because=(_KEYBOARD,))


def _locale(config: Config, facts: Facts) -> Iterator[Item]:
    """Build the locale, then make it everybody's."""
    name = config.device.locale
    if name is None:
        return
    if name not in _ALWAYS_THERE:
        yield Package("locales")
        yield Lines("/etc/locale.gen", (f"{name} UTF-8",))
    text = f"{COMMENT}\nLANG={name}\n".encode()
    if facts.codename in _FILE_OF_ITS_OWN:
        yield File("/etc/default/locale", text, keep=True)
    else:
        yield File("/etc/locale.conf", text, keep=True)
        yield Symlink("/etc/default/locale", "../locale.conf", keep=True)
    yield State("locale", name)


def _said(config: Config, facts: Facts) -> Iterator[Item]:
    """Keep what the device is among others, for programs.

    Keys: schema, name, role ("" when there is none), labels (names and values).
    """
    device = config.device
    if device.role is None and not device.labels:
        return
    said = {
        "schema": SCHEMA,
        "name": host_name(device.hostname, facts) if device.hostname else facts.host,
        "role": device.role or "",
        "labels": dict(device.labels),
    }
    text = json.dumps(said, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    yield File(SAID, text.encode())
