"""`freshet maintain` finds what much change has left, says what it does about it and why, and does it."""

import json

import psycopg
import pytest

from corpus.database import Connection, connect
from corpus.embed.build_memory import BuildLimits, entry_bytes
from corpus.embed.space_indexes import BUILD_LOCK
from corpus.errors import ConfigurationError
from corpus.upkeep.maintainer import Wish, plan
from corpus.upkeep.rule import Action
from corpus.upkeep.standing import read_standing
from tests.support.commands import CommandLine
from tests.support.withdrawing import (
    CHUNKS,
    DIMENSIONS,
    VECTORS,
    actions,
    decided,
    exactly_nearest,
    left_over,
    long_publish,
    maintained,
    nearest,
    remove_withdrawn,
    scalar,
    withdraw,
)


def test_the_index_file_has_the_size_that_its_entries_are_counted_by(corpus: Connection) -> None:
    size = scalar(corpus, f"SELECT pg_relation_size('freshet.{VECTORS}')")
    counted = size / entry_bytes(DIMENSIONS, is_half=False)
    assert CHUNKS <= counted < CHUNKS * 1.1


def test_nothing_is_due_in_a_corpus_that_has_not_changed(
    corpus: Connection, database_url: str
) -> None:
    due = [one.describe() for one in plan(read_standing(corpus), Wish()) if one.is_due]
    assert due == []
    assert maintained(database_url) == []


@pytest.mark.parametrize("is_analysed", [False, True])
def test_many_withdrawn_chunks_are_found_counted_and_mended(
    corpus: Connection, database_url: str, is_analysed: bool
) -> None:
    gone = withdraw(corpus, 0.6)
    if is_analysed:
        corpus.execute("ANALYZE freshet.chunk")
    index = decided(corpus, VECTORS)
    assert index.action is Action.REBUILD
    assert index.dead == pytest.approx(gone, rel=0.1)
    assert index.share == pytest.approx(0.6, abs=0.1 if is_analysed else 0.25)
    before = index.bytes
    done = maintained(database_url)
    assert actions(done) == [("rebuild", VECTORS), ("vacuum", "chunk")]
    assert [one.problem for one in done] == [None, None]
    after = decided(corpus, VECTORS)
    assert after.action is Action.NOTHING
    assert after.bytes < before * 0.5
    assert after.bytes == done[0].bytes_after
    assert decided(corpus, "chunk").dead == 0
    assert sorted(nearest(corpus)) == sorted(exactly_nearest(corpus))
    assert maintained(database_url) == []


def test_a_purge_leaves_dead_rows_and_no_entries(corpus: Connection, database_url: str) -> None:
    """The chunks were withdrawn and vacuumed long ago: nothing is gained by a new graph."""
    withdraw(corpus, 0.6)
    maintained(database_url)
    removed = remove_withdrawn(corpus)
    table = decided(corpus, "chunk")
    assert (table.action, table.dead) == (Action.VACUUM, removed)
    corpus.execute("ANALYZE freshet.chunk")
    assert decided(corpus, VECTORS).dead < 100
    assert actions(maintained(database_url)) == [("vacuum", "chunk")]


def test_what_is_too_little_is_left_alone(corpus: Connection, database_url: str) -> None:
    assert withdraw(corpus, 0.3) < 1_000
    assert decided(corpus, VECTORS).why.endswith("fewer than 1,000")
    assert maintained(database_url) == []


def test_a_table_whose_counts_a_crash_has_lost_is_analysed_first(
    corpus: Connection, database_url: str
) -> None:
    withdraw(corpus, 0.6)
    corpus.execute("SELECT pg_stat_reset_single_table_counters('freshet.chunk'::regclass)")
    assert decided(corpus, VECTORS).dead == 0
    table = decided(corpus, "chunk")
    assert table.action is Action.ANALYZE
    assert "a crash has lost its counts" in table.why
    done = maintained(database_url)
    assert actions(done) == [
        ("analyze", "chunk"),
        ("rebuild", VECTORS),
        ("vacuum", "chunk"),
    ]


