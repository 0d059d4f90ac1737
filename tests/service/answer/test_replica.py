"""Searches on a real standby, whose replay is held up where lag is the question."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from corpus.access import log
from corpus.access.log import Entry
from corpus.access.reader import reading_as
from corpus.answer.query_vectors import QueryVectors
from corpus.database import connect, database_errors_translated, open_pool
from corpus.errors import ConfigurationError, DependencyError
from corpus.replica.clock import PrimaryClock
from corpus.service import DescribeRequest, SearchRequest
from corpus.sessions.server import EVERY_REPLICA_SESSION
from freshness import scan
from tests.support.fake_meter import FakeMeter
from tests.support.logins import grant, login, reader
from tests.support.pipeline import Pipeline, make_event
from tests.support.polling import wait_until
from tests.support.replicas import HandClock, Replica, found
from workers.calls.replica import Outcome, ReplicaSearches
from workers.roles.figures import ReplicaFigures
from workers.roles.gateway import answering

pytestmark = pytest.mark.service

MODES = ("vector", "text", "hybrid")
MAX_LAG = 10


# ── what a standby answers ──────────────────────────────────────────────────────────────────────────────────────────


def test_who_reads_sees_the_same_on_a_standby(corpus: Pipeline, replica: Replica) -> None:
    """A login of SQL clients, a team through the gateway, and an operator; each by each mode."""
    with login(corpus.database_url, "freshet_reader") as url:
        with connect(url) as of_login:
            grant(corpus.database_url, of_login, sources=["s"], groups=[])
        replica.catch_up(corpus.connection)
        servers = [
            (corpus.connection, replica.connect(corpus.database_url), None),
            (corpus.connection, replica.connect(corpus.database_url), reader()),
            (corpus.connection, replica.connect(corpus.database_url), reader("hr")),
            (connect(url), replica.connect(url), None),
        ]
        for primary, copy, who in servers:
            for mode in MODES:
                expected = found(primary, corpus, "keeper", who, mode=mode)
                assert expected
                assert found(copy, corpus, "keeper", who, mode=mode) == expected, (who, mode)
            if copy is not corpus.connection:
                copy.close()
        servers[3][0].close()


def test_a_team_describes_and_waits_on_a_standby_and_writes_nothing(
    corpus: Pipeline, replica: Replica
) -> None:
    replica.catch_up(corpus.connection)
    with replica.connect(corpus.database_url) as copy:
        with reading_as(copy, reader()):
            described = scan.describe(copy, DescribeRequest(source="s"))
        assert described is not None and described.documents == 2
        entry = Entry(source="s", actor="team:x", action="search", detail={})
        with pytest.raises(DependencyError, match="read-only"), database_errors_translated():
            log.append(copy, [entry])


def test_as_of_on_a_standby_is_answered_up_to_its_newest_batch(
    corpus: Pipeline, replica: Replica
) -> None:
    """Before, it was answered from what was replayed, with another result than the primary's and no word about it."""
    first = now_us(corpus)
    replica.catch_up(corpus.connection)
    with replica.connect(corpus.database_url) as copy, replica.held_up():
        corpus.ingest(make_event("three", 1, "A sluice beyond."))
        second = now_us(corpus)
        assert found(corpus.connection, corpus, "sluice", mode="text", as_of_us=second) == {
            "one",
            "three",
        }
        for instant in (first, second):
            with pytest.raises(
                ConfigurationError, match=r"standby .* source s has .* ask the primary"
            ):
                found(copy, corpus, "sluice", mode="text", as_of_us=instant)
            with pytest.raises(psycopg.DatabaseError, match="is a standby"):
                copy.execute(
                    "SELECT * FROM freshet.search(NULL, 'sluice', p_mode => 'text', p_as_of => "
                    "to_timestamp(%s / 1000000.0))",
                    (instant,),
                )
        batch = {"as_of_batch": 1, "sources": ("s",)}
        assert found(copy, corpus, "sluice", mode="text", **batch) == {"one"}
    replica.catch_up(corpus.connection)
    with replica.connect(corpus.database_url) as copy:
        assert found(copy, corpus, "sluice", mode="text", as_of_us=first) == {"one"}


