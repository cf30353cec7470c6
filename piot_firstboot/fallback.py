"""piot fallback: when nothing connects, an access point with a page to enter Wi-Fi.

    connected ── nothing connects ──> waiting ── `wifi_ap_after` ──> open ── a network ──> trying
        ^                               ^ 5 min                       │ nobody came          │
        └───────────────────────────────┴─────────────────────────────┘ <── open again, why ─┘

Between two openings the radio belongs to the networks that are known: it cannot do both.
"""

from __future__ import annotations

import secrets
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from socket import socket
from types import FrameType

from piot_firstboot import (
    accesspoint,
    config,
    conftext,
    device,
    idle,
    intake,
    newwifi,
    page,
    portal,
    profiles,
    records,
    report,
    trial,
    vault,
)
from piot_firstboot.errors import ApplyError, ConfigError, Problem
from piot_firstboot.newwifi import WHOLE, Entry, Form, Network
from piot_firstboot.notify import progress, say
from piot_firstboot.page import View
from piot_firstboot.render.fallback import ADDRESS, SCHEMA, SECRET, SETTINGS, ssid
from piot_firstboot.system import System

_OPEN = 900.0  # seconds that the access point stays open with nobody entering anything
_KNOWN = 300.0  # seconds that the known networks have then; NetworkManager gives up for as long
_LOOK = 10.0  # seconds between looks for a cable while it is open
_TRY = 150.0  # seconds in which new settings are judged; trial.py ends within two minutes
_APPLY = 150.0
_FAREWELL = 2.0  # seconds for the last page to arrive before the radio leaves
_MINUTES = 3  # what the page says of _TRY
_PORTS = (80, 8080)
_NAMES = "/usr/share/zoneinfo/iso3166.tab"


def tick(system: System) -> None:
    """Do what is due; a unit asks for it once a minute.

    Raises ApplyError when the access point cannot be opened.
    """
    if not system.live:
        raise ApplyError("there is no radio in a tree", "piot fallback --page-only --root DIR")
    root = system.root.rstrip("/")
    settings = records.values(system.read(SETTINGS), SCHEMA)
    due = idle.fallback_due(root)
    if "after" not in settings:
        accesspoint.close(system)
        progress("piot.conf has no [fallback]")
    elif accesspoint.connected(system):
        accesspoint.close(system)
        # Without a default route this is asked again, so that a cable without any is noticed.
        _due(system, None if idle.routed(root) else float(settings["after"]))
        progress("connected")
    elif due is None:
        _due(system, float(settings["after"]))
        say(f"nothing is connected; the access point opens in {settings['after']:.0f} s")
    elif time.clock_gettime(time.CLOCK_BOOTTIME) < due:
        progress("nothing is connected")
    else:
        signal.signal(signal.SIGTERM, _stop)
        try:
            _stay(system)
        finally:
            accesspoint.close(system)
            found = accesspoint.connected(system)
            _due(system, None if found else _KNOWN)
        say("connected" if found else f"the known networks have {_KNOWN:.0f} s")


def page_only(
    system: System, address: tuple[str, int], near: Sequence[Network] = (), last: str = ""
) -> None:
    """Serve the page against a tree until a network was entered: to look at it, and for tests."""
    with portal.listen(*address) as server:
        host, port = server.getsockname()[:2]
        desk = Desk(system, _name(system), tuple(near), last)
        hosts = tuple(f"{host}:{port}" for host in (host, "localhost"))
        say(f"http://{hosts[0]}/")
        portal.serve(server, portal.Site(hosts, desk.show, desk.take), lambda: desk.entry is None)


def _stay(system: System) -> None:
    """Keep the access point open, trying what is entered, until something connects."""
    name, password = _name(system), vault.get(system, SECRET)
    if password is None:
        raise ApplyError("the password of the access point is not in the store", "piot apply --all")
    last, former = "", ""
    while True:
        say("looking for networks")
        desk = Desk(system, name, accesspoint.scan(system), last, former)
        _open(system, desk, password)
        if desk.entry is None:
            # They may have been given up on while they were out of reach.
            say("trying the known networks")
            files = profiles.read(system, "networkmanager")
            profiles.activate(system, "networkmanager", files, {}, time.monotonic() + 60)
            return
        why = _try(system, desk.entry)
        if not why:
            return
        last, former = f"{desk.network} did not connect: {why}", ""
        if desk.entry.fresh:
            former = desk.entry.section  # the next try takes its place


def _open(system: System, desk: Desk, password: str) -> None:
    """Open the access point and serve the page until a network came, a cable, or nobody."""
    accesspoint.open_up(system, desk.name, password)
    until = time.monotonic() + _OPEN
    next_look = 0.0

    def go_on() -> bool:
        nonlocal next_look
        now = time.monotonic()
        if now >= next_look:
            next_look = now + _LOOK
            left = max(1, round((until - now) / 60))
            progress(f"access point {desk.name} is open for {left} min: http://{ADDRESS}/")
            if accesspoint.connected(system):
                return False
        return desk.entry is None and now < until

    try:
        with _listen() as server:
            port = server.getsockname()[1]
            end = "" if port == 80 else f":{port}"
            say(f"access point {desk.name} is open: http://{ADDRESS}{end}/")
            hosts = tuple(f"{at}{end}" for at in (ADDRESS, desk.name, f"{desk.name}.local"))
            portal.serve(server, portal.Site(hosts, desk.show, desk.take), go_on)
        if desk.entry:
            time.sleep(_FAREWELL)
    finally:
        accesspoint.close(system)


