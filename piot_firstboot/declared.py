"""What a manifest declares, judged and typed: frozen values, nothing of systemd in them yet."""

from __future__ import annotations

from dataclasses import dataclass, field

from piot_firstboot.command import Command

Pairs = tuple[tuple[str, str], ...]
Globs = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Python:
    """The Python packages of an app: lines as pip reads them, or the file that names them."""

    requirements: tuple[str, ...] = ()
    file: str = ""


@dataclass(frozen=True, slots=True)
class Needs:
    """What the device must have before the app is built: Debian packages, Python, devices."""

    apt: tuple[str, ...] = ()
    python: Python | None = None
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JournalRule:
    """What the journal must, or must not, say.

    `expect` has to appear within `within` seconds of the start. Broken when more than `max`
    entries within `per` seconds match `reject`, or are of `priority` or worse; with both, of those
    that are both. The patterns are regular expressions, found anywhere in a message.
    """

    expect: str = ""
    reject: str = ""
    max: int = 0
    per: float = 600.0
    within: float = 30.0
    priority: str = ""


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
    journal: JournalRule | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a failed job is tried again, and the seconds between two attempts."""

    times: int
    wait: float


@dataclass(frozen=True, slots=True)
class When:
    """Which devices have a unit: each list that is not empty must match with one of its globs.

    A label is matched as `name=value` and as its name alone.
    """

    role: Globs = ()
    host: Globs = ()
    model: Globs = ()
    label: Globs = ()


@dataclass(frozen=True, slots=True)
class Service:
    """A program that runs for ever.

    `secrets` and `devices` are resolved; `env` is the unit's own. `memory` is in bytes, `cpu` in
    percent of one core.
    """

    name: str
    run: Command
    notify: bool
    watchdog: float | None
    restart: str
    after: tuple[str, ...]
    health: Health
    env: Pairs
    secrets: tuple[str, ...]
    dir: str
    root: bool
    systemd: Pairs
    line: int
    port: int | None = None
    memory: int | None = None
    cpu: float | None = None
    when: When = field(default_factory=When)
    watch: Globs = ()
    env_file: str = ""
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """A program that ends: exactly one of `every` (seconds), `at` (OnCalendar=) and `once`.

    `after` names services and jobs. `ping` is an https address or the name of a secret that
    holds one.
    """

    name: str
    run: Command
    every: float | None
    at: tuple[str, ...]
    once: str
    jitter: float
    catch_up: bool
    timeout: float
    retry: Retry | None
    env: Pairs
    secrets: tuple[str, ...]
    dir: str
    root: bool
    systemd: Pairs
    line: int
    after: tuple[str, ...] = ()
    ping: str = ""
    memory: int | None = None
    cpu: float | None = None
    when: When = field(default_factory=When)
    env_file: str = ""
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Update:
    """How a new release comes: None leaves it to piot.conf or, for `gate`, means every service.

    `quiet` is in minutes of the day; `reload` pairs a service with the signal that makes it read
    its files again.
    """

    gate: tuple[str, ...] | None = None
    keep: int | None = None
    quiet: tuple[int, int] | None = None
    reload: Pairs = ()


@dataclass(frozen=True, slots=True)
class Role:
    """A part that devices play, by the globs of their host names and models."""

    name: str
    hosts: Globs = ()
    models: Globs = ()


@dataclass(frozen=True, slots=True)
class Ring:
    """Devices that take a commit once it is `soak` seconds old; the first that matches counts."""

    name: str
    hosts: Globs = ()
    soak: float = 0.0


@dataclass(frozen=True, slots=True)
class Fleet:
    """What the devices of an app are among each other."""

    roles: tuple[Role, ...] = ()
    rings: tuple[Ring, ...] = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """One app. `secrets` is every secret that the device must have, those of units included.

    `source` is the file that declares it, from the top of the repository. `advertised` names the
    services with a port, whichever devices they are for.
    """

    name: str
    env: Pairs
    secrets: tuple[str, ...]
    services: tuple[Service, ...]
    jobs: tuple[Job, ...]
    needs: Needs = field(default_factory=Needs)
    build: Command | None = None
    env_file: str = ""
    update: Update = field(default_factory=Update)
    health: JournalRule | None = None
    fleet: Fleet = field(default_factory=Fleet)
    source: str = ".piot.yaml"
    advertised: tuple[str, ...] = ()

    @property
    def units(self) -> tuple[Service | Job, ...]:
        """Return services and jobs, in this order."""
        return (*self.services, *self.jobs)
