"""piot deploy, piot rollback, piot retry: follow an app's branch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from piot_firstboot import access, idle, notify, report, repository, state, tls
from piot_firstboot.errors import ApplyError
from piot_firstboot.system import System
from piot_firstboot.transaction import (
    BY_HAND,
    Outcome,
    advance,
    fail,
    reconcile,
    recover,
    roll_back,
)

_TRIES = "/run/piot/tries"  # how often in a row the remote did not answer, per app
_PATIENCE = (1, 2, 4, 8, 15, 30)  # seconds between the first questions after a boot
_JUST_BOOTED = 600.0  # seconds


def deploy(system: System, app: str) -> Outcome:
    """Bring the app to the tip of its ref, or leave what runs and say why.

    Raises Unreachable and Missing, after asking systemd to start the unit again soon, and
    ApplyError when another deploy of the app is at work.
    """
    origin = state.source(system, app)
    with _locked(system, app):
        record = recover(system, state.load(system, app))
        tip = _ask(system, origin)
        if tip.commit == record.commit:
            reconcile(system, record)
            outcome = Outcome(True, f"{app}: {tip.commit[:12]} is deployed and the newest")
        else:
            failure = record.failure(tip.commit)
            if failure and failure.waits(time.time()):
                outcome = Outcome(True, _waiting(app, failure))
            else:
                outcome = advance(system, record, origin, tip)
                report.refresh(system, report.log(system))
        failure = state.load(system, app).failure(tip.commit)
        if failure is None or failure.deterministic:
            _settle(system, origin, tip)
        return outcome


def rollback(system: System, app: str) -> Outcome:
    """Go back to the release before, and do not deploy the present commit again by itself."""
    state.source(system, app)
    with _locked(system, app):
        record = recover(system, state.load(system, app))
        if not record.good:
            raise ApplyError("there is no earlier release to go back to")
        left = record.commit
        record = replace(record, commit=record.good[0], good=record.good[1:], target=left)
        outcome = roll_back(system, fail(record, left, BY_HAND, final=True))
        report.refresh(system, report.log(system))
        return outcome


def forgive(system: System, app: str) -> tuple[str, ...]:
    """Take every commit of an app off the bad list; return those that were on it."""
    state.source(system, app)
    with _locked(system, app):
        record = state.load(system, app)
        if record.bad:
            state.save(system, record.forgiven())
        return tuple(failure.commit for failure in record.bad)


def _settle(system: System, origin: state.Source, tip: repository.Tip) -> None:
    """Leave what the idle poll compares the remote with, and the one CA that it needs for that.

    Reading all CAs takes git longer than all the rest of a poll. Should the server change to
    another CA, the idle poll fails, and the full one that follows trusts them all.
    """
    anchor = tls.anchor(origin.repo)
    path = f"{idle.ANCHORS}/{origin.name}.pem" if anchor else ""
    if anchor:
        system.write(path, anchor.encode())
    stamp = idle.poll_stamp(
        origin.repo,
        tip.ref,
        tip.commit,
        path,
        orders=tip.orders,
        hosts=access.hosts_file(origin),
        secret=access.secret_file(system, origin),
        user=access.user(origin) if origin.token else "",
    )
    system.write(f"{idle.POLL_STAMP}/{origin.name}", stamp)


# -- asking the remote --------------------------------------------------------------------------


def _ask(system: System, origin: state.Source) -> repository.Tip:
    """Resolve the app's ref; a network that is still coming up after boot gets a minute.

    What the network lacks shows only by trying: network-online.target says nothing about the
    way to one server.
    """
    notify.progress(f"asking {origin.repo}")
    waits = list(_PATIENCE) if notify.in_unit() and _uptime(system) < _JUST_BOOTED else []
    while True:
        try:
            tip = repository.resolve(system, origin)
        except repository.Unreachable as error:
            if waits:
                notify.progress(f"waiting for the network: {error}")
                time.sleep(waits.pop(0))
                continue
            _ask_again(system, origin)
            raise
        system.remove(f"{_TRIES}/{origin.name}")
        return tip


def _ask_again(system: System, origin: state.Source) -> None:
    """Let systemd start the unit again after 1, 2, 4 … minutes, while that is before the poll."""
    if not (system.live and notify.in_unit()):
        return
    tries = int(system.read(f"{_TRIES}/{origin.name}") or b"0") + 1
    system.write(f"{_TRIES}/{origin.name}", str(tries).encode())
    wait = 60 * 2 ** min(tries - 1, 20)
    if origin.poll is not None and wait >= origin.poll:
        return
    unit = f"piot-deploy@{origin.name}.service"
    timer = (f"--on-active={wait}", "--timer-property=AccuracySec=1s", "--collect", "--quiet")
    name = (f"--unit=piot-retry-{origin.name}", f"--description=Retry {unit}")
    system.run(("systemd-run", *timer, *name, "systemctl", "start", "--no-block", unit))


def _uptime(system: System) -> float:
    """Return the seconds since boot."""
    return float((system.read("/proc/uptime") or b"inf").split()[0])


@contextmanager
def _locked(system: System, app: str) -> Iterator[None]:
    """Hold the app's lock; raises ApplyError when another run has it."""
    with system.lock(state.lock(app), wait=False) as held:
        if not held:
            hint = f"watch it: systemctl status piot-deploy@{app}"
            raise ApplyError(f"another deploy of {app} is at work", hint)
        # Until this run has ended well, the idle poll must not answer in its place.
        system.remove(f"{idle.POLL_STAMP}/{app}")
        yield


def _waiting(app: str, failure: state.Failure) -> str:
    """Say why a commit is not tried now."""
    text = f"{app}: {failure.commit[:12]} failed before and is not tried now; "
    if failure.deterministic:
        return f"{text}waiting for a new commit or: sudo piot retry {app}"
    return f"{text}next try in {max(1, round((failure.after - time.time()) / 60))} min"
