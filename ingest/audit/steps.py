"""The steps of an audit that need the source's records: its beginning, the replay, the comparison, the sample of texts.

A step is a function of its cursor and of what is in the database, and may be repeated: what an earlier attempt wrote
is replaced, or stays.
"""

import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from psycopg.rows import namedtuple_row
from psycopg_pool import ConnectionPool

from corpus.audit import documents, ledger, samples, store
from corpus.audit.audit import (
    AuditCursor,
    AuditedPartition,
    Phase,
    after,
    counted,
)
from corpus.audit.samples import SampledDocument, fraction_of
from corpus.audit.store import AuditRow
from corpus.clean.blocks import CleanedDocument, CleaningFailure
from corpus.clean.cleaner import Cleaner, RawDocument
from corpus.database import Connection, database_errors_translated, fetch_all
from corpus.embed.spaces import registered
from corpus.embed.tokenizer import load_tokenizer, read_embedding_spec
from corpus.errors import ConfigurationError
from corpus.source import SourceSpec
from ingest.audit.replay import LogReader, Page, keep
from ingest.consume.partition_state import PartitionLog
from ingest.decode.staged_content import content_of
from ingest.kafka import PartitionKey
from ingest.stage import headers_json

# The logs of some partitions, as Kafka describes them now.
LogsOf = Callable[[Sequence[PartitionKey]], Mapping[PartitionKey, PartitionLog]]
# Those of some topics that are compacted and lose no record otherwise.
Compacted = Callable[[Collection[str]], Collection[str]]
OpenReader = Callable[[], AbstractContextManager[LogReader]]
# Sampled records that one step reads, each by itself.
_SAMPLE_PAGE = 200


@dataclass(frozen=True, slots=True)
class _Place:
    """A record of a sample."""

    partition: AuditedPartition
    offset: int


