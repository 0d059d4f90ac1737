"""The rule of upkeep: what each table and index needs, and what is left alone."""

from dataclasses import replace

import pytest

from corpus.upkeep.rule import Action, Decision, decide
from corpus.upkeep.standing import Holder, ServerUpkeep, Standing
from tests.support.upkeep import DAY, ENTRY, SERVER, index, standing, table


def decided(looked_at: Standing) -> dict[str, Decision]:
    return {decision.name: decision for decision in decide(looked_at)}


def actions(looked_at: Standing) -> dict[str, Action]:
    return {name: decision.action for name, decision in decided(looked_at).items()}


def test_nothing_is_done_to_what_has_not_changed() -> None:
    assert actions(standing(table(), index())) == {
        "chunk": Action.NOTHING,
        "vectors": Action.NOTHING,
    }


@pytest.mark.parametrize(
    ("withdrawn", "of_table", "of_index"),
    [
        (900, Action.NOTHING, Action.NOTHING),  # too few to matter
        (19_000, Action.NOTHING, Action.NOTHING),
        (21_000, Action.VACUUM, Action.REBUILD),
    ],
)
def test_withdrawn_chunks(withdrawn: int, of_table: Action, of_index: Action) -> None:
    """Each leaves a dead row and a dead entry; the row of the chunk that is withdrawn stays."""
    changed = table(dead=withdrawn, modified=0)
    found = actions(standing(changed, index(rows=100_000 - withdrawn)))
    assert found == {"chunk": of_table, "vectors": of_index}


def test_counts_that_are_older_than_the_withdrawal_hide_nothing() -> None:
    """Nothing was analysed since: the index is said to have as many visible chunks as before."""
    changed = table(dead=60_000, modified=60_000)
    found = decided(standing(changed, index()))["vectors"]
    assert (found.action, found.dead) == (Action.REBUILD, 60_000)


def test_a_long_history_hides_no_withdrawal() -> None:
    """Of a million chunks 30,000 were visible, and half of these went: little of the table, much of its index."""
    changed = table(rows=1_000_000, dead=15_000)
    small = index(bytes=30_000 * ENTRY, rows=15_000)
    found = decided(standing(changed, small))
    assert found["vectors"].action is Action.REBUILD
    assert found["vectors"].share == pytest.approx(0.5)
    assert found["chunk"].action is Action.VACUUM
    assert "its vector index is rebuilt" in found["chunk"].why


def test_what_a_purge_removed_was_in_no_vector_index() -> None:
    changed = table(rows=60_000, dead=40_000)
    found = actions(standing(changed, index(bytes=60_000 * ENTRY, rows=60_000)))
    assert found == {"chunk": Action.VACUUM, "vectors": Action.NOTHING}


def test_a_vacuum_does_not_mend_a_graph_that_is_built_faster() -> None:
    """5 % of the entries are no reason to rebuild it, but the vacuum that purged rows need would mend around each."""
    changed = table(rows=60_000, dead=40_000)
    found = decided(standing(changed, index(bytes=60_000 * ENTRY, rows=57_000)))
    assert found["chunk"].action is Action.VACUUM
    assert found["vectors"].action is Action.REBUILD
    assert "which takes longer" in found["vectors"].why


def test_chunks_of_one_vector_share_an_entry_and_the_size_says_nothing() -> None:
    changed = table(dead=30_000)
    found = decided(standing(changed, index(bytes=20_000 * ENTRY, rows=70_000)))
    assert found["vectors"].dead == 30_000


def test_closed_chunks_leave_entries_when_they_are_purged() -> None:
    purged = index(rows=70_000, is_of_closed=True)
    found = decided(standing(table(rows=200_000, dead=30_000), purged))["vectors"]
    assert (found.action, found.dead) == (Action.REBUILD, 30_000)
    assert found.why == "30,000 entries of purged chunks, 30%, at least 20%"


def test_to_close_chunks_and_to_bring_them_leaves_no_entries_in_their_index() -> None:
    """Two dead rows of each, and nothing dead in the index that has got them."""
    changed = table(dead=80_000, modified=10_000)
    found = decided(standing(changed, index(rows=99_000, is_of_closed=True)))["vectors"]
    assert (found.action, found.dead) == (Action.NOTHING, 1_000)
    shared = index(bytes=20_000 * ENTRY, rows=70_000, is_of_closed=True)
    assert decided(standing(changed, shared))["vectors"].dead == 0


def test_other_indexes_are_left_to_the_vacuum() -> None:
    text = index(name="text", method="gin", dimensions=None)
    found = decided(standing(table(dead=60_000), text))
    assert (found["text"].action, found["text"].dead) == (Action.NOTHING, 0)
    assert found["chunk"].action is Action.VACUUM


def test_a_crash_loses_the_counts_so_they_are_taken_again_first() -> None:
    assert actions(standing(table(last_analyze=None), index()))["chunk"] is Action.ANALYZE
    assert actions(standing(table(last_analyze=None, rows=10)))["chunk"] is Action.NOTHING


def test_a_table_that_the_server_does_not_analyse() -> None:
    found = decided(standing(table(modified=20_000)))["chunk"]
    assert found.action is Action.ANALYZE
    assert found.why == "20,000 rows were changed since its ANALYZE, at least 20%"


def test_what_is_left_of_a_rebuild_is_dropped_and_one_that_runs_is_not() -> None:
    left = index(name="vectors_ccnew", is_valid=False, is_left_over=True)
    built = index(name="vectors_ccnew1", is_valid=False, is_built=True)
    interrupted = index(name="vectors_2", is_valid=False)
    found = actions(standing(table(), left, built, interrupted))
    assert found["vectors_ccnew"] is Action.DROP
    assert found["vectors_ccnew1"] is Action.NOTHING
    assert found["vectors_2"] is Action.NOTHING  # `missing` names it, if it is wanted


def test_an_index_that_is_missing_is_built() -> None:
    missing = "vector index of m (space 1): missing"
    assert actions(standing(table(), missing=(missing,)))[missing] is Action.BUILD


def test_an_old_transaction_holds_up_what_would_be_in_vain() -> None:
    holder = Holder(who="pg_dump (server process 7)", since=DAY)
    found = decided(standing(table(dead=60_000, modified=60_000), index(), holder=holder))
    said = "pg_dump (server process 7) may still see what is gone since 2026-11-26 00:00:00Z"
    assert [found[name].held_by for name in ("chunk", "vectors")] == [said, said]


@pytest.mark.parametrize(("withdrawn", "is_overdue"), [(30_000, False), (41_000, True)])
def test_what_waits_for_the_night_and_what_should_not(withdrawn: int, is_overdue: bool) -> None:
    found = decided(standing(table(dead=withdrawn), index(rows=100_000 - withdrawn)))
    assert found["vectors"].is_due
    assert found["vectors"].is_overdue is is_overdue


@pytest.mark.parametrize(
    ("server", "problem"),
    [
        (SERVER, None),
        (replace(SERVER, is_on=False), "autovacuum is off"),
        (replace(SERVER, counts=False), "track_counts is off"),
    ],
)
def test_a_server_that_looks_after_nothing(server: ServerUpkeep, problem: str | None) -> None:
    assert (server.problem or "").startswith(problem or "")
    assert (server.problem is None) == (problem is None)
