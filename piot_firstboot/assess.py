"""Judge a service after a deploy: ready in time, then steady."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a service: systemd's state, its restarts so far, and the probe's answer.

    `probe` is None where the service has none, "" when it passed, else what it said.
    """

    active: str
    sub: str
    result: str
    restarts: int
    probe: str | None


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

    A service passes when it is active and its probe passes within `within`, and then for
    `steady` stays so without a restart. systemd's "active" alone says little: a service that
    restarts in a loop reads so most of the time, only the restart counter tells.
    """
    if trial.verdict:
        return trial
    if sample.restarts > trial.restarts or sample.sub == "auto-restart":
        return _bad(trial, "crashed and was restarted")
    if sample.active in ("failed", "inactive"):
        how = f" ({sample.result})" if sample.result not in ("", "success") else ""
        return _bad(trial, f"stopped{how}")
    passes = sample.active == "active" and not sample.probe
    if trial.ready is None:
        if passes:
            trial = replace(trial, ready=now)
        elif now - trial.began >= trial.within:
            said = sample.probe or f"still {sample.active}"
            return _bad(trial, f"not healthy within {trial.within:.0f} s: {said}")
    elif not passes:
        after = now - trial.ready
        said = sample.probe or f"became {sample.active}"
        return _bad(trial, f"unhealthy after {after:.0f} s: {said}")
    if trial.ready is not None and now - trial.ready >= trial.steady:
        return replace(trial, verdict="good")
    return trial


def _bad(trial: Trial, why: str) -> Trial:
    """End a trial with its reason."""
    return replace(trial, verdict="bad", why=why)
