"""What the values of `[health]`, `[metrics]` and `[status]` may be."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from piot_firstboot.values import BadValue

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
# The Raspberry Pi slows down at 80 to 85 °C, and below 30 °C every room in summer is too hot.
_TEMPERATURE = (30.0, 110.0)
STATUS_PORT = 9080  # of `web = on`; 80 and 8080 are what apps take
_OFF = ("off", "no", "false", "0")
_ON = ("on", "yes", "true")


@dataclass(frozen=True, slots=True)
class Amount:
    """How much shall be left: in bytes, or, where `percent` is not 0, as a part of the whole."""

    size: int = 0
    percent: float = 0.0


def web_url(text: str) -> str:
    """Read an http or https address that is told something; it may hold a secret."""
    _url(text, ("https", "http"), "https://hc.example.org/8f0c…")
    return text


def mqtt_url(text: str) -> str:
    """Read the address of an MQTT broker, with user and password, and a prefix for topics."""
    path = _url(text, ("mqtt", "mqtts"), "mqtt://user:password@broker.example.org/prefix")
    if "#" in text or "+" in path:
        raise BadValue("a topic has no `#` or `+` in it", "name the prefix of the topics")
    return text


def _url(text: str, schemes: tuple[str, ...], example: str) -> str:
    """Judge an address without showing it; return its path."""
    hint = f"write it like {example}"
    wrong = "this is not an address that begins with " + " or ".join(f"{s}://" for s in schemes)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise BadValue(wrong, hint, secret=True) from None
    if not re.fullmatch(r"[!-~]+", text) or parts.scheme not in schemes:
        raise BadValue(wrong, hint, secret=True)
    if not parts.hostname or port == 0:
        raise BadValue("this address names no host, or has a wrong port", hint, secret=True)
    return parts.path


def temperature(text: str) -> float:
    """Read a temperature in degrees Celsius: 80, 80C, 80 °C."""
    match = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9])?)\s*(?:°\s*)?([CcFf]?)", text)
    if not match:
        raise BadValue("this is not a temperature", "write it like 80C")
    degrees = float(match[1])
    if match[2] in ("F", "f"):
        celsius = (degrees - 32) / 1.8
        raise BadValue("temperatures are in degrees Celsius", f"write {celsius:.0f}C")
    if not _TEMPERATURE[0] <= degrees <= _TEMPERATURE[1]:
        low, high = _TEMPERATURE
        raise BadValue(f"this must be from {low:.0f}C to {high:.0f}C")
    return degrees


def amount(text: str) -> Amount:
    """Read how much shall be left: 500M, 1.5G, 10%; K, M, G and T count in steps of 1024."""
    match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,3})?)\s*(?:(%)|([KMGTkmgt]?)(?:i?[Bb])?)", text)
    if not match:
        raise BadValue("this is not a size", "write it like 500M, 2G or 10%")
    number = float(match[1])
    if match[2]:
        if not 0 < number < 100:
            raise BadValue("this must be more than 0% and less than 100%")
        return Amount(percent=number)
    if not match[3] and number < 1 << 20:
        # Nobody watches for less than a megabyte; 500 was meant to be 500M.
        raise BadValue("this is less than a megabyte", f"write {match[1]}M if that was meant")
    return Amount(size=round(number * _UNITS[match[3].upper()]))


def prom_file(text: str) -> str:
    """Read the path of a file for the textfile collector of Prometheus' node exporter."""
    if not re.fullmatch(r"(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)+\.prom", text):
        raise BadValue(
            "this is not an absolute path that ends in .prom",
            "the node exporter reads /var/lib/prometheus/node-exporter/piot.prom",
        )
    return text


def web(text: str) -> int | None:
    """Read the port of the status page; None for `off`."""
    word = text.lower()
    if word in _OFF:
        return None
    if word in _ON:
        return STATUS_PORT
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) < 65536:
        raise BadValue("this is not on, off or a port", f"write on, which means {STATUS_PORT}")
    return int(text)


def led(text: str) -> str | None:
    """Read the name of a light in /sys/class/leds; None for `off`."""
    if text.lower() in _OFF:
        return None
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9:_-]{0,62}", text) or text.lower() in _ON:
        raise BadValue(
            "this is not the name of a light", "write ACT, PWR or a name from /sys/class/leds"
        )
    return text
