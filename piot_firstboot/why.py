"""piot why: the last commit that does not run, and all that is known of it."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass

from piot_firstboot import guard, repository, state, verdict
from piot_firstboot.state import Failure, Record
from piot_firstboot.system import System

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Answer:
    """What stands in the way of something newer; `commit` is empty when nothing does.

    `kind` is a word for the cause, `again` says when it is tried again, `todo` what helps.
    """

    app: str
    runs: str
    held: str
    commit: str = ""
    subject: str = ""
    reason: str = ""
    kind: str = ""
    unit: str = ""
    lines: tuple[str, ...] = ()
    restored: str = ""
    at: float = 0.0
    tries: int = 0
    again: str = ""
    todo: str = ""


def explain(system: System, app: str) -> Answer:
    """Gather why the app runs what it runs, and not something newer."""
    record, held = state.load(system, app), _held(system, app)
    if not record.bad:
        return Answer(app, record.commit, held)
    bad = record.bad[0]
    return Answer(
        app,
        record.commit,
        held,
        bad.commit,
        repository.describe(system, app, bad.commit),
        bad.reason,
        bad.kind,
        bad.unit,
        bad.lines,
        bad.restored,
        bad.at,
        bad.tries,
        verdict.when(bad, time.time(), app),
        _todo(record, bad),
    )


def _held(system: System, app: str) -> str:
    """Say what keeps every newer commit back, if something does."""
    if safe := guard.safe(system):
        return guard.words(safe)
    if hold := state.held(system, app):
        return hold.words(app)
    record = state.load(system, app)
    return record.note if record.ready else ""


def _todo(record: Record, bad: Failure) -> str:
    """Say what helps."""
    app, hash = record.app, bad.commit[:12]
    if bad.hint:
        return bad.hint
    if bad.reason == verdict.BY_HAND:
        return f"to have it back: sudo piot retry {app}"
    if bad.kind == "boot":
        return f"read what it did: sudo piot logs {app} --commit {hash}; then push a better one"
    if bad.unit:
        name = bad.unit.removeprefix(f"piot-{app}-").removesuffix(".service")
        return f"read what it said: sudo piot logs {app}/{name} --commit {hash}; then push a fix"
    return "push a commit that does better"


def as_json(answers: tuple[Answer, ...]) -> str:
    """Render for programs: schema, apps with the fields of `Answer`."""
    return json.dumps({"schema": SCHEMA, "apps": [asdict(answer) for answer in answers]}, indent=1)


def as_text(answers: tuple[Answer, ...]) -> str:
    """Render for people, a block for each app."""
    return "\n\n".join("\n".join(_lines(answer)) for answer in answers)


def _lines(answer: Answer) -> list[str]:
    """Write one app's block."""
    runs = f"{answer.runs[:12]} runs" if answer.runs else "nothing runs"
    if not answer.commit:
        fine = "" if answer.held else ", and nothing newer has failed"
        lines = [f"{answer.app}: {runs}{fine}"]
        return [*lines, f"  but       {answer.held}"] if answer.held else lines
    lines = [f"{answer.app}: {runs}, and {answer.commit[:12]} does not"]
    first, *more = answer.reason.splitlines()
    rows = (
        ("commit", f"{answer.commit[:12]} {answer.subject}".rstrip()),
        ("failed", f"{first} ({answer.kind})" if answer.kind else first),
        *(("", line) for line in more),
        ("unit", answer.unit),
        *(("said" if not n else "", line) for n, line in enumerate(answer.lines)),
        ("restored", answer.restored),
        ("again", answer.again),
        ("do", answer.todo),
        ("but", answer.held),
    )
    return [*lines, *(f"  {name:9} {text}" for name, text in rows if text)]
