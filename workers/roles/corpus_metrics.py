"""Metrics of the corpus: what the database says, read by the orchestrator.

Counters follow the ledger: each round adds the batches that are new since the last one, so they equal it whatever was
retried, and a restarted process begins with all of it. Two orchestrators show the same values; take their maximum.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.rows import class_row
from psycopg_pool import ConnectionPool
from temporalio.common import MetricMeter

from corpus.audit.standing import standings
from corpus.database import Connection, database_errors_translated, fetch_all
from corpus.purge import store as purge_store
from corpus.source import SourceStatus
from corpus.upkeep.standing import read_standing
from ingest.backfill.standing import backfill_standings
from ingest.consume.readable import ReadableRecords
from ingest.consume.waiting import WaitingTimes
from ingest.kafka import Cluster
from ingest.overview import Progress, progress
from workers.roles.audit_gauges import (
    AuditGauges,
    BackfillGauges,
    PurgeGauges,
    UpkeepGauges,
)
from workers.roles.keyed_gauge import KeyedGauge

_OUTCOMES = ("applied", "unchanged", "superseded", "dead_lettered", "ignored")
_CHANGES = ("written", "deleted", "expired")
_CHUNKS = ("opened", "closed", "reused")
_LANGUAGE_NOTES = ("unknown", "unsure")
# As `freshet freshness report` orders them.
_FRESHNESS = {"pass": 0, "warn": 1, "error": 2, "runtime error": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sums:
    """A row of `metrics_ledger`."""

    source: str
    batch: int  # newest
    batches: int
    applied: int
    unchanged: int
    superseded: int
    dead_lettered: int
    ignored: int
    documents_written: int
    documents_deleted: int
    documents_expired: int
    documents_empty: int
    documents_lossy: int
    chunks_opened: int
    chunks_closed: int
    chunks_reused: int
    texts_embedded: int
    received_characters: int
    kept_characters: int
    tokens: int
    unknown_tokens: int
    deletes_without_document: int
    languages_unknown: int
    languages_unsure: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dropped:
    """A row of `metrics_dropped`."""

    source: str
    rule: str
    characters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Noted:
    """A row of `metrics_notes`."""

    source: str
    note: str
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """A row of `metrics_sources`."""

    source: str
    state: str
    last_batch: int
    last_published_at: float  # epoch seconds; 0: never
    dead_letters: int
    freshness: str | None  # None: never checked
    checked_at: float
    erasure_seconds: float  # age of the oldest erasure without a receipt; or 0
    documents_waiting: int  # for their origin
    waiting_seconds: float  # since the first of them could not be fetched; or 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Delivery:
    """A row of `metrics_deliveries`."""

    subscriber: str
    source: str
    behind: int  # batches
    parked: bool

    @property
    def key(self) -> tuple[str, str]:
        """Names it."""
        return self.subscriber, self.source


class CorpusMetrics:
    """Reads the database and sets the instruments.

    Args:
        pool: of connections to PostgreSQL.
        cluster: asked for the ends of the topics.
        meter: creates the instruments.
    """

    def __init__(
        self,
        pool: ConnectionPool[Connection],
        cluster: Cluster,
        meter: MetricMeter,
    ) -> None:
        self._pool = pool
        self._cluster = cluster
        self._readable = ReadableRecords(cluster)
        self._times = WaitingTimes()
        self._counted: dict[str, int] = {}  # source -> newest batch that was counted
        self._ledger = _LedgerCounters(meter)
        self._gauges = _Gauges(meter)
        self._progress = _ProgressGauges(meter)
        self._audits = AuditGauges(meter)
        self._purges = PurgeGauges(meter)
        self._backfills = BackfillGauges(meter)
        self._upkeep = UpkeepGauges(meter)

    def update(self) -> None:
        """One round.

        Raises:
            DependencyError: PostgreSQL or Kafka does not answer.
        """
        with database_errors_translated(), self._pool.connection() as connection:
            self._count_new_batches(connection)
            sources = fetch_all(connection, class_row(_Source), "metrics_sources")
            deliveries = fetch_all(
                connection, class_row(_Delivery), "metrics_deliveries"
            )
            self._follow_restores(sources)
            self._gauges.show(sources, deliveries)
            self._audits.show(standings(connection))
            self._purges.show(purge_store.standings(connection))
            self._backfills.show(backfill_standings(connection))
            self._upkeep.show(read_standing(connection))
            self._readable.begin_round()
            read = progress(connection, self._cluster, self._readable, self._times)
        self._progress.show(read)

    def _follow_restores(self, sources: Sequence[_Source]) -> None:
        """A database that went back gives batch numbers again; those batches are counted, too."""
        for source in sources:
            counted = self._counted.get(source.source, 0)
            self._counted[source.source] = min(counted, source.last_batch)

    def _count_new_batches(self, connection: Connection) -> None:
        counted = self._counted
        arguments = {"sources": list(counted), "batches": list(counted.values())}
        new = fetch_all(connection, class_row(_Sums), "metrics_ledger", arguments)
        ranges = {
            "sources": [sums.source for sums in new],
            "after": [counted.get(sums.source, 0) for sums in new],
            "upto": [sums.batch for sums in new],
        }
        dropped = fetch_all(connection, class_row(_Dropped), "metrics_dropped", ranges)
        noted = fetch_all(connection, class_row(_Noted), "metrics_notes", ranges)
        for sums in new:
            self._ledger.add(sums)
            counted[sums.source] = sums.batch
        for one in dropped:
            self._ledger.add_dropped(one)
        for one in noted:
            self._ledger.add_noted(one)


class _LedgerCounters:
    """Counters; each is a sum of a column of the ledger."""

    def __init__(self, meter: MetricMeter) -> None:
        create = meter.create_counter
        self._batches = create("freshet_batches", "published batches")
        self._records = create(
            "freshet_records", "records of published batches, by outcome"
        )
        self._documents = create(
            "freshet_document_versions", "by what the batch did to them"
        )
        self._lossy = create("freshet_documents_lossy", "versions below min_kept_ratio")
        self._empty = create(
            "freshet_documents_empty",
            "versions with readable text of which nothing is left",
        )
        self._chunks = create("freshet_chunks", "by what the batch did to them")
        self._texts = create(
            "freshet_texts_embedded", "texts that went through the model"
        )
        self._received = create(
            "freshet_characters_received",
            "of document versions, white space not counted",
        )
        self._kept = create("freshet_characters_kept", "of those received")
        self._dropped = create("freshet_characters_dropped", "of those, by rule")
        self._notes = create("freshet_text_notes", "where texts are from, by note")
        self._tokens = create("freshet_tokens", "of chunks")
        self._unknown = create(
            "freshet_tokens_unknown", "of those, unknown to the model"
        )
        self._pointless = create(
            "freshet_deletes_without_document", "deletes of what was never there"
        )
        self._languages = create(
            "freshet_languages_not_known",
            "versions that have their source's language, by reason",
        )

    def add(self, sums: _Sums) -> None:
        source = {"source": sums.source}
        self._batches.add(sums.batches, source)
        for outcome in _OUTCOMES:
            self._records.add(getattr(sums, outcome), {**source, "outcome": outcome})
        for change in _CHANGES:
            count = getattr(sums, f"documents_{change}")
            self._documents.add(count, {**source, "change": change})
        for change in _CHUNKS:
            count = getattr(sums, f"chunks_{change}")
            self._chunks.add(count, {**source, "change": change})
        self._lossy.add(sums.documents_lossy, source)
        self._empty.add(sums.documents_empty, source)
        self._texts.add(sums.texts_embedded, source)
        self._received.add(sums.received_characters, source)
        self._kept.add(sums.kept_characters, source)
        self._tokens.add(sums.tokens, source)
        self._unknown.add(sums.unknown_tokens, source)
        self._pointless.add(sums.deletes_without_document, source)
        for reason in _LANGUAGE_NOTES:
            count = getattr(sums, f"languages_{reason}")
            self._languages.add(count, {**source, "reason": reason})

    def add_dropped(self, dropped: _Dropped) -> None:
        attributes = {"source": dropped.source, "rule": dropped.rule}
        self._dropped.add(dropped.characters, attributes)

    def add_noted(self, noted: _Noted) -> None:
        attributes = {"source": noted.source, "note": noted.note}
        self._notes.add(noted.amount, attributes)


class _Gauges:
    """What is so now."""

    def __init__(self, meter: MetricMeter) -> None:
        self._state = meter.create_gauge(
            "freshet_source_state", "1 for the state that the source is in"
        )
        self._published = meter.create_gauge_float(
            "freshet_last_published_timestamp_seconds",
            "when the newest batch was published, epoch",
            "seconds",
        )
        self._letters = meter.create_gauge(
            "freshet_dead_letters_open", "dead letters that nobody has dealt with"
        )
        self._freshness = meter.create_gauge(
            "freshet_freshness",
            "newest check: 0 pass, 1 warn, 2 error, 3 runtime error",
        )
        self._checked = meter.create_gauge_float(
            "freshet_freshness_checked_timestamp_seconds", "when, epoch", "seconds"
        )
        self._erasure = meter.create_gauge_float(
            "freshet_erasure_unfinished_seconds",
            "age of the oldest erasure that has no receipt",
            "seconds",
        )
        self._waiting = _WaitingGauges(meter)
        behind = meter.create_gauge(
            "freshet_delivery_behind",
            "batches that a subscriber has not acknowledged",
            "batches",
        )
        parked = meter.create_gauge(
            "freshet_delivery_parked",
            "1 where the team's endpoint was given up for now",
        )
        self._behind = KeyedGauge(behind, "subscriber", "source")
        self._parked = KeyedGauge(parked, "subscriber", "source")

    def show(self, sources: Sequence[_Source], deliveries: Sequence[_Delivery]) -> None:
        for source in sources:
            self._show_source(source)
        self._behind.show({one.key: max(0, one.behind) for one in deliveries})
        self._parked.show({one.key: int(one.parked) for one in deliveries})

    def _show_source(self, row: _Source) -> None:
        source = {"source": row.source}
        for state in SourceStatus:
            is_in = int(row.state == state)
            self._state.set(is_in, {**source, "state": state.value})
        self._published.set(row.last_published_at, source)
        self._letters.set(row.dead_letters, source)
        self._erasure.set(row.erasure_seconds, source)
        self._waiting.show(row)
        if row.freshness is not None:
            self._freshness.set(_FRESHNESS[row.freshness], source)
            self._checked.set(row.checked_at, source)


class _WaitingGauges:
    """Documents that wait for their origin."""

    def __init__(self, meter: MetricMeter) -> None:
        self._documents = meter.create_gauge(
            "freshet_documents_waiting",
            "documents that could not be fetched and are tried again",
            "documents",
        )
        self._seconds = meter.create_gauge_float(
            "freshet_documents_waiting_seconds",
            "since the first of them could not be fetched",
            "seconds",
        )

    def show(self, row: _Source) -> None:
        source = {"source": row.source}
        self._documents.set(row.documents_waiting, source)
        self._seconds.set(row.waiting_seconds, source)


class _ProgressGauges:
    """How far sources have read."""

    def __init__(self, meter: MetricMeter) -> None:
        lag = meter.create_gauge(
            "freshet_lag_records", "records of the topics that are not in the corpus"
        )
        waiting = meter.create_gauge(
            "freshet_lag_seconds",
            "how long the oldest record that is not in the corpus has waited",
            "seconds",
        )
        lost_deletes = meter.create_gauge(
            "freshet_deletes_may_be_lost",
            "partitions whose tombstones may have been removed before they were read",
        )
        self._lag = KeyedGauge(lag, "source")
        self._waiting = KeyedGauge(waiting, "source")
        self._lost_deletes = KeyedGauge(lost_deletes, "source")

    def show(self, read: Progress) -> None:
        self._lag.show({(source,): lag for source, lag in read.lags.items()})
        waits = read.waiting_seconds
        self._waiting.show({(source,): round(waits[source]) for source in waits})
        lost = read.deletes_lost
        sources = {*read.lags, *lost}
        counts = {(source,): len(lost.get(source, ())) for source in sources}
        self._lost_deletes.show(counts)
