"""The files of a prepared batch, as frames; their columns are declared in `corpus.staging.layout`."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import polars as pl

from corpus.chunk import Chunk
from corpus.clean.account import Account
from corpus.clean.parts import Part
from corpus.prepare.events import JudgedEvents
from corpus.prepare.fold import FoldedDocument, is_after
from corpus.prepare.heads import Head
from corpus.prepare.language import Language
from corpus.split.unknown import UnknownText
from corpus.staging.frames import schema_of
from corpus.staging.layout import CHUNKS, DOCUMENTS, TEXTS


class DocumentChunk(NamedTuple):
    """One occurrence of a chunk in a document."""

    document_id: str
    ordinal: int  # in reading order, from 0
    chunk: Chunk


def text_account(account: Account, unknown: UnknownText) -> dict[str, Any]:
    """The columns that say what became of a document's text.

    Args:
        account: of its cleaning.
        unknown: what the model reads of it, and what of that it does not know.
    """
    return {
        "received_characters": account.received,
        "kept_characters": account.kept,
        "dropped": json.dumps({str(rule): length for rule, length in account.dropped}),
        **text_notes(account),
        "tokens": unknown.tokens,
        "unknown_tokens": unknown.unknown_tokens,
        "unknown_characters": unknown.unknown_characters,
    }


def text_notes(account: Account) -> dict[str, Any]:
    """The column that says where a document's text is from."""
    return {"notes": json.dumps(account.notes.stated())}


def parts_json(parts: Sequence[Part]) -> str | None:
    """The column with the parts of a document; None: it has none."""
    if not parts:
        return None
    return json.dumps([asdict(part) for part in parts])


def document_row(
    events: JudgedEvents,
    document_id: str,
    document: FoldedDocument,
    *,
    reused: Head | None = None,
    cleaned_sha256: bytes | None = None,
    account: Mapping[str, Any] | None = None,
    language: Language | None = None,
    is_again: bool = False,
) -> dict[str, Any]:
    """One row of the documents file.

    Args:
        events: of the batch.
        document_id: of the document.
        document: what its events come to.
        reused: the version whose chunks stay as they are.
        cleaned_sha256: of the cleaned text, where the document was cleaned.
        account: from `text_account`; None: that of the version whose chunks stay. Or from `text_notes`: those are of
            this version.
        language: of its text, where it has one.
        is_again: whether the corpus has this version, of another preparation.
    """
    event = events.values(document.acting[-1])
    row = {column.name: event.get(column.name) for column in DOCUMENTS}
    row["document_id"] = document_id
    row["cleaned_sha256"] = cleaned_sha256
    row["is_again"] = is_again
    if document.winner is None:
        row["op"] = row["version"] = None
    else:
        row["first_record"] = json.dumps(document.first)
        row["written"] = json.dumps(document.written)
        row["expires_at_ms"] = document.expires_at_ms
        row["observed_at_ms"] = document.observed_at_ms
    if document.granting is not None:
        row["acl"] = events.value("acl", document.granting)
        row["grants"] = json.dumps(_grants(events, document))
    if document.tombstone is not None:
        row["deletes"] = json.dumps(document.deletes)
        is_deleted = is_after(document.deletes, document.written)
        row["tombstone_floor"] = document.winner_version if is_deleted else -1
        for name in ("topic", "partition", "offset"):
            row[f"tombstone_{name}"] = events.value(name, document.tombstone)
        row["tombstone"] = _tombstone(events, document)
    if reused is not None:
        row["reuse_key"] = reused.document_key
        row["cleaned_sha256"] = reused.cleaned_sha256
    row.update(account or {})
    if language is not None:
        row.update(language.columns())
    return row


def _tombstone(events: JudgedEvents, document: FoldedDocument) -> str | None:
    """Of several that name the same next document the first; an empty list: they say different things."""
    if not document.tombstones:
        return None
    first, *others = document.tombstones
    next_id = events.value("next_id", first.row)
    others_say = {events.value("next_id", other.row) for other in others}
    place = first.place
    said = [first.log, place.offset, place.record_version, next_id]
    is_one = not others or (next_id is not None and others_say == {next_id})
    return json.dumps(said if is_one else [])


def _grants(events: JudgedEvents, document: FoldedDocument) -> dict[str, list[Any]]:
    """As `freshet.document` has them: {log: [offset, record version, access list]}."""
    stated: dict[str, list[Any]] = {}
    for log, grant in document.grants.items():
        acl = events.value("acl", grant.row)
        names = None if acl is None else list(acl)
        stated[log] = [grant.offset, grant.record_version, names]
    return stated


def document_frame(rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """One row per document, from `document_row`."""
    return pl.DataFrame(list(rows), schema=schema_of(DOCUMENTS), orient="row")


def chunk_frame(chunks: Iterable[DocumentChunk], special_tokens: int) -> pl.DataFrame:
    """One row per occurrence of a chunk.

    Args:
        chunks: of the batch's documents.
        special_tokens: that the model adds to every text; they count as tokens of it.
    """
    rows = [
        {
            "document_id": document_id,
            "ordinal": ordinal,
            "start": chunk.start,
            "text_sha256": chunk.sha256(),
            "heading": chunk.heading,
            "token_count": len(chunk.model_ids) + special_tokens,
            "truncated": chunk.truncated,
            "part_name": chunk.part_name or None,
            "text": chunk.text,
        }
        for document_id, ordinal, chunk in chunks
    ]
    return pl.DataFrame(rows, schema=schema_of(CHUNKS), orient="row")


def text_frame(chunks: Mapping[bytes, Chunk]) -> pl.DataFrame:
    """One row per text that is to be embedded.

    Args:
        chunks: by `Chunk.sha256`.
    """
    rows = [
        {"text_sha256": digest, "text": chunk.text, "token_ids": list(chunk.model_ids)}
        for digest, chunk in chunks.items()
    ]
    return pl.DataFrame(rows, schema=schema_of(TEXTS), orient="row")
