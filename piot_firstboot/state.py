"""The state record of an app: where its deployment stands, on disk before each step.

    idle → fetched → verified → staged → switched → probation → committed
                                            └──────────┴──────→ rolling-back → rolled-back

The record is replaced by rename and fsynced, so that after a power cut it names the step that
was under way. Times are seconds since the epoch, of the device's own clock.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from piot_firstboot import idle
from piot_firstboot.errors import ApplyError
from piot_firstboot.system import System

APPS = "/var/lib/piot/apps"
SCHEMA = 2  # 1 had no ready, until, arrived, online, and of a failure only its first six fields

Step = Literal[
    "idle",
    "fetched",
    "verified",
    "staged",
    "switched",
    "probation",
    "committed",
    "rolling-back",
    "rolled-back",
]

_BACKOFF_FIRST = 60.0  # seconds
_BACKOFF_LIMIT = 6 * 3600.0
_MOST_ARRIVALS = 20


@dataclass(frozen=True, slots=True)
class Source:
    """Where an app comes from, as applied from piot.conf.

    `poll` is in seconds, None for off. `deploy_key` and `token` are the names of secrets in the
    store, "" where piot.conf gives none.
    """

    name: str
    repo: str
    ref: str
    poll: float | None
    signers: tuple[str, ...] = ()
    keep: int = 3
    quiet: tuple[int, int] | None = None
    ring: str = ""
    path: str = ".piot.yaml"
    deploy_key: str = ""
    username: str = ""
    token: str = ""
    known_hosts: tuple[str, ...] = ()
    fast_forward_only: bool = False
    submodules: bool = False
    lfs: bool = False
    usb: bool = False


@dataclass(frozen=True, slots=True)
class Hold:
    """A person's word that an app stays as it is, and why."""

    reason: str
    since: float

    def words(self, app: str) -> str:
        """Say that the app is on hold, why, and how that ends."""
        why = f": {self.reason}" if self.reason else ""
        return f"on hold{why} (until: sudo piot resume {app})"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a commit is not running.

    `deterministic` failures (manifest, crash, health) are final for that commit until
    `piot retry`; others (network, disk, a missing secret) are tried again from `after` on.
    `kind` is one of `causes`, `unit` the unit that failed and `lines` what it printed last,
    `restored` what ran instead afterwards, `switches` how often it was switched to. `basis` names
    what the commit was judged under: another basis is another question.
    """

    commit: str
    reason: str
    deterministic: bool
    at: float
    tries: int = 1
    after: float = 0.0
    kind: str = ""
    unit: str = ""
    lines: tuple[str, ...] = ()
    restored: str = ""
    hint: str = ""
    basis: str = ""
    switches: int = 0

    def waits(self, now: float) -> bool:
        """Tell whether the commit must not be tried now.

        A clock that jumped back must not turn a short wait into a long one, so a wait longer
        than the limit counts as over.
        """
        return self.deterministic or 0 < self.after - now <= _BACKOFF_LIMIT * 1.5


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of one app's deployments.

    `commit` is the release that was last found good, `target` the one being worked on, `good`
    the former good ones, newest first. `resumes` counts boots that found probation unfinished.
    `ready` is a commit that is staged and waits for its time, `until` when that is. `arrived` tells
    of the newest commits when each came, and whether the clock was right then. `online`: the
    remote could be reached before the switch. `since` is when `commit` was found good.
    """

    app: str
    step: Step = "idle"
    commit: str = ""
    target: str = ""
    good: tuple[str, ...] = ()
    bad: tuple[Failure, ...] = field(default=())
    changed: float = 0.0
    resumes: int = 0
    note: str = ""
    ready: str = ""
    until: float = 0.0
    arrived: tuple[tuple[str, float, bool], ...] = ()
    online: bool = False
    since: float = 0.0

    @property
    def kept(self) -> tuple[str, ...]:
        """List the releases that must stay on disk."""
        return tuple(c for c in (self.commit, *self.good, self.target, self.ready) if c)

    def failure(self, commit: str) -> Failure | None:
        """Return why this commit failed before, if it did."""
        return next((f for f in self.bad if f.commit == commit), None)

    def failed(
        self,
        commit: str,
        reason: str,
        *,
        deterministic: bool,
        now: float,
        jitter: float,
        **more: Any,
    ) -> Record:
        """Put a commit on the bad list; waits double from 1 minute to 6 hours.

        `jitter` in 0…1 spreads devices over a further tenth of the wait; `more` are further
        fields of the failure.
        """
        old = self.failure(commit)
        tries = old.tries + 1 if old else 1
        wait = min(_BACKOFF_FIRST * 2 ** min(tries - 1, 20), _BACKOFF_LIMIT) * (1 + jitter / 10)
        after = 0.0 if deterministic else now + wait
        failure = Failure(commit, reason, deterministic, now, tries, after, **more)
        return replace(self, bad=(failure, *(f for f in self.bad if f.commit != commit))[:20])

    def forgiven(self, commit: str = "") -> Record:
        """Take a commit, or all, off the bad list."""
        return replace(self, bad=tuple(f for f in self.bad if commit not in ("", f.commit)))

    def amended(self, commit: str, **changes: Any) -> Record:
        """Change what the bad list says of a commit."""
        bad = (replace(f, **changes) if f.commit == commit else f for f in self.bad)
        return replace(self, bad=tuple(bad))

    def arrival(self, commit: str, now: float, *, right: bool) -> Record:
        """Note when a commit came; `right` tells whether the clock can be trusted.

        An arrival by a wrong clock is replaced by the first one by a right clock, and one in the
        future by the present: a soak then takes longer, and never for ever.
        """
        for old, when, was_right in self.arrived:
            if old == commit and when <= now and (was_right or not right):
                return self
        others = (row for row in self.arrived if row[0] != commit)
        return replace(self, arrived=((commit, now, right), *others)[:_MOST_ARRIVALS])

    def came(self, commit: str) -> float | None:
        """Return when a commit came."""
        return next((when for name, when, _ in self.arrived if name == commit), None)


