"""What every process of an app gets, service or job: its release, user, environment, sandbox."""

from __future__ import annotations

from collections.abc import Iterator

from piot_firstboot import credential
from piot_firstboot.declared import Job, Service
from piot_firstboot.render.app_context import Context
from piot_firstboot.render.app_devices import add_devices
from piot_firstboot.render.app_limits import add_limits
from piot_firstboot.render.app_release import Release, note
from piot_firstboot.render.sandbox import sandbox
from piot_firstboot.service_keys import since
from piot_firstboot.unitfile import UnitFile, assignment, specifiers

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PRIVILEGED_PORTS = 1024


def peers_file(app: str) -> str:
    """Return the file of PIOT_PEER_… variables, which lists what other devices advertise."""
    return f"/var/lib/piot/apps/{app}/peers"


def add_process(context: Context, file: UnitFile, unit: Service | Job, name: str = "") -> None:
    """Add what every process of the app gets: user, place, environment, secrets, sandbox."""
    release = context.release
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
    for variable, value in _environment(context, unit, place):
        file.add("Service", "Environment", assignment(variable, value))
    if context.manifest.advertised:
        # Who else is there changes without a deploy, so it is no part of the unit's own text.
        file.add("Service", "EnvironmentFile", f"-{peers_file(release.app)}")
    for secret in unit.secrets:
        file.add("Service", *credential.directive(secret, sealed=secret not in release.plain))
    file.add("Service", "SyslogIdentifier", f"{release.app}-{name}")
    for variable, value in (("PIOT_APP", release.app), ("PIOT_COMMIT", release.commit)):
        file.add("Service", "LogExtraFields", assignment(variable, value))
    add_limits(file, unit, release)
    if not unit.root:
        port = unit.port if isinstance(unit, Service) else None
        binds = port is not None and port < _PRIVILEGED_PORTS
        file.extend("Service", sandbox(devices=bool(unit.devices), binds=binds))
        add_devices(file, unit, release)
    _add_raw(file, unit, release)


def _add_raw(file: UnitFile, unit: Service | Job, release: Release) -> None:
    """Add what the author gives as systemd's own keys."""
    for key, text in unit.systemd:
        if since(key) > release.systemd:
            note(file, release, f"{key}=", since(key))
        else:
            file.add("Service", key, text)


def _environment(context: Context, unit: Service | Job, place: str) -> Iterator[tuple[str, str]]:
    """Yield the unit's variables, the author's over our defaults, a unit's over the app's."""
    release = context.release
    local = f"{release.path}/.venv/bin:{place}/node_modules/.bin"
    # Else Python holds lines back for kilobytes, and the journal is late.
    ours = {"PATH": f"{local}:{_SYSTEM_PATH}", "PYTHONUNBUFFERED": "1"}
    yield from {**ours, **context.env(unit)}.items()
    yield "PIOT_APP", release.app
    yield "PIOT_COMMIT", release.commit
    yield "PIOT_RELEASE", release.path
    yield "PIOT_ROLE", context.role
    yield "PIOT_HOSTNAME", release.hostname
    yield "PIOT_UNIT", unit.name
    if context.manifest.advertised:
        # For a program that runs for months: what it was started with is what was known then.
        yield "PIOT_PEERS", peers_file(release.app)
