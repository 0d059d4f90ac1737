"""When a delivery calls again and when it parks."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.deliver import attempts
from corpus.deliver.attempts import (
    DECLINES_BEFORE_PARKING,
    MAX_RETRY_INTERVAL,
    MIN_RETRY_INTERVAL,
    PARKED_RETRY_INTERVAL,
    Attempts,
    Reaction,
    retry_interval,
)

NOTICE = "peps:4"


def fail(state: Attempts, failure: str) -> Reaction:
    if failure == "endpoint":
        return state.endpoint_missing("team")
    if failure == "timeout":
        return state.timed_out(NOTICE)
    return state.declined(NOTICE, "no")


# ── the schedule ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_intervals_double_up_to_the_maximum() -> None:
    seconds = [retry_interval(retries).total_seconds() for retries in range(1, 9)]
    assert seconds == [5, 10, 20, 40, 80, 160, 300, 300]


@settings(deadline=None)
@given(st.integers(min_value=1, max_value=10**9))
def test_an_interval_has_bounds_and_never_shrinks(retries: int) -> None:
    interval = retry_interval(retries)
    assert MIN_RETRY_INTERVAL <= interval <= MAX_RETRY_INTERVAL
    assert interval <= retry_interval(retries + 1)


def test_a_shorter_minimum_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "MIN_RETRY_INTERVAL", timedelta(milliseconds=50))
    assert fail(Attempts(), "endpoint").pause == timedelta(milliseconds=50)


# ── declines ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_team_that_declines_is_called_again_and_then_parked() -> None:
    state = Attempts()
    reactions = [state.declined(NOTICE, "no") for _ in range(DECLINES_BEFORE_PARKING + 1)]
    assert [reaction.pause for reaction in reactions] == [
        timedelta(seconds=5),
        timedelta(seconds=10),
        PARKED_RETRY_INTERVAL,
        PARKED_RETRY_INTERVAL,
    ]
    assert [reaction.waiting_for for reaction in reactions] == [
        "the next try",
        "the next try",
        "resume",
        "resume",
    ]
    assert all(reaction.parked for reaction in reactions)
    assert reactions[0].error == "peps:4 declined: no"
    assert reactions[2].error == "peps:4 declined 3 times: no"


def test_an_acknowledgement_starts_the_count_again() -> None:
    state = Attempts()
    for failure in ("decline", "decline", "endpoint", "timeout"):
        fail(state, failure)
    state.acknowledged()
    assert (state.declines, state.retries, state.unanswered) == (0, 0, 0)
    assert state.declined(NOTICE, "no").waiting_for == "the next try"


def test_resume_gives_all_attempts_back() -> None:
    state = Attempts()
    for _ in range(DECLINES_BEFORE_PARKING):
        parked = state.declined(NOTICE, "no")
    assert parked.waiting_for == "resume"
    state.resumed()
    assert state.declined(NOTICE, "no").pause == MIN_RETRY_INTERVAL


# ── other failures ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_missing_endpoint_parks_but_is_looked_for_again() -> None:
    state = Attempts()
    reactions = [state.endpoint_missing("team") for _ in range(20)]
    assert {reaction.error for reaction in reactions} == {
        "there is no Nexus endpoint 'team'; create it, or change the subscription"
    }
    assert all(reaction.parked for reaction in reactions)
    pauses = [reaction.pause for reaction in reactions if reaction.pause is not None]
    assert pauses == sorted(pauses)
    assert pauses[-1] == MAX_RETRY_INTERVAL
    assert state.declines == 0


def test_a_team_that_does_not_answer_is_called_again_at_once() -> None:
    state = Attempts()
    state.timed_out(NOTICE)
    reaction = state.timed_out(NOTICE)
    assert reaction.error == "no answer to peps:4, called 2 times for 0:02:00 each"
    assert (reaction.parked, reaction.pause) == (False, None)


def test_a_team_that_was_down_keeps_its_declines() -> None:
    """A decline, a call without an answer, a decline: the team never said that it would take the notice."""
    state = Attempts()
    for failure in ("decline", "timeout", "decline", "timeout"):
        fail(state, failure)
    assert fail(state, "decline").waiting_for == "resume"


@settings(deadline=None)
@given(st.lists(st.sampled_from(["endpoint", "timeout", "decline", "acknowledged", "resumed"])))
def test_no_order_of_failures_stops_a_delivery(events: list[str]) -> None:
    state = Attempts()
    declines = 0
    for event in events:
        if event in ("acknowledged", "resumed"):
            getattr(state, event)()
            declines = 0
            continue
        declines += event == "decline"
        reaction = fail(state, event)
        assert reaction.error
        assert reaction.pause is None or timedelta() < reaction.pause <= PARKED_RETRY_INTERVAL
        assert (reaction.pause is None) is (event == "timeout")
        if event == "decline":
            parked = declines >= DECLINES_BEFORE_PARKING
            assert (reaction.waiting_for == "resume") is parked
