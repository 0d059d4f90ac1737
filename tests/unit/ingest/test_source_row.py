"""How the entity follows the source's row, without Temporal."""

import pytest

from corpus.batch import LoadedSource
from ingest.source_row import adopt_epoch, adopt_row, drop_outdated, keep_undecided
from ingest.source_state import Acceptance, SourceState, accept, status_name
from tests.support.orders import make_ref


@pytest.fixture
def state() -> SourceState:
    return SourceState(source="s", loaded=True)


def row(epoch: int, status: str = "active", reason: str = "") -> LoadedSource:
    return LoadedSource(
        last_batch=0, max_records=1, max_bytes=1, max_in_flight=1,
        epoch=epoch, state=status, reason=reason,
    )  # fmt: skip


def firsts(state: SourceState) -> list[int]:
    return [ref.first_offset for ref in state.pending]


# ── a pause ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("epoch", "status", "stays"),
    [(4, "active", False), (3, "active", True), (4, "paused", True), (4, "", True)],
)
def test_a_pause_of_an_older_epoch_is_void(
    state: SourceState, epoch: int, status: str, stays: bool
) -> None:
    """Else a source that was paused, retired and configured again is active, and nothing of it is published."""
    state.epoch, state.paused = 3, True
    adopt_row(state, row(epoch, status), decides=0)
    assert state.paused is stays


# ── epochs ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("epoch", [0, 5], ids=["older", "newer"])
def test_a_reference_of_another_epoch_waits_until_the_row_is_read(
    state: SourceState, epoch: int
) -> None:
    state.epoch = 3
    keep_undecided(state, make_ref(0, 10, epoch=epoch))
    assert (state.pending, state.loaded) == ([], False)
    adopt_epoch(state, epoch=epoch, decides=1)
    assert (firsts(state), state.epoch, state.undecided) == ([0], epoch, [])
    assert (state.outdated, state.early) == (0, 0)


def test_what_is_dropped_is_counted(state: SourceState) -> None:
    state.epoch = 3
    accept(state, make_ref(0, 10, epoch=3))
    for epoch in (1, 2, 7):
        keep_undecided(state, make_ref(10, 20, epoch=epoch))
    adopt_epoch(state, epoch=4, decides=3)
    assert (state.pending, state.undecided) == ([], [])
    assert (state.outdated, state.early) == (3, 1)
    # What was dropped is no repeat when it is read again.
    assert accept(state, make_ref(0, 10, epoch=4)) is Acceptance.ACCEPTED


def test_what_came_while_the_row_was_read_waits_for_the_next_reading(state: SourceState) -> None:
    """The row was read before the resume in whose epoch this reference was."""
    keep_undecided(state, make_ref(0, 10, epoch=1))
    adopt_epoch(state, epoch=0, decides=0)
    assert [ref.epoch for ref in state.undecided] == [1]
    adopt_epoch(state, epoch=1, decides=1)
    assert (firsts(state), state.early) == ([0], 0)


def test_a_reference_that_waited_is_no_repeat_of_itself(state: SourceState) -> None:
    for _ in range(2):
        keep_undecided(state, make_ref(0, 10, epoch=1))
    adopt_epoch(state, epoch=1, decides=2)
    assert (firsts(state), state.repeated) == ([0], 1)


def test_runs_of_the_versions_before_drop_by_themselves(state: SourceState) -> None:
    accept(state, make_ref(0, 10))
    accept(state, make_ref(10, 20, epoch=1))
    drop_outdated(state, epoch=1)
    assert firsts(state) == [10]
    assert accept(state, make_ref(20, 30)) is Acceptance.OUTDATED
    drop_outdated(state, epoch=0)
    assert (state.epoch, state.outdated) == (1, 1)


# ── halts ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", ["active", "paused", "retired", ""])
def test_a_halt_of_an_older_epoch_is_void(state: SourceState, status: str) -> None:
    state.halted, state.epoch, state.rewinds = "batch 4 failed", 3, 4
    adopt_row(state, row(4, status), decides=0)
    assert (state.halted, state.rewinds, state.epoch) == ("", 0, 4)
    assert status_name(state, failing=False) == (status or "active")


def test_a_halt_that_the_row_knows_stays(state: SourceState) -> None:
    state.epoch = 3
    adopt_row(state, row(4, "halted", "a gap"), decides=0)
    assert state.halted == "a gap"
    assert status_name(state, failing=False) == "halted"


def test_a_storer_of_the_version_before_ends_no_halt_of_this_epoch(state: SourceState) -> None:
    state.halted, state.epoch = "batch 4 failed", 3
    adopt_row(state, row(3, ""), decides=0)
    assert state.halted == "batch 4 failed"
