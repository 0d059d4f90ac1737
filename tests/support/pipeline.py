"""All stages of a batch in one process, on a real database and without Kafka and Temporal.

The stages are stage, prepare, embed and publish.
"""

import itertools
import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from psycopg.types.json import Jsonb

from corpus.answer.search import search
from corpus.batch import (
    BatchInput,
    BatchRef,
    BatchReport,
    Correct,
    EmbedRequest,
    Erase,
    Expire,
    Ingest,
    PreparedBatch,
    PrepareRequest,
    PublishRequest,
)
from corpus.clean.cleaner import Cleaner
from corpus.database import connect, open_pool
from corpus.disclosure.key_ring import KeyRing
from corpus.embed.spaces import SpaceRegistry
from corpus.embed.step import EmbedStep
from corpus.errors import MissingVectorError, StalePreparationError
from corpus.prepare.preparer import Preparer
from corpus.publish.publisher import Publisher
from corpus.service import SearchHit, SearchRequest
from corpus.source import FreshnessSpec, SourceSpec
from corpus.sql import query
from corpus.staging.sealing import Sealing
from corpus.staging.store import StagingStore
from corpus.versions.truncation import Truncation
from ingest.decode.references import fetched_content
from ingest.decode.staged_content import content_of, read_row
from ingest.event import KafkaRecord
from ingest.stage import OffsetRange, Withhold, stage
from tests.support.fakes import HashEmbedder

NOW_MS = 1_780_000_000_000
Event = dict[str, Any]


def make_event(
    document_id: str, version: int | None = None, content: str | None = None, **other: Any
) -> Event:
    """An upsert, or a delete where `op="delete"`."""
    event: Event = {
        "id": document_id,
        "op": "upsert",
        "title": document_id.title(),
        "content_type": "text/markdown",
        **other,
    }
    if version is not None:
        event["version"] = version
    if content is not None:
        event["content"] = content
    return event


# Paragraphs that make several chunks; an edit of one leaves the others as they are.
LONG_TEXT = "\n\n".join(
    f"Paragraph {n}: " + "the gauging station at the weir recorded a level. " * 12
    for n in range(30)
)


def tombstone(document_id: str) -> KafkaRecord:
    """A Kafka tombstone: a deletion without a version."""
    return KafkaRecord(
        topic="", partition=0, offset=0, timestamp_ms=NOW_MS, key=document_id.encode(), value=None
    )


def with_time(record: KafkaRecord, timestamp_ms: int) -> KafkaRecord:
    """The record with another time."""
    return replace(record, timestamp_ms=timestamp_ms)


