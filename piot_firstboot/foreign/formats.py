"""Which format a foreign file has, told by its content and its name."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from piot_firstboot import conftext
from piot_firstboot.foreign import dietpi, imager, netconfig, preseed, userdata, wpa
from piot_firstboot.foreign.carried import Carried


@dataclass(frozen=True, slots=True)
class Format:
    """A format: what its files are called, a sign that they have, and who reads it.

    The name counts more than the sign, because a user-data may write any of the other files;
    a custom.toml that is named my-pi.toml is told by its sign.
    """

    name: str
    file: re.Pattern[str]
    sign: re.Pattern[str]
    carry: Callable[[bytes, str], Carried]


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)


def _sign(text: str) -> re.Pattern[str]:
    return re.compile(text, re.MULTILINE)


FORMATS = (
    Format(
        "user-data",
        _pattern(r"(user|vendor)-data.*|.*cloud-config.*"),
        _sign(r"\A(#cloud-config|#!|#include|## template:|Content-Type: multipart/)"),
        userdata.carry,
    ),
    Format(
        "rpi-preseed.toml",
        _pattern(r"rpi-preseed.*\.toml"),
        _sign(r"^\s*config_version\s*=\s*[\"']"),
        preseed.carry,
    ),
    Format(
        "custom.toml",
        _pattern(r"custom.*\.toml"),
        _sign(r"^\s*config_version\s*=\s*\d"),
        imager.carry,
    ),
    Format(
        "dietpi-wifi.txt",
        _pattern(r"dietpi-wifi.*\.txt"),
        _sign(r"^\s*aWIFI_[A-Z]+\[\d+\]="),
        dietpi.carry_wifi,
    ),
    Format("dietpi.txt", _pattern(r"dietpi.*\.txt"), _sign(r"^\s*AUTO_SETUP_\w+="), dietpi.carry),
    Format(
        "network-config",
        _pattern(r"network-config.*|.*netplan.*"),
        _sign(r"^(network:|(ethernets|wifis):\s*$)|^\s*version:\s*[12]\s*$"),
        netconfig.carry,
    ),
    Format(
        "wpa_supplicant.conf",
        _pattern(r"wpa_supplicant.*\.conf.*"),
        _sign(r"^\s*(network\s*=\s*\{|ctrl_interface=)"),
        wpa.carry,
    ),
)
NAMES = tuple(row.name for row in FORMATS)


def recognize(data: bytes, name: str) -> Format | None:
    """Return the format of a file, None if it has none of these."""
    named = next((row for row in FORMATS if row.file.fullmatch(name)), None)
    try:
        text = conftext.decode(data)
    except conftext.NotText:
        return named  # who reads it says what it is instead
    signed = [row for row in FORMATS if row.sign.search(text)]
    if named is None or named.name.endswith("toml"):
        # The two TOML formats are told apart by their version, whatever the file is called.
        return next((row for row in signed if named is None or row.name.endswith("toml")), named)
    return named
