"""Prepare a batch: read its staged events, fold them, clean and split what really changed, find the texts to embed.

Nothing is written but staged files; whatever is taken from the corpus here is judged again by the publishing transaction.
"""

import hashlib
import io
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl
from psycopg_pool import ConnectionPool

from corpus.batch import BatchRef, PreparedBatch, PreparedFrom, PrepareRequest, StagedFile
from corpus.chunk import Chunk, text_sha256
from corpus.clean.blocks import CleanedDocument, CleaningFailure
from corpus.clean.cleaner import Cleaner, RawDocument
from corpus.database import Connection, database_errors_translated
from corpus.dead_letter import DeadLetterReason
from corpus.embed.spaces import Space, SpaceRegistry
from corpus.errors import ConfigurationError, StagedFileError
from corpus.prepare.files import DOCUMENT_SCHEMA, EVENT_SCHEMA, chunk_frame, text_frame
from corpus.prepare.fold import Fold, FoldedDocument, fold
from corpus.source import SourceSpec
from corpus.split.splitter import TooManyChunks, split
from corpus.sql import query
from corpus.staging.layout import batch_file_name
from corpus.staging.store import StagingStore

# (source specification, key, value, headers as JSON, hash of the content as staged) -> the content as received.
ContentReader = Callable[[SourceSpec, bytes | None, bytes, str, bytes], str]


@dataclass(frozen=True, slots=True)
class Head:
    """What the corpus holds of a document."""

    document_key: int
    version: int
    visible: bool
    expired: bool
    content_sha256: bytes | None
    cleaned_sha256: bytes | None
    pipeline: str
    space_id: int | None
    content_type: str | None


@dataclass(slots=True)
class _Work:
    """A batch while it is prepared."""

    spec: SourceSpec
    space: Space
    events: pl.DataFrame
    outcomes: list[str]
    reasons: list[str | None]
    details: list[str | None]
    starts: tuple[PreparedFrom, ...]
    documents: list[dict[str, Any]] = field(default_factory=list)
    chunks: list[tuple[str, Chunk, int]] = field(
        default_factory=list
    )  # document id, chunk, ordinal

    def dead_letter(self, row: int, reason: str, detail: str) -> None:
        """An event turned out to be of no use."""
        self.outcomes[row], self.reasons[row], self.details[row] = (
            "dead_letter",
            str(reason),
            detail,
        )


