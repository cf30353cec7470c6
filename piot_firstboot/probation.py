"""The health gate: watch a release's services until each has passed or one has failed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from piot_firstboot import journal, probe
from piot_firstboot.assess import Sample, Tally, Trial, assess, hear
from piot_firstboot.declared import Health, JournalRule, Service
from piot_firstboot.system import System

_TICK = 1.0  # seconds between two looks
_PROPERTIES = "Id,ActiveState,SubState,Result,NRestarts,InvocationID"

Looks = dict[str, tuple[str, int]]  # by unit: its invocation, and systemd's restarts of it


def unit_name(app: str, unit: str) -> str:
    """Return the name of the unit that runs an app's service or job."""
    return f"piot-{app}-{unit}.service"


def look(system: System, app: str, services: Iterable[Service]) -> Looks:
    """Note which invocation of each service runs, and how often systemd restarted it so far.

    Taken before a switch: what is not restarted by it keeps its count, what is begins anew.
    """
    units = [unit_name(app, service.name) for service in services]
    if not units or not system.live:
        return {}
    return {
        unit: (values.get("InvocationID", ""), int(values.get("NRestarts") or 0))
        for unit, values in _states(system, units).items()
    }


def watch(
    system: System,
    app: str,
    services: Iterable[Service],
    say: Callable[[str], None],
    *,
    before: Looks | None = None,
    rule: JournalRule | None = None,
    since: float = 0.0,
) -> Trial | None:
    """Watch the services through their health gate; return the trial that failed, or None.

    It ends by itself: each service has at most `within` + `steady` seconds. `rule` is the app's
    own, for what all of them write; the journal is read from `since` on, in seconds of this boot.
    """
    watched = {unit_name(app, service.name): service for service in services}
    if not watched or not system.live:
        return None
    began = time.monotonic()
    looks = before or {}
    now = _states(system, list(watched))
    trials = {
        unit: _trial(service, began, looks.get(unit), now.get(unit, {}))
        for unit, service in watched.items()
    }
    all_of_app = Tally(rule) if rule else None
    rules = all_of_app or any(trial.tally for trial in trials.values())
    listen = journal.Listener(watched, since) if rules else None
    shown = ""
    while True:
        states = _states(system, list(watched))
        heard = listen.take() if listen else []
        for unit, service in watched.items():
            values = states.get(unit, {})
            running = values.get("ActiveState") == "active" and not trials[unit].verdict
            answer = ask(system, app, service.name, service.health) if running else None
            sample = Sample(
                active=values.get("ActiveState", "inactive"),
                sub=values.get("SubState", ""),
                result=values.get("Result", ""),
                restarts=int(values.get("NRestarts") or 0),
                probe=answer,
                lines=tuple((priority, text) for name, priority, text in heard if name == unit),
            )
            trials[unit] = assess(trials[unit], sample, time.monotonic())
        failed = next((trial for trial in trials.values() if trial.verdict == "bad"), None)
        if all_of_app:
            lines = [(priority, text) for _, priority, text in heard]
            all_of_app = hear(all_of_app, lines, time.monotonic())
            if all_of_app.broken and not failed:
                last = heard[-1][0]
                failed = replace(trials[last], verdict="bad", why=all_of_app.broken)
        if failed or all(trial.verdict for trial in trials.values()):
            return failed
        words = ", ".join(trial.progress(time.monotonic()) for trial in trials.values())
        if words != shown:
            shown = words
            say(f"probation: {words}")
        time.sleep(_TICK)


def _trial(
    service: Service, began: float, before: tuple[str, int] | None, now: dict[str, str]
) -> Trial:
    """Begin a service's trial; a start by the deploy resets systemd's counter of restarts."""
    kept = before is not None and before[0] == now.get("InvocationID", "")
    rule = service.health.journal
    return Trial(
        service.name,
        service.health.within,
        service.health.steady,
        began,
        before[1] if before and kept else 0,
        # What goes on running has said long ago what it says at its start.
        tally=Tally(rule, expected=kept) if rule else None,
    )


def going_down(system: System) -> bool:
    """Tell whether the machine is on its way down, or already too far to answer.

    Then services stop for a reason that says nothing about their release.
    """
    if not system.live:
        return False
    state = system.run(("systemctl", "is-system-running")).out.strip()
    return state in ("", "stopping", "offline", "unknown")


def ask(system: System, app: str, service: str, health: Health) -> str | None:
    """Run a service's probe once: None where it has none, "" when it passes, else why not."""
    if health.http:
        return probe.http(health.http)
    if health.tcp:
        return probe.tcp(health.tcp)
    if health.command:
        return probe.command(system, unit_name(app, f"{service}-check"))
    return None


def _states(system: System, units: list[str]) -> dict[str, dict[str, str]]:
    """Ask systemd for the state of several units at once."""
    shown = system.run(("systemctl", "show", "-p", _PROPERTIES, *units)).out
    blocks = [
        dict(line.partition("=")[::2] for line in block.splitlines())
        for block in shown.strip().split("\n\n")
    ]
    return {block.get("Id", ""): block for block in blocks}
