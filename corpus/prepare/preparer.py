"""Prepare a batch: read its staged events, fold them, clean and split what changed, find the texts to embed.

Only staged files are written. What is read from the corpus here is judged again by the publishing transaction.
"""

import hashlib
import io
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial

import polars as pl
from polars.exceptions import PolarsError
from psycopg_pool import ConnectionPool

from corpus.batch import PreparedBatch, PreparedFrom, PrepareRequest, StagedFile
from corpus.chunk import Chunk
from corpus.clean.cleaner import Cleaner, RawDocument
from corpus.database import Connection, database_errors_translated
from corpus.dead_letter import DeadLetterReason
from corpus.embed.refused_texts import refused_texts
from corpus.embed.spaces import SpaceRegistry, registered
from corpus.errors import StagedFileError, TimeSliceUsedError
from corpus.limits.fair_queue import QueuedBatch
from corpus.preparation import preparation_rules
from corpus.prepare.candidates import (
    BatchState,
    Candidate,
    Documents,
    candidates_of,
    division_of,
)
from corpus.prepare.columns import Completion, RowReader
from corpus.prepare.events import (
    JudgedEvents,
    StagedEvents,
    read_staged_events,
)
from corpus.prepare.fetch_memory import copies_of_backfill
from corpus.prepare.files import (
    chunk_frame,
    document_frame,
    text_frame,
)
from corpus.prepare.heads import heads_of
from corpus.prepare.language import languages_of
from corpus.prepare.lookups import source_to_prepare, unseen_texts, without_refused
from corpus.prepare.outcome import add_prepared, groups_of, key_of
from corpus.prepare.references import FetchedReader, References
from corpus.prepare.time_slice import (
    SLICE_SECONDS,
    Noted,
    SliceOver,
    TimeSlice,
    read_results,
    results_frame,
)
from corpus.prepare.tries import Tries
from corpus.prepare.unchanged import complete, refuse_incomplete, with_values
from corpus.prepare.versions import (
    refuse_beyond,
    refuse_corrected,
    refuse_outranked,
    refuse_superseded,
)
from corpus.source import SourceSpec
from corpus.staging.bound import check_batch_file, check_refs
from corpus.staging.frames import to_parquet
from corpus.staging.layout import batch_file_name
from corpus.staging.store import StagingStore

# (source specification, key, value, headers as JSON, hash of the content as staged) -> the content as received.
ContentReader = Callable[[SourceSpec, bytes | None, bytes, str, bytes], str | bytes]


