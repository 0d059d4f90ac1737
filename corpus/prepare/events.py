"""The events of a batch: read from their staged files, and the outcome of each so far."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import polars as pl
from psycopg.rows import scalar_row

from corpus.batch import BatchRef, PreparedFrom
from corpus.database import Connection, fetch_one
from corpus.erase.remembered import without_erased
from corpus.errors import StagedFileError
from corpus.prepare.fold import FoldableEvent, FoldedDocument, Place, fold
from corpus.source import record_version
from corpus.staging.frames import read_frame, schema_of
from corpus.staging.layout import PREPARED_EVENTS, STAGED_EVENTS
from corpus.staging.store import StagingStore

_POSITION = ("topic", "partition", "offset")
_ORIGINAL = ("key", "value", "headers")
# Columns of a prepared batch that no staged event has.
_LEARNED = ("waits_for", "retry_seconds", "waits_since_ms")
# Outcomes that no fold changes.
_FINAL = ("dead_letter", "ignored")
# A redriven record carries this header (`ingest.dead_letters.first_position`).
REDRIVEN_FROM = "freshet.redriven-from"
# What makes two events of one version the same, apart from the access list.
_SAYS = (
    *("op", "content_sha256", "uri", "title", "content_type", "metadata"),
    *("stated_language", "content_url", "stated_sha256"),
)
_FOLDED = (
    *("topic", "partition", "offset", "timestamp_ms", "document_id", "version"),
    *(*_SAYS, "acl", "expires_at_ms"),
)


@dataclass(frozen=True, slots=True)
class StagedEvents:
    """Events that the position rows do not cover yet, in the order of the log, and where they begin."""

    frame: pl.DataFrame
    starts: tuple[PreparedFrom, ...]  # one per partition
    is_behind: bool  # records before these are not applied yet
    topic_ids: Mapping[tuple[str, int], str]
    """Which incarnation of its topic a (topic, partition) belongs to; publishing refuses two in one batch."""


def read_staged_events(
    connection: Connection, store: StagingStore, refs: Sequence[BatchRef]
) -> StagedEvents:
    """Read what the references point to and the corpus has not applied yet. Events of erased documents are ignored.

    Raises:
        StagedFileError: a file is missing or altered, and its range is not applied yet.
        DependencyError: the staging store does not answer.
    """
    frames = [pl.DataFrame(schema=schema_of(STAGED_EVENTS))]
    starts: dict[tuple[str, int], int] = {}
    applied: dict[tuple[str, int], int] = {}
    for ref in refs:
        next_offset = _next_offset(connection, ref)
        partition = (ref.topic, ref.partition)
        applied[partition] = next_offset
        start = max(next_offset, ref.first_offset)
        starts[partition] = min(starts.get(partition, sys.maxsize), start)
        frame = _read_unapplied(connection, store, ref, next_offset)
        if frame is not None:
            frames.append(frame)
    # Two references may overlap after a consumer restarted: one row per offset.
    distinct = pl.concat(frames).unique(_POSITION, keep="first").sort(_POSITION)
    for source in {ref.source for ref in refs}:
        distinct = without_erased(connection, source, distinct)
    return StagedEvents(
        frame=distinct,
        starts=tuple(
            PreparedFrom(topic=topic, partition=partition, offset=offset)
            for (topic, partition), offset in starts.items()
        ),
        is_behind=not any(ref.backfill for ref in refs)
        and any(start > applied[each] for each, start in starts.items()),
        topic_ids={(ref.topic, ref.partition): ref.topic_id for ref in refs},
    )


def _read_unapplied(
    connection: Connection, store: StagingStore, ref: BatchRef, next_offset: int
) -> pl.DataFrame | None:
    """What is not applied of the reference's file; None: all of it is applied, and the file may be removed."""
    if ref.next_offset <= next_offset:
        return None
    try:
        frame = read_frame(store, ref, STAGED_EVENTS)
    except StagedFileError:
        # Another batch may have applied it and removed the file since the position was read.
        if ref.next_offset <= _next_offset(connection, ref):
            return None
        raise
    _check_records(frame, ref)
    if ref.first_offset >= next_offset:
        return frame
    return frame.filter(pl.col("offset") >= next_offset)