def now_us(corpus: Pipeline) -> int:
    """After all batches so far, by the primary's clock."""
    row = corpus.connection.execute(
        "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
    ).fetchone()
    assert row is not None
    return row[0]


# ── searches of the gateway ─────────────────────────────────────────────────────────────────────────────────────────


class Routed:
    """The gateway's search, with a replica and a clock of this test."""

    def __init__(self, corpus: Pipeline, url: str, stack: ExitStack) -> None:
        self.clock = HandClock()
        self.corpus = corpus
        open_ = {"size": 2, "application": "test"}
        of_replica = stack.enter_context(open_pool(url, rules=EVERY_REPLICA_SESSION, **open_))
        of_primary = stack.enter_context(open_pool(corpus.database_url, **open_))
        self.replica = ReplicaSearches(of_replica, of_primary, MAX_LAG, PrimaryClock(self.clock))
        embedder, vectors = corpus.embedder.of, QueryVectors()
        self._answer = answering(corpus.pool, corpus.pool, embedder, vectors, self.replica)

    def search(self, text: str, sources: tuple[str, ...] = ("s",), **request: Any) -> set[str]:
        asked = SearchRequest(query=text, mode="text", sources=sources, **request)
        return {
            hit.document_id
            for hit in self._answer(reader(sources=("s", "new", "none")), asked).hits
        }

    def after(self, seconds: float) -> None:
        """So much later, look again."""
        self.clock.now += seconds
        self.replica.look()

    def begin(self) -> None:
        """Look until the replica has what the primary had at a look: other work writes, too."""
        self.clock.now += 1
        wait_until(self._is_usable, 20, "the replica is fresh")

    def _is_usable(self) -> bool:
        self.replica.look()
        return self.replica.is_usable

    def figures(self) -> FakeMeter:
        meter: Any = FakeMeter()
        figures = ReplicaFigures(meter, self.replica)
        with pytest.raises(StopIteration):
            figures.update().send(None)
        return meter


@pytest.fixture
def routed(corpus: Pipeline, replica: Replica) -> Iterator[Routed]:
    replica.catch_up(corpus.connection)
    with ExitStack() as stack:
        yield Routed(corpus, replica.url(corpus.database_url), stack)


def test_searches_read_the_replica_while_it_is_fresh_and_the_primary_afterwards(
    routed: Routed, replica: Replica
) -> None:
    corpus, counted = routed.corpus, routed.replica.outcomes
    assert routed.search("sluice") == {"one"}
    assert counted == {Outcome.LAG: 1}  # nobody has looked yet
    routed.begin()
    assert routed.search("sluice") == {"one"}
    assert counted[Outcome.REPLICA] == 1
    with replica.held_up():
        corpus.ingest(make_event("one", 2, op="delete"), make_event("new", 1, "A new sluice."))
        routed.after(MAX_LAG - 2)
        assert routed.search("sluice") == {"one"}  # as old as it may be
        assert counted[Outcome.REPLICA] == 2
        assert routed.figures().value("freshet_replica_usable") == 1
        routed.after(3)
        # What was withdrawn is not shown for longer than the bound.
        assert routed.search("sluice") == {"new"}
        assert counted[Outcome.LAG] == 2
        meter = routed.figures()
        assert meter.value("freshet_replica_usable") == 0
        assert meter.value("freshet_replica_lag_seconds") == MAX_LAG + 1
        assert meter.value("freshet_replica_lag_bytes") > 0
        assert meter.value("freshet_replica_searches", outcome="lag") == 2
    replica.catch_up(corpus.connection)
    routed.begin()
    assert routed.search("sluice") == {"new"}
    assert counted[Outcome.REPLICA] == 3
    assert routed.replica.lag_seconds == 0