class Preparer:
    """The prepare step.

    Args:
        content_of: reads a document's content out of the record as it came; the format is the ingest package's business.
    """

    def __init__(
        self,
        *,
        store: StagingStore,
        pool: ConnectionPool[Connection],
        cleaner: Cleaner,
        spaces: SpaceRegistry,
        content_of: ContentReader,
    ) -> None:
        self._store = store
        self._pool = pool
        self._cleaner = cleaner
        self._spaces = spaces
        self._content_of = content_of

    def prepare(self, request: PrepareRequest) -> PreparedBatch:
        """Prepare one batch.

        1. read the staged events that the position rows do not cover yet
        2. fold them a document
        3. compare with the corpus: older versions and same bytes need no cleaning
        4. clean and split the rest; what fails becomes a dead letter
        5. find the texts that the embedding space has never seen
        6. write the files

        Raises:
            StagedFileError: a staged file is missing or altered and its range is not applied yet.
            ConfigurationError: the source is not in the database, its model cannot be had, or its format was changed under the batch.
            DependencyError: PostgreSQL or the staging store does not answer.
        """
        started = time.monotonic()
        with database_errors_translated(), self._pool.connection() as connection:
            spec = self._spec(connection, request.source)
            space = self._spaces.of(connection, spec.model, spec.prefix)
            events, starts = self._read(connection, request.refs)  # Step 1.
            work = _Work(
                spec=spec,
                space=space,
                events=events,
                outcomes=events["outcome"].to_list(),
                reasons=events["reason"].to_list(),
                details=events["detail"].to_list(),
                starts=starts,
            )
            folded = _fold_events(work)  # Step 2.
            heads = _heads(connection, request.source, list(folded.documents))  # Step 3.
        self._documents(work, folded, heads)  # Steps 3, 4.
        texts = _texts(work)
        with database_errors_translated(), self._pool.connection() as connection:
            unseen = _unseen(connection, work.space.space_id, texts)  # Step 5.
        return self._write(request, work, unseen, started)  # Step 6.

    def _spec(self, connection: Connection, source: str) -> SourceSpec:
        row = connection.execute(query("source_spec"), {"source": source}).fetchone()
        if row is None:
            raise ConfigurationError(
                f"source {source!r} is not in the database; run `freshet apply`"
            )
        return SourceSpec.from_json(row[0])

    # ── step 1 ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _read(
        self, connection: Connection, refs: Sequence[BatchRef]
    ) -> tuple[pl.DataFrame, tuple[PreparedFrom, ...]]:
        frames = []
        starts: dict[tuple[str, int], int] = {}
        for ref in refs:
            next_offset = _next_offset(connection, ref)
            place = (ref.topic, ref.partition)
            starts[place] = min(starts.get(place, sys.maxsize), max(next_offset, ref.first_offset))
            if ref.next_offset <= next_offset:
                continue  # applied already; its file may be gone
            try:
                content = self._store.get(ref)
            except StagedFileError:
                if ref.next_offset <= _next_offset(connection, ref):
                    continue  # applied, and its file removed, between the two looks
                raise
            frame = pl.read_parquet(io.BytesIO(content))
            frames.append(frame.filter(pl.col("offset") >= next_offset))
        found = tuple(
            PreparedFrom(topic=topic, partition=partition, offset=offset)
            for (topic, partition), offset in starts.items()
        )
        if not frames:
            return pl.DataFrame(
                schema={
                    "outcome": pl.String,
                    "reason": pl.String,
                    "detail": pl.String,
                    **EVENT_SCHEMA,
                }
            ), found
        # Two references may overlap after a consumer restarted: one row an offset.
        return pl.concat(frames).unique(["topic", "partition", "offset"], keep="first").sort(
            "topic", "partition", "offset"
        ), found

    # ── steps 3, 4 ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _documents(self, work: _Work, folded: Fold, heads: dict[str, Head]) -> None:
        waiting = dict(folded.documents)
        while waiting:
            unusable = self._check_floors(work, waiting)
            to_clean: list[tuple[str, FoldedDocument, Head | None]] = []
            for document_id, document in waiting.items():
                if document_id in unusable:
                    continue
                head = heads.get(document_id)
                row = document.winner
                if row is None or not _is_upsert(work, row) or _stale(document, head):
                    work.documents.append(_document_row(work, document_id, document))
                elif (
                    head is not None
                    and document.tombstone is None
                    and _same_content(work, row, head)
                ):
                    work.documents.append(_document_row(work, document_id, document, reuse=head))
                else:
                    to_clean.append((document_id, document, head))
            failed = unusable | self._clean_and_split(work, to_clean)
            # A document's next best event takes the place of one that cannot be used, as it would in a batch of its own.
            waiting = _fold_events(work, only=failed).documents if failed else {}

    def _check_floors(self, work: _Work, documents: dict[str, FoldedDocument]) -> set[str]:
        """A deleted version keeps older ones out only if it could have been there; else it is a dead letter, however batches are cut.

        Returns:
            The documents to fold anew.
        """
        floors = {
            document_id: document.floor
            for document_id, document in documents.items()
            if document.floor is not None
        }
        rows = {document_id: row for document_id, row in floors.items() if _is_upsert(work, row)}
        raw = [
            RawDocument(self._content(work, row), work.events["content_type"][row])
            for row in rows.values()
        ]
        failed: set[str] = set()
        for (document_id, row), result in zip(
            rows.items(), self._cleaner.clean(raw, work.spec.pipeline), strict=True
        ):
            if self._split(work, row, result) is None:
                failed.add(document_id)
        return failed

    def _split(
        self, work: _Work, row: int, result: CleanedDocument | CleaningFailure
    ) -> list[Chunk] | None:
        """The chunks of an event's content; None: it cannot be used, and is a dead letter now."""
        if isinstance(result, CleaningFailure):
            work.dead_letter(row, result.reason, result.detail)
            return None
        try:
            return split(result, work.space.tokenizer, work.spec.pipeline)
        except TooManyChunks as error:
            work.dead_letter(row, DeadLetterReason.TOO_MANY_CHUNKS, str(error))
            return None

    def _clean_and_split(
        self, work: _Work, to_clean: list[tuple[str, FoldedDocument, Head | None]]
    ) -> set[str]:
        """Clean, split, collect; returns the documents whose event became a dead letter."""
        types = work.events["content_type"] if to_clean else ()
        raw = [
            RawDocument(self._content(work, doc.winner or 0), types[doc.winner or 0])
            for _, doc, _ in to_clean
        ]
        failed: set[str] = set()
        for (document_id, document, head), result in zip(
            to_clean, self._cleaner.clean(raw, work.spec.pipeline), strict=True
        ):
            assert document.winner is not None
            digest = b"" if isinstance(result, CleaningFailure) else text_sha256(result.text)
            if (
                head is not None
                and document.tombstone is None
                and _same_meaning(work, document.winner, digest, head)
            ):
                work.documents.append(_document_row(work, document_id, document, reuse=head))
                continue
            chunks = self._split(work, document.winner, result)
            if chunks is None:
                failed.add(document_id)
                continue
            work.documents.append(_document_row(work, document_id, document, cleaned_sha256=digest))
            work.chunks.extend(
                (document_id, chunk, ordinal) for ordinal, chunk in enumerate(chunks)
            )
        return failed

    def _content(self, work: _Work, row: int) -> str:
        events = work.events
        return self._content_of(
            work.spec,
            events["key"][row],
            events["value"][row],
            events["headers"][row],
            events["content_sha256"][row],
        )

    # ── step 6 ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _write(
        self,
        request: PrepareRequest,
        work: _Work,
        unseen: list[tuple[bytes, Chunk]],
        started: float,
    ) -> PreparedBatch:
        def put(part: str, frame: pl.DataFrame) -> StagedFile:
            buffer = io.BytesIO()
            frame.write_parquet(buffer, compression="zstd", compression_level=1)
            content = buffer.getvalue()
            name = batch_file_name(
                request.source, request.batch, part, hashlib.sha256(content).hexdigest()
            )
            return self._store.put(name, content, rows=frame.height)

        return PreparedBatch(
            source=request.source,
            batch=request.batch,
            events=put("events", _event_frame(work)),
            documents=put(
                "documents", pl.DataFrame(work.documents, schema=DOCUMENT_SCHEMA, orient="row")
            ),
            chunks=put("chunks", chunk_frame(work.chunks, work.space.tokenizer.special_tokens)),
            texts=put("texts", text_frame(unseen)),
            model=work.spec.model,
            prefix=work.spec.prefix,
            space_id=work.space.space_id,
            space_fingerprint=work.space.fingerprint,
            pipeline=work.spec.pipeline.fingerprint(),
            starts=work.starts,
            prepared_ms=round((time.monotonic() - started) * 1000),
        )


