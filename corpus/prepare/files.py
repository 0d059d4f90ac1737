"""The files of a prepared batch: what stands in which column. `corpus.publish.copy_in` copies them into the database in this order."""

from collections.abc import Iterable

import polars as pl

from corpus.chunk import Chunk

EVENT_SCHEMA = {
    "topic": pl.String,
    "partition": pl.Int32,
    "offset": pl.Int64,
    "outcome": pl.String,
    "reason": pl.String,
    "detail": pl.String,
    "document_id": pl.String,
    "timestamp_ms": pl.Int64,
    "key": pl.Binary,
    "value": pl.Binary,
    "headers": pl.String,
}
DOCUMENT_SCHEMA = {
    "document_id": pl.String,
    "topic": pl.String,
    "partition": pl.Int32,
    "offset": pl.Int64,
    "timestamp_ms": pl.Int64,
    "op": pl.String,
    "version": pl.Int64,
    "tombstone_offset": pl.Int64,
    "tombstone_floor": pl.Int64,
    "reuse_key": pl.Int64,
    "uri": pl.String,
    "title": pl.String,
    "content_type": pl.String,
    "metadata": pl.String,
    "acl": pl.List(pl.String),
    "event_at_ms": pl.Int64,
    "expires_at_ms": pl.Int64,
    "content_bytes": pl.Int64,
    "content_sha256": pl.Binary,
    "cleaned_sha256": pl.Binary,
    "raw_sha256": pl.Binary,
}
CHUNK_SCHEMA = {
    "document_id": pl.String,
    "ordinal": pl.Int32,
    "start": pl.Int32,
    "text_sha256": pl.Binary,
    "heading": pl.String,
    "token_count": pl.Int32,
    "truncated": pl.Boolean,
    "text": pl.String,
}
TEXT_SCHEMA = {"text_sha256": pl.Binary, "text": pl.String, "token_ids": pl.List(pl.Int32)}


def chunk_frame(chunks: Iterable[tuple[str, Chunk, int]], special_tokens: int) -> pl.DataFrame:
    """One row a chunk: (document id, chunk, ordinal)."""
    rows = [
        (
            document_id,
            ordinal,
            chunk.start,
            chunk.sha256(),
            chunk.heading,
            len(chunk.token_ids) + special_tokens,
            chunk.truncated,
            chunk.text,
        )
        for document_id, chunk, ordinal in chunks
    ]
    return pl.DataFrame(rows, schema=CHUNK_SCHEMA, orient="row")


def text_frame(unseen: Iterable[tuple[bytes, Chunk]]) -> pl.DataFrame:
    """One row a text that is to be embedded."""
    return pl.DataFrame(
        [(digest, chunk.text, list(chunk.token_ids)) for digest, chunk in unseen],
        schema=TEXT_SCHEMA,
        orient="row",
    )
