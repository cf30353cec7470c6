"""piot firstboot, piot apply: make the device what piot.conf says."""

from __future__ import annotations

from dataclasses import replace

from piot_firstboot import config, device, idle, state
from piot_firstboot.apply import apply, mark, scopes
from piot_firstboot.errors import ApplyError, ConfigError
from piot_firstboot.notify import say
from piot_firstboot.plan import Change, File
from piot_firstboot.render import render_config
from piot_firstboot.report import Report, publish
from piot_firstboot.system import System

_SCOPE = "conf"
_APP_SCOPE = "app."
_LOCK = "/run/piot/conf.lock"


def converge(system: System, *, boot: bool = False, dry_run: bool = False) -> Report:
    """Read, judge and apply piot.conf; report; stamp last, and only after full success.

    With `boot` nothing is waited for, because the units of the boot wait for this one. A wrong
    file applies nothing and leaves in force what was applied before. Raises ApplyError when
    another run is at work.
    """
    path = idle.conf_path(system.root.rstrip("/"))
    if not path:
        where = "/boot/firmware/piot.conf"
        return Report(True, f"there is no piot.conf; write one to {where}, then: sudo piot apply")
    data = system.read(path) or b""
    if dry_run:
        return _converge(system, path, data, boot=False, dry_run=True)
    with system.lock(_LOCK, wait=False) as held:
        if not held:
            raise ApplyError("piot.conf is being applied", "systemctl status piot-firstboot")
        report = _converge(system, path, data, boot=boot, dry_run=False)
        refused = publish(system, report)
        if refused:
            say(refused)
        # The stamp says: applied and reported. After a failure even the former file is new.
        stamp = idle.boot_stamp(path, data)
        if not report.ok:
            system.remove(idle.BOOT_STAMP)
        elif system.read(idle.BOOT_STAMP) != stamp:
            system.write(idle.BOOT_STAMP, stamp)
        return report


def _converge(system: System, path: str, data: bytes, *, boot: bool, dry_run: bool) -> Report:
    """Apply the file, or say what that would change."""
    name = path.rpartition("/")[2]
    try:
        wanted = config.parse(data, name, zones=device.zones(system))
    except ConfigError as error:
        count = len(error.problems)
        headline = f"{path}: {count} problem{'s' * (count > 1)}; nothing was changed"
        return Report(False, headline, path, error.problems, next_step=_mend(path))
    items = render_config(wanted, device.facts(system))
    gone = _gone(system, {app.name for app in wanted.apps})
    if dry_run:
        changes = [c for scope in gone for c in apply(system, scope, (), dry_run=True)]
        changes += apply(system, _SCOPE, items, dry_run=True)
        return Report(True, _headline(path, changes, dry_run=True), path, (), _words(changes))
    try:
        changes = _remove_apps(system, gone)
        changes += apply(system, _SCOPE, items, wait=not boot, say=say)
    except ApplyError as error:
        return Report(False, f"{path}: {error}", path, next_step=error.hint or _mend(path))
    except OSError as error:
        headline = f"{path}: {error.filename or 'the system'}: {error.strerror}"
        return Report(False, headline, path, next_step="sudo piot apply")
    _wake_polls(system, changes)
    return Report(True, _headline(path, changes), path, (), _words(changes))


def _gone(system: System, apps: set[str]) -> list[str]:
    """List the scopes of apps that piot.conf no longer names."""
    names = [scope for scope in scopes(system) if scope.startswith(_APP_SCOPE)]
    return [scope for scope in names if scope.removeprefix(_APP_SCOPE) not in apps]


def _remove_apps(system: System, gone: list[str]) -> list[Change]:
    """Stop and remove the units of apps that left; the data they wrote stays."""
    changes: list[Change] = []
    for scope in gone:
        app = scope.removeprefix(_APP_SCOPE)
        changes += apply(system, scope, (), say=say)
        for made in (state.folder(app), f"/var/cache/piot-{app}", f"/run/piot-{app}"):
            system.remove_tree(made)
        system.remove(f"/var/lib/piot-{app}")  # only if the app never wrote to it
    return changes


def _wake_polls(system: System, changes: list[Change]) -> None:
    """Let every app look again, and soon, when what its units are made of changed.

    That is the app's settings, a secret, or the host name. What failed for want of something may
    work now, so its wait is over.
    """
    files = [c.item.path for c in changes if isinstance(c.item, File)]
    if not any(path.startswith(("/var/lib/piot/", "/etc/hostname")) for path in files):
        return
    system.remove_tree(idle.POLL_STAMP)
    for app in state.apps(system):
        mark(system, f"{_APP_SCOPE}{app}", files)
        with system.lock(state.lock(app), wait=False) as free:
            record = state.load(system, app)
            final = tuple(failure for failure in record.bad if failure.deterministic)
            if free and final != record.bad:
                state.save(system, replace(record, bad=final))
        if system.live:
            unit = f"piot-deploy@{app}.service"
            system.run(("systemctl", "start", "--no-block", unit))


def _headline(path: str, changes: list[Change], *, dry_run: bool = False) -> str:
    """Sum up in one line."""
    if not changes:
        return f"{path} is applied; nothing to change"
    count = f"{len(changes)} change{'s' * (len(changes) > 1)}"
    return f"{path}: {count} to make" if dry_run else f"{path} is applied: {count} made"


def _words(changes: list[Change]) -> tuple[str, ...]:
    """Say each change in words."""
    return tuple(str(change) for change in changes)


def _mend(path: str) -> str:
    """Say how to go on after a mistake."""
    return f"correct {path}, then reboot or run: sudo piot apply"