class Pipeline:
    """One source's corpus, driven by hand. Use it in a `with` statement."""

    def __init__(
        self,
        database_url: str,
        folder: Path,
        *,
        source: str = "s",
        cleaner: Cleaner | None = None,
        embedder: Any = None,
        payload_keys: dict[str, bytes] | None = None,
        **spec: Any,
    ) -> None:
        self.database_url = database_url
        self.spec = SourceSpec(source=source, topics=(source,), **spec)
        self.embedder = embedder or HashEmbedder()
        self._own_cleaner = cleaner is None
        self.cleaner = cleaner or Cleaner(processes=1)
        self.key_pool = open_pool(database_url, size=1)
        sealing = Sealing(self.key_pool, KeyRing(payload_keys)) if payload_keys else None
        self.store = StagingStore(folder.as_uri(), sealing)
        self.pool = open_pool(database_url, size=4)
        self.connection = connect(database_url)
        self.preparer = Preparer(
            store=self.store,
            pool=self.pool,
            cleaner=self.cleaner,
            spaces=SpaceRegistry(),
            content_of=content_of,
            read_row=read_row,
            read_fetched=fetched_content,
        )
        self.embed_step = EmbedStep(
            store=self.store, pool=self.pool, embedder_of=self.embedder.with_fingerprint, shard=64
        )
        self.publisher = Publisher(store=self.store, pool=self.pool)
        self.topic_id = "topic-id"
        self.next_offset: dict[int, int] = {}
        self._numbers = itertools.count(1)
        self._last: KafkaRecord | None = None  # that was staged
        self.decisions: Sequence[Truncation] = ()  # about truncated tables
        self.configure()

    def __enter__(self) -> "Pipeline":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.connection.close()
        self.pool.close()
        self.key_pool.close()
        if self._own_cleaner:
            self.cleaner.__exit__(kind, error, trace)

    def configure(self) -> None:
        """Write the source's row and one position row, as `apply` and the consumer do."""
        self.connection.execute(
            """INSERT INTO freshet.source (source, spec) VALUES (%s, %s)
               ON CONFLICT (source) DO UPDATE SET spec = excluded.spec""",
            (self.spec.source, Jsonb(self.spec.to_json())),
        )
        self.position(0)

    def position(self, partition: int) -> int:
        """The position row's next offset; the row is made where it is missing."""
        self.connection.execute(
            "INSERT INTO freshet.source_position VALUES (%s, 'cluster', %s, %s, %s, 0) ON CONFLICT DO NOTHING",
            (self.spec.source, self.spec.source, self.topic_id, partition),
        )
        row = self.connection.execute(
            "SELECT next_offset FROM freshet.source_position WHERE source = %s AND partition = %s",
            (self.spec.source, partition),
        ).fetchone()
        assert row is not None
        return int(row[0])

    def recreate_topic(self) -> None:
        """The topic was made anew, and an operator accepted the gap (`freshet source resume NAME --skip-gap`)."""
        self.topic_id += "-anew"
        self.next_offset.clear()
        self.connection.execute(
            "UPDATE freshet.source_position SET topic_id = %s, next_offset = 0 WHERE source = %s",
            (self.topic_id, self.spec.source),
        )
        self.connection.execute(
            "UPDATE freshet.source SET epoch = epoch + 1 WHERE source = %s", (self.spec.source,)
        )

    # ── the steps ───────────────────────────────────────────────────────────────────────────────────────────────────

    def records(
        self,
        events: Iterable[Event | KafkaRecord | bytes | None],
        *,
        partition: int = 0,
        first_offset: int | None = None,
    ) -> list[KafkaRecord]:
        """Kafka records, at the end of the partition or from an offset."""
        offset = self.next_offset.get(partition, 0) if first_offset is None else first_offset
        made = []
        for event in events:
            if isinstance(event, KafkaRecord):
                record = KafkaRecord(
                    topic=self.spec.source,
                    partition=partition,
                    offset=offset,
                    timestamp_ms=event.timestamp_ms,
                    key=event.key,
                    value=event.value,
                    headers=event.headers,
                )
            else:
                key = event["id"].encode() if isinstance(event, dict) else None
                value = json.dumps(event).encode() if isinstance(event, dict) else event
                record = KafkaRecord(
                    topic=self.spec.source,
                    partition=partition,
                    offset=offset,
                    timestamp_ms=NOW_MS + offset,
                    key=key,
                    value=value,
                )
            made.append(record)
            offset += 1
        self.next_offset[partition] = max(self.next_offset.get(partition, 0), offset)
        return made

    def stage(
        self,
        records: Sequence[KafkaRecord],
        *,
        first_offset: int | None = None,
        next_offset: int | None = None,
        backfill: int = 0,
        withhold: Withhold | None = None,
    ) -> BatchRef:
        """Stage records of one partition; those of a backfill are read again."""
        self.position(records[0].partition)
        offsets = OffsetRange(
            cluster_id="cluster",
            topic=self.spec.source,
            topic_id=self.topic_id,
            partition=records[0].partition,
            first_offset=records[0].offset if first_offset is None else first_offset,
            next_offset=records[-1].offset + 1 if next_offset is None else next_offset,
            backfill=backfill,
        )
        before, self._last = self._last, records[-1]
        read = (before, self.decisions, withhold)
        return stage(records, self.spec, offsets, self.store, *read)

    def prepare(self, refs: Sequence[BatchRef], number: int) -> PreparedBatch:
        """The prepare step."""
        return self.preparer.prepare(
            PrepareRequest(source=self.spec.source, batch=number, refs=tuple(refs))
        )

    def embed(self, prepared: PreparedBatch) -> int:
        """The embed step; returns texts embedded."""
        request = EmbedRequest(
            source=prepared.source,
            batch=prepared.batch,
            texts=prepared.texts,
            model=prepared.model,
            prefix=prepared.prefix,
            space_id=prepared.space_id,
            space_fingerprint=prepared.space_fingerprint,
            context=prepared.context,
        )
        return self.embed_step.embed(request).embedded

    def publish(
        self, refs: Sequence[BatchRef], prepared: PreparedBatch, number: int, *, run_id: str = ""
    ) -> BatchReport:
        """The publish step."""
        batch = BatchInput.of(
            Ingest(refs=tuple(refs)), source=self.spec.source, batch=number, first_in_line=True
        )
        request = PublishRequest(
            batch=batch,
            prepared=prepared,
            workflow_id=f"batch:{number}",
            run_id=run_id or uuid.uuid4().hex,
        )
        return self.publisher.publish(request)

    def number(self) -> int:
        """The next batch's number."""
        return next(self._numbers)

    def run(self, *refs: BatchRef) -> BatchReport:
        """A batch from its references to the moment readers see it, healed as BatchWorkflow does."""
        number = self.number()
        while True:
            prepared = self.prepare(refs, number)
            self.embed(prepared)
            try:
                return self.publish(refs, prepared, number)
            except (StalePreparationError, MissingVectorError):
                continue

    def ingest(
        self, *events: Event | KafkaRecord | bytes | None, partition: int = 0
    ) -> BatchReport:
        """Events, at the end of a partition, as one batch."""
        return self.run(self.stage(self.records(events, partition=partition)))

    def expire(self, *, after_seconds: int | None = None, max_ratio: float = 1.0) -> BatchReport:
        """Expire what is overdue."""
        self.spec = replace(
            self.spec,
            freshness=FreshnessSpec(expire_after_seconds=after_seconds, max_expiry_ratio=max_ratio),
        )
        self.configure()
        number = self.number()
        order = Expire(
            request_id=str(number),
            rule=f"expire_after={after_seconds}s",
            expire_after_seconds=after_seconds,
            max_ratio=max_ratio,
        )
        return self._carry_out(order, number)

    def correct(self, document_id: str, old_version: int, new_version: int) -> BatchReport:
        """Give a document another version."""
        order = Correct(
            document_id=document_id,
            old_version=old_version,
            new_version=new_version,
            reason="a mistake",
            requested_by="op@machine",
        )
        return self._carry_out(order, self.number())

    def order_erasure(self, *document_ids: str, dead_letters: Sequence[int] = ()) -> Erase:
        """Write an order to erase, as the command does."""
        values = {
            "source": self.spec.source,
            "document_ids": sorted(document_ids),
            "dead_letters": list(dead_letters),
            "reason": "a request",
            "requested_by": "op@machine",
            "out_of_reach": "[]",
        }
        row = self.connection.execute(query("request_erasure"), values).fetchone()
        assert row is not None
        return Erase(erasure=row[0])

    def erase(self, *document_ids: str) -> BatchReport:
        """Erase documents."""
        return self.carry_out(self.order_erasure(*document_ids))

    def carry_out(self, order: Expire | Correct | Erase) -> BatchReport:
        """An order that has nothing to prepare, as the next batch."""
        return self._carry_out(order, self.number())

    def _carry_out(self, order: Expire | Correct | Erase, number: int) -> BatchReport:
        batch = BatchInput.of(order, source=self.spec.source, batch=number, first_in_line=True)
        return self.publisher.publish(
            PublishRequest(
                batch=batch, prepared=None, workflow_id=f"batch:{number}", run_id=uuid.uuid4().hex
            )
        )

    # ── looks ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def search(self, text: str, **request: Any) -> tuple[SearchHit, ...]:
        """Search this corpus."""
        return search(self.connection, SearchRequest(query=text, **request), self.embedder.of).hits

    def texts(self) -> dict[str, str]:
        """The text of every visible document, by its id."""
        return {document: text for document, (_, text) in self.visible().items()}

    def visible(self) -> dict[str, tuple[int, str]]:
        """Document id -> (version, its chunks' texts joined), as readers see it."""
        rows = self.connection.execute(
            """SELECT d.document_id, d.version, coalesce(string_agg(c.text, E'\\n' ORDER BY place.n), '')
               FROM freshet.document d LEFT JOIN unnest(d.chunk_ids) WITH ORDINALITY AS place (chunk_id, n) ON true
               LEFT JOIN freshet.chunk c ON c.chunk_id = place.chunk_id AND c.visible_to IS NULL
               WHERE d.visible_to IS NULL AND d.source = %s GROUP BY d.document_id, d.version""",
            (self.spec.source,),
        ).fetchall()
        return {row[0]: (row[1], row[2]) for row in rows}

    def wrongly_indexed(self) -> list[tuple[Any, ...]]:
        """Chunks in another language than their document version, with other terms, or not visible with it."""
        return self.connection.execute(
            """SELECT d.document_id, d.version, d.language, c.language
               FROM freshet.document d JOIN freshet.chunk c ON c.chunk_id = ANY(d.chunk_ids)
               WHERE freshet.language_of(d) <> coalesce(c.language, 'english')
                  OR c.search_text <> freshet.search_text(freshet.language_of(d)::regconfig, c.text, c.headings)
                  OR (d.visible_to IS NULL AND c.visible_to IS NOT NULL)"""
        ).fetchall()
