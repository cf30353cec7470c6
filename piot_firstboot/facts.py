"""What a device is: the facts that a rendering may depend on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from piot_firstboot.errors import ApplyError
from piot_firstboot.values import PLACEHOLDERS

_MAX_HOST = 64  # characters; hostname(7), Linux


@dataclass(frozen=True, slots=True)
class Person:
    """An account that is there already; `shell` is empty unless one can log in with it."""

    home: str
    group: str
    shell: str


@dataclass(frozen=True, slots=True)
class Facts:
    """One device. Empty means not known; `mac` is the first interface's, `host` the name now.

    `network` is what brings interfaces up (`networkmanager` or `netplan`), `ntp` what sets the
    clock (`timesyncd` or `chrony`), `boot` the boot partition, `codename` the release of Debian.
    `files` holds what piot.conf names on the boot partition, `imported` the keys of each
    `import_keys`; `present` names the programs and files that a rendering asks for. `people` are
    the accounts by name, `groups` all groups; `sudo` tells whether that is installed, and
    `ssh_socket` whether systemd listens in place of sshd. `sshd_before` names, by option in lower
    case, the file that sets it before PioT's own is read; `sshd_includes` is unset where that never
    is. `sudo_after` holds the rules that count after PioT's: each with its file.
    """

    serial: str = ""
    mac: str = ""
    model: str = ""
    host: str = ""
    network: str = ""
    ntp: str = ""
    boot: str = ""
    codename: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)
    imported: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    present: frozenset[str] = frozenset()
    people: Mapping[str, Person] = field(default_factory=dict)
    groups: frozenset[str] = frozenset()
    sudo: bool = True
    ssh_socket: bool = False
    sshd_before: Mapping[str, str] = field(default_factory=dict)
    sshd_includes: bool = True
    sudo_after: tuple[tuple[str, str], ...] = ()


def host_name(pattern: str, facts: Facts) -> str:
    """Fill the placeholders of a `hostname`.

    Where there is no serial number, as in a virtual machine, the hardware address stands in, and
    the other way round. Raises ApplyError when the device knows neither, or no model.
    """
    serial = re.sub(r"[^0-9a-z]", "", facts.serial.lower())
    mac = re.sub(r"[^0-9a-f]", "", facts.mac.lower())
    serial, mac = serial or mac, mac or serial
    # "Raspberry Pi 4 Model B Rev 1.4": the revision of the board is nobody's name for it.
    model = re.sub(r"\s+rev\s.*", "", facts.model.lower())
    model = re.sub(r"[^0-9a-z]+", "-", model).strip("-")
    known = (serial, serial[-8:], mac[-12:], mac[-6:], model)
    name = pattern
    for placeholder, value in zip(PLACEHOLDERS, known, strict=True):
        if f"{{{placeholder}}}" in name:
            if not value:
                raise ApplyError(
                    f"hostname: this device does not tell its {placeholder}",
                    f"write a hostname without {{{placeholder}}}",
                )
            name = name.replace(f"{{{placeholder}}}", value)
    labels = (label[:63].strip("-") for label in name.split("."))
    return ".".join(labels)[:_MAX_HOST].rstrip("-.")
