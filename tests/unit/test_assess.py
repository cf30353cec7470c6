"""The health gate's verdict."""

from __future__ import annotations

from dataclasses import replace

from piot_firstboot.assess import Line, Sample, Tally, Trial, assess, hear, noisier
from piot_firstboot.declared import JournalRule

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


def test_a_crash_that_systemd_can_name() -> None:
    killed = Sample("activating", "auto-restart", "oom-kill", 1, None)
    assert assess(TRIAL, killed, 1).why == "crashed and was restarted (oom-kill)"


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


def trial(**rule: object) -> Trial:
    """Make a trial with a journal rule."""
    return replace(TRIAL, tally=Tally(JournalRule(**rule)))  # type: ignore[arg-type]


def saying(*lines: Line) -> Sample:
    """Make a sample of a healthy service that wrote these lines."""
    return replace(UP, lines=lines)


def test_what_is_expected_makes_it_ready() -> None:
    begun = assess(trial(expect="listening on \\d+", within=20), UP, 1)
    assert (begun.ready, begun.verdict) == (None, "")
    assert assess(begun, saying((6, "listening on 8080")), 2).ready == 2
    late = assess(begun, UP, 20)
    assert late.why == "has not said 'listening on \\\\d+' within 20 s"


def test_the_probe_has_to_pass_as_well() -> None:
    said = assess(trial(expect="up"), replace(DEAF, lines=((6, "up"),)), 1)
    assert said.ready is None
    assert assess(said, UP, 2).ready == 2


def test_what_is_rejected_ends_the_trial() -> None:
    rule = trial(reject="Traceback", max=1)
    once = assess(rule, saying((6, "Traceback (most recent call last):")), 1)
    assert once.verdict == ""
    twice = assess(once, saying((6, "fine"), (3, "Traceback again")), 2)
    assert (twice.verdict, twice.why) == (
        "bad",
        "2 journal lines match 'Traceback': Traceback again",
    )


def test_a_priority_alone_or_with_a_pattern() -> None:
    bad = assess(trial(priority="err"), saying((3, "oh")), 1)
    assert bad.why == "1 journal lines are err: oh"
    both = trial(priority="warning", reject="oh")
    assert assess(both, saying((6, "oh"), (4, "ah")), 1).verdict == ""
    assert assess(both, saying((4, "oh")), 1).verdict == "bad"


def test_hits_are_forgotten_after_their_time() -> None:
    tally = Tally(JournalRule(reject="x", max=1, per=10))
    tally = hear(tally, [(6, "x")], 0)
    assert not hear(tally, [(6, "x")], 10).broken
    assert hear(tally, [(6, "x")], 9).broken


def test_a_flood_is_kept_small() -> None:
    tally = hear(Tally(JournalRule(reject="x", max=2)), [(6, "x" * 100_000)] * 1000, 0)
    assert len(tally.hits) == 3 and len(tally.last) == 200


def test_error_rates_are_compared_with_care() -> None:
    assert noisier(9, 10, 0, 600) == "", "a few lines prove nothing"
    assert noisier(10, 60, 0, 600) == "", "ten a minute are no fault"
    assert noisier(40, 60, 0, 600) == "writes 40 errors a minute, the release before 0"
    assert noisier(40, 60, 200, 600) == "", "twice as many is no fault either"
    assert noisier(70, 60, 200, 600)
    assert noisier(20, 1, 0, 5), "a short time counts as ten seconds, and a minute before"
