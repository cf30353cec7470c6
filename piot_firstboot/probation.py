"""The health gate: watch a release's services until each has passed or one has failed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from piot_firstboot import probe
from piot_firstboot.assess import Sample, Trial, assess
from piot_firstboot.manifest import Health, Service
from piot_firstboot.system import System

_TICK = 1.0  # seconds between two looks
_PROPERTIES = "Id,ActiveState,SubState,Result,NRestarts"


def unit_name(app: str, unit: str) -> str:
    """Return the name of the unit that runs an app's service or job."""
    return f"piot-{app}-{unit}.service"


def watch(
    system: System, app: str, services: Iterable[Service], say: Callable[[str], None]
) -> Trial | None:
    """Watch the services through their health gate; return the trial that failed, or None.

    It ends by itself: each service has at most `within` + `steady` seconds.
    """
    watched = {unit_name(app, service.name): service for service in services}
    if not watched or not system.live:
        return None
    began = time.monotonic()
    # Restarts are counted from the deploy's own start on: that resets systemd's counter.
    trials = {
        unit: Trial(service.name, service.health.within, service.health.steady, began, 0)
        for unit, service in watched.items()
    }
    shown = ""
    while True:
        states = _states(system, list(watched))
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
            )
            trials[unit] = assess(trials[unit], sample, time.monotonic())
        failed = next((trial for trial in trials.values() if trial.verdict == "bad"), None)
        if failed or all(trial.verdict for trial in trials.values()):
            return failed
        words = ", ".join(trial.progress(time.monotonic()) for trial in trials.values())
        if words != shown:
            shown = words
            say(f"probation: {words}")
        time.sleep(_TICK)


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
