"""piot run, piot logs: start a job by hand, read what an app printed."""

from __future__ import annotations

import time
from typing import NoReturn

from piot_firstboot import journal, state
from piot_firstboot.apply import recorded
from piot_firstboot.errors import ApplyError
from piot_firstboot.system import System


def unit_of(system: System, name: str) -> str:
    """Find the unit for `UNIT` or `APP/UNIT`; raises ApplyError when none or several fit."""
    app, slash, unit = name.rpartition("/")
    apps = (app,) if slash else state.apps(system)
    known = {
        f"{a}/{path.removeprefix(_units(a)).removesuffix('.service')}": path.rpartition("/")[2]
        for a in apps
        for path in recorded(system, f"app.{a}", "file")
        if path.startswith(_units(a)) and path.endswith(".service")
    }
    fits = [found for short, found in known.items() if short.partition("/")[2] == unit]
    if len(fits) == 1:
        return fits[0]
    if fits:
        raise ApplyError(f"several apps have {unit}: say which, as in {next(iter(apps))}/{unit}")
    there = ", ".join(sorted(known)) or "none"
    raise ApplyError(f"there is no service or job {name!r}; there is: {there}")


def _units(app: str) -> str:
    """Return what the paths of an app's unit files begin with."""
    return f"/etc/systemd/system/piot-{app}-"


def run_job(system: System, name: str) -> int:
    """Start a job, print what it logs until it ends, and return its exit status.

    Waiting is bounded by the job's own timeout, which systemd keeps.
    """
    unit = unit_of(system, name)
    began = time.time()
    started = system.run(("systemctl", "start", "--no-block", unit))
    if started.code != 0:
        raise ApplyError(f"{unit}: {started.reason}")
    shown = 0
    while True:
        values = _show(system, unit)
        lines = journal.tail(unit, began, 1_000_000)
        for line in lines[shown:]:
            print(line, flush=True)
        shown = len(lines)
        if values.get("ActiveState") not in ("activating", "reloading") and not values.get("Job"):
            if values.get("ConditionResult") == "no":
                raise ApplyError(f"{unit} has run already on this device")
            return int(values.get("ExecMainStatus") or 0)
        time.sleep(0.3)


def _show(system: System, unit: str) -> dict[str, str]:
    """Ask systemd for what tells whether a job has ended, and how."""
    properties = "ActiveState,Job,ExecMainStatus,ConditionResult"
    shown = system.run(("systemctl", "show", "-p", properties, unit)).out
    return dict(line.partition("=")[::2] for line in shown.splitlines())


def follow(system: System, name: str, *, follow: bool, lines: int, commit: str) -> NoReturn:
    """Become journalctl, showing one unit, one app or all apps."""
    matches: list[str] = []
    if name in state.apps(system) or not name:
        matches += [f"PIOT_APP={name}"] if name else [f"PIOT_APP={a}" for a in state.apps(system)]
    else:
        matches += ["-u", unit_of(system, name)]
    if commit:
        known = [c for app in state.apps(system) for c in _commits(system, app)]
        full = next((c for c in known if c.startswith(commit)), commit)
        matches.append(f"PIOT_COMMIT={full}")
    options = ["--output=short-iso", f"--lines={lines}", *(["--follow"] if follow else [])]
    system.become(["journalctl", *options, *matches])


def _commits(system: System, app: str) -> tuple[str, ...]:
    """List the commits that an app's record knows."""
    record = state.load(system, app)
    return (record.commit, record.target, *record.good, *(bad.commit for bad in record.bad))