def _listen() -> socket:
    """Listen where browsers look first; where an app has that port, on the usual other one."""
    first, second = _PORTS
    try:
        return portal.listen(ADDRESS, first)
    except OSError:
        return portal.listen(ADDRESS, second)


def _try(system: System, entry: Entry) -> str:
    """Apply the file with the new network in it; return why that does not connect, if so."""
    say("trying the new network")
    system.run(("systemctl", "start", "piot-firstboot.service"), timeout=_APPLY)
    # It judges the network; not waited for, because it may go on to install packages.
    system.run(("systemctl", "start", "--no-block", "piot-setup.service"))
    until = time.monotonic() + _TRY
    while time.monotonic() < until:
        if accesspoint.connected(system) and not trial.is_open(system):
            return ""
        state = system.systemctl("is-active", "piot-setup.service").out.strip()
        if state not in ("active", "activating") and not trial.is_open(system):
            break
        progress("trying the new network")
        time.sleep(2)
    return "" if accesspoint.connected(system) else _why(system, entry)


def _why(system: System, entry: Entry) -> str:
    """Say why the last try failed, as far as that is known."""
    refused = trial.refused(system)
    if refused:
        return "; ".join(refused.details) or refused.reason
    said = report.last(system)
    lines = [line.why for line in said.lines if line.section == entry.section] if said else []
    reason = next((why for why in lines if why), "")
    if not reason and said and not said.ok:
        reason = said.headline
    return reason or "the password may be wrong, or the network out of reach"


def _name(system: System) -> str:
    """Return what the access point is called."""
    host = system.hostname() if system.live else (system.read("/etc/hostname") or b"").decode()
    return ssid(host.strip())


def _due(system: System, seconds: float | None) -> None:
    """Note when to open next; None when there is nothing to open for."""
    if seconds is None:
        system.remove(idle.FALLBACK_DUE)
    else:
        at = time.clock_gettime(time.CLOCK_BOOTTIME) + seconds
        system.write(idle.FALLBACK_DUE, f"{at:.0f}\n".encode())


def _stop(number: int, frame: FrameType | None) -> None:
    """Let a stop of the unit close the access point."""
    raise SystemExit(0)


# -- the page -----------------------------------------------------------------------------------


@dataclass(slots=True)
class Desk:
    """Shows the page and takes what is entered; `entry` is what was judged good and written.

    `former` is the section of the last try, which the next one replaces.
    """

    system: System
    name: str
    near: tuple[Network, ...] = ()
    last: str = ""
    former: str = ""
    entry: Entry | None = None
    network: str = ""
    token: str = field(default_factory=secrets.token_urlsafe)

    def show(self) -> bytes:
        """Render the page as one first meets it."""
        if self.entry:
            return page.trying(self.name, self.network, _MINUTES)
        path = intake.find(self.system)
        try:
            said = newwifi.country(self.system.read(path) or b"") if path else ""
        except (conftext.NotText, OSError):
            said = ""
        return page.form(self._view(Form(country=said), last=self.last))

    def take(self, body: bytes) -> tuple[bool, bytes]:
        """Judge what was entered; write it, or show it again with what is wrong."""
        if self.entry:
            return True, self.show()
        try:
            form = newwifi.read_form(body)
        except ValueError:
            return False, self._refuse(Form(), "this is no form; load the page again")
        if not secrets.compare_digest(
            *(t.encode("utf-8", "replace") for t in (form.token, self.token))
        ):
            return False, self._refuse(form, "this page was from before; send it again")
        try:
            problems = self._save(form)
        except conftext.NotText as error:
            return False, self._refuse(form, f"piot.conf: {error}", error.hint)
        except ApplyError as error:
            return False, self._refuse(form, str(error), error.hint)
        except OSError as error:
            return False, self._refuse(form, f"{error.filename}: {error.strerror}")
        if problems:
            return False, page.form(self._view(form, problems))
        return True, self.show()

    def _save(self, form: Form) -> dict[str, tuple[Problem, ...]]:
        """Write piot.conf with the network in it if the judge takes it; else return why not."""
        system = self.system
        with intake.locked(system):
            path = intake.find(system)
            if not path:
                raise ApplyError("there is no piot.conf on this device any more")
            data = system.read(path) or b""
            entry = Entry(data, "", fresh=False)
            try:
                entry = newwifi.enter(data, form, self.near, self.former)
                source, known = path.rpartition("/")[2], device.words(system)
                config.parse(entry.data, source, known=known, stored=vault.resolve(system))
            except ConfigError as error:
                return newwifi.beside(entry, error.problems)
            now = system.entry(path)
            system.write(path, entry.data, now.mode if now else 0o644)
        picked = bytes.fromhex(form.network).decode("utf-8", "replace") if form.network else ""
        self.network, self.entry = picked or form.ssid, entry
        return {}

    def _refuse(self, form: Form, message: str, hint: str = "") -> bytes:
        """Render the form with a problem that is not about any of its fields."""
        return page.form(self._view(form, {WHOLE: (Problem("", 0, 0, message, hint),)}))

    def _view(
        self, form: Form, problems: dict[str, tuple[Problem, ...]] | None = None, last: str = ""
    ) -> View:
        """Return what the page shows."""
        names = (self.system.read(_NAMES) or b"").decode("utf-8", "replace")
        countries = newwifi.countries(names)
        return View(self.name, self.token, self.near, countries, form, problems or {}, last)
