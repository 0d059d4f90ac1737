"""Rows of the files of a prepared batch."""

import polars as pl

from corpus.chunk import Chunk
from corpus.prepare.events import JudgedEvents
from corpus.prepare.files import (
    DocumentChunk,
    chunk_frame,
    document_frame,
    document_row,
    text_frame,
)
from corpus.prepare.fold import FoldedDocument, Mark, Place
from corpus.prepare.heads import Head
from corpus.staging.frames import schema_of
from corpus.staging.layout import CHUNKS, DOCUMENTS, STAGED_EVENTS, TEXTS


def events(*rows: dict[str, object]) -> JudgedEvents:
    filled = [dict.fromkeys(schema_of(STAGED_EVENTS)) | row for row in rows]
    return JudgedEvents(pl.DataFrame(filled, schema=schema_of(STAGED_EVENTS), orient="row"))


UPSERT = {"offset": 7, "outcome": "event", "op": "upsert", "version": 3, "title": "T"}
TOMBSTONE = {"offset": 6, "outcome": "event", "op": "delete", "topic": "t"}


def test_a_document_carries_what_its_winner_says() -> None:
    document = FoldedDocument(
        winner=0, winner_version=3, first=Place(70, "t", 0, 7), written={"t/0/id": Mark(7, 70)}
    )
    row = document_row(events(UPSERT), "a", document, cleaned_sha256=b"c")
    assert list(row) == list(schema_of(DOCUMENTS))
    expected = {"document_id": "a", "op": "upsert", "version": 3, "title": "T", "offset": 7}
    order = {"first_record": '[70, "t", 0, 7]', "written": '{"t/0/id": [7, 70]}'}
    rest = {"cleaned_sha256": b"c", "is_again": False}
    assert row == dict.fromkeys(row) | expected | order | rest


DELETES = {"t/0/id": Mark(6, 60)}


def test_deletes_before_the_winner_are_beside_it() -> None:
    document = FoldedDocument(
        winner=1, winner_version=3, tombstone=0, written={"t/0/id": Mark(7, 70)}, deletes=DELETES
    )
    row = document_row(events(TOMBSTONE, UPSERT), "a", document)
    assert (row["version"], row["tombstone_topic"], row["tombstone_offset"]) == (3, "t", 6)
    assert (row["written"], row["deletes"]) == ('{"t/0/id": [7, 70]}', '{"t/0/id": [6, 60]}')
    assert row["tombstone_floor"] == -1


def test_the_version_before_reads_which_version_was_deleted() -> None:
    document = FoldedDocument(
        winner=1, winner_version=3, tombstone=0, written={"t/0/id": Mark(5, 50)}, deletes=DELETES
    )
    assert document_row(events(TOMBSTONE, UPSERT), "a", document)["tombstone_floor"] == 3


def test_a_tombstone_alone_has_neither_operation_nor_version() -> None:
    document = FoldedDocument(tombstone=0, deletes=DELETES)
    row = document_row(events(TOMBSTONE), "a", document)
    assert (row["op"], row["version"], row["written"], row["offset"]) == (None, None, None, 6)


def test_a_reused_version_gives_its_key_and_its_text() -> None:
    head = Head(
        document_id="a",
        document_key=17,
        version=2,
        visible=True,
        expired=False,
        content_sha256=b"content",
        cleaned_sha256=b"cleaned",
        pipeline="p",
        space_id=1,
        content_type=None,
    )
    document = FoldedDocument(winner=0, winner_version=3)
    row = document_row(events(UPSERT), "a", document, reused=head)
    assert (row["reuse_key"], row["cleaned_sha256"]) == (17, b"cleaned")


def test_frames_have_the_declared_columns() -> None:
    chunk = Chunk(start=3, text="text", token_ids=(1, 2), heading="H")
    truncated = Chunk(start=0, text="text", token_ids=(1,), truncated=True)
    chunks = chunk_frame([DocumentChunk("a", 0, chunk), DocumentChunk("a", 1, truncated)], 2)
    assert chunks.schema == schema_of(CHUNKS)
    assert chunks["token_count"].to_list() == [4, 3]
    assert chunks["text_sha256"].to_list() == [chunk.sha256(), truncated.sha256()]
    texts = text_frame({chunk.sha256(): chunk})
    assert texts.schema == schema_of(TEXTS)
    assert texts.rows() == [(chunk.sha256(), "text", [1, 2])]


def test_empty_frames_have_the_declared_columns() -> None:
    assert document_frame([]).schema == schema_of(DOCUMENTS)
    assert chunk_frame([], 2).schema == schema_of(CHUNKS)
    assert text_frame({}).schema == schema_of(TEXTS)