def _next_offset(connection: Connection, ref: BatchRef) -> int:
    key = {
        "source": ref.source,
        "topic": ref.topic,
        "partition": ref.partition,
        "topic_id": ref.topic_id,
    }
    row = connection.execute(query("position_next_offset"), key).fetchone()
    return row[0] if row else 0


def _fold_events(work: _Work, *, only: set[str] | None = None) -> Fold:
    """Fold the usable events, of some documents only if asked, and note what lost."""
    events = work.events
    if events.is_empty():
        return Fold({}, [], [])
    ids, versions, raws = (
        events["document_id"].to_list(),
        events["version"].to_list(),
        events["raw_sha256"].to_list(),
    )
    usable = [
        row
        for row, outcome in enumerate(work.outcomes)
        if outcome not in ("dead_letter", "ignored") and (only is None or ids[row] in only)
    ]
    folded = fold((row, ids[row], versions[row], raws[row] or b"") for row in usable)
    for row in usable:
        work.outcomes[row] = "event"
    for row in folded.superseded:
        work.outcomes[row] = "superseded"
    for row in folded.repeated:
        work.outcomes[row] = "unchanged"
    return folded


def _heads(connection: Connection, source: str, document_ids: list[str]) -> dict[str, Head]:
    rows = connection.execute(
        query("document_heads"), {"source": source, "document_ids": document_ids}
    ).fetchall()
    return {row[0]: Head(*row[1:]) for row in rows}


