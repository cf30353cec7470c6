"""piot deploy, piot rollback, piot retry: follow an app's branch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from piot_firstboot import (
    access,
    clock,
    gate,
    guard,
    idle,
    notify,
    orders,
    release,
    report,
    repository,
    state,
    tls,
    verdict,
    wake,
    windows,
)
from piot_firstboot.errors import ApplyError, Refused
from piot_firstboot.system import System
from piot_firstboot.transaction import Outcome, advance, reconcile, recover, roll_back

_TRIES = "/run/piot/tries"  # how often in a row nothing could be asked or recorded, per app
_TRANSIENT = "/run/systemd/transient"  # where systemd-run(1) has its units
_PATIENCE = (1, 2, 4, 8, 15, 30)  # seconds between the first questions after a boot
_JUST_BOOTED = 600.0  # seconds
_LONGEST_RUN = 1200.0  # seconds that a unit waits for another run; its own time must outlast that
_MOST_ROUNDS = 3  # commits that one run deploys, the later ones pushed meanwhile


class Busy(ApplyError):
    """Another run of the app's deploy is at work."""

    later = True


def deploy(system: System, app: str, *, bundle: str = "") -> Outcome:
    """Bring the app to the tip of its ref, or leave what runs and say why.

    With a `bundle`, that is read instead of the repository, this once. Raises Unreachable and
    Missing, after asking systemd to start the unit again soon, and ApplyError when another deploy
    of the app is at work.
    """
    origin = state.source(system, app)
    if bundle:
        origin = replace(origin, repo=system.path(bundle))
    clock.redate(system)
    with _locked(system, app, patient=True):
        try:
            record = state.load(system, app)
            if not guard.safe(system):
                record = recover(system, record, origin)
                gate.prove(system, record)
            tip, outcome = _follow(system, record, origin, rounds=1 if bundle else _MOST_ROUNDS)
        except OSError:
            # A disk that takes no record: nothing there would say when to try again.
            _ask_again(system, origin)
            raise
        system.remove(f"{_TRIES}/{app}")
        failure = state.load(system, app).failure(tip.commit)
        passing = failure if failure and not failure.deterministic else None
        # A boot that still owes its healthy report is asked for it at each poll.
        owing = guard.unproven(system, app) and not guard.safe(system)
        if not bundle and not owing and not passing:
            _settle(system, origin, tip)
        again = outcome.again
        if again is None and passing and not bundle:
            again = _rest(passing, tried=not outcome.ok)
        _look_again(system, origin, again)
        return outcome


def _rest(failure: state.Failure, *, tried: bool) -> float | None:
    """Return for how long a commit still waits to be tried again.

    None when that is over and it was not `tried` all the same: something else keeps it back.
    """
    rest = failure.after - time.time()
    # The clock may be set meanwhile: look again before long.
    return min(max(0.0, rest), windows.LONGEST) if tried or rest > 0 else None


def _follow(
    system: System, record: state.Record, origin: state.Source, rounds: int
) -> tuple[repository.Tip, Outcome]:
    """Deploy the tip of the ref, then what was pushed meanwhile; return the last tip, and its end.

    systemd joins a start that comes during a deploy to that deploy, which had asked already.
    """
    tip = _ask(system, origin)
    outcome = _answer(system, record, origin, tip)
    for _ in range(rounds - 1):
        before, record = record, state.load(system, record.app)
        # What waits for its time waits with all that comes until then.
        if outcome.again is not None or record.changed == before.changed:
            break
        newer = _newer(system, record, origin, tip)
        if newer is None:
            break
        notify.say(outcome.text)
        tip, outcome = newer, _answer(system, record, origin, newer)
    return tip, outcome


def _newer(
    system: System, record: state.Record, origin: state.Source, tip: repository.Tip
) -> repository.Tip | None:
    """Ask once more after a deploy; None when nothing came that may be deployed."""
    notify.progress(f"asking {origin.repo} once more")
    try:
        newer = repository.resolve(system, origin)
    except ApplyError:
        return None  # what was deployed is deployed; the next poll says what is wrong
    if newer.commit in (tip.commit, record.commit) or _kept_back(system, record, newer):
        return None
    return newer


