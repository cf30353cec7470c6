"""piot.conf → Config: every value typed, every problem of the file at once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from piot_firstboot import conftext
from piot_firstboot.confkeys import Judge
from piot_firstboot.confproblems import Problems
from piot_firstboot.conftext import Entry
from piot_firstboot.errors import ConfigError, Problem
from piot_firstboot.found import Found
from piot_firstboot.privatekey import is_text
from piot_firstboot.sections import (
    apps,
    clock,
    device,
    ethernet,
    fallback,
    job,
    people,
    secrets,
    update,
    watch,
    wifi,
)
from piot_firstboot.sections.apps import App
from piot_firstboot.sections.clock import Time
from piot_firstboot.sections.device import Device
from piot_firstboot.sections.ethernet import Ethernet
from piot_firstboot.sections.fallback import Fallback
from piot_firstboot.sections.job import DeviceJob
from piot_firstboot.sections.people import Account, Ssh
from piot_firstboot.sections.update import Update
from piot_firstboot.sections.watch import Health, Metrics, Status
from piot_firstboot.sections.wifi import Wifi
from piot_firstboot.settings import DOMAINS

NAME = "piot.conf"


@dataclass(frozen=True, slots=True)
class Config:
    """What a piot.conf says, all of it judged good; `found` says where each value stands."""

    device: Device
    accounts: tuple[Account, ...]
    ssh: Ssh
    wifi: tuple[Wifi, ...]
    ethernet: tuple[Ethernet, ...]
    time: Time
    apps: tuple[App, ...]
    update: Update
    health: Health
    metrics: Metrics
    status: Status
    jobs: tuple[DeviceJob, ...]
    secrets: tuple[tuple[str, str], ...] = field(repr=False)
    fallback: Fallback | None
    found: tuple[Found, ...] = field(repr=False, compare=False)

    def idle(self) -> Iterator[tuple[str, Entry]]:
        """Yield each line that nothing acts on in this version, with the name of its section."""
        for part in self.found:
            for key, entry in part.entries.items():
                if (part.rows.get(key) or part.rows["*"]).idle:
                    yield part.section.name, entry

    def files(self) -> dict[str, str]:
        """Name the files on the boot partition that the values name, and how the store calls them.

        One that was moved to the store is called the same in both.
        """
        return {
            name: f"{part.block.name}.{row.key}" if row.stored else ""
            for part in self.found
            for row in part.rows.values()
            if row.file and (name := part.values.get(row.attribute)) and not is_text(name)
        }


def parse(
    data: bytes,
    source: str = NAME,
    *,
    known: Mapping[str, Collection[str]] | None = None,
    stored: Mapping[str, str] | None = None,
) -> Config:
    """Read and judge a piot.conf; raises ConfigError with every problem in it.

    `known` holds words that only the device knows (time zones, groups), by the name that rows give
    them in `among`; without them any that looks like one is taken.
    `stored` holds what `@stored` stands for, by `section.key` (`wifi.home.password`); None takes
    every `@stored` for good without knowing its value, as a workstation must.
    """
    try:
        lines, blocks = conftext.read(data)
    except conftext.NotText as error:
        raise ConfigError([Problem(source, 0, 0, str(error), error.hint)]) from None
    problems = Problems(source, lines)
    judge = Judge(problems, known or {}, stored)
    found = judge.sections(blocks)
    for domain in DOMAINS:
        domain.judge(judge, found)
    if problems.count:
        raise ConfigError(problems.bounded())
    accounts, ssh = people.read(found)
    health, metrics, status = watch.read(found)
    return Config(
        device=device.read(found),
        accounts=accounts,
        ssh=ssh,
        wifi=wifi.read(found),
        ethernet=ethernet.read(found),
        time=clock.read(found),
        apps=apps.read(found),
        update=update.read(found),
        health=health,
        metrics=metrics,
        status=status,
        jobs=job.read(found),
        secrets=secrets.read(found),
        fallback=fallback.read(found),
        found=tuple(found),
    )
