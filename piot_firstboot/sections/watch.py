"""`[health]`, `[metrics]`, `[status]`: how the device looks after itself, and who is told.

All of these are judged and kept; nothing acts on them in this version.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from piot_firstboot import jobvalues, values, watchvalues
from piot_firstboot.found import Found, of, only
from piot_firstboot.table import Section, Setting
from piot_firstboot.watchvalues import Amount

if TYPE_CHECKING:
    from piot_firstboot.confkeys import Judge


SECTIONS: tuple[Section, ...] = (
    Section("health", "How the device looks after itself, and whom it tells."),
    Section("metrics", "Where the device writes what it measures."),
    Section("status", "What the device shows to those who stand beside it."),
)

SETTINGS: tuple[Setting, ...] = (
    Setting(
        "health",
        "every",
        jobvalues.span(10, 86400),
        "How often, from 10s to 1d. If not given: 1min.",
        "1min",
        default=60.0,
        idle=True,
    ),
    Setting(
        "health",
        "ping_url",
        watchvalues.web_url,
        "An address that is called while all is well, as healthchecks.io gives out.",
        "https://hc.example.org/8f0c2a51",
        sensitivity="secret",
        stored=True,
        idle=True,
    ),
    Setting(
        "health",
        "webhook",
        watchvalues.web_url,
        "An address that is told when something goes wrong, and when it is well again.",
        "https://chat.example.org/hooks/8f0c2a51",
        sensitivity="secret",
        stored=True,
        idle=True,
    ),
    Setting(
        "health",
        "temperature_max",
        watchvalues.temperature,
        "The temperature of the processor, in degrees Celsius, that is too hot.",
        "80C",
        idle=True,
    ),
    Setting(
        "health",
        "disk_min",
        watchvalues.amount,
        "How much of the root file system shall be free: a size, or a part of the whole.",
        "10%",
        idle=True,
    ),
    Setting(
        "health",
        "memory_min",
        watchvalues.amount,
        "How much memory shall be available: a size, or a part of the whole.",
        "50M",
        idle=True,
    ),
    Setting(
        "metrics",
        "textfile",
        watchvalues.prom_file,
        "A file for the textfile collector of Prometheus' node exporter.",
        "/var/lib/prometheus/node-exporter/piot.prom",
        idle=True,
    ),
    Setting(
        "metrics",
        "mqtt",
        watchvalues.mqtt_url,
        "An MQTT broker, with user, password and a prefix for the topics.",
        "mqtt://pi:an-mqtt-password@broker.example.org/devices",
        sensitivity="secret",
        stored=True,
        idle=True,
    ),
    Setting(
        "metrics",
        "homeassistant",
        values.boolean,
        "Whether Home Assistant finds the device by itself, through that broker. If not given: no.",
        "yes",
        default=False,
        idle=True,
    ),
    Setting(
        "status",
        "web",
        watchvalues.web,
        f"A page on the local network: on (port {watchvalues.STATUS_PORT}), a port, or off. If not "
        "given: off.",
        "on",
        idle=True,
    ),
    Setting(
        "status",
        "led",
        watchvalues.led,
        "The light that blinks when something is wrong: ACT, PWR, a name from /sys/class/leds, or "
        "off. If not given: off.",
        "ACT",
        idle=True,
    ),
)


@dataclass(frozen=True, slots=True)
class Health:
    """How often the device looks after itself (seconds), what is too much, and who is told."""

    every: float
    ping_url: str | None = field(repr=False)
    webhook: str | None = field(repr=False)
    temperature_max: float | None
    disk_min: Amount | None
    memory_min: Amount | None


@dataclass(frozen=True, slots=True)
class Metrics:
    """Where measurements go."""

    textfile: str | None
    mqtt: str | None = field(repr=False)
    homeassistant: bool


@dataclass(frozen=True, slots=True)
class Status:
    """The port of the status page and the light; None is off."""

    web: int | None
    led: str | None


def judge(judge: Judge, found: list[Found]) -> None:
    """Refuse Home Assistant without a broker."""
    for part in of(found, "metrics"):
        entry = part.entries.get("homeassistant")
        if entry and part.values.get("homeassistant") and "mqtt" not in part.entries:
            hint = "add a line mqtt = mqtt://…"
            judge.at_key(part, entry, "Home Assistant finds devices through an MQTT broker", hint)


def read(found: list[Found]) -> tuple[Health, Metrics, Status]:
    """Return the three sections, with the defaults where one is absent."""
    return (
        Health(**only(found, "health", SETTINGS)),
        Metrics(**only(found, "metrics", SETTINGS)),
        Status(**only(found, "status", SETTINGS)),
    )