def finish(system: System, app: str) -> Outcome:
    """Bring to an end what a former run began, and report health after a boot; ask no remote."""
    try:
        return _finish(system, app)
    except Busy as error:
        # That one ends it as well, so there is nothing to fail for.
        return Outcome(True, f"{app}: {error}")


def _finish(system: System, app: str) -> Outcome:
    origin = state.source(system, app)
    with _locked(system, app):
        record = state.load(system, app)
        if safe := guard.safe(system):
            return Outcome(True, f"{app}: {guard.words(safe)}")
        record = recover(system, record, origin)
        gate.prove(system, record)
        if system.live and not guard.unproven(system, app):
            system.run(("systemctl", "stop", guard.finisher(app)))
        runs = f"{record.commit[:12]} runs" if record.commit else "nothing is deployed"
        return Outcome(True, f"{app}: {runs}")


def _answer(
    system: System, record: state.Record, origin: state.Source, tip: repository.Tip
) -> Outcome:
    """Do what the tip of the ref asks for: nothing, mend, wait or deploy."""
    app, safe = record.app, guard.safe(system)
    if tip.commit == record.commit:
        if safe:
            # Said on the boot partition, too: the device may be one that only its card tells of.
            report.refresh(system, report.log(system))
            return Outcome(True, f"{app}: {guard.words(safe)}")
        if record.ready:
            # The branch went back to what runs.
            record = state.save(system, replace(record, ready="", until=0.0, note=""))
            release.prune(system, app, record.kept)
        reconcile(system, record)
        return Outcome(True, f"{app}: {tip.commit[:12]} is deployed and the newest")
    if why := _kept_back(system, record, tip):
        return Outcome(True, why)
    if safe:
        # What comes may mend what brought the device here. Other apps get their chance, too.
        restart(system, but=app)
        record = recover(system, record, origin)
    outcome = advance(system, record, origin, tip)
    report.refresh(system, report.log(system))
    return outcome


def _kept_back(system: System, record: state.Record, tip: repository.Tip) -> str:
    """Say why a commit is not to be tried now, by a person, a tag or the bad list; "" if it may."""
    app, commit = record.app, tip.commit
    if hold := state.held(system, app):
        return f"{app}: {commit[:12]} is not deployed; {hold.words(app)}"
    said = orders.by_tags(tip.orders, commit)
    if said.word != "now":
        return f"{app}: {commit[:12]} is not deployed; {said.why}"
    failure = record.failure(commit)
    if failure and failure.waits(time.time()) and _as_then(system, failure):
        return _waiting(app, failure)
    return ""


def _as_then(system: System, failure: state.Failure) -> bool:
    """Tell whether a commit would be rendered and judged under what it failed under."""
    bases = (verdict.basis(system, refused=refused) for refused in (True, False))
    return failure.basis in ("", *bases)


def rollback(system: System, app: str) -> Outcome:
    """Go back to the release before, and do not deploy the present commit again by itself."""
    origin = state.source(system, app)
    with _locked(system, app):
        restart(system, but=app)
        record = recover(system, state.load(system, app), origin)
        if not record.good:
            raise ApplyError("there is no earlier release to go back to")
        left = record.commit
        record = replace(record, commit=record.good[0], good=record.good[1:], target=left)
        record = verdict.left(record, left, verdict.BY_HAND, "by hand")
        outcome = roll_back(system, record, origin)
        report.refresh(system, report.log(system))
        return outcome


def forgive(system: System, app: str) -> tuple[str, ...]:
    """Take every commit of an app off the bad list; return those that were on it.

    Safe mode ends, for every app.
    """
    state.source(system, app)
    restart(system, but=app)
    with _locked(system, app):
        record = state.load(system, app)
        if record.bad:
            state.save(system, record.forgiven())
        return tuple(failure.commit for failure in record.bad)


