"""The vector index of closed chunks gets the memory and the upkeep of the others, and who has none of it says so."""

import logging

import pytest

from corpus.database import Connection
from corpus.embed.history_index import closed_chunks_waiting, closed_indexes
from corpus.embed.space_indexes import build_missing
from corpus.errors import ConfigurationError
from corpus.sessions.roles import WRITER
from corpus.upkeep.rule import Action
from corpus.upkeep.standing import read_standing
from tests.support.logins import login, session
from tests.support.withdrawing import (
    CHUNKS,
    actions,
    decided,
    index_closed_chunks,
    maintained,
    remove_withdrawn,
    scalar,
    withdraw,
)

CLOSED = "chunk_closed_space_1"
BUILD = f"vector index of closed chunks, {CLOSED}: missing"


@pytest.fixture
def closed(corpus: Connection, database_url: str) -> Connection:
    """Three fifths of the chunks are closed, and in their index; the other indexes are as after `freshet maintain`."""
    withdraw(corpus, 0.6)
    index_closed_chunks(corpus)
    build_missing(database_url)
    maintained(database_url)
    corpus.execute("ANALYZE freshet.chunk")
    return corpus


def test_its_build_gets_the_memory_of_its_graph(
    corpus: Connection, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    withdraw(corpus, 0.6)
    index_closed_chunks(corpus)
    with caplog.at_level(logging.INFO, logger="corpus.embed.graph_build"):
        build_missing(database_url)
    built = [record.__dict__["index"] for record in caplog.records]
    assert built == [CLOSED]
    assert [index.state for index in closed_indexes(corpus)] == ["built"]


def test_nothing_is_due_where_chunks_were_closed_and_brought(closed: Connection) -> None:
    index = decided(closed, CLOSED)
    assert (index.action, index.kind) == (Action.NOTHING, "hnsw")
    assert index.rows == pytest.approx(0.6 * CHUNKS, rel=0.1)
    assert closed_chunks_waiting(closed).chunks == 0


def test_it_is_rebuilt_where_purges_have_left_many_entries(
    closed: Connection, database_url: str
) -> None:
    removed = remove_withdrawn(closed)
    closed.execute("ANALYZE freshet.chunk")
    index = decided(closed, CLOSED)
    assert index.action is Action.REBUILD
    assert index.dead == pytest.approx(removed, rel=0.1)
    assert "entries of purged chunks" in index.why
    done = maintained(database_url)
    assert actions(done) == [("rebuild", CLOSED), ("vacuum", "chunk")]
    assert [one.problem for one in done] == [None, None]
    assert decided(closed, CLOSED).bytes < index.bytes / 2


def test_a_missing_one_is_due_and_maintain_builds_it(closed: Connection, database_url: str) -> None:
    closed.execute(f"DROP INDEX freshet.{CLOSED}".encode())
    assert read_standing(closed).missing == (BUILD,)
    assert decided(closed, BUILD).action is Action.BUILD
    assert actions(maintained(database_url)) == [("build", BUILD)]
    assert scalar(closed, f"SELECT to_regclass('freshet.{CLOSED}') IS NOT NULL")


def test_who_may_not_build_it_leaves_a_mark(closed: Connection, database_url: str) -> None:
    """A storer without the right brings closed chunks, and the role that shows metrics sees what is not done."""
    closed.execute(f"DROP INDEX freshet.{CLOSED}".encode())
    closed.execute("UPDATE freshet.chunk SET visible_to = now(), in_history = NULL")
    with session(database_url, WRITER) as writer:
        waiting = closed_chunks_waiting(writer)
        assert (waiting.chunks, waiting.since is not None) == (CHUNKS, True)
        assert read_standing(writer).missing == (BUILD,)
    with (
        login(database_url, WRITER) as writer_url,
        pytest.raises(ConfigurationError, match=f"the index {CLOSED} is missing"),
    ):
        build_missing(writer_url)
    assert closed_chunks_waiting(closed).since is None


def test_nothing_waits_where_closed_chunks_are_few(corpus: Connection) -> None:
    withdraw(corpus, 0.6)
    assert closed_chunks_waiting(corpus).chunks == 0
