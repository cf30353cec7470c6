""".piot.yaml → Manifest: every value typed, every problem of the file at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from piot_firstboot import references
from piot_firstboot.blocks import Block, Reader
from piot_firstboot.command import Command, CommandError, Variable, script, split, verbatim
from piot_firstboot.errors import ConfigError
from piot_firstboot.schema import DEFAULT_STEADY, KINDS
from piot_firstboot.yamltext import Enough, Mapping, Node, Place, Reading, Scalar, Sequence, read

__all__ = [
    "Command",
    "Health",
    "Job",
    "Manifest",
    "Retry",
    "Service",
    "Variable",
    "parse",
]


@dataclass(frozen=True, slots=True)
class Health:
    """How a service shows that it works; at most one of http, tcp (host:port) and command.

    READY or the probe within `within` seconds, then no restart for `steady` seconds.
    """

    http: str = ""
    tcp: str = ""
    command: Command | None = None
    within: float = 30.0
    steady: float = 60.0


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a failed job is tried again, and the seconds between two attempts."""

    times: int
    wait: float


@dataclass(frozen=True, slots=True)
class Service:
    """A program that runs for ever. `secrets` is resolved; `env` is the unit's own."""

    name: str
    run: Command
    notify: bool
    watchdog: float | None
    restart: str
    after: tuple[str, ...]
    health: Health
    env: tuple[tuple[str, str], ...]
    secrets: tuple[str, ...]
    dir: str
    root: bool
    systemd: tuple[tuple[str, str], ...]
    line: int


@dataclass(frozen=True, slots=True)
class Job:
    """A program that ends: exactly one of `every` (seconds), `at` (OnCalendar=) and `once`."""

    name: str
    run: Command
    every: float | None
    at: tuple[str, ...]
    once: str
    jitter: float
    catch_up: bool
    timeout: float
    retry: Retry | None
    env: tuple[tuple[str, str], ...]
    secrets: tuple[str, ...]
    dir: str
    root: bool
    systemd: tuple[tuple[str, str], ...]
    line: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """One app. `secrets` is every secret that the device must have, those of units included."""

    name: str
    env: tuple[tuple[str, str], ...]
    secrets: tuple[str, ...]
    services: tuple[Service, ...]
    jobs: tuple[Job, ...]


def parse(data: bytes, source: str = ".piot.yaml") -> Manifest:
    """Read and judge a manifest; raises ConfigError with every problem in it."""
    reading = read(data, source)
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
    references.judge_names(reader, top)
    references.judge_order(reader, top)
    if reading.problems:
        return None
    secrets = (
        *top.value("secrets"),
        *(name for units in made for u in units for name in u.secrets),
    )
    return Manifest(
        top.value("name"), top.value("env"), tuple(dict.fromkeys(secrets)), made[0], made[1]
    )


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
    run = _command(reader, block, "run", shell=block.value("shell"))
    notify = block.value("notify")
    if block.has("watchdog") and not notify:
        hint = "add notify: ready, and let the program send WATCHDOG=1"
        reader.reading.problem(block.key("watchdog"), "watchdog needs notify", hint)
    health = _health(reader, block)
    if run is None or health is None:
        return None
    return Service(
        name=block.name,
        run=run,
        notify=notify,
        watchdog=block.value("watchdog"),
        restart=block.value("restart"),
        after=tuple(item.text for item in block.value("after")),
        health=health,
        line=block.place.line,
        **_shared(block, top),
    )


def _job(reader: Reader, block: Block, top: Block) -> Job | None:
    """Make a job of its block, or None with the problems noted."""
    run = _command(reader, block, "run", shell=block.value("shell"))
    problem = reader.reading.problem
    chosen = [key for key in ("every", "at", "once") if block.has(key)]
    if not chosen:
        hint = "add every: 5min, at: 02:30 or once: commit"
        problem(block.place, f"when does {block.name} run?", hint)
    for key in chosen[1:]:
        problem(block.key(key), f"a job has one of every, at and once; {chosen[0]} is given too")
    if block.has("jitter") and chosen == ["once"]:
        problem(block.key("jitter"), "jitter belongs to every and at, not to once")
    if block.has("catch_up") and chosen and chosen[0] != "at":
        problem(block.key("catch_up"), f"catch_up belongs to at, not to {chosen[0]}")
    retry = None
    if block.has("retry"):
        inner = block.inner("retry")
        if inner is not None:
            retry = Retry(inner.value("times"), inner.value("wait"))
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
        retry=retry,
        line=block.place.line,
        **_shared(block, top),
    )


def _shared(block: Block, top: Block) -> dict[str, Any]:
    """Take what services and jobs have in common."""
    own = block.has("secrets")
    return {
        "env": block.value("env"),
        "secrets": block.value("secrets") if own else top.value("secrets"),
        "dir": block.value("dir"),
        "root": block.value("root"),
        "systemd": block.value("systemd"),
    }


def _command(reader: Reader, block: Block, key: str, *, shell: bool = False) -> Command | None:
    """Read a command, as text or as a list of words."""
    node = block.value(key)
    problem = reader.reading.problem
    try:
        match node:
            case Scalar():
                return script(node.text) if shell else split(node.text)
            case Sequence() if shell:
                problem(node.place, "shell: true needs a text, not a list of words")
            case Sequence():
                words = reader.texts(node, key)
                return verbatim(words) if words is not None else None
            case Mapping():
                problem(node.place, f"{key} takes a command line or a list of words")
    except CommandError as error:
        whole = not error.index or not isinstance(node, Scalar)
        place = node.place if whole else reader.reading.within(node, error.index)
        hint = error.hint
        if key != "run" and "shell: true" in hint:
            hint = "put it into a script"
        problem(place, f"{key}: {error}", hint)
    return None


def _health(reader: Reader, block: Block) -> Health | None:
    """Read a service's health block; without one, staying up for a moment is all that is asked."""
    inner = block.inner("health") if block.has("health") else None
    if inner is None:
        return None if block.has("health") else Health(steady=DEFAULT_STEADY)
    probes = [key for key in ("http", "tcp", "command") if inner.has(key)]
    for key in probes[1:]:
        message = f"health has one of http, tcp and command; {probes[0]} is given too"
        reader.reading.problem(inner.key(key), message)
    command = _command(reader, inner, "command") if inner.has("command") else None
    return Health(
        inner.value("http"),
        inner.value("tcp"),
        command,
        inner.value("within"),
        inner.value("steady"),
    )
