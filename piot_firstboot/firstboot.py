"""piot firstboot, piot apply: make the device what piot.conf says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from piot_firstboot import (
    accounts,
    clock,
    guard,
    handover,
    idle,
    intake,
    ledger,
    serverkeys,
    state,
    trial,
    wake,
    wayin,
)
from piot_firstboot.config import Config
from piot_firstboot.converge import (
    apply_parts,
    gone_apps,
    lines,
    pending,
    preview,
    remove_apps,
    with_leaving,
)
from piot_firstboot.errors import ApplyError, ConfigError
from piot_firstboot.intake import Intake
from piot_firstboot.items import State
from piot_firstboot.ledger import Outcome, Row
from piot_firstboot.notify import say
from piot_firstboot.plan import Change
from piot_firstboot.report import Report, last, log, publish, with_lines
from piot_firstboot.system import System

_SETUP = 1800.0  # seconds, as piot-setup.service has
_LATER = "needs the network or more time: piot-setup.service does it"
_AGAIN = "correct it, or try the same again: sudo piot apply --all"


def converge(system: System, *, boot: bool = False, everything: bool = False) -> Report:
    """Read, judge and apply piot.conf; report; stamp last, and only after full success.

    With `boot` nothing is waited for, because the units of the boot wait for this one. A wrong
    file applies nothing and leaves in force what was applied before; a section that did not
    change is left alone unless `everything` is asked for. Raises ApplyError when another run is
    at work.
    """
    clock.raise_to_floor(system)
    path = intake.find(system)
    if not path:
        return _nothing()
    with intake.locked(system):
        # Whatever the file says: without them nobody gets in to correct it.
        mended = serverkeys.mend(system, boot=boot)
        if mended:
            say(mended)
        try:
            accounts.recover(system)
            taken = intake.read(system, path)
        except (ConfigError, ApplyError, OSError) as error:
            report = _wrong(path, error)
        else:
            taken = replace(taken, notes=(*taken.notes, *filter(None, (mended,))))
            return _apply(system, taken, boot=boot, everything=everything)
        _publish(system, report)
        # After a failure even the former file is new.
        system.remove(idle.BOOT_STAMP)
        return report


def plan(system: System, *, everything: bool = False) -> tuple[Report, tuple[Change, ...]]:
    """Tell what `converge` would change, without changing anything."""
    path = intake.find(system)
    if not path:
        return _nothing(), ()
    try:
        taken = intake.read(system, path)
    except (ConfigError, ApplyError, OSError) as error:
        return _wrong(path, error), ()
    book = ledger.load(system)
    # What leaves of the late parts is known only once keys were imported.
    parts = with_leaving(system, book, taken.parts)
    parts = tuple(part for part in parts if part.items or not part.late)
    changes = preview(system, parts, pending(book, parts, everything=everything))
    bars = [(part, part.obstacle) for part in parts if part.obstacle]
    gone = gone_apps(system, {app.name for app in taken.config.apps})
    changes += tuple(Change("remove", f"app {app}") for app in gone)
    headline = _headline(path, changes, dry_run=True)
    if bars and not changes:
        headline = f"{path}: nothing to change, and not all of it can be applied"
    notes = tuple(f"[{part.section}] cannot be applied: {bar.reason}" for part, bar in bars)
    notes += taken.notes
    hint = bars[0][1].hint if bars else ""
    return Report(not bars, headline, path, notes=notes, next_step=hint), changes


def follow_up(system: System, report: Report) -> Report:
    """Let piot-setup.service complete the work, wait for that, and return the report after it.

    A unit of its own, because a change of the network may end the session that this runs in.
    """
    if not system.live or not system.exists(intake.TODO):
        return report
    say("piot-setup.service goes on with what needs the network or more time")
    system.run(("systemctl", "start", "piot-setup.service"), timeout=_SETUP)
    return last(system) or report


def _apply(system: System, taken: Intake, *, boot: bool, everything: bool) -> Report:
    """Apply a good piot.conf and tell what became of it."""
    book = ledger.load(system)
    everyone = with_leaving(system, book, taken.parts)
    early = tuple(part for part in everyone if not part.late)
    todo = pending(book, early, everything=everything)
    late = pending(book, (part for part in everyone if part.late), everything=everything)
    if system.live and any(part.section.startswith(trial.SECTIONS) for part in todo):
        trial.begin(system, taken.facts.network)
    former = wayin.remember(system)
    gone = gone_apps(system, {app.name for app in taken.config.apps})
    changes = remove_apps(system, gone, say)
    outcomes = apply_parts(system, book, early, todo, wait=not boot, say=say)
    if system.live and todo:
        outcomes = _way_in(system, taken, outcomes, former)
    waiting = [Outcome(part, Row("", "waiting", _LATER)) for part in late]
    outcomes += tuple(waiting)
    book = book.noted(outcomes)
    if system.live:
        # On a tree nothing is settled: what runs (radio, locale) is for the first boot to see to.
        ledger.save(system, book)
    changes += tuple(change for outcome in outcomes for change in outcome.changes)
    failed = [outcome for outcome in outcomes if outcome.row.state == "failed"]
    note = handover.conceal(system, taken, outcomes) if system.live else ""
    handover.forget(system, taken, outcomes)
    # What was refused earlier and did not change is refused still.
    told = tuple(
        replace(outcome, row=book.rows[outcome.part.scope])
        if book.refused(outcome.part)
        else outcome
        for outcome in outcomes
    )
    report = Report(
        not any(outcome.row.state in ("failed", "refused") for outcome in told),
        _headline(taken.path, changes, outcomes=told),
        taken.path,
        changes=tuple(map(str, changes)),
        notes=(*taken.notes, *((note,) if note else ())),
        next_step=_next(taken.path, told),
    )
    report = with_lines(report, lines(taken.config, book, outcomes))
    fetch = any(account.import_keys for account in taken.config.accounts) and todo
    if waiting or fetch or trial.is_open(system):
        system.write(intake.TODO, b"")
    _publish(system, report, taken.config)
    # The stamp says: applied and reported. A part that failed is tried again at the next boot.
    stamp = idle.boot_stamp(taken.path, system.read(taken.path) or b"")
    plain = not system.live and (any(handover.unstored(taken)) or any(_running(taken)))
    if failed or note or plain:
        system.remove(idle.BOOT_STAMP)
    elif system.read(idle.BOOT_STAMP) != stamp:
        system.write(idle.BOOT_STAMP, stamp)
        if guard.leave(system):
            say("piot.conf was edited: safe mode ends")
            wake.start(system, state.apps(system))
    wake.changed(system, changes)
    return report


def _way_in(
    system: System, taken: Intake, outcomes: tuple[Outcome, ...], former: wayin.Former
) -> tuple[Outcome, ...]:
    """Bring the former SSH settings back when nobody could log in with the new ones."""
    reason = wayin.check(system, taken.config)
    if not reason:
        return outcomes
    wayin.restore(system, former)
    why = f"nobody could have logged in: {reason}; the former SSH settings are back"
    return tuple(
        replace(o, row=Row(o.row.print, "refused", why, _AGAIN)) if o.part.section == "ssh" else o
        for o in outcomes
    )


def _running(taken: Intake) -> Iterator[State]:
    """List what a tree cannot be given; the host name is set from its file at each boot anyway."""
    for part in taken.parts:
        for item in part.items:
            if isinstance(item, State) and item.name != "hostname":
                yield item


def _publish(system: System, report: Report, config: Config | None = None) -> None:
    """Write the report, and say so when the boot partition does not take it."""
    refused = publish(system, report, log(system, config))
    if refused:
        say(f"the report could not be written to {refused}")


# -- words --------------------------------------------------------------------------------------


def _nothing() -> Report:
    """Say that there is no piot.conf, which is no mistake."""
    where = "/boot/firmware/piot.conf"
    return Report(True, f"there is no piot.conf; write one to {where}, then: sudo piot apply")


def _wrong(path: str, error: ConfigError | ApplyError | OSError) -> Report:
    """Say what is wrong with a file, all of it, or why it cannot be read."""
    if isinstance(error, ApplyError):
        return Report(False, f"{path}: {error}", path, next_step=error.hint or _mend(path))
    if isinstance(error, OSError):
        headline = f"{error.filename or path}: {error.strerror}"
        return Report(False, headline, path, next_step=_mend(path))
    count = len(error.problems)
    headline = f"{path}: {count} problem{'s' * (count > 1)}; nothing was changed"
    return Report(False, headline, path, error.problems, next_step=_mend(path))


def _headline(
    path: str,
    changes: tuple[Change, ...],
    *,
    outcomes: tuple[Outcome, ...] = (),
    dry_run: bool = False,
) -> str:
    """Sum up in one line."""
    count = f"{len(changes)} change{'s' * (len(changes) > 1)}"
    if dry_run:
        return f"{path}: {count} to make" if changes else f"{path} is applied; nothing to change"
    bad = [o for o in outcomes if o.row.state in ("failed", "refused")]
    if bad:
        first = bad[0]
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        return f"{path}: [{first.part.section}] {first.row.state}: {first.row.reason}{more}"
    done = f"{path} is applied"
    later = [o.part.section for o in outcomes if o.row.state == "waiting"]
    text = f"{done}: {count} made" if changes else f"{done}; nothing to change"
    return f"{text}; [{'], ['.join(later)}] to be completed" if later else text


def _next(path: str, outcomes: tuple[Outcome, ...]) -> str:
    """Say what to do about the first thing that went wrong."""
    bad = [o for o in outcomes if o.row.state in ("failed", "refused")]
    return (bad[0].row.hint or _mend(path)) if bad else ""


def _mend(path: str) -> str:
    """Say how to go on after a mistake."""
    return f"correct {path}, then reboot or run: sudo piot apply"
