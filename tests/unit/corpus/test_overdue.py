"""What may be withdrawn without asking a person."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.overdue import Overdue
from corpus.source import FreshnessSpec, SourceStatus

DAY = 86_400
POLICY = FreshnessSpec(expire_after_seconds=DAY, max_expiry_ratio=0.5)
MEASURED = Overdue(documents=10, ended=0, aged=5, newest_seconds=0.0)
counts = st.integers(0, 1_000)
ratios = st.floats(0, 1)


def refused(policy: FreshnessSpec = POLICY, **values: object) -> str:
    return replace(MEASURED, **values).refusal(policy) or ""  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("aged", "documents", "allowed"),
    [(5, 10, True), (6, 10, False), (0, 0, True), (1, 1, False)],
)
def test_a_mass_expiry_is_refused(aged: int, documents: int, allowed: bool) -> None:
    assert (not refused(aged=aged, documents=documents)) is allowed


def test_small_steps_add_up() -> None:
    """20 documents; one is overdue at a time."""
    assert not refused(documents=11, aged=1, withdrawn=9)
    reason = refused(documents=10, aged=1, withdrawn=10)
    assert "10 withdrawn and 0 arrived" in reason


def test_what_arrived_replaces_what_went() -> None:
    """A source whose documents live for a day: as many come as go."""
    assert not refused(documents=100, aged=1, withdrawn=100, arrived=99)


@pytest.mark.parametrize("state", [s for s in SourceStatus if s is not SourceStatus.ACTIVE])
def test_a_source_that_does_not_run_loses_nothing(state: SourceStatus) -> None:
    everything = replace(POLICY, max_expiry_ratio=1.0)
    assert refused(everything, state=state) == f"the source is {state}"


def test_a_source_that_is_behind_loses_nothing() -> None:
    assert "behind: peps/0" in refused(behind="peps/0 waits")
    assert "behind" in refused(replace(POLICY, max_expiry_ratio=1.0), behind="peps/0 waits")


def test_what_is_gone_at_its_origin_is_no_guess() -> None:
    """A silent source: its origin was asked, so what is gone goes; the others stay."""
    silent = replace(MEASURED, aged=3, gone=2, newest_seconds=DAY)
    assert "silent" in (silent.refusal(POLICY) or "")
    assert silent.takes_gone(POLICY)
    assert replace(silent, gone=3).refusal(POLICY) is None
    assert not replace(silent, gone=0).takes_gone(POLICY)


@pytest.mark.parametrize(
    "stopped", [{"state": SourceStatus.PAUSED}, {"behind": "peps/0 waits"}, {"aged": 6, "gone": 6}]
)
def test_what_is_gone_stays_where_nothing_is_withdrawn(stopped: dict[str, object]) -> None:
    measured = replace(MEASURED, **({"gone": 5} | stopped))  # type: ignore[arg-type]
    assert not measured.takes_gone(POLICY)
    assert measured.refusal(POLICY)


def test_a_silent_source_loses_nothing() -> None:
    assert not refused(newest_seconds=DAY / 2)
    assert "silent" in refused(newest_seconds=DAY / 2 + 1)
    early = replace(POLICY, error_after_seconds=3600)
    assert "silent" in refused(early, newest_seconds=3601)
    assert not refused(replace(POLICY, max_expiry_ratio=1.0), newest_seconds=DAY * 2)


def test_documents_with_an_end_of_their_own_are_outside() -> None:
    assert not refused(documents=1, ended=1, aged=0, state=SourceStatus.RETIRED)
    assert refused(documents=10, ended=8, aged=2)


@settings(deadline=None)
@given(ratio=ratios, aged=counts, documents=counts, withdrawn=counts, more=counts)
def test_losing_less_is_allowed_where_losing_more_is(
    ratio: float, aged: int, documents: int, withdrawn: int, more: int
) -> None:
    policy = replace(POLICY, max_expiry_ratio=ratio)
    values = {"documents": documents + more + aged, "withdrawn": withdrawn}
    if not refused(policy, aged=aged + more, **values):
        assert not refused(policy, aged=aged, **values)


@settings(deadline=None)
@given(documents=counts, aged=counts)
def test_the_ends_of_the_ratio(documents: int, aged: int) -> None:
    nothing, everything = (replace(POLICY, max_expiry_ratio=ratio) for ratio in (0.0, 1.0))
    assert bool(refused(nothing, documents=documents + aged, aged=aged)) is (aged > 0)
    assert not refused(everything, documents=documents + aged, aged=aged)
