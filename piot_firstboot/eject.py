"""piot eject: leave an app as plain units that run without PioT."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from piot_firstboot import confedit, environment, idle, intake, ledger, state, untouched
from piot_firstboot.apply import OWNED, apply, recorded, scopes
from piot_firstboot.ejected import Ejected, eject
from piot_firstboot.errors import ApplyError
from piot_firstboot.intake import Intake
from piot_firstboot.plan import Part
from piot_firstboot.render.app_units import UNITS
from piot_firstboot.state import folder
from piot_firstboot.system import System

MARK = "ejected"  # in the app's directory: purging the package leaves that one
_OURS = "/usr/lib/systemd/system"


@dataclass(frozen=True, slots=True)
class Exit:
    """What ejecting an app does: its units as they will be, and where the app came from.

    `scope` is the ownership record of what piot.conf made for it, `section` its header there; both
    are "" once they are gone.
    """

    app: str
    units: tuple[tuple[str, Ejected], ...]
    releases: tuple[str, ...]
    scope: str
    section: str
    conf: str

    def lines(self) -> Iterator[str]:
        """Say it in words, what goes first."""
        app, name = self.app, self.conf.rpartition("/")[2]
        yield f"no longer polled: piot-deploy@{app}.timer goes"
        if self.conf:
            yield f"made a comment:   [{self.section}] in {name}"
        for path, unit in self.units:
            yield f"yours from now:   {path}"
            for source, target in unit.copies.items():
                yield f"copied:           {source} to {target}"
            for line in unit.lost:
                yield f"without PioT:     {path.rpartition('/')[2]} loses {line}"
        for commit in self.releases:
            yield f"stays:            {folder(app)}/releases/{commit}"
        yield f"stays:            the user piot-{app}, with /var/lib/piot-{app}"


def plan(system: System, app: str) -> Exit:
    """Tell what ejecting an app would do; raises ApplyError when it has no units to leave."""
    # A run that was cut off may have taken it out of the records already.
    again = "/" not in app and system.exists(f"{folder(app)}/{MARK}")
    if not again:
        state.source(system, app)
    files = [path for path in recorded(system, f"app.{app}", "file") if path.startswith(UNITS)]
    if not (files or again):
        raise ApplyError(f"nothing of {app} is deployed: there is nothing to leave behind")
    if state.load(system, app).step in ("switched", "probation", "rolling-back"):
        raise ApplyError(f"a deploy of {app} is not finished", f"sudo piot deploy {app}")
    taken = _conf(system)
    known = taken.config.apps if taken else ()
    section = next((known_app.section for known_app in known if known_app.name == app), "")
    source = f"{folder(app)}/app.json"
    owning = (scope for scope in scopes(system) if source in recorded(system, scope, "file"))
    ours = {name for name in system.names(_OURS) if name.startswith("piot-")}
    units = [(path, (system.read(path) or b"").decode()) for path in files]
    return Exit(
        app,
        tuple((path, eject(text, app, ours)) for path, text in units),
        tuple(sorted(untouched.in_use(system, app))),
        next(owning, ""),
        section,
        taken.path if taken and section else "",
    )


def leave(system: System, app: str) -> Exit:
    """Let an app go. Cut off half-way, it is finished by doing it again.

    Units that run go on running. Raises ApplyError when a deploy is at work.
    """
    with intake.locked(system), system.lock(state.lock(app), wait=False) as free:
        if not free:
            raise ApplyError(f"a deploy of {app} is at work", f"systemctl status piot-deploy@{app}")
        going = plan(system, app)
        system.write(f"{folder(app)}/{MARK}", b"left behind by piot eject; nothing updates it\n")
        for path, unit in going.units:
            for source, target in unit.copies.items():
                system.mkdir(target.rpartition("/")[0], 0o700, "root")
                system.write(target, system.read(source) or b"", 0o600)
            system.write(path, unit.text.encode())
        for path in recorded(system, f"app.{app}", "symlink"):
            there = system.entry(path)
            if there and there.kind == "symlink" and there.target.startswith(f"{_OURS}/"):
                if system.live:
                    system.systemctl("stop", path.rpartition("/")[2])
                system.remove(path)
        if system.live:
            # So that a user's `systemctl` is not told of changed files; nothing restarts.
            system.run(("systemctl", "daemon-reload"), check=True)
        _forget(system, going)
        _clear(system, going)
        return going


def _conf(system: System) -> Intake | None:
    """Read piot.conf, where there is one; raises ConfigError when it is wrong."""
    path = intake.find(system)
    return intake.read(system, path) if path else None


def _forget(system: System, going: Exit) -> None:
    """Take the app out of PioT's books and of piot.conf, in an order that may be cut off."""
    app = going.app
    # While piot.conf names it, what it asks for counts as done; once it does not, nothing that
    # still stands in a record may be there to be removed.
    system.remove(f"{OWNED}/app.{app}")
    if going.scope:
        stays = frozenset({f"user piot-{app}", f"directory {folder(app)}"})
        apply(system, going.scope, (), spared=stays)
    if system.live:
        system.systemctl("stop", f"piot-retry-{app}.timer", f"piot-due-{app}.timer")
    system.remove(f"{idle.POLL_STAMP}/{app}")
    if not going.conf:
        return
    data = system.read(going.conf) or b""
    why = f"piot eject: {app} runs without PioT"
    system.write(going.conf, confedit.comment_out(data, going.section, why))
    book = ledger.load(system)
    gone = Part(going.section, ()).scope
    if gone in book.rows:
        rows = {scope: row for scope, row in book.rows.items() if scope != gone}
        ledger.save(system, replace(book, rows=rows))


def _clear(system: System, going: Exit) -> None:
    """Remove what only deploys need."""
    app, releases = going.app, f"{folder(going.app)}/releases"
    for name in system.names(releases):
        if name not in going.releases:
            system.remove_tree(f"{releases}/{name}")
    environment.prune(system, app, (f"{releases}/{commit}" for commit in going.releases))
    for name in system.names(folder(app)):
        # What `once: device` jobs left behind keeps them from running again.
        if name not in ("releases", "venvs", "done", MARK):
            system.remove_tree(f"{folder(app)}/{name}")
            system.remove(f"{folder(app)}/{name}")