def test_a_missing_index_is_built_and_a_left_over_one_dropped(
    corpus: Connection, database_url: str
) -> None:
    corpus.execute(f"DROP INDEX freshet.{VECTORS}".encode())
    leave_over(database_url, corpus)
    done = maintained(database_url)
    assert [one.decision.action for one in done] == [Action.DROP, Action.BUILD]
    assert done[0].bytes_after is None
    assert scalar(corpus, f"SELECT to_regclass('freshet.{VECTORS}') IS NOT NULL")


def leave_over(url: str, connection: Connection) -> None:
    """Interrupt a rebuild of the text index while it waits for a publish."""
    with (
        long_publish(url),
        connect(url) as rebuilding,
        pytest.raises(psycopg.errors.LockNotAvailable),
    ):
        rebuilding.execute("SET lock_timeout = '100ms'")
        rebuilding.execute("REINDEX INDEX CONCURRENTLY freshet.chunk_search_text")
    assert left_over(connection) == ["chunk_search_text_ccnew"]


def test_an_index_is_rebuilt_because_a_person_wants_it(
    corpus: Connection, database_url: str
) -> None:
    before = scalar(corpus, "SELECT pg_relation_filenode('freshet.chunk_search_text')")
    done = maintained(database_url, only=frozenset({"chunk_search_text"}), rebuild=True)
    assert actions(done) == [("rebuild", "chunk_search_text")]
    assert scalar(corpus, "SELECT pg_relation_filenode('freshet.chunk_search_text')") != before
    with pytest.raises(ConfigurationError, match="there is no table or index 'bogus'"):
        maintained(database_url, only=frozenset({"bogus"}))


def test_no_shared_memory_is_a_slower_build_and_no_failure(
    corpus: Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than the machine has is asked for: several processes are refused it, one alone takes what it needs."""
    memory = "corpus.embed.build_memory._LEAST_MEGABYTES"
    monkeypatch.setattr(memory, 2_000_000)
    withdraw(corpus, 0.6)
    done = maintained(database_url, limits=BuildLimits(megabytes=2_000_000, workers=2))
    assert [one.problem for one in done] == [None, None]


# ── the command ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_command_says_what_is_due_does_it_and_says_what_was_done(
    corpus: Connection, freshet: CommandLine
) -> None:
    withdraw(corpus, 0.6)
    planned = freshet("maintain", "--dry-run")
    assert planned.code == 0
    assert "others are smaller than 8 MB" in planned.stderr
    assert decided(corpus, VECTORS).action is Action.REBUILD
    shown = freshet("maintain", "--dry-run", "--all")
    assert VECTORS in shown.stdout
    as_json = json.loads(freshet("maintain", "--dry-run", "--json").stdout)
    (row,) = [one for one in as_json["decisions"] if one["name"] == VECTORS]
    assert (row["action"], row["outcome"]) == ("rebuild", None)
    assert as_json["problem"] is None
    done = freshet("maintain", "--json")
    assert done.code == 0
    outcomes = {one["name"]: one["outcome"] for one in json.loads(done.stdout)["decisions"]}
    assert outcomes[VECTORS]["problem"] is None
    assert outcomes["chunk"]["seconds"] >= 0
    assert outcomes["document"] is None
    again = freshet("maintain")
    assert (again.code, again.stderr.splitlines()[-1]) == (0, "nothing was to be done")


def test_the_command_fails_where_something_cannot_be_done(
    corpus: Connection, database_url: str, freshet: CommandLine
) -> None:
    withdraw(corpus, 0.6)
    corpus.execute("SELECT pg_advisory_lock(%s)", (BUILD_LOCK,))
    busy = freshet("maintain", "--wait", "1")
    assert busy.code == 3
    assert "index builds and upkeep" in busy.stderr
    assert decided(corpus, VECTORS).action is Action.REBUILD
