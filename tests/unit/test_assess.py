"""The health gate's verdict."""

from __future__ import annotations

from piot_firstboot.assess import Sample, Trial, assess

TRIAL = Trial("web", within=30, steady=60, began=0, restarts=0)
UP = Sample("active", "running", "success", 0, "")
DEAF = Sample("active", "running", "success", 0, "does not answer")


def test_passes_after_ready_and_steady() -> None:
    trial = assess(TRIAL, UP, 1)
    assert (trial.verdict, trial.ready) == ("", 1)
    assert assess(trial, UP, 60).verdict == ""
    assert assess(trial, UP, 61).verdict == "good"


def test_without_a_probe_active_is_enough() -> None:
    assert assess(TRIAL, Sample("active", "running", "success", 0, None), 1).ready == 1


def test_too_late() -> None:
    assert assess(TRIAL, DEAF, 29).verdict == ""
    late = assess(TRIAL, DEAF, 30)
    assert (late.verdict, late.why) == ("bad", "not healthy within 30 s: does not answer")


def test_a_flapper_is_bad_though_active() -> None:
    trial = assess(TRIAL, UP, 1)
    bad = assess(trial, Sample("active", "running", "success", 1, ""), 2)
    assert (bad.verdict, bad.why) == ("bad", "crashed and was restarted")


def test_waiting_for_its_restart_is_bad_at_once() -> None:
    assert assess(TRIAL, Sample("activating", "auto-restart", "exit-code", 0, None), 1).verdict


def test_failed_names_the_result() -> None:
    bad = assess(TRIAL, Sample("failed", "failed", "exit-code", 0, None), 1)
    assert bad.why == "stopped (exit-code)"


def test_probe_that_turns_red_while_steady() -> None:
    bad = assess(assess(TRIAL, UP, 1), DEAF, 5)
    assert (bad.verdict, bad.why) == ("bad", "unhealthy after 4 s: does not answer")


def test_a_verdict_is_final() -> None:
    bad = assess(TRIAL, DEAF, 30)
    assert assess(bad, UP, 31) == bad


def test_progress_in_words() -> None:
    assert TRIAL.progress(5) == "web not ready 5 s of 30 s"
    assert assess(TRIAL, UP, 1).progress(21) == "web healthy 20 s of 60 s"
