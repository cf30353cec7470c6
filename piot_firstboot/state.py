"""The state record of an app: where its deployment stands, on disk before each step.

    idle → fetched → verified → staged → switched → probation → committed
                                            └──────────┴──────→ rolling-back → rolled-back

The record is replaced by rename and fsynced, so that after a power cut it names the step that
was under way. Times are seconds since the epoch, of the device's own clock.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

from piot_firstboot import idle
from piot_firstboot.errors import ApplyError
from piot_firstboot.system import System

APPS = "/var/lib/piot/apps"
SCHEMA = 1

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


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a commit is not running.

    `deterministic` failures (manifest, crash, health) are final for that commit until
    `piot retry`; others (network, disk, a missing secret) are tried again from `after` on.
    """

    commit: str
    reason: str
    deterministic: bool
    at: float
    tries: int = 1
    after: float = 0.0

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

    def failure(self, commit: str) -> Failure | None:
        """Return why this commit failed before, if it did."""
        return next((f for f in self.bad if f.commit == commit), None)

    def failed(
        self, commit: str, reason: str, *, deterministic: bool, now: float, jitter: float
    ) -> Record:
        """Put a commit on the bad list; waits double from 1 minute to 6 hours.

        `jitter` in 0…1 spreads devices over a further tenth of the wait.
        """
        old = self.failure(commit)
        tries = old.tries + 1 if old else 1
        wait = min(_BACKOFF_FIRST * 2 ** min(tries - 1, 20), _BACKOFF_LIMIT) * (1 + jitter / 10)
        after = 0.0 if deterministic else now + wait
        failure = Failure(commit, reason, deterministic, now, tries, after)
        return replace(self, bad=(failure, *(f for f in self.bad if f.commit != commit))[:20])

    def forgiven(self, commit: str = "") -> Record:
        """Take a commit, or all, off the bad list."""
        return replace(self, bad=tuple(f for f in self.bad if commit not in ("", f.commit)))


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
    )


def load(system: System, app: str) -> Record:
    """Read an app's record; a fresh one where there is none.

    Raises ApplyError when the record was written by a newer PioT.
    """
    data = system.read(f"{folder(app)}/state.json")
    if data is None:
        return Record(app)
    values = json.loads(data)
    if values.pop("schema") > SCHEMA:
        raise ApplyError(f"{app}: its state was written by a newer PioT", "upgrade PioT")
    values["bad"] = tuple(Failure(**row) for row in values["bad"])
    values["good"] = tuple(values["good"])
    return Record(**values)


def save(system: System, record: Record) -> Record:
    """Write the record so that it lasts, and return it."""
    text = json.dumps({"schema": SCHEMA, **asdict(record)}, indent=1, sort_keys=True)
    system.write(f"{folder(record.app)}/state.json", text.encode() + b"\n", 0o640)
    return record