def restart(system: System, *, but: str) -> None:
    """End safe mode, and let every app but one, which is being seen to, run again."""
    if guard.leave(system):
        notify.say("safe mode ends")
        wake.start(system, (app for app in state.apps(system) if app != but))


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
            return repository.resolve(system, origin)
        except repository.Unreachable as error:
            if waits and not isinstance(error, Refused):
                notify.progress(f"waiting for the network: {error}")
                time.sleep(waits.pop(0))
                continue
            _ask_again(system, origin)
            # It may show a key that was made a moment ago, and that the repository must have.
            report.refresh(system, report.log(system))
            raise


def _ask_again(system: System, origin: state.Source) -> None:
    """Let systemd start the unit again after 1, 2, 4 … minutes, while that is before the poll."""
    if not (system.live and notify.in_unit()):
        return
    tries = int(system.read(f"{_TRIES}/{origin.name}") or b"0") + 1
    with suppress(OSError):  # what is full or failing may be all there is
        system.write(f"{_TRIES}/{origin.name}", str(tries).encode())
    wait = 60 * 2 ** min(tries - 1, 20)
    if origin.poll is not None and wait >= origin.poll:
        return
    unit = f"piot-deploy@{origin.name}.service"
    timer = (f"--on-active={wait}", "--timer-property=AccuracySec=1s", "--collect", "--quiet")
    name = (f"--unit=piot-retry-{origin.name}", f"--description=Retry {unit}")
    system.run(("systemd-run", *timer, *name, "systemctl", "start", "--no-block", unit))


def _look_again(system: System, origin: state.Source, wait: float | None) -> None:
    """Let systemd start the unit after a time, and have it not be satisfied by the idle poll.

    With None nothing is to be done: what an earlier run asked for is called off.
    """
    if not system.live:
        return
    name, unit = f"piot-due-{origin.name}", f"piot-deploy@{origin.name}.service"
    for timer in (f"{name}.timer", f"piot-retry-{origin.name}.timer"):
        if system.exists(f"{_TRANSIENT}/{timer}"):
            system.run(("systemctl", "stop", timer))
    if wait is None:
        return
    # A second later, for the wait to be over by the wall clock, too.
    when = (f"--on-active={round(wait) + 1}", "--timer-property=AccuracySec=1s", "--quiet")
    then = f"--property=ExecStartPost=/usr/bin/systemctl start --no-block {unit}"
    what = (f"--unit={name}", f"--description=Go on with {unit}", "--collect", then)
    stamp = f"{idle.POLL_STAMP}/{origin.name}"
    system.run(("systemd-run", *when, *what, "/usr/bin/rm", "-f", stamp))


def _uptime(system: System) -> float:
    """Return the seconds since boot."""
    return float((system.read("/proc/uptime") or b"inf").split()[0])


@contextmanager
def _locked(system: System, app: str, *, patient: bool = False) -> Iterator[None]:
    """Hold the app's lock; raises Busy when another run has it.

    A `patient` unit waits for the other one's end: a poll that falls into the deploy of a stick,
    or a stick that is plugged in during a poll, would else be lost.
    """
    until = time.monotonic() + (_LONGEST_RUN if patient and notify.in_unit() else 0)
    while True:
        with system.lock(state.lock(app), wait=False) as held:
            if held:
                # Until this run has ended well, the idle poll must not answer in its place.
                system.remove(f"{idle.POLL_STAMP}/{app}")
                yield
                return
        if time.monotonic() >= until:
            hint = f"watch it: systemctl status piot-deploy@{app}"
            raise Busy(f"another deploy of {app} is at work", hint)
        notify.progress(f"waiting for the end of another deploy of {app}")
        time.sleep(1)


def _waiting(app: str, failure: state.Failure) -> str:
    """Say why a commit is not tried now."""
    when = verdict.when(failure, time.time(), app)
    return f"{app}: {failure.commit[:12]} failed before and is not tried now; {when}"
