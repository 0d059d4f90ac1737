"""A search as a reader: a source that is not granted to it is one that there is not, on every path."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from corpus.access.reader import Reader
from corpus.answer.search import search
from corpus.database import Connection
from corpus.errors import ConfigurationError, SpaceMismatchError
from corpus.service import DescribeRequest, SearchRequest
from corpus.source import SourceSpec
from tests.support.pipeline import Pipeline, make_event
from workers.roles.gateway import describe_as

NOBODY = Reader(name="team:nobody")
OWNER = replace(NOBODY, name="team:owner", sources=frozenset({"s"}))
GHOST = replace(NOBODY, name="team:ghost", sources=frozenset({"gone"}))
OTHER = replace(NOBODY, name="team:other", sources=frozenset({"s2"}))


@pytest.fixture
def filled(pipeline: Pipeline) -> Pipeline:
    """Source `s` with three documents about harbours; `s2` is configured, and in another space."""
    pipeline.ingest(*(make_event(f"d{n}", 1, f"harbour number {n}") for n in range(3)))
    other = SourceSpec(source="s2", topics=("t2",), prefix="other: ")
    _add(pipeline.connection, other)
    return pipeline


def _add(connection: Connection, spec: SourceSpec) -> None:
    from psycopg.types.json import Jsonb

    connection.execute(
        "INSERT INTO freshet.source (source, spec) VALUES (%s, %s)",
        (spec.source, Jsonb(spec.to_json())),
    )


def outcome(pipeline: Pipeline, reader: Reader, **fields: Any) -> tuple[int, str]:
    """The number of hits, or the words of the error."""
    request = SearchRequest(**({"query": "harbour", "k": 10} | fields))
    try:
        found = search(pipeline.connection, request, pipeline.embedder.of, reader=reader)
    except ConfigurationError as error:
        return -1, str(error)
    return len(found.hits), ""


def paths(pipeline: Pipeline) -> Iterator[dict[str, Any]]:
    """Every way to search: three modes, now, as of a batch and as of an instant."""
    row = pipeline.connection.execute(
        "SELECT (extract(epoch FROM published_at) * 1000000)::bigint FROM freshet.batch"
    ).fetchone()
    assert row is not None
    times: tuple[dict[str, Any], ...] = ({}, {"as_of_batch": 1}, {"as_of_us": int(row[0])})
    for mode, time in product(("text", "vector", "hybrid"), times):
        yield {"mode": mode} | time


def test_what_is_granted_is_found_on_every_path(filled: Pipeline) -> None:
    for path in paths(filled):
        assert outcome(filled, OWNER, **path) == (3, "")
        assert outcome(filled, OWNER, sources=("s",), **path) == (3, "")


def test_what_is_not_granted_is_what_does_not_exist(filled: Pipeline) -> None:
    for reader, path in product((NOBODY, GHOST, OTHER), paths(filled)):
        own = outcome(filled, reader, sources=("s",), **path)
        missing = outcome(filled, reader, sources=("x",), **path)
        assert own == (-1, "there is no source 's'; `freshet sources` lists them")
        assert missing == (-1, own[1].replace("'s'", "'x'"))
    for reader, path in product((NOBODY, GHOST), paths(filled)):
        assert outcome(filled, reader, **path) == (0, "")


def test_a_source_beside_a_granted_one_is_refused_as_missing(filled: Pipeline) -> None:
    for names in (("s", "s2"), ("s2", "s"), ("s", "x")):
        code, words = outcome(filled, OWNER, sources=names)
        assert code == -1
        assert (
            words == f"there is no source {min(set(names) - {'s'})!r}; `freshet sources` lists them"
        )


def test_a_space_that_is_not_granted_does_not_show(filled: Pipeline) -> None:
    """Sources of two spaces cannot be searched together; whoever is granted one of them learns nothing of the other."""
    both = replace(OWNER, sources=frozenset({"s", "s2"}))
    with pytest.raises(SpaceMismatchError, match="s2"):
        outcome(filled, both)
    assert outcome(filled, OWNER) == (3, "")


def test_a_description_is_of_granted_sources(filled: Pipeline) -> None:
    connection = filled.connection
    shown = describe_as(connection, OWNER, DescribeRequest(source="s"))
    assert shown is not None and shown.documents == 3
    for reader, source in product((NOBODY, GHOST, OTHER), ("s", "x")):
        assert describe_as(connection, reader, DescribeRequest(source=source)) is None


def test_whoever_logs_in_without_a_reader_searches_as_before(filled: Pipeline) -> None:
    assert len(filled.search("harbour", sources=("s",), k=10)) == 3