def folder(app: str) -> str:
    """Return the directory that holds all that PioT keeps of an app."""
    return f"{APPS}/{app}"


def lock(app: str) -> str:
    """Return the file that a run holds locked while it works on an app."""
    return f"/run/piot/{app}.lock"


def apps(system: System) -> tuple[str, ...]:
    """List the apps that piot.conf gave this device."""
    return tuple(app for app in system.names(APPS) if system.exists(f"{folder(app)}/app.json"))


def source(system: System, app: str) -> Source:
    """Read what piot.conf says of an app; raises ApplyError when it names none such."""
    data = system.read(f"{folder(app)}/app.json") if "/" not in app else None
    if data is None:
        known = ", ".join(apps(system)) or "none"
        raise ApplyError(f"there is no app {app!r} on this device; there is: {known}")
    values = json.loads(data)
    repo = values["repo"]
    if repo.endswith(".bundle") and "/" not in repo:
        # A bundle beside piot.conf is named without its directory.
        repo = f"{idle.conf_path(system.root.rstrip('/')).rpartition('/')[0]}/{repo}"
    quiet = values.get("quiet")
    secrets = values.get("secrets", {})
    return Source(
        values["name"],
        repo,
        values["ref"],
        values["poll"],
        tuple(values.get("signers", ())),
        keep=values.get("keep", 3),
        quiet=(quiet[0], quiet[1]) if quiet else None,
        ring=values.get("ring") or "",
        path=values.get("path", ".piot.yaml"),
        deploy_key=secrets.get("deploy_key", ""),
        username=values.get("username") or "",
        token=secrets.get("token", ""),
        known_hosts=tuple(values.get("known_hosts", ())),
        fast_forward_only=values.get("fast_forward_only", False),
        submodules=values.get("submodules", False),
        lfs=values.get("lfs", False),
        usb=values.get("usb", False),
    )


def load(system: System, app: str) -> Record:
    """Read an app's record; a fresh one where there is none, or none that can be read.

    Raises ApplyError when the record was written by a newer PioT.
    """
    data = system.read(f"{folder(app)}/state.json")
    if data is None:
        return Record(app)
    try:
        values = json.loads(data)
        newer = values.pop("schema") > SCHEMA
        record = None if newer else _record(values)
    except (ValueError, TypeError, KeyError, AttributeError):
        # A file system that lost it must not end all deploys; the releases are there still.
        return Record(app, note="its record could not be read and was begun anew")
    if record is None:
        raise ApplyError(f"{app}: its state was written by a newer PioT", "upgrade PioT")
    return record


def _record(values: dict[str, Any]) -> Record:
    """Make a record of what JSON holds; what an older PioT did not write has its default."""
    bad = tuple(Failure(**{**row, "lines": tuple(row.get("lines", ()))}) for row in values["bad"])
    arrived = tuple((row[0], row[1], row[2]) for row in values.get("arrived", ()))
    return Record(**{**values, "bad": bad, "good": tuple(values["good"]), "arrived": arrived})


def save(system: System, record: Record) -> Record:
    """Write the record so that it lasts, and return it."""
    text = json.dumps({"schema": SCHEMA, **asdict(record)}, indent=1, sort_keys=True)
    system.write(f"{folder(record.app)}/state.json", text.encode() + b"\n", 0o640)
    return record


def held(system: System, app: str) -> Hold | None:
    """Return a person's word that the app stays as it is, if there is one."""
    try:
        values = json.loads(system.read(f"{folder(app)}/hold.json") or b"null")
        return Hold(str(values["reason"]), float(values["since"])) if values else None
    except (ValueError, TypeError, KeyError):
        return Hold("the reason cannot be read any more", 0.0)


def hold(system: System, app: str, hold: Hold | None) -> None:
    """Keep an app as it is, or with None let it go on.

    A file of its own, which needs no lock: a deploy that is at work ends, and finds it then.
    """
    path = f"{folder(app)}/hold.json"
    if hold is None:
        system.remove(path)
    else:
        system.write(path, json.dumps(asdict(hold)).encode() + b"\n")