def _check_records(frame: pl.DataFrame, ref: BatchRef) -> None:
    """Check that the rows are the records that the reference stands for: the position moves to where it ends.

    Kafka leaves holes, so a range may have fewer records than offsets; it ends with a record.

    Raises:
        StagedFileError: they are not.
    """
    if ref.backfill:
        _check_backfill(frame, ref)
        return
    topics = frame["topic"].unique().to_list()
    partitions = frame["partition"].unique().to_list()
    offsets = frame["offset"]
    begins = offsets.min() or 0
    is_of_range = (
        topics == [ref.topic]
        and partitions == [ref.partition]
        and offsets.n_unique() == len(offsets)
        and not offsets.has_nulls()
        and ref.first_offset <= cast("int", begins)
        and offsets.max() == ref.next_offset - 1
    )
    if not is_of_range:
        raise StagedFileError(
            f"staged file {ref.url} holds other records than its name says"
        )
    _check_size(frame, ref)


def _check_backfill(frame: pl.DataFrame, ref: BatchRef) -> None:
    """Check that the rows are records of the range: a backfill may read some of them only.

    Raises:
        StagedFileError: they are not.
    """
    is_topic = pl.col("topic") == ref.topic
    is_partition = pl.col("partition") == ref.partition
    last = ref.next_offset - 1
    is_inside = pl.col("offset").is_between(ref.first_offset, last)
    inside = frame.filter(is_topic & is_partition & is_inside)
    offsets = frame["offset"]
    if inside.height != frame.height or offsets.n_unique() != len(offsets):
        raise StagedFileError(
            f"staged file {ref.url} holds other records than its name says"
        )
    _check_size(frame, ref)


def _check_size(frame: pl.DataFrame, ref: BatchRef) -> None:
    """Check that the values have the bytes that the reference states: a few may stand for many rows."""
    staged_bytes = frame["value"].bin.size().sum()
    if staged_bytes != ref.staged_bytes:
        raise StagedFileError(
            f"staged file {ref.url} holds values of {staged_bytes:,} bytes, {ref.staged_bytes:,} are stated"
        )


def _next_offset(connection: Connection, ref: BatchRef) -> int:
    """Up to where the records of a reference are applied; a part of a backfill is, as a whole, or is not."""
    if ref.backfill:
        return _end_of_published_part(connection, ref)
    values = {
        "source": ref.source,
        "topic": ref.topic,
        "partition": ref.partition,
        "topic_id": ref.topic_id,
    }
    return fetch_one(connection, scalar_row, "position_next_offset", values) or 0


def _end_of_published_part(connection: Connection, ref: BatchRef) -> int:
    names = ("backfill", "topic", "partition", "first_offset", "next_offset")
    values: dict[str, Any] = {name: getattr(ref, name) for name in names}
    is_published = fetch_one(connection, scalar_row, "part_is_published", values)
    return ref.next_offset if is_published else 0


