"""A service → its unit, and the unit that asks its own health command."""

from __future__ import annotations

from piot_firstboot import credential
from piot_firstboot.command import Variable
from piot_firstboot.declared import Service
from piot_firstboot.items import Unit
from piot_firstboot.render import app_exec
from piot_firstboot.render.app_context import STOP, Context, add_order, path
from piot_firstboot.render.app_process import add_process
from piot_firstboot.render.app_release import note
from piot_firstboot.schedule import format_span
from piot_firstboot.unitfile import UnitFile

_RESTART_STEPS = 254  # the first systemd with RestartSteps=: systemd.service(5)


def service_file(context: Context, service: Service, commit_jobs: list[str]) -> UnitFile:
    """Render a service; `commit_jobs` run before it."""
    file = context.file(context.unit(service.name), f"{context.release.app} {service.name}")
    others = [context.unit(name) for name in service.after]
    file.add("Unit", "PartOf", context.target)
    add_order(file, *others, *commit_jobs)
    if others:
        file.add("Unit", "Wants", " ".join(others))
    file.add("Service", "Type", "notify" if service.notify else "exec")
    if service.notify:
        # A wrapper such as npm passes the socket on: let any process of the unit speak.
        file.add("Service", "NotifyAccess", "all")
        file.add("Service", "TimeoutStartSec", format_span(service.health.within))
    if service.watchdog is not None:
        file.add("Service", "WatchdogSec", format_span(service.watchdog))
    file.add("Service", "ExecStart", app_exec.line(context.found(service, service.run)))
    signal = dict(context.manifest.update.reload).get(service.name)
    if signal:
        # By sh, which has a kill of its own: a small system may have no other.
        kill = (f"kill -s {signal.removeprefix('SIG')} ", Variable("MAINPID"))
        file.add("Service", "ExecReload", app_exec.line(("/bin/sh", "-c", kill)))
    _restart(context, file, service)
    add_process(context, file, service)
    file.add("Install", "WantedBy", context.target)
    return file


def service_unit(context: Context, service: Service, file: UnitFile) -> Unit:
    """Say what a service shall be doing, and what makes it start anew."""
    # Named as if none was sealed: what is stored anew is noted under that name (wake.py).
    secrets = tuple(credential.path(name, sealed=False) for name in service.secrets)
    wait = (service.health.within if service.notify else 90.0) + STOP
    reloads = service.name in dict(context.manifest.update.reload)
    return Unit(
        file.name,
        active=True,
        on_change="reload" if reloads else "restart",
        because=(path(file), *secrets),
        restart_for=secrets if reloads else (),
        wait=wait,
    )


def check_file(context: Context, service: Service) -> UnitFile:
    """Render the unit that a deploy starts to ask a service's own health command."""
    assert service.health.command is not None
    name = f"{service.name}-check"
    file = context.file(context.unit(name), f"Health check of {context.release.app} {service.name}")
    file.add("Unit", "CollectMode", "inactive-or-failed")
    file.add("Unit", "StartLimitIntervalSec", 0)
    file.add("Service", "Type", "oneshot")
    file.add("Service", "TimeoutStartSec", format_span(min(service.health.within, 30.0)))
    words = context.found(service, service.health.command)
    file.add("Service", "ExecStart", app_exec.line(words))
    add_process(context, file, service, name)
    return file


def _restart(context: Context, file: UnitFile, service: Service) -> None:
    file.add("Service", "Restart", service.restart)
    if service.restart == "no":
        return
    if context.release.systemd >= _RESTART_STEPS:
        rows = (("RestartSec", "1s"), ("RestartSteps", "5"), ("RestartMaxDelaySec", "30s"))
        file.extend("Service", rows)
    else:
        file.add("Service", "RestartSec", "10s")
        note(file, context.release, "RestartSteps= and RestartMaxDelaySec=", _RESTART_STEPS)
