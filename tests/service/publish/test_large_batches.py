"""What a batch costs follows its chunks: not their square, and not the tables, whatever plan a session keeps."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from corpus.embed.known_texts import known_texts
from corpus.publish.transaction import PublishTransaction
from corpus.sql import query
from tests.support.pipeline import LONG_TEXT, Pipeline, make_event
from tests.support.query_plans import rows_read

DOCUMENTS = 20


def documents(version: int, word: str = "Paragraph") -> list[dict[str, Any]]:
    """Documents of the same length, which share no text."""
    return [
        make_event(f"d{number}", version, LONG_TEXT.replace("Paragraph", f"{word} {number}."))
        for number in range(DOCUMENTS)
    ]


def nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes(part)


def rows_of(node: Mapping[str, Any]) -> float:
    """Rows that a node looked at."""
    dropped = node.get("Rows Removed by Filter", 0)
    return (node["Actual Rows"] + dropped) * node["Actual Loops"]


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, Any]]:
    """How the chunks of each batch were closed."""
    seen: list[Mapping[str, Any]] = []
    execute = PublishTransaction.execute

    def explained(self: PublishTransaction, name: str, **values: Any) -> int:
        if name != "close_chunks":
            return execute(self, name, **values)
        text = f"EXPLAIN (ANALYZE, FORMAT JSON) {query(name)}".encode()
        row = self.connection.execute(text, self._parameters(values)).fetchone()
        assert row is not None
        seen.append(row[0][0]["Plan"])
        return 0

    monkeypatch.setattr(PublishTransaction, "execute", explained)
    return seen


def test_each_chunk_is_compared_with_those_of_its_text_only(
    pipeline: Pipeline, plans: list[Mapping[str, Any]]
) -> None:
    report = pipeline.ingest(*documents(1))
    chunks = report.chunks_opened
    assert chunks > 10 * DOCUMENTS
    edited = documents(2)
    for event in edited:
        event["content"] += f"\n\nOne more paragraph of {event['id']}."
    pipeline.ingest(*edited)
    compared = sum(rows_of(node) for node in nodes(plans[-1]) if node["Node Type"] == "CTE Scan")
    assert chunks <= compared <= 3 * chunks  # read once by each of two lookups
    (visible,) = pipeline.connection.execute(
        "SELECT count(*) FROM freshet.chunk WHERE visible_to IS NULL"
    ).fetchone() or (0,)
    assert visible >= chunks


def test_chunks_that_stand_below_other_headings_are_closed_and_all_others_stay(
    pipeline: Pipeline,
) -> None:
    text = "# {0}\n\n" + "\n\n".join(f"Sentence {n} of the manual." * 30 for n in range(8))
    first = pipeline.ingest(
        make_event("a", 1, text.format("Sluices")), make_event("b", 1, text.format("Weirs"))
    )
    second = pipeline.ingest(make_event("a", 2, text.format("Gates")))
    assert second.chunks_opened == second.chunks_closed == first.chunks_opened // 2
    assert second.texts_embedded <= 1
    third = pipeline.ingest(make_event("a", 3, text.format("Gates") + "\n\nThe end."))
    assert third.chunks_closed <= 1


def test_known_texts_are_looked_up_by_a_plan_of_this_moment(pipeline: Pipeline) -> None:
    """PostgreSQL keeps the plan of a statement that a session repeats, also one of a corpus of one document."""
    pipeline.ingest(make_event("first", 1, "It registers the space."))
    connection = pipeline.connection
    (space,) = connection.execute("SELECT space_id FROM freshet.embedding_space").fetchone() or (0,)
    for _ in range(12):
        assert known_texts(connection, space, [b"0" * 32]) == set()
    pipeline.ingest(*documents(1))
    found = connection.execute("SELECT text_sha256 FROM freshet.chunk").fetchall()
    hashes = [row[0] for row in found]
    assert len(hashes) > 200
    with connection.transaction():
        before = rows_read(connection)
        assert known_texts(connection, space, hashes) == set(hashes)
        assert rows_read(connection) - before < 6 * len(hashes)
    kept = connection.execute("SELECT statement FROM pg_prepared_statements").fetchall()
    assert not [statement for (statement,) in kept if "AS wanted" in statement]