class JudgedEvents:
    """The events of a batch with the outcome of each so far. An event is named by its row."""

    def __init__(
        self,
        frame: pl.DataFrame,
        topic_ids: Mapping[tuple[str, int], str] | None = None,
        *,
        own_first: bool = False,
        copies: Mapping[int, Place] | None = None,
    ) -> None:
        self._frame = frame
        self.copies = copies or {}  # of what a backfill read, and where that is
        self._own_first = own_first  # see `corpus.prepare.fold`
        self._topic_ids = topic_ids or {}
        # A row of it is read for every document; the original bytes are large and are not needed there.
        self._described = frame.drop(_ORIGINAL)
        self._folded: dict[str, FoldedDocument] = {}
        self._learned: dict[int, dict[str, Any]] = {}
        self._made: dict[int, FoldableEvent] = {}
        self._outcomes: list[str] = frame["outcome"].to_list()
        self._reasons: list[str | None] = frame["reason"].to_list()
        self._details: list[str | None] = frame["detail"].to_list()

    def value(self, name: str, row: int) -> Any:
        """One value of one event; the names are those of `STAGED_EVENTS`."""
        learned = self._learned.get(row, {})
        if name in learned:
            return learned[name]
        return self._frame[name][row]

    def own_value(self, name: str, row: int) -> Any:
        """One value of one event as it was staged."""
        return self._frame[name][row]

    def values(self, row: int) -> Mapping[str, Any]:
        """The values of one event by name, without the original bytes."""
        values = self._described.row(row, named=True)
        return values | self._learned.get(row, {})

    def set_values(self, row: int, **values: Any) -> None:
        """Keep what was learned of an event since it was staged."""
        self._learned.setdefault(row, {}).update(values)

    def urls(self) -> dict[int, str]:
        """By row, where the documents are that events point to."""
        column = self._frame["content_url"]
        if column.null_count() == len(column):
            return {}
        return {row: url for row, url in enumerate(column.to_list()) if url}

    def position(self, row: int) -> tuple[str, int, int]:
        """Topic, partition and offset of one event."""
        topic, partition, offset = (self.value(name, row) for name in _POSITION)
        return topic, partition, offset

    def unavailable(self) -> dict[int, tuple[tuple[str, ...], str | None]]:
        """By row, the columns that an event leaves out, and the id of the document that its document was."""
        columns = self._frame["unavailable"]
        if columns.null_count() == len(columns):
            return {}
        previous = self._frame["previous_id"]
        return {
            row: (tuple(names), previous[row])
            for row, names in enumerate(columns.to_list())
            if names
        }

    def is_upsert(self, row: int) -> bool:
        """Whether the event carries a document; else it deletes one."""
        return self.value("op", row) == "upsert"

    def dead_letter(self, row: int, reason: str, detail: str) -> None:
        """Record that an event cannot be used."""
        self._outcomes[row] = "dead_letter"
        self._reasons[row] = str(reason)
        self._details[row] = detail

    def fold(self, *, only: set[str] | None = None) -> dict[str, FoldedDocument]:
        """Fold the usable events and record what does not act.

        Args:
            only: ids of the documents to fold; None: all.

        Returns:
            A folded document per id.
        """
        usable = [
            event
            for event in self.usable()
            if only is None or event.document_id in only
        ]
        folded = fold(usable, own_first=self._own_first)
        self._folded.update(folded.documents)
        for event in usable:
            self._outcomes[event.row] = "event"
        for row in folded.superseded:
            self._outcomes[row] = "superseded"
        for row in folded.repeated:
            self._outcomes[row] = "unchanged"
        return folded.documents

    def usable(self) -> list[FoldableEvent]:
        """The events that are neither dead letters nor ignored."""
        return self._foldables(lambda outcome: outcome not in _FINAL)

    def unusable(self) -> list[FoldableEvent]:
        """The dead letters whose document is known; their versions may not be."""
        letters = self._foldables(lambda outcome: outcome == "dead_letter")
        return [letter for letter in letters if letter.document_id]

    def _foldables(self, is_wanted: Callable[[str], bool]) -> list[FoldableEvent]:
        return [
            self._foldable(row)
            for row, outcome in enumerate(self._outcomes)
            if is_wanted(outcome)
        ]

    def _foldable(self, row: int) -> FoldableEvent:
        """An event as it is folded; it is asked for several times, and made of what was staged, which stays."""
        if row not in self._made:
            self._made[row] = self._make_foldable(row, self._staged_rows[row])
        return self._made[row]

    @cached_property
    def _staged_rows(self) -> list[dict[str, Any]]:
        is_redriven = pl.col("headers").str.contains(REDRIVEN_FROM, literal=True)
        columns = self._frame.select(*_FOLDED, is_redriven.alias("is_redriven"))
        return columns.to_dicts()

    def _make_foldable(self, row: int, event: Mapping[str, Any]) -> FoldableEvent:
        topic, partition = event["topic"], event["partition"]
        offset, time_ms = event["offset"], event["timestamp_ms"]
        topic_id = self._topic_ids.get((topic, partition), "")
        if event["is_redriven"]:
            topic_id = ""
        acl = event["acl"]
        is_upsert = event["op"] == "upsert"
        return FoldableEvent(
            row=row,
            document_id=event["document_id"],
            version=event["version"],
            says=tuple(event[name] for name in _SAYS),
            place=self.copies.get(row)
            or Place(record_version(time_ms, offset), topic, partition, offset),
            log=f"{topic}/{partition}/{topic_id}",
            expires_at_ms=event["expires_at_ms"],
            observed_at_ms=time_ms if is_upsert else None,
            acl=None if acl is None else frozenset(acl),
            is_upsert=is_upsert,
        )

    def _learned_column(self, name: str) -> pl.Series:
        rows = range(self._frame.height)
        values = [self._learned.get(row, {}).get(name) for row in rows]
        return pl.Series(name, values, schema_of(PREPARED_EVENTS)[name])

    def superseded(self) -> Iterator[tuple[FoldableEvent, FoldedDocument]]:
        """The events with versions that another one of the batch outranks, each with what its document came to."""
        for event in self.usable():
            if self._outcomes[event.row] == "superseded" and event.version is not None:
                yield event, self._folded[event.document_id]

    def prepared(self) -> pl.DataFrame:
        """The events as a prepared batch holds them; original bytes only in dead letters, which need them again."""
        judged = self._frame.with_columns(
            pl.Series("outcome", self._outcomes, pl.String),
            pl.Series("reason", self._reasons, pl.String),
            pl.Series("detail", self._details, pl.String),
            *map(self._learned_column, _LEARNED),
        )
        is_dead_letter = pl.col("outcome") == "dead_letter"
        return judged.select(*schema_of(PREPARED_EVENTS)).with_columns(
            pl.when(is_dead_letter).then(pl.col(name)).otherwise(None).alias(name)
            for name in _ORIGINAL
        )
