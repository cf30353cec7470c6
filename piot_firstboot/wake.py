"""Let apps look again when what their units are made of has changed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from piot_firstboot import credential, idle, state
from piot_firstboot.apply import mark
from piot_firstboot.items import Credential, File
from piot_firstboot.plan import Change
from piot_firstboot.system import System

_MINE = ("/var/lib/piot/", "/etc/hostname")


def changed(system: System, changes: Iterable[Change]) -> None:
    """Wake the apps when an app's settings, a secret or the host name is among the changes."""
    paths = []
    for change in changes:
        kind, _, name = change.key.partition(" ")
        if isinstance(change.item, Credential) or kind == "secret":
            paths.append(credential.path(name, sealed=False))
        elif isinstance(change.item, File) and change.item.path.startswith(_MINE):
            paths.append(change.item.path)
    if paths:
        apps(system, paths)


def apps(system: System, paths: Iterable[str]) -> None:
    """Let every app look again, and soon; its units that depend on these files restart.

    A secret's file is named as if it were not sealed. What failed for want of something may work
    now, so its wait is over.
    """
    paths = tuple(paths)
    system.remove_tree(idle.POLL_STAMP)
    for app in state.apps(system):
        mark(system, f"app.{app}", paths)
        with system.lock(state.lock(app), wait=False) as free:
            record = state.load(system, app)
            final = tuple(failure for failure in record.bad if failure.deterministic)
            if free and final != record.bad:
                state.save(system, replace(record, bad=final))
    start(system, state.apps(system))


def start(system: System, apps: Iterable[str]) -> None:
    """Start the deploys of apps, without waiting for them, and not to end in an idle poll."""
    for app in apps:
        system.remove(f"{idle.POLL_STAMP}/{app}")
        if system.live:
            unit = f"piot-deploy@{app}.service"
            system.run(("systemctl", "start", "--no-block", unit))
