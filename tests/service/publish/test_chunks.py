"""What a batch writes of its documents: chunks, vectors, headings."""

import hashlib
from dataclasses import replace
from pathlib import Path

from corpus.clean.cleaner import Cleaner
from corpus.preparation import PreparationSpec
from tests.support.pipeline import LONG_TEXT, Pipeline, make_event


def test_a_document_is_found(pipeline: Pipeline) -> None:
    report = pipeline.ingest(
        make_event("a", 1, "# Sluices\n\nHow the sluices are opened in spring.")
    )
    assert (report.records, report.applied, report.chunks_opened) == (1, 1, 1)
    hit = pipeline.search("sluices opened in spring", k=1)[0]
    assert (
        hit.document_id,
        hit.version,
        hit.batch,
        hit.topic,
        hit.partition,
        hit.offset,
        hit.position,
    ) == ("a", 1, 1, "s", 0, 0, 0)
    assert hit.observed_at_ms is not None


def test_an_edit_touches_only_its_chunks(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event("a", 1, LONG_TEXT))
    report = pipeline.ingest(
        make_event("a", 2, LONG_TEXT.replace("Paragraph 15:", "Paragraph 15, amended:"))
    )
    assert 1 <= report.chunks_opened <= 3
    assert report.chunks_reused > 10
    assert report.texts_embedded == report.chunks_opened
    assert pipeline.visible()["a"][0] == 2
    assert "15, amended" in pipeline.visible()["a"][1]


def test_nothing_is_embedded_when_only_the_title_changes(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event("a", 1, LONG_TEXT))
    report = pipeline.ingest(make_event("a", 2, LONG_TEXT, title="Another"))
    assert (report.applied, report.texts_embedded, report.chunks_opened, report.chunks_closed) == (
        1,
        0,
        0,
        0,
    )
    assert pipeline.search("gauging station", k=1)[0].title == "Another"


def test_a_text_is_embedded_once_across_documents_and_sources(
    pipeline: Pipeline, database_url: str, tmp_path: Path, cleaner: Cleaner
) -> None:
    pipeline.ingest(make_event("a", 1, LONG_TEXT))
    with Pipeline(
        database_url, tmp_path, source="other", cleaner=cleaner, embedder=pipeline.embedder
    ) as other:
        assert other.ingest(make_event("copy", 1, LONG_TEXT)).texts_embedded == 0
    assert max(pipeline.embedder.embedded.values()) == 1


def test_a_chunk_beyond_what_text_search_holds_is_published(pipeline: Pipeline) -> None:
    """A tsvector ends at 1 MB; with `chunker = "whole"` a chunk does not."""
    pipeline.spec = replace(pipeline.spec, pipeline=PreparationSpec(chunker="whole"))
    pipeline.configure()
    words = " ".join(hashlib.sha256(str(n).encode()).hexdigest()[:12] for n in range(120_000))
    report = pipeline.ingest(
        make_event("small", 1, "fine"), make_event("large", 1, f"zanclean {words}")
    )
    assert (report.applied, report.dead_lettered) == (2, 0)
    assert [hit.document_id for hit in pipeline.search("zanclean", mode="text")] == ["large"]


def test_a_text_that_was_embedded_in_part_is_embedded_anew_in_whole(pipeline: Pipeline) -> None:
    text = " ".join(f"word{n} river" for n in range(60))
    for limit, truncated in ((16, True), (None, False)):
        pipeline.spec = replace(
            pipeline.spec, pipeline=PreparationSpec(chunker="whole", max_tokens=limit)
        )
        pipeline.configure()
        assert pipeline.ingest(make_event("a", 1 if truncated else 2, text)).texts_embedded == 1
        row = pipeline.connection.execute(
            "SELECT truncated, token_count FROM freshet.chunk WHERE visible_to IS NULL"
        ).fetchall()
        assert [found[0] for found in row] == [truncated]
        assert (row[0][1] == 16) is truncated


def test_the_same_text_in_another_format_gets_its_headings(pipeline: Pipeline) -> None:
    body = "# Sluices\n\nHow the sluices are opened in spring.\n\n" + "The weir holds. " * 200
    pipeline.ingest(make_event("a", 1, body, content_type="text/plain"))
    pipeline.ingest(make_event("a", 2, body, content_type="text/markdown"))
    pipeline.ingest(make_event("b", 2, body, content_type="text/markdown"))
    rows = pipeline.connection.execute(
        "SELECT chunk_headings, chunk_starts FROM freshet.document WHERE visible_to IS NULL"
    ).fetchall()
    assert rows[0] == rows[1]
    assert rows[0][0][-1] == "Sluices"