def _is_upsert(work: _Work, row: int) -> bool:
    return work.events["op"][row] == "upsert"


def _stale(document: FoldedDocument, head: Head | None) -> bool:
    """Whether the fence will certainly refuse it: versions only rise, so what is stale now stays stale."""
    if head is None or document.winner_version > head.version:
        return False
    # Seen again after it expired: the same version may come back.
    return not (head.expired and document.winner_version == head.version)


def _same_content(work: _Work, row: int, head: Head) -> bool:
    return (
        head.visible
        and head.content_sha256 == work.events["content_sha256"][row]
        and head.content_type == work.events["content_type"][row]
        and head.pipeline == work.spec.pipeline.fingerprint()
        and head.space_id == work.space.space_id
    )


def _same_meaning(work: _Work, row: int, cleaned_sha256: bytes, head: Head) -> bool:
    """The format counts, too: the same text may have headings in one and none in another."""
    return (
        head.visible
        and head.cleaned_sha256 == cleaned_sha256
        and head.content_type == work.events["content_type"][row]
        and head.pipeline == work.spec.pipeline.fingerprint()
        and head.space_id == work.space.space_id
    )


def _document_row(
    work: _Work,
    document_id: str,
    document: FoldedDocument,
    *,
    reuse: Head | None = None,
    cleaned_sha256: bytes | None = None,
) -> dict[str, Any]:
    events = work.events
    row = document.winner if document.winner is not None else document.tombstone
    assert row is not None
    event = events.row(row, named=True)
    taken = {name: event[name] for name in DOCUMENT_SCHEMA if name in event}
    return taken | {
        "document_id": document_id,
        "op": event["op"] if document.winner is not None else None,
        "version": document.winner_version if document.winner is not None else None,
        "tombstone_offset": events["offset"][document.tombstone]
        if document.tombstone is not None
        else None,
        "tombstone_floor": document.tombstone_floor if document.tombstone is not None else None,
        "reuse_key": reuse.document_key if reuse else None,
        "cleaned_sha256": reuse.cleaned_sha256 if reuse else cleaned_sha256,
    }


def _texts(work: _Work) -> dict[bytes, Chunk]:
    return {chunk.sha256(): chunk for _, chunk, _ in work.chunks}


def _unseen(
    connection: Connection, space_id: int, texts: dict[bytes, Chunk]
) -> list[tuple[bytes, Chunk]]:
    if not texts:
        return []
    rows = connection.execute(
        query("embedded_texts"), {"space_id": space_id, "hashes": list(texts)}
    ).fetchall()
    seen = {bytes(row[0]) for row in rows}
    return [(digest, chunk) for digest, chunk in texts.items() if digest not in seen]


def _event_frame(work: _Work) -> pl.DataFrame:
    """One row an event; original bytes only where they are needed again: in dead letters."""
    if work.events.is_empty():
        return pl.DataFrame(schema=EVENT_SCHEMA)
    frame = work.events.with_columns(
        pl.Series("outcome", work.outcomes, pl.String),
        pl.Series("reason", work.reasons, pl.String),
        pl.Series("detail", work.details, pl.String),
    ).select(*EVENT_SCHEMA)
    dead = pl.col("outcome") == "dead_letter"
    return frame.with_columns(
        pl.when(dead).then(pl.col(name)).otherwise(None).alias(name)
        for name in ("key", "value", "headers")
    )
