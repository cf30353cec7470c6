"""Judge a service after a deploy: ready in time, then steady, and nothing bad in the journal."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from piot_firstboot.declared import JournalRule

Line = tuple[int, str]  # the priority as in syslog(3), 3 is err; the message

_PRIORITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
# What systemd says of an end, where that says more than "it failed"; systemd.service(5).
_TELLING = ("oom-kill", "watchdog", "timeout", "core-dump", "resources")
_LONGEST = 4096  # characters of a message that a pattern is looked for in
# An error rate is compared only from so many lines on, and so many a minute are no fault.
_FEWEST_ERRORS = 10
_FREE_RATE = 10.0
_TIMES_WORSE = 3.0


@dataclass(frozen=True, slots=True)
class Tally:
    """What a journal rule has heard so far: whether what it expects, and when what it rejects."""

    rule: JournalRule
    expected: bool = False
    hits: tuple[float, ...] = ()
    last: str = ""

    @property
    def broken(self) -> str:
        """Say what the rule objects to, or nothing."""
        if len(self.hits) <= self.rule.max:
            return ""
        what = f"match {self.rule.reject!r}" if self.rule.reject else f"are {self.rule.priority}"
        return f"{len(self.hits)} journal lines {what}: {self.last}"


def hear(tally: Tally, lines: Iterable[Line], now: float) -> Tally:
    """Take further journal lines into account."""
    rule, expected, hits, last = tally.rule, tally.expected, list(tally.hits), tally.last
    for priority, text in lines:
        text = text[:_LONGEST]
        expected = expected or bool(rule.expect and re.search(rule.expect, text))
        if _objects(rule, priority, text):
            hits.append(now)
            last = text[:200]
    recent = tuple(hit for hit in hits if now - hit < rule.per)[-rule.max - 1 :]
    return replace(tally, expected=expected, hits=recent, last=last)


def _objects(rule: JournalRule, priority: int, text: str) -> bool:
    """Tell whether a rule rejects a line."""
    if not rule.reject and not rule.priority:
        return False
    bad = not rule.priority or priority <= _PRIORITIES.index(rule.priority)
    return bad and (not rule.reject or bool(re.search(rule.reject, text)))


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a service: systemd's state, its restarts so far, and the probe's answer.

    `probe` is None where the service has none, "" when it passed, else what it said. `lines` is
    what it wrote since the look before.
    """

    active: str
    sub: str
    result: str
    restarts: int
    probe: str | None
    lines: tuple[Line, ...] = ()


@dataclass(frozen=True, slots=True)
class Trial:
    """A service on probation. All times are seconds of one steadily running clock."""

    service: str
    within: float
    steady: float
    began: float
    restarts: int
    ready: float | None = None
    verdict: Literal["", "good", "bad"] = ""
    why: str = ""
    tally: Tally | None = None

    def progress(self, now: float) -> str:
        """Say in words how far the trial is."""
        if self.verdict == "bad":
            return f"{self.service} {self.why}"
        if self.verdict == "good":
            return f"{self.service} healthy"
        if self.ready is None:
            return f"{self.service} not ready {now - self.began:.0f} s of {self.within:.0f} s"
        return f"{self.service} healthy {now - self.ready:.0f} s of {self.steady:.0f} s"


def assess(trial: Trial, sample: Sample, now: float) -> Trial:
    """Take one more sample into account.

    A service passes when it is active, its probe passes and it has said what its journal rule
    expects, in time, and then for `steady` stays so without a restart and without what the rule
    rejects. systemd's "active" alone says little: a service that restarts in a loop reads so most
    of the time, only the restart counter tells.
    """
    if trial.verdict:
        return trial
    if sample.restarts > trial.restarts or sample.sub == "auto-restart":
        how = f" ({sample.result})" if sample.result in _TELLING else ""
        return _bad(trial, f"crashed and was restarted{how}")
    if sample.active in ("failed", "inactive"):
        how = f" ({sample.result})" if sample.result not in ("", "success") else ""
        return _bad(trial, f"stopped{how}")
    trial, missing = _listen(trial, sample, now)
    if trial.verdict:
        return trial
    passes = sample.active == "active" and not sample.probe and not missing
    if trial.ready is None:
        if passes:
            trial = replace(trial, ready=now)
        elif now - trial.began >= trial.within:
            why = sample.probe or missing or f"still {sample.active}"
            return _bad(trial, f"not healthy within {trial.within:.0f} s: {why}")
    elif not passes:
        after = now - trial.ready
        why = sample.probe or f"became {sample.active}"
        return _bad(trial, f"unhealthy after {after:.0f} s: {why}")
    if trial.ready is not None and now - trial.ready >= trial.steady:
        return replace(trial, verdict="good")
    return trial


def _listen(trial: Trial, sample: Sample, now: float) -> tuple[Trial, str]:
    """Let the journal rule hear the lines; return the trial, and what is still expected."""
    if trial.tally is None:
        return trial, ""
    tally = hear(trial.tally, sample.lines, now)
    trial, rule = replace(trial, tally=tally), tally.rule
    if tally.broken:
        return _bad(trial, tally.broken), ""
    if not rule.expect or tally.expected:
        return trial, ""
    missing = f"has not said {rule.expect!r}"
    if now - trial.began >= rule.within:
        return _bad(trial, f"{missing} within {rule.within:.0f} s"), missing
    return trial, missing


def noisier(errors: int, seconds: float, former: int, before: float) -> str:
    """Compare how many lines of priority err a release writes with the one before; "" if alike.

    Few errors prove nothing, and a few more neither: an app that is chatty by nature stays.
    """
    rate, usual = errors * 60 / max(seconds, 10.0), former * 60 / max(before, 60.0)
    if errors < _FEWEST_ERRORS or rate <= max(_FREE_RATE, _TIMES_WORSE * usual):
        return ""
    return f"writes {rate:.0f} errors a minute, the release before {usual:.0f}"


def _bad(trial: Trial, why: str) -> Trial:
    """End a trial with its reason."""
    return replace(trial, verdict="bad", why=why)