class Preparer:
    """The prepare step.

    Args:
        store: of the staged files.
        pool: of connections to PostgreSQL.
        cleaner: cleans documents in processes of its own.
        spaces: gives the embedding space of a model.
        content_of: reads a document's content from the record as it came. The package `ingest`, which knows the
            formats, provides it.
        read_row: reads a record of a source whose columns are kept (`corpus.prepare.unchanged`); None: there is none.
        read_fetched: says what the bytes are that were fetched for an event; None: nothing is fetched.
    """

    def __init__(
        self,
        *,
        store: StagingStore,
        pool: ConnectionPool[Connection],
        cleaner: Cleaner,
        spaces: SpaceRegistry,
        content_of: ContentReader,
        read_row: RowReader | None = None,
        read_fetched: FetchedReader | None = None,
    ) -> None:
        self._store = store
        self._pool = pool
        self._cleaner = cleaner
        self._spaces = spaces
        self._content_of = content_of
        self._read_row = read_row
        self._read_fetched = read_fetched

    def prepare(self, request: PrepareRequest) -> PreparedBatch:
        """Prepare one batch.

        1. read the staged events that the position rows do not cover yet; those that PostgreSQL refused when their
           batch was to be published are dead letters, and so are those whose versions are far beyond their source's
        2. fold them, per document
        3. compare with the corpus: older versions and same bytes need no cleaning
        4. clean and split the rest; an event that fails becomes a dead letter
        5. find the texts that the embedding space has never seen
        6. write the files

        Raises:
            StagedFileError: a reference is not one of the source; or its file is missing or altered, or is not what the
                reference says, and its range is not applied yet.
            ConfigurationError: the source is not in the database, its model is not available, or its format was
                changed after the batch was staged.
            DependencyError: PostgreSQL or the staging store does not answer.
            TimeSliceUsedError: only a part of the documents is prepared; the same request with `progress` continues.
        """
        started = time.monotonic()
        check_refs(request.refs, request.source)
        with database_errors_translated(), self._pool.connection() as connection:
            stored = source_to_prepare(connection, request.source)
            spec = SourceSpec.from_json(stored.spec)
            preparation = stored.rules(spec, again=request.again)
            space = self._spaces.of(connection, spec.model, spec.prefix, spec.context)
            staged = read_staged_events(
                connection, self._store, request.refs
            )  # Step 1.
            frame = without_refused(connection, staged.frame, request.refs)
            events, completion = self._whole_events(connection, spec, staged, frame)
            refuse_corrected(connection, request.source, events)
            highest = refuse_beyond(events, spec, stored.highest)
            documents = events.fold()  # Step 2.
            heads = heads_of(connection, request.source, list(documents))
            languages = languages_of(connection, spec)
            refused = refused_texts(connection, space.fingerprint)
        batch = BatchState(
            spec, space, events, heads, preparation, languages, refused, request.batch
        )
        self._equip(batch, request, completion, is_behind=staged.is_behind)
        part = TimeSlice(self._results_before(request), SLICE_SECONDS)
        try:
            self._judge(batch, documents, part)  # Steps 3, 4.
        except SliceOver:
            raise self._continue_later(request, part, len(documents)) from None
        refuse_superseded(events, spec)
        texts = {chunk.sha256(): chunk for _, _, chunk in batch.chunks}
        with database_errors_translated(), self._pool.connection() as connection:
            space_id = registered(connection, space.fingerprint)
            unseen = unseen_texts(connection, space_id, texts)  # Step 5.
        written = self._write(request, batch, unseen, staged.starts, started)  # Step 6.
        return replace(
            written,
            highest_known=highest.known,
            highest_accepted=highest.accepted,
            versions_beyond=highest.beyond,
        )

    def _equip(
        self,
        batch: BatchState,
        request: PrepareRequest,
        completion: Completion,
        *,
        is_behind: bool,
    ) -> None:
        batch.tries = Tries(self._pool, request)
        batch.read_row = self._read_row
        batch.completion = completion
        batch.is_behind = is_behind
        batch.again = request.again
        pipeline = batch.spec.pipeline
        asked = pipeline.newest_fingerprint()
        batch.preparation_of_copies = preparation_rules(pipeline, asked)

    def _whole_events(
        self,
        connection: Connection,
        spec: SourceSpec,
        staged: StagedEvents,
        frame: pl.DataFrame,
    ) -> tuple[JudgedEvents, Completion]:
        """The events, with what they leave out since it did not change."""
        copies = copies_of_backfill(connection, spec.source, frame)
        made = partial(
            JudgedEvents,
            topic_ids=staged.topic_ids,
            own_first=spec.own_first,
            copies=copies,
        )
        events = made(frame)
        if self._read_row is None or not spec.keeps_columns:
            return events, Completion()
        completion = complete(
            connection,
            events,
            spec,
            self._read_row,
            is_behind=staged.is_behind,
        )
        if completion.values:
            frame = with_values(frame, completion.values)
            events = made(frame)
        return events, completion

    # ── steps 3, 4 ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _judge(self, batch: BatchState, documents: Documents, part: TimeSlice) -> None:
        """Add every document to the batch, or make its events dead letters.

        Raises:
            SliceOver: the part's time is used up.
        """
        while documents:
            failed = refuse_outranked(batch.events, documents, batch.heads, batch.spec)
            for document_id in failed:
                del documents[document_id]
            failed |= refuse_incomplete(batch, documents)
            if self._read_fetched is not None:
                read = self._read_fetched
                references = References(self._pool, batch, read, self._prepare_some)
                failed |= references.judge(documents, part)
            candidates = candidates_of(batch, documents)
            failed |= self._prepare_some(batch, candidates, part)
            if not failed:
                return
            # A document's next best event replaces one that cannot be used, as it would in a batch of its own.
            documents = batch.events.fold(only=failed)

    def _prepare_some(
        self, batch: BatchState, candidates: Sequence[Candidate], part: TimeSlice
    ) -> set[str]:
        """As `_prepare_all`, or as `_one_by_one` after an attempt that ended badly."""
        tries = batch.tries
        if tries is not None and tries.is_careful:
            return self._one_by_one(batch, candidates, part, tries)
        return self._prepare_all(batch, candidates, part)

    def _one_by_one(
        self,
        batch: BatchState,
        candidates: Sequence[Candidate],
        part: TimeSlice,
        tries: Tries,
    ) -> set[str]:
        """As `_prepare_all`, with a note of each try; one that was begun too often is a dead letter."""
        failed: set[str] = set()
        waiting: list[Candidate] = []
        for candidate in candidates:
            why = tries.why_given_up(batch.events.position(candidate.row))
            if why:
                reason = DeadLetterReason.CLEANING_FAILED
                batch.events.dead_letter(candidate.row, reason, why)
                failed.add(candidate.document_id)
            else:
                waiting.append(candidate)
        positions = [batch.events.position(candidate.row) for candidate in waiting]

        def step(number: int) -> None:
            part.check()
            candidate = waiting[number]
            refused = self._prepare_all(batch, [candidate], part)
            failed.update(refused)

        tries.each(positions, step)
        return failed

    def _prepare_all(
        self, batch: BatchState, candidates: Sequence[Candidate], part: TimeSlice
    ) -> set[str]:
        """Prepare candidates and add them to the batch.

        Returns:
            Ids of the documents whose event became a dead letter.
        """
        self._clean_and_divide(batch, candidates, part)
        failed: set[str] = set()
        for candidate in candidates:
            result = part.prepared(key_of(batch, candidate))
            is_added = add_prepared(batch, candidate, result)
            if not is_added:
                failed.add(candidate.document_id)
        return failed

    def _clean_and_divide(
        self, batch: BatchState, candidates: Sequence[Candidate], part: TimeSlice
    ) -> None:
        """Prepare those of the candidates that no slice before has prepared."""
        new = [one for one in candidates if key_of(batch, one) not in part.results]
        for group in groups_of(batch, new):
            raw = [self._received(batch, one.row) for one in group]
            steps = [division_of(batch, one) for one in group]
            queued = QueuedBatch(batch.spec.source, batch.number, len(group))
            results = self._cleaner.clean_then(raw, batch.spec.pipeline, steps, queued)
            with closing(results):
                for candidate, result in zip(group, results, strict=True):
                    part.add(key_of(batch, candidate), result)
                    if candidate is not new[-1]:
                        part.check()

    def _received(self, batch: BatchState, row: int) -> RawDocument:
        if row in batch.contents:
            return batch.contents[row]
        content_type = batch.events.value("content_type", row)
        names = ("key", "value", "headers", "content_sha256")
        key, value, headers, digest = (batch.events.value(name, row) for name in names)
        known = batch.completion.known.get(row)
        if known is None or self._read_row is None:
            content = self._content_of(batch.spec, key, value, headers, digest)
        else:
            content = self._read_row(batch.spec, key, value, headers, known).content
        return RawDocument(content or "", content_type)

    def _continue_later(
        self, request: PrepareRequest, part: TimeSlice, documents: int
    ) -> TimeSliceUsedError:
        """Keep what is prepared; the error says where it is."""
        file = self._put(request, "progress", results_frame(part.results))
        prepared = part.documents
        return TimeSliceUsedError(
            f"{prepared:,} of about {documents:,} documents are prepared; the batch continues",
            details=(file,),
        )

    def _results_before(self, request: PrepareRequest) -> dict[str, Noted]:
        """What the parts before have prepared; it is prepared again where its file is gone, or is another version's."""
        progress = request.progress
        if progress is None:
            return {}
        check_batch_file(progress, request.source, request.batch, "progress")
        try:
            content = self._store.get(progress)
            return read_results(pl.read_parquet(io.BytesIO(content)))
        except (StagedFileError, LookupError, TypeError, ValueError, PolarsError):
            return {}

    # ── step 6 ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _write(
        self,
        request: PrepareRequest,
        batch: BatchState,
        unseen: dict[bytes, Chunk],
        starts: tuple[PreparedFrom, ...],
        started: float,
    ) -> PreparedBatch:
        special_tokens = batch.space.tokenizer.special_tokens
        return PreparedBatch(
            source=request.source,
            batch=request.batch,
            events=self._put(request, "events", batch.events.prepared()),
            documents=self._put(request, "documents", document_frame(batch.documents)),
            chunks=self._put(
                request, "chunks", chunk_frame(batch.chunks, special_tokens)
            ),
            texts=self._put(request, "texts", text_frame(unseen)),
            model=batch.spec.model,
            prefix=batch.spec.prefix,
            context=batch.spec.context,
            weight=batch.spec.weight,
            space_id=batch.space.space_id,
            space_fingerprint=batch.space.fingerprint,
            pipeline=batch.preparation.others.current,
            starts=starts,
            prepared_ms=round((time.monotonic() - started) * 1000),
        )

    def _put(
        self, request: PrepareRequest, part: str, frame: pl.DataFrame
    ) -> StagedFile:
        content = to_parquet(frame)
        digest = hashlib.sha256(content).hexdigest()
        name = batch_file_name(request.source, request.batch, part, digest)
        return self._store.put(name, content, rows=frame.height)
