"""What every process of an app gets, service or job: its release, user, environment, sandbox."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from piot_firstboot import credential
from piot_firstboot.manifest import Job, Manifest, Service
from piot_firstboot.render.sandbox import SANDBOX
from piot_firstboot.service_keys import since
from piot_firstboot.unitfile import UnitFile, assignment, specifiers

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One commit of an app on one device, for one version of systemd.

    `path` is the release's directory on the device. `resolve(word, dir)` returns the absolute
    path of a program, or raises LookupError with a message for people. `plain` names the secrets
    that the device could not seal.
    """

    app: str
    commit: str
    path: str
    hostname: str
    manifest_path: str = ".piot.yaml"
    role: str = ""
    systemd: int = 257
    resolve: Callable[[str, str], str] = field(repr=False, compare=False)
    plain: frozenset[str] = frozenset()

    @property
    def prefix(self) -> str:
        """Return what the names of the app's user and units begin with."""
        return f"piot-{self.app}"


def note(file: UnitFile, release: Release, what: str, version: int) -> None:
    """Say in a unit's header what this systemd is too old for."""
    found = release.systemd
    file.comment += f"\nLeft out: {what} (systemd {version}; this is for {found})."


def add_process(
    file: UnitFile, unit: Service | Job, manifest: Manifest, release: Release, name: str = ""
) -> None:
    """Add what every process of the app gets: user, place, environment, secrets, sandbox."""
    name = name or unit.name
    own = f"{release.prefix}-root" if unit.root else release.prefix
    place = f"{release.path}/{unit.dir}" if unit.dir else release.path
    if unit.root:
        file.comment += "\nruns as root, without a sandbox (root: true)"
    else:
        file.add("Service", "User", release.prefix)
    file.add("Service", "Slice", f"{release.prefix}.slice")
    file.add("Service", "WorkingDirectory", specifiers(place))
    # A root unit has directories of its own, because systemd makes them their user's.
    for kind in ("StateDirectory", "CacheDirectory", "RuntimeDirectory"):
        file.add("Service", kind, own)
    # The units of an app share it; without this the first one to end removes it.
    file.add("Service", "RuntimeDirectoryPreserve", "yes")
    for variable, value in _environment(unit, manifest, release, place):
        file.add("Service", "Environment", assignment(variable, value))
    for secret in unit.secrets:
        file.add("Service", *credential.directive(secret, sealed=secret not in release.plain))
    file.add("Service", "SyslogIdentifier", f"{release.app}-{name}")
    for variable, value in (("PIOT_APP", release.app), ("PIOT_COMMIT", release.commit)):
        file.add("Service", "LogExtraFields", assignment(variable, value))
    if not unit.root:
        file.extend("Service", SANDBOX)
    for key, text in unit.systemd:
        if since(key) > release.systemd:
            note(file, release, f"{key}=", since(key))
        else:
            file.add("Service", key, text)


def _environment(
    unit: Service | Job, manifest: Manifest, release: Release, place: str
) -> Iterator[tuple[str, str]]:
    """Yield the unit's variables, the author's over our defaults, a unit's over the app's."""
    local = f"{release.path}/.venv/bin:{place}/node_modules/.bin"
    # Else Python holds lines back for kilobytes, and the journal is late.
    ours = {"PATH": f"{local}:{_SYSTEM_PATH}", "PYTHONUNBUFFERED": "1"}
    yield from {**ours, **dict(manifest.env), **dict(unit.env)}.items()
    yield "PIOT_APP", release.app
    yield "PIOT_COMMIT", release.commit
    yield "PIOT_RELEASE", release.path
    yield "PIOT_ROLE", release.role
    yield "PIOT_HOSTNAME", release.hostname
    yield "PIOT_UNIT", unit.name
