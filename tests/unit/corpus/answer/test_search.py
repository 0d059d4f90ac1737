"""Rows become hits, errors of the database become errors of the request; no database."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.answer import searched as specs_searched
from corpus.answer.search import HitRow, hit_of, one_space, search
from corpus.errors import ConfigurationError, DependencyError, SpaceMismatchError
from corpus.service import MAX_HITS, SearchRequest
from corpus.source import SourceSpec

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
NOW_MS = 1_795_608_000_000
HOUR_MS = 3_600_000
PEPS = SourceSpec(source="peps", topics=("peps",))


def hit_row(**fields: Any) -> HitRow:
    empty = dict.fromkeys(
        ("heading", "title", "uri", "topic", "partition", "record_offset", "event_at")
    )
    base = {
        "score": 0.5,
        "source": "peps",
        "document_id": "pep-1",
        "version": 3,
        "ordinal": 2,
        "start": 100,
        "text": "wheels",
        "metadata": "{}",
        "chunk_id": 7,
        "batch": 4,
        "observed_at": NOW,
        "verified_at": None,
        "expires_at": None,
    }
    return HitRow(**(empty | base | fields))


# ── rows become hits ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_hit_has_every_column_of_its_row() -> None:
    row = hit_row(
        heading="Rationale",
        title="PEP 1",
        uri="https://example.org/1",
        topic="t",
        partition=1,
        record_offset=9,
        event_at=NOW - timedelta(hours=1),
        verified_at=NOW,
    )
    hit = hit_of(row, None)
    assert (hit.position, hit.start, hit.offset) == (2, 100, 9)
    assert (hit.event_at_ms, hit.observed_at_ms, hit.verified_at_ms) == (
        NOW_MS - HOUR_MS,
        NOW_MS,
        NOW_MS,
    )
    same = ("score", "source", "document_id", "version", "heading", "text", "title", "uri")
    for name in (*same, "metadata", "chunk_id", "batch", "topic", "partition"):
        assert getattr(hit, name) == getattr(row, name), name


@pytest.mark.parametrize(
    ("fields", "expire_after_seconds", "fresh_until_ms"),
    [
        ({}, None, None),
        ({}, 3_600, NOW_MS + HOUR_MS),
        ({}, 0, NOW_MS),
        ({"verified_at": NOW + timedelta(hours=1)}, 3_600, NOW_MS + 2 * HOUR_MS),
        ({"verified_at": NOW - timedelta(hours=1)}, 3_600, NOW_MS + HOUR_MS),
        ({"expires_at": NOW}, 3_600, NOW_MS),  # the event's own end overrides the rule
        ({"expires_at": NOW}, None, NOW_MS),
        ({"expires_at": NOW - timedelta(days=1)}, None, NOW_MS - 24 * HOUR_MS),
    ],
    ids=repr,
)
def test_fresh_until(fields, expire_after_seconds, fresh_until_ms) -> None:
    assert hit_of(hit_row(**fields), expire_after_seconds).fresh_until_ms == fresh_until_ms


@settings(deadline=None)
@given(
    observed=st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2200, 1, 1)),
    rule=st.integers(min_value=0, max_value=10**9),
    later=st.integers(min_value=0, max_value=10**9),
)
def test_a_longer_rule_keeps_a_document_longer(observed: datetime, rule: int, later: int) -> None:
    row = hit_row(observed_at=observed.replace(tzinfo=UTC))
    short, long = hit_of(row, rule).fresh_until_ms, hit_of(row, rule + later).fresh_until_ms
    assert short is not None and long is not None
    assert row.observed_at.timestamp() * 1000 - 1 <= short <= long


# ── one embedding space ─────────────────────────────────────────────────────────────────────────────────────────────


def test_sources_of_one_space_may_be_searched_together() -> None:
    other = SourceSpec(source="docs", topics=("docs",))
    assert one_space([PEPS, other]) == (PEPS.model, "", "none")


@pytest.mark.parametrize(
    "change",
    [{"model": "another"}, {"prefix": "passage: "}, {"context": "headings"}],
    ids=repr,
)
def test_sources_of_two_spaces_may_not(change: dict[str, str]) -> None:
    other = SourceSpec(source="docs", topics=("docs",), **change)
    with pytest.raises(SpaceMismatchError, match=r"peps \(.*docs \(.*Name sources of one space"):
        one_space([PEPS, other])


# ── errors of the database ──────────────────────────────────────────────────────────────────────────────────────────


class Refused(psycopg.DatabaseError):
    """An error that a SQL function of Freshet raises."""

    sqlstate = "FR002"


class Cursor:
    """Answers each query in turn: a list of rows, or an error."""

    def __init__(self, results: list[Any], kind: Callable[..., Any]) -> None:
        self._results = results
        self._kind = kind
        self._rows: list[Any] = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def execute(self, _statement, _parameters):
        result = self._results.pop(0)
        if isinstance(result, Exception):
            raise result
        self._rows = result
        return self

    def fetchall(self):
        return self._rows

    def fetchone(self):
        return self._rows[0] if self._rows else None


class Connection:
    """A connection without a server; rows come as `class_row` would make them."""

    def __init__(self, *results: Any) -> None:
        self._results = list(results)

    def cursor(self, row_factory):
        return Cursor(self._results, row_factory)

    def execute(self, statement, parameters):
        return Cursor(self._results, tuple).execute(statement, parameters)

    def transaction(self):
        return nullcontext()


class Named:
    """A row with attributes."""

    def __init__(self, **columns: Any) -> None:
        vars(self).update(columns)


SOURCE_ROWS = [Named(source="peps", digest="d", spec=PEPS.to_json())]
SPACE_ROWS = [Named(space_id=1)]
TEXT = SearchRequest(query="wheels", mode="text")


def searched(request: SearchRequest, sources: Any, *others: Any):
    # Digests, and the specifications that they stand for; nothing is known from before.
    looks = [sources, sources] if sources else [sources]
    connection: Any = Connection(*looks, *others)

    def no_embedder(*_: str):
        raise AssertionError("mode text needs no model")

    with patch.object(specs_searched, "_known", specs_searched._Known()):
        return search(connection, request, no_embedder)


def test_a_search_of_no_source_finds_nothing() -> None:
    assert searched(TEXT, []).hits == ()


def test_a_search_before_the_first_embedding_finds_nothing() -> None:
    assert searched(TEXT, SOURCE_ROWS, []).hits == ()


def test_a_search_by_text_needs_no_model() -> None:
    hits = searched(TEXT, SOURCE_ROWS, SPACE_ROWS, [hit_row()] * MAX_HITS).hits
    assert [hit.document_id for hit in hits] == ["pep-1"] * MAX_HITS


def test_an_unknown_source_is_named() -> None:
    request = SearchRequest(query="wheels", mode="text", sources=("peps", "zzz", "nope"))
    with pytest.raises(ConfigurationError, match="there is no source 'nope'"):
        searched(request, SOURCE_ROWS)


@pytest.mark.parametrize("as_of_ms", [2**63, -(2**63), 10**30, MAX_HITS * 10**15])
def test_an_instant_that_is_no_time_is_an_error_of_the_request(as_of_ms: int) -> None:
    request = SearchRequest(query="wheels", mode="text", as_of_ms=as_of_ms)
    with pytest.raises(ConfigurationError, match="which is not a time"):
        searched(request, SOURCE_ROWS, SPACE_ROWS)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (replace(TEXT, as_of_batch=7), "source 'peps' has no published batch 7"),
        (replace(TEXT, as_of_us=10**30), "as_of_us is 1000000000000000000000000000000, which is"),
    ],
)
def test_a_point_in_time_that_is_not_there(request_: SearchRequest, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        searched(request_, SOURCE_ROWS, SPACE_ROWS, [])


def test_a_batch_number_says_nothing_about_several_sources() -> None:
    rows = [
        *SOURCE_ROWS,
        Named(source="docs", digest="e", spec=replace(PEPS, source="docs").to_json()),
    ]
    with pytest.raises(ConfigurationError, match="a batch of one source; name the source"):
        searched(replace(TEXT, as_of_batch=7), rows, SPACE_ROWS)


@pytest.mark.parametrize("kind", [psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled])
def test_a_wait_that_takes_too_long_is_no_error_of_the_request(kind: type[Exception]) -> None:
    request = replace(TEXT, as_of_ms=1)
    with pytest.raises(DependencyError, match="could not be answered in time: busy; search again"):
        searched(request, SOURCE_ROWS, SPACE_ROWS, [], kind("busy"))


@pytest.mark.parametrize(
    "error", [Refused("as of 2999 lies in the future"), psycopg.DataError("invalid json")], ids=repr
)
def test_what_the_database_refuses_is_an_error_of_the_request(error: Exception) -> None:
    with pytest.raises(ConfigurationError, match=r"the search was refused: (as of|DataError)"):
        searched(TEXT, SOURCE_ROWS, SPACE_ROWS, error)


@pytest.mark.parametrize("before", [(), (SOURCE_ROWS,), (SOURCE_ROWS, SPACE_ROWS)])
def test_a_database_that_is_away_is_no_error_of_the_request(before: tuple[Any, ...]) -> None:
    with pytest.raises(DependencyError, match="connection lost"):
        searched(TEXT, *before, psycopg.OperationalError("connection lost"))
