"""piot setup: what piot.conf asks for that needs the network, or more time than a boot has.

New network settings are judged here; keys are imported, packages installed, locales built.
"""

from __future__ import annotations

from collections.abc import Mapping

from piot_firstboot import clock, intake, keyserver, ledger, notify, trial
from piot_firstboot.converge import apply_parts, lines, pending, with_leaving
from piot_firstboot.errors import ApplyError, ConfigError
from piot_firstboot.intake import Intake
from piot_firstboot.ledger import Ledger, Outcome, Row
from piot_firstboot.notify import say
from piot_firstboot.plan import Part
from piot_firstboot.remote import endpoint
from piot_firstboot.report import Report, last, log, publish, with_lines
from piot_firstboot.system import System

_SYNC = 60.0  # seconds; apt and key servers refuse a clock that is far off
_TRIES = "/run/piot/tries/setup"
_AGAIN = "correct it, or try the same again: sudo piot apply --all"


def complete(system: System, *, everything: bool = False) -> Report:
    """Judge the network, then apply the late parts; raises ApplyError when that is not over.

    What failed is tried again after 1, 2, 4 … minutes, at most every hour, and at each boot.
    """
    path = intake.find(system)
    if not path:
        system.remove(intake.TODO)
        return Report(True, "there is no piot.conf")
    with intake.locked(system, wait=True):
        book = ledger.load(system)
        try:
            taken = intake.read(system, path)
        except (ConfigError, ApplyError, OSError):
            # What was applied before stays in force, and so its trial must come to an end.
            _judge_network(system, (), (), book)
            raise
        verdict = _judge_network(system, _targets(taken), taken.parts, book)
        book = book.noted(verdict)
        ledger.save(system, book)
        imported, troubles = _import_keys(system, taken)
        taken = intake.read(system, path, imported)
        parts = _kept(with_leaving(system, book, taken.parts), troubles)
        late = tuple(part for part in parts if part.late)
        todo = pending(book, late, everything=everything)
        if todo:
            clock.wait_for_sync(system, _SYNC, say)
        outcomes = apply_parts(system, book, late, todo, say=say)
        book = book.noted(outcomes)
        ledger.save(system, book)
        report = _report(system, taken, book, (*verdict, *outcomes), troubles)
        refused = publish(system, report, log(system, taken.config))
        if refused:
            say(f"the report could not be written to {refused}")
    failed = [outcome for outcome in outcomes if outcome.row.state == "failed"]
    if failed or troubles:
        _ask_again(system)
    else:
        system.remove(_TRIES)
        system.remove(intake.TODO)
    return report


def _kept(parts: tuple[Part, ...], troubles: tuple[str, ...]) -> tuple[Part, ...]:
    """Leave imported keys alone while one of their servers does not answer."""
    if not troubles:
        return parts
    return tuple(p for p in parts if p.items or not (p.late and p.section.startswith("user")))


def _targets(taken: Intake) -> tuple[tuple[str, int], ...]:
    """List the servers that a working network reaches: those of the apps."""
    return tuple(at for app in taken.config.apps if (at := endpoint(app.repo)))


def _judge_network(
    system: System, targets: tuple[tuple[str, int], ...], parts: tuple[Part, ...], book: Ledger
) -> tuple[Outcome, ...]:
    """End the trial of new network settings, if there is one, and say how."""
    # Refused, and cut off before that was noted: it is noted now.
    verdict = trial.judge(system, say, targets) if trial.is_open(system) else trial.refused(system)
    if verdict is None or verdict.kept:
        return ()
    why = f"{verdict.reason}; the former network settings are back"
    return tuple(
        Outcome(part, Row(book.fingerprint(part), "refused", why, _AGAIN))
        for part in with_leaving(system, book, parts)
        if part.section.startswith(trial.SECTIONS) and not part.late
    )


def _import_keys(
    system: System, taken: Intake
) -> tuple[Mapping[str, tuple[str, ...]], tuple[str, ...]]:
    """Fetch the keys of each `import_keys`, and say which could not be had."""
    found, troubles = {}, []
    sources = [source for account in taken.config.accounts for source in account.import_keys]
    if sources:
        clock.wait_for_sync(system, _SYNC, say)
    for source in dict.fromkeys(sources):
        try:
            found[source] = keyserver.fetch(source)
        except ApplyError as error:
            troubles.append(f"import_keys = {source}: {error}")
            say(troubles[-1])
    return found, tuple(troubles)


def _report(
    system: System,
    taken: Intake,
    book: Ledger,
    outcomes: tuple[Outcome, ...],
    troubles: tuple[str, ...],
) -> Report:
    """Bring the last report up to date with what happened here."""
    former = last(system)
    changes = tuple(str(change) for outcome in outcomes for change in outcome.changes)
    # What the boot could not apply is still to be told.
    told = {outcome.part.scope for outcome in outcomes}
    rest = (p for p in taken.parts if p.scope in book.rows and p.scope not in told)
    every_one = (*outcomes, *(Outcome(part, book.rows[part.scope]) for part in rest))
    bad = [outcome for outcome in every_one if outcome.row.state in ("failed", "refused")]
    headline = f"{taken.path} is applied, all of it"
    if bad:
        first = bad[0]
        headline = f"{taken.path}: [{first.part.section}] {first.row.state}: {first.row.reason}"
    elif troubles:
        headline = f"{taken.path}: {troubles[0]}"
    every = (Outcome(part, Row("", "unchanged")) for part in taken.parts)
    done = {outcome.part.scope: outcome for outcome in outcomes}
    report = Report(
        not bad and not troubles,
        headline,
        taken.path,
        changes=((former.changes if former else ()) + changes)[-200:],
        notes=(*troubles, *taken.notes, *clock.notes(system)),
        next_step=(bad[0].row.hint if bad else ""),
    )
    said = lines(taken.config, book, [done.get(o.part.scope, o) for o in every])
    # What the run before this one applied shall not read "unchanged" because of this one.
    before = {(line.line, line.section, line.key): line for line in former.lines} if former else {}
    kept = (
        before.get((line.line, line.section, line.key), line) if line.state == "unchanged" else line
        for line in said
    )
    return with_lines(report, kept)


def _ask_again(system: System) -> None:
    """Let systemd start the unit again after 1, 2, 4 … 60 minutes."""
    if not (system.live and notify.in_unit()):
        return
    said = system.read(_TRIES) or b""
    tries = int(said) + 1 if said.isdigit() else 1
    system.write(_TRIES, str(tries).encode())
    wait = min(3600, 60 * 2 ** min(tries - 1, 6))
    timer = (f"--on-active={wait}", "--timer-property=AccuracySec=1s", "--collect", "--quiet")
    name = ("--unit=piot-retry-setup", "--description=Retry piot-setup.service")
    start = ("systemctl", "start", "--no-block", "piot-setup.service")
    system.run(("systemd-run", *timer, *name, *start))
