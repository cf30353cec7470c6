"""Apps: where each one comes from, its user, how often to look for a new commit."""

from __future__ import annotations

import json
from collections.abc import Iterable

from piot_firstboot.config import Config
from piot_firstboot.facts import Facts
from piot_firstboot.items import Credential, Directory, File, Item, Symlink, SystemUser, Unit
from piot_firstboot.plan import Obstacle, Part
from piot_firstboot.privatekey import BadKey, from_file, is_text
from piot_firstboot.render.origin import COMMENT
from piot_firstboot.schedule import format_span
from piot_firstboot.sections.apps import App
from piot_firstboot.unitfile import UnitFile

_UNITS = "/etc/systemd/system"
_TEMPLATE = "/usr/lib/systemd/system/piot-deploy@.timer"
_PATH = "/usr/lib/systemd/system/piot-deploy@.path"
# udev(7): a partition with a file system on a USB device wants the unit that looks at it.
_PLUGGED = (
    'ACTION=="add", SUBSYSTEM=="block", ENV{ID_BUS}=="usb", ENV{ID_FS_USAGE}=="filesystem", '
    'TAG+="systemd", ENV{SYSTEMD_WANTS}+="piot-usb@%k.service"\n'
)
_FIRST_RUN = "10s"  # as in the template: after boot, and after the settings of the app changed
SCHEMA = 1  # of app.json


def render(config: Config, facts: Facts) -> Iterable[Part]:
    """Render `[app]`."""
    return tuple(_part(app, facts) for app in config.apps)


def _part(app: App, facts: Facts) -> Part:
    """Render one app, or say why its key is none."""
    try:
        return Part(app.section, _app(app, _credentials(app, facts)))
    except BadKey as error:
        reason = f"{app.deploy_key or 'deploy_key'} {error}"
        return Part(app.section, (), obstacle=Obstacle(reason, error.hint))


def _credentials(app: App, facts: Facts) -> tuple[Credential, ...]:
    """List what opens the repository, as the store holds it: a token, a key file as ssh reads it.

    Raises BadKey.
    """
    found = []
    if app.token is not None:
        found.append(Credential(f"{app.section}.token", app.token))
    if app.deploy_key is not None:
        key = app.deploy_key
        if not is_text(key):
            data = facts.files.get(key)
            if data is None:
                raise BadKey("is not there", f"put {key} beside piot.conf, then: sudo piot apply")
            key = from_file(data)
        found.append(Credential(f"{app.section}.deploy_key", key))
    return tuple(found)


def _app(app: App, credentials: tuple[Credential, ...]) -> tuple[Item, ...]:
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
        "usb": app.usb,
        # Where they lie in the store, by key.
        "secrets": {item.name.rpartition(".")[2]: item.name for item in credentials},
    }
    text = json.dumps(said, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    items: tuple[Item, ...] = (
        SystemUser(user, f"/var/lib/{user}", f"PioT app {app.name}"),
        Directory(folder, 0o750, "root", user),
        File(source, text.encode()),
        *credentials,
    )
    if app.usb:
        rule = f"/etc/udev/rules.d/70-piot-usb-{app.name}.rules"
        items = (*items, File(rule, f"{COMMENT}\n{_PLUGGED}".encode()))
    if app.trigger:
        path = f"piot-deploy@{app.name}.path"
        link = Symlink(f"{_UNITS}/paths.target.wants/{path}", _PATH)
        items = (*items, link, Unit(path, active=True))
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