class AuditSteps:
    """Every phase up to the sample of texts, and the sample of searches.

    Args:
        pool: of connections to PostgreSQL.
        logs_of: asks Kafka for logs.
        open_reader: opens a reader of them.
        cleaner: cleans documents in processes of its own.
        compacted: asks Kafka which topics are compacted only.
    """

    def __init__(
        self,
        *,
        pool: ConnectionPool[Connection],
        logs_of: LogsOf,
        open_reader: OpenReader,
        cleaner: Cleaner,
        compacted: Compacted,
    ) -> None:
        self._pool = pool
        self._logs_of = logs_of
        self._open_reader = open_reader
        self._cleaner = cleaner
        self._compacted = compacted
        self._steps: dict[Phase, Callable[[Connection, AuditCursor], AuditCursor]] = {
            Phase.BEGIN: self._begin,
            Phase.REPLAY: self._replay,
            Phase.DOCUMENTS: self._documents,
            Phase.LEDGER: self._ledger,
            Phase.TEXTS: self._texts,
            Phase.SEARCH: self._search,
        }

    def step(self, cursor: AuditCursor) -> AuditCursor:
        """Do what is next, and show it.

        Raises:
            ConfigurationError: there is no such source, or its model is not available.
            UnreadableSpecError: its specification cannot be read.
            DependencyError: PostgreSQL or Kafka does not answer.
        """
        with database_errors_translated(), self._pool.connection() as connection:
            moved = self._steps[cursor.phase](connection, cursor)
            store.note(connection, moved)
        return moved

    # ── begin ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _begin(self, connection: Connection, cursor: AuditCursor) -> AuditCursor:
        """Take a number, and note the published position, which bounds what is judged."""
        order = cursor.order
        source = store.audited_source(connection, order.source)
        audit = order.audit or store.begin(
            connection, order, workflow_id=cursor.workflow_id, run_id=cursor.run_id
        )
        cursor = replace(cursor, audit=audit)
        store.end_others(connection, order.source, audit)
        spec = SourceSpec.from_json(source.spec)
        if spec.own_first:
            raise ConfigurationError(
                f'source {order.source!r} has version_rule = "own", which an audit does not judge yet: it would take '
                "versions made of records for newer ones"
            )
        # One snapshot: the newest batch is the one that the positions include.
        with store.one_snapshot(connection):
            source = store.audited_source(connection, order.source)
            positions = store.published_positions(connection, order.source)
        read = [position for position in positions if position.topic in spec.topics]
        logs = self._logs_of(
            [PartitionKey(position.topic, position.partition) for position in read]
        )
        partitions = [
            partition
            for position in read
            if (partition := _audited(position, logs)) is not None
        ]
        store.describe(connection, cursor, source, partitions)
        counts = {"partitions": len(partitions), "visible": source.documents}
        return replace(cursor, phase=Phase.REPLAY, counts=counts)

    # ── replay ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _replay(self, connection: Connection, cursor: AuditCursor) -> AuditCursor:
        row = store.row_of(connection, cursor.audit)
        if not cursor.is_full:
            return self._replay_sample(connection, cursor, row)
        partitions = row.partitions
        if cursor.partition >= len(partitions):
            return self._replayed(connection, cursor, row)
        partition = partitions[cursor.partition]
        offset = max(cursor.offset, partition.first_offset)
        if offset >= partition.next_offset:
            return replace(cursor, partition=cursor.partition + 1, offset=-1, cost=0)
        with self._open_reader() as reader:
            page = reader.read(partition, offset)
        other = self._keep(connection, row, partition, page)
        read = len(page.records)
        counts = counted(cursor.counts, records=read, other_keys=other)
        return replace(cursor, offset=page.next_offset, cost=read, counts=counts)

    def _keep(
        self,
        connection: Connection,
        row: AuditRow,
        partition: AuditedPartition,
        page: Page,
    ) -> int:
        now_ms = time.time_ns() // 1_000_000
        spec = row.readable()
        return keep(connection, row.audit, spec, partition, page, now_ms=now_ms)

    def _replayed(
        self, connection: Connection, cursor: AuditCursor, row: AuditRow
    ) -> AuditCursor:
        """Note which logs have all records that the ledger counts: only they prove that a record never was."""
        values = {
            "source": row.source,
            "audit": row.audit,
            "last_batch": row.last_batch,
        }
        found: list[Any] = fetch_all(
            connection, namedtuple_row, "audit_lossy_partitions", values
        )
        lossy = {(one.topic, one.partition) for one in found}
        topics = {one.topic for one in row.partitions}
        compacted: Collection[str] = ()
        if not cursor.counts.get("other_keys"):
            compacted = self._compacted(topics)
        partitions = [
            replace(
                one,
                is_complete=(one.topic, one.partition) not in lossy,
                is_compacted=one.topic in compacted,
            )
            for one in row.partitions
        ]
        store.keep_positions(connection, row.audit, partitions)
        return _next_phase(cursor)

    def _replay_sample(
        self, connection: Connection, cursor: AuditCursor, row: AuditRow
    ) -> AuditCursor:
        """Read records of a sample: some of each log, and those that the documents of the sample name."""
        places = self._sample(connection, cursor, row)
        begun = max(cursor.offset, 0)
        some = places[begun : begun + _SAMPLE_PAGE]
        if not some:
            return _next_phase(cursor)
        with self._open_reader() as reader:
            for place in some:
                end = replace(place.partition, next_offset=place.offset + 1)
                page = reader.read(end, place.offset, limit=1)
                self._keep(connection, row, place.partition, page)
        counts = {**cursor.counts, "records": begun + len(some)}
        offset = begun + len(some)
        return replace(cursor, offset=offset, cost=len(some), counts=counts)

    def _sample(
        self, connection: Connection, cursor: AuditCursor, row: AuditRow
    ) -> list[_Place]:
        """The same for each step of an audit."""
        values = {
            "source": row.source,
            "audit": row.audit,
            "fraction": _fraction(cursor),
        }
        partitions = {(one.topic, one.partition): one for one in row.partitions}
        named: list[Any] = fetch_all(
            connection, namedtuple_row, "sample_records", values
        )
        places = set(_random_places(row))
        for one in named:
            partition = partitions.get((one.topic, one.partition))
            if partition is not None:
                places.add(_Place(partition, one.record_offset))
        usable = [place for place in places if _is_covered(place)]
        return sorted(
            usable,
            key=lambda one: (one.partition.topic, one.partition.partition, one.offset),
        )

    # ── comparing ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _documents(self, connection: Connection, cursor: AuditCursor) -> AuditCursor:
        row = store.row_of(connection, cursor.audit)
        is_lost = cursor.counts.get("records") and not store.has_records(
            connection, cursor.audit
        )
        if is_lost:  # the server crashed: read them again
            counts = {**cursor.counts, "records": 0}
            return replace(
                cursor,
                phase=Phase.REPLAY,
                partition=0,
                offset=-1,
                after="",
                counts=counts,
            )
        moved = documents.next_page(
            connection,
            cursor,
            row,
            space_id=_space_of(connection, row.readable()),
            fraction=_fraction(cursor),
        )
        return moved if moved.after else _next_phase(moved)

    def _ledger(self, connection: Connection, cursor: AuditCursor) -> AuditCursor:
        row = store.row_of(connection, cursor.audit)
        return _next_phase(ledger.check_ledger(connection, cursor, row))

    def _search(self, connection: Connection, cursor: AuditCursor) -> AuditCursor:
        row = store.row_of(connection, cursor.audit)
        moved = samples.search_next(connection, cursor, row, deep_fraction(cursor))
        return moved if moved.after else _next_phase(moved)

    def _texts(self, connection: Connection, cursor: AuditCursor) -> AuditCursor:
        row = store.row_of(connection, cursor.audit)
        spec = row.readable()
        partitions = {(one.topic, one.partition): one for one in row.partitions}

        def clean(
            contents: Sequence[tuple[str | bytes, str | None]],
        ) -> Sequence[CleanedDocument | CleaningFailure]:
            raw = [RawDocument(content, kind) for content, kind in contents]
            return self._cleaner.clean(raw, spec.pipeline)

        with self._open_reader() as reader:

            def content(document: SampledDocument) -> str | bytes | None:
                partition = partitions.get(
                    (document.topic or "", document.partition or 0)
                )
                return _content(reader, spec, partition, document)

            moved = samples.split_next(
                connection,
                cursor,
                row,
                deep_fraction(cursor),
                content_of=content,
                clean=clean,
                tokenizer=load_tokenizer(spec.model, spec.prefix),
            )
        return moved if moved.after else _next_phase(moved)


