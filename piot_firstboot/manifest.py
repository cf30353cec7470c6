""".piot.yaml → Manifest: every value typed, every problem of the file at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from piot_firstboot import appblocks, references
from piot_firstboot.blocks import Block, Reader
from piot_firstboot.command import Command, Variable
from piot_firstboot.declared import (
    Fleet,
    Health,
    Job,
    JournalRule,
    Manifest,
    Needs,
    Python,
    Retry,
    Ring,
    Role,
    Service,
    Update,
    When,
)
from piot_firstboot.errors import ConfigError
from piot_firstboot.schema import KINDS
from piot_firstboot.yamltext import Enough, Mapping, Node, Place, Reading, Scalar, read

__all__ = [
    "Command",
    "Fleet",
    "Health",
    "Job",
    "JournalRule",
    "Manifest",
    "Needs",
    "Python",
    "Retry",
    "Ring",
    "Role",
    "Service",
    "Update",
    "Variable",
    "When",
    "judge",
    "parse",
]


def parse(data: bytes, source: str = ".piot.yaml") -> Manifest:
    """Read and judge a manifest; raises ConfigError with every problem in it."""
    return judge(read(data, source))


def judge(reading: Reading) -> Manifest:
    """Judge what was read; raises ConfigError with every problem, those of reading it included."""
    try:
        manifest = _manifest(reading) if reading.root is not None else None
    except Enough:
        manifest = None
    if manifest is None and not reading.problems:
        reading.problem(Place(0, 0), "the file is empty", "begin with the line: piot: 1")
    if manifest is None or reading.problems:
        raise ConfigError(reading.problems)
    return manifest


def _manifest(reading: Reading) -> Manifest | None:
    root = reading.root
    if not isinstance(root, Mapping):
        place = root.place if root else Place(0, 0)
        if not (isinstance(root, Scalar) and root.plain and not root.text):
            reading.problem(place, "expected `key: value` lines", "begin with the line: piot: 1")
        return None
    reader = Reader(reading, KINDS)
    top = reader.block("top", root)
    services = [_service(reader, block, top) for block in _units(reader, top, "services")]
    jobs = [_job(reader, block, top) for block in _units(reader, top, "jobs")]
    made = tuple(s for s in services if s), tuple(j for j in jobs if j)
    if not top.has("services") and not top.has("jobs"):
        reading.problem(top.place, "nothing to run", "an app has services: or jobs: or both")
    build = appblocks.command(reader, top, "build") if top.has("build") else None
    rule = top.inner("health")
    manifest = Manifest(
        name=top.value("name"),
        env=top.value("env"),
        secrets=_secrets(top, made[0] + made[1]),
        services=made[0],
        jobs=made[1],
        needs=appblocks.needs(top),
        build=build,
        env_file=top.value("env_file"),
        update=appblocks.update(top),
        health=appblocks.journal(reader, rule) if rule else None,
        fleet=appblocks.fleet(reader, top),
        source=reading.source,
        advertised=tuple(service.name for service in made[0] if service.port),
    )
    references.judge(reader, top)
    return None if reading.problems else manifest


def _secrets(top: Block, units: Iterable[Service | Job]) -> tuple[str, ...]:
    """Return every secret that the device must have."""
    return tuple(dict.fromkeys((*top.value("secrets"), *(n for u in units for n in u.secrets))))


def _units(reader: Reader, top: Block, kind: str) -> list[Block]:
    """Read the blocks of all services or all jobs."""
    rows: Iterable[tuple[Scalar, Node]] = top.value(kind)
    blocks = [
        reader.block(kind, node, name=key.text, place=key.place)
        for key, node in rows
        if reader.unit_name(key)
    ]
    return [block for block in blocks if not block.broken]


def _service(reader: Reader, block: Block, top: Block) -> Service | None:
    """Make a service of its block, or None with the problems noted."""
    run = appblocks.command(reader, block, "run", shell=block.value("shell"))
    notify = block.value("notify")
    if block.has("watchdog") and not notify:
        hint = "add notify: ready, and let the program send WATCHDOG=1"
        reader.reading.problem(block.key("watchdog"), "watchdog needs notify", hint)
    health = appblocks.health(reader, block)
    if run is None or health is None:
        return None
    return Service(
        name=block.name,
        run=run,
        notify=notify,
        watchdog=block.value("watchdog"),
        watch=block.value("watch"),
        restart=block.value("restart"),
        after=_after(block),
        health=health,
        port=block.value("port"),
        line=block.place.line,
        **_shared(reader, block, top),
    )


def _job(reader: Reader, block: Block, top: Block) -> Job | None:
    """Make a job of its block, or None with the problems noted."""
    run = appblocks.command(reader, block, "run", shell=block.value("shell"))
    problem = reader.reading.problem
    chosen = [key for key in ("every", "at", "once") if block.has(key)]
    if not chosen and block.meant.isdisjoint(("every", "at", "once")):
        hint = "add every: 5min, at: 02:30 or once: commit"
        problem(block.place, f"when does {block.name} run?", hint)
    for key in chosen[1:]:
        problem(block.key(key), f"a job has one of every, at and once; {chosen[0]} is given too")
    if block.has("jitter") and chosen == ["once"]:
        problem(block.key("jitter"), "jitter belongs to every and at, not to once")
    if block.has("catch_up") and chosen and chosen[0] != "at":
        problem(block.key("catch_up"), f"catch_up belongs to at, not to {chosen[0]}")
    if block.has("ping") and chosen == ["once"]:
        problem(block.key("ping"), "ping belongs to every and at, not to once")
    shared = _shared(reader, block, top)
    ping = block.value("ping")
    if ping and "://" not in ping:
        shared["secrets"] = tuple(dict.fromkeys((*shared["secrets"], ping)))
    if run is None:
        return None
    return Job(
        name=block.name,
        run=run,
        every=block.value("every"),
        at=block.value("at"),
        once=block.value("once"),
        jitter=block.value("jitter"),
        catch_up=block.value("catch_up"),
        timeout=block.value("timeout"),
        retry=appblocks.retry(block),
        after=_after(block),
        ping=ping,
        line=block.place.line,
        **shared,
    )


def _after(block: Block) -> tuple[str, ...]:
    return tuple(item.text for item in block.value("after"))


def _shared(reader: Reader, block: Block, top: Block) -> dict[str, Any]:
    """Take what services and jobs have in common."""
    secrets = block if block.has("secrets") else top
    own = block.inner("needs")
    devices = own.value("devices") if own else appblocks.needs(top).devices
    return {
        "env": block.value("env"),
        "env_file": block.value("env_file"),
        "secrets": secrets.value("secrets"),
        "devices": devices,
        "dir": block.value("dir"),
        "memory": block.value("memory"),
        "cpu": block.value("cpu"),
        "when": appblocks.when(reader, block),
        "root": block.value("root"),
        "systemd": block.value("systemd"),
    }
