"""Networks: a profile for each section, certificates, and the country's rules for radio."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from piot_firstboot.config import Config
from piot_firstboot.facts import Facts
from piot_firstboot.items import Directory, File, Item, State, Word
from piot_firstboot.plan import Obstacle, Part
from piot_firstboot.render import keyfile, netplan
from piot_firstboot.render.origin import COMMENT
from piot_firstboot.sections.ethernet import Ethernet
from piot_firstboot.sections.wifi import Wifi

_REGDOM = "cfg80211.ieee80211_regdom"
_NEEDED = "install NetworkManager: sudo apt install network-manager"


def render(config: Config, facts: Facts) -> Iterable[Part]:
    """Render `[wifi]` and `[ethernet]`."""
    networks: tuple[Wifi | Ethernet, ...] = (*config.wifi, *config.ethernet)
    if not networks:
        return ()
    # The radio is no network's own: it stays as long as any Wi-Fi section does.
    parts = list(_radio(config.wifi, facts))
    sections = tuple(network.section for network in networks)
    lacking = tuple(_lacking(config.wifi, facts))
    if facts.network == "netplan":
        reason = netplan.unable(config.wifi, facts.codename)
        if reason:
            lacking = (Obstacle(reason, netplan.MANAGER), *lacking)
        # All networks are one file, so what keeps back one of them keeps back all.
        if lacking:
            return (*parts, Part(sections[0], (), covers=sections[1:], obstacle=lacking[0]))
        content = netplan.text(config.wifi, config.ethernet)
        items = (File(netplan.PATH, content, 0o600, secret=True), *_certificates(config, facts))
        return (*parts, Part(sections[0], items, covers=sections[1:]))
    if facts.network != "networkmanager":
        nobody = Obstacle("nothing on this device reads network profiles", _NEEDED)
        return (*parts, *(Part(section, (), obstacle=nobody) for section in sections))
    for wireless in config.wifi:
        missing = next(_lacking((wireless,), facts), None)
        if missing:
            parts.append(Part(wireless.section, (), obstacle=missing))
            continue
        secret = (wireless.password or wireless.psk_hex) is not None
        file = _profile(wireless.section, keyfile.wifi(wireless), secret=secret)
        parts.append(Part(wireless.section, (file, *_certificates_of(wireless, facts))))
    for wired in config.ethernet:
        parts.append(Part(wired.section, (_profile(wired.section, keyfile.ethernet(wired)),)))
    return parts


def _lacking(wifi: Iterable[Wifi], facts: Facts) -> Iterator[Obstacle]:
    """Yield what is missing of the files that networks name."""
    for network in wifi:
        for name in _names(network):
            if name not in facts.files:
                yield Obstacle(
                    f"[{network.section}], line {network.line}, names {name}, which is not there",
                    f"put {name} beside piot.conf, then run: sudo piot apply",
                )


def _names(network: Wifi) -> tuple[str, ...]:
    """List the files that a network names."""
    names = (network.ca_cert, network.client_cert, network.client_key)
    return tuple(dict.fromkeys(name for name in names if name))


def _profile(section: str, content: bytes, *, secret: bool = False) -> File:
    """Put a keyfile where NetworkManager looks; it refuses one that others may read."""
    return File(keyfile.path(section), content, 0o600, secret=secret)


def _radio(wifi: tuple[Wifi, ...], facts: Facts) -> Iterator[Part]:
    """Let the radio be used, by the rules of the country.

    For the next boot these are a part of its own: a boot partition that takes no file must not
    keep the radio off now.
    """
    country = next((network.country for network in wifi if network.country), None)
    if country is None:
        return
    # The rules first: what is not allowed there shall not be sent for a moment.
    items: list[Item] = [State("regdom", country)] if "iw" in facts.present else []
    yield Part("radio", (*items, State("radio", "on")))
    if facts.boot:
        yield Part("country", (Word(f"{facts.boot}/cmdline.txt", _REGDOM, country),))
    else:
        text = f"{COMMENT}\noptions cfg80211 ieee80211_regdom={country}\n"
        yield Part("country", (File("/etc/modprobe.d/piot-regdom.conf", text.encode()),))


def _certificates(config: Config, facts: Facts) -> tuple[Item, ...]:
    """Render the certificates of all networks."""
    found = (item for network in config.wifi for item in _certificates_of(network, facts))
    return tuple(dict.fromkeys(found))


def _certificates_of(network: Wifi, facts: Facts) -> tuple[Item, ...]:
    """Copy certificates from the boot partition, which may not be mounted later."""
    names = _names(network)
    items: list[Item] = [Directory(keyfile.CERTIFICATES, 0o700)] if names else []
    for name in names:
        private = name == network.client_key
        path = f"{keyfile.CERTIFICATES}/{name}"
        if private:
            path = keyfile.private_key(network.section)
        items.append(File(path, facts.files[name], 0o600, secret=private))
    return tuple(items)