def _audited(
    position: store.PublishedPosition, logs: Mapping[PartitionKey, PartitionLog]
) -> AuditedPartition | None:
    """What is audited of a partition; None: Kafka has another topic, or none."""
    log = logs.get(PartitionKey(position.topic, position.partition))
    if log is None or log.topic_id != position.topic_id:
        return None
    again_from = None
    if position.position < position.next_offset:
        again_from = position.position
    return AuditedPartition(
        topic=position.topic,
        partition=position.partition,
        topic_id=position.topic_id,
        first_offset=log.first_offset,
        next_offset=min(position.next_offset, log.next_offset),
        is_complete=False,
        again_from=again_from,
    )


def _next_phase(cursor: AuditCursor) -> AuditCursor:
    return replace(
        cursor, phase=after(cursor.phase), partition=0, offset=-1, after="", cost=0
    )


def _fraction(cursor: AuditCursor) -> float:
    """The share of the documents that is compared."""
    if cursor.is_full:
        return 1.0
    return fraction_of(cursor.counts.get("visible", 0), cursor.order.sample)


def deep_fraction(cursor: AuditCursor) -> float:
    """The share of the documents that is cleaned, embedded and searched for."""
    return fraction_of(cursor.counts.get("visible", 0), cursor.order.deep)


def _space_of(connection: Connection, spec: SourceSpec) -> int | None:
    space = read_embedding_spec(spec.model, spec.prefix, spec.context)
    return registered(connection, space.fingerprint())


def _random_places(row: AuditRow) -> list[_Place]:
    """As many records as documents of the sample, spread over the logs."""
    chosen = random.Random(row.audit)
    sizes = [max(0, one.next_offset - one.first_offset) for one in row.partitions]
    if not sum(sizes):
        return []
    drawn = chosen.choices(row.partitions, weights=sizes, k=row.sample)
    return [
        _Place(one, chosen.randrange(one.first_offset, one.next_offset))
        for one in drawn
    ]


def _is_covered(place: _Place) -> bool:
    return place.partition.first_offset <= place.offset < place.partition.next_offset


def _content(
    reader: LogReader,
    spec: SourceSpec,
    partition: AuditedPartition | None,
    document: SampledDocument,
) -> str | bytes | None:
    """The content of a document; None: its record is not in the log, or is read otherwise now."""
    offset = document.record_offset
    if partition is None or offset is None or document.content_sha256 is None:
        return None
    if not _is_covered(_Place(partition, offset)):
        return None
    end = replace(partition, next_offset=offset + 1)
    page = reader.read(end, offset, limit=1)
    if not page.records or page.records[0].value is None:
        return None
    [record] = page.records
    headers = headers_json(record.headers)
    value = record.value or b""
    try:
        return content_of(spec, record.key, value, headers, document.content_sha256)
    except ConfigurationError:
        return None