def test_lag_that_began_since_the_newest_look_is_seen_by_the_search_itself(
    routed: Routed, replica: Replica
) -> None:
    routed.begin()
    with replica.held_up():
        routed.corpus.ingest(make_event("new", 1, "A new sluice."))
        routed.clock.now += MAX_LAG + 1  # no look since
        assert routed.replica.is_usable
        assert routed.search("sluice") == {"one", "new"}
        assert routed.replica.outcomes == {Outcome.LAG: 1}


def test_a_replica_of_an_idle_primary_is_not_behind(routed: Routed, replica: Replica) -> None:
    """Also after a switch of the log's file."""
    routed.corpus.connection.execute("SELECT pg_switch_wal()")
    replica.catch_up(routed.corpus.connection)
    for _ in range(3):
        routed.clock.now += 3_600
        routed.begin()
        assert routed.replica.lag_seconds == 0


def test_the_past_is_answered_by_the_primary(routed: Routed, replica: Replica) -> None:
    routed.begin()
    with replica.held_up():
        routed.corpus.ingest(make_event("new", 1, "A new sluice."))
        assert routed.search("sluice", as_of_us=now_us(routed.corpus)) == {"one", "new"}
    assert routed.replica.outcomes == {}


def test_what_the_replica_refuses_is_asked_of_the_primary(routed: Routed, replica: Replica) -> None:
    """A source that is newer than what the replica has is none for it."""
    routed.begin()
    with replica.held_up():
        routed.corpus.connection.execute(
            "INSERT INTO freshet.source (source, spec) SELECT 'new', "
            "jsonb_set(spec, '{source}', '\"new\"') FROM freshet.source"
        )
        assert routed.search("sluice", sources=("s", "new")) == {"one"}
    assert routed.replica.outcomes == {Outcome.REFUSED: 1}
    with pytest.raises(ConfigurationError, match="there is no source 'none'"):
        routed.search("sluice", sources=("none",))


def test_a_search_that_replay_cancels_is_answered_by_the_primary(
    routed: Routed, replica: Replica
) -> None:
    """Of a table that the primary locks to change it, the standby ends the readers."""
    routed.begin()
    replica.admin.execute("ALTER SYSTEM SET max_standby_streaming_delay = 0")
    replica.admin.execute("SELECT pg_reload_conf()")
    try:

        def step(copy: Any) -> None:
            primary = routed.corpus.connection
            with copy.transaction():
                copy.execute("SELECT FROM freshet.document")
                with primary.transaction():
                    primary.execute("LOCK TABLE freshet.document IN ACCESS EXCLUSIVE MODE")
                copy.execute("SELECT pg_sleep(20)")
            raise AssertionError("nothing ended the search")

        assert routed.replica.answer(step) is None
    finally:
        replica.admin.execute("ALTER SYSTEM RESET max_standby_streaming_delay")
        replica.admin.execute("SELECT pg_reload_conf()")
    assert routed.replica.outcomes == {Outcome.FAILED: 1}


def test_a_replica_that_is_gone_holds_up_no_search(corpus: Pipeline) -> None:
    with ExitStack() as stack:
        routed = Routed(corpus, corpus.database_url.replace("@127.0.0.1:", "@127.0.0.1:1"), stack)
        routed.after(1)
        began = time.monotonic()
        for _ in range(20):
            assert routed.search("sluice") == {"one"}
        assert time.monotonic() - began < 20
        assert routed.replica.outcomes == {Outcome.GONE: 20}


# The last one: the standby is none afterwards.
def test_a_replica_that_was_promoted_is_not_searched(routed: Routed, replica: Replica) -> None:
    routed.begin()
    assert routed.search("sluice") == {"one"}
    replica.admin.execute("SELECT pg_promote()")
    assert routed.search("sluice") == {"one"}
    routed.after(1)
    assert routed.search("sluice") == {"one"}
    assert routed.replica.outcomes == {Outcome.REPLICA: 1, Outcome.OTHER_SERVER: 2}
