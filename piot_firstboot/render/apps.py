"""Apps: where each one comes from, its user, how often to look for a new commit."""

from __future__ import annotations

import json
from collections.abc import Iterable

from piot_firstboot.config import Config
from piot_firstboot.facts import Facts
from piot_firstboot.items import Directory, File, Item, Symlink, SystemUser, Unit
from piot_firstboot.plan import Part
from piot_firstboot.render.origin import COMMENT
from piot_firstboot.schedule import format_span
from piot_firstboot.sections.apps import App
from piot_firstboot.unitfile import UnitFile

_UNITS = "/etc/systemd/system"
_TEMPLATE = "/usr/lib/systemd/system/piot-deploy@.timer"
_FIRST_RUN = "10s"  # as in the template: after boot, and after the settings of the app changed
SCHEMA = 1  # of app.json


def render(config: Config, facts: Facts) -> Iterable[Part]:
    """Render `[app]`."""
    return tuple(Part(app.section, _app(app)) for app in config.apps)


def _app(app: App) -> tuple[Item, ...]:
    user = f"piot-{app.name}"
    folder = f"/var/lib/piot/apps/{app.name}"
    source = f"{folder}/app.json"
    said = {
        "schema": SCHEMA,
        "name": app.name,
        "repo": app.repo,
        "ref": app.ref,
        "path": app.path,
        "poll": app.poll,
        "username": app.username,
        "known_hosts": app.known_hosts,
        "signers": app.signers,
        "fast_forward_only": app.fast_forward_only,
        "submodules": app.submodules,
        "lfs": app.lfs,
        "keep": app.keep,
        "quiet": app.quiet,
        "ring": app.ring,
    }
    text = json.dumps(said, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    items: tuple[Item, ...] = (
        SystemUser(user, f"/var/lib/{user}", f"PioT app {app.name}"),
        Directory(folder, 0o750, "root", user),
        File(source, text.encode()),
    )
    if app.poll is None:
        return items
    timer = f"piot-deploy@{app.name}.timer"
    drop_in = f"{_UNITS}/{timer}.d/poll.conf"
    return (
        *items,
        File(drop_in, _poll(app.poll).encode()),
        Symlink(f"{_UNITS}/timers.target.wants/{timer}", _TEMPLATE),
        Unit(timer, active=True, on_change="restart", because=(drop_in, source)),
    )


def _poll(seconds: float) -> str:
    """Write the interval for the timer of one app.

    An empty assignment takes away every On…= of the template, whichever key it names
    (systemd.timer(5)), so the first run is said again too.
    """
    unit = UnitFile("poll.conf", COMMENT.removeprefix("# "))
    unit.add("Timer", "OnUnitInactiveSec", "")
    unit.add("Timer", "OnActiveSec", _FIRST_RUN)
    unit.add("Timer", "OnUnitInactiveSec", format_span(seconds))
    return unit.text()
