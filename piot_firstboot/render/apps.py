"""Apps: where each one comes from, its user, how often to look for a new commit; and secrets."""

from __future__ import annotations

import json

from piot_firstboot.config import App, Config
from piot_firstboot.facts import Facts
from piot_firstboot.plan import Directory, File, Item, Symlink, SystemUser, Unit
from piot_firstboot.render.origin import COMMENT
from piot_firstboot.schedule import format_span
from piot_firstboot.unitfile import UnitFile

_UNITS = "/etc/systemd/system"
_TEMPLATE = "/usr/lib/systemd/system/piot-deploy@.timer"
_SECRETS = "/var/lib/piot/secrets"
_FIRST_RUN = "10s"  # as in the template: after boot, and after the settings of the app changed
SCHEMA = 1  # of app.json


def render(config: Config, facts: Facts) -> tuple[Item, ...]:
    """Render `[app]` and `[secrets]`."""
    items: list[Item] = [item for app in config.apps for item in _app(app)]
    if config.secrets:
        items.append(Directory(_SECRETS, 0o700))
    for name, value in config.secrets:
        # Without a newline at its end: an app reads the file and has the value.
        items.append(File(f"{_SECRETS}/{name}", value.encode(), 0o600, secret=True))
    return tuple(items)


def _app(app: App) -> tuple[Item, ...]:
    user = f"piot-{app.name}"
    folder = f"/var/lib/piot/apps/{app.name}"
    source = f"{folder}/app.json"
    said = {
        "schema": SCHEMA,
        "name": app.name,
        "repo": app.repo,
        "ref": app.ref,
        "poll": app.poll,
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
