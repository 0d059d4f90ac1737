"""A source that stands at a truncated table: what a decision would delete, and how it is kept."""

import logging
from dataclasses import dataclass
from typing import Protocol

from psycopg.rows import class_row

from corpus.database import Connection, fetch_one
from corpus.errors import ConfigurationError
from corpus.source import SourceSpec, record_version
from corpus.sql import query
from corpus.versions.truncation import UNDECIDED, Decision, Place
from ingest.event import KafkaRecord
from ingest.stage import rows_of

logger = logging.getLogger(__name__)


class _Position(Protocol):
    """Where a source reads a partition (`ingest.consume.partition_state.Position`)."""

    @property
    def topic_id(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TruncationPlan:
    """What a decision means."""

    source: str
    topic: str
    topic_id: str
    partition: int
    record_offset: int
    own_version: int | None  # by the database's log; None: it says none
    record_version: int
    documents: int  # visible, of this topic
    visible: int  # of the source

    def line(self, decision: Decision) -> str:
        """The plan for a person."""
        place = f"{self.topic}/{self.partition}@{self.record_offset}"
        counts = f"{self.documents:,} of the {self.visible:,} visible documents of {self.source!r} came of this topic"
        if decision is Decision.DELETE:
            return f"{place}: {counts}; those that were there when the table was truncated are deleted"
        return f"{place}: {counts}; they stay"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Documents:
    """A row of the query `count_documents_of_topic`."""

    of_topic: int
    visible: int


def plan_truncation(
    connection: Connection,
    spec: SourceSpec,
    place: Place,
    position: _Position,
    record: KafkaRecord | None,
) -> TruncationPlan:
    """What a decision about a truncated table means.

    Args:
        connection: to PostgreSQL.
        spec: of the source.
        place: where it halted.
        position: of the source in that partition.
        record: at that place; None: Kafka has none there.

    Raises:
        ConfigurationError: the record is gone, or is no truncation any more.
    """
    where = f"{place.topic}/{place.partition}@{place.offset}"
    if record is None:
        raise ConfigurationError(
            f"the record at {where} is not in Kafka any more; `freshet source resume {spec.source}` names the gap"
        )
    [row] = rows_of([record], spec, topic_id=position.topic_id, now_ms=0)
    if row.get("reason") != UNDECIDED:
        raise ConfigurationError(
            f"the record at {where} is no truncation any more, as the source is configured now; "
            f"`freshet source resume {spec.source}` goes on"
        )
    values = {"source": spec.source, "topic": place.topic}
    counted = fetch_one(
        connection, class_row(_Documents), "count_documents_of_topic", values
    )
    assert counted is not None, "an aggregate always has a row"
    return TruncationPlan(
        source=spec.source,
        topic=place.topic,
        topic_id=position.topic_id,
        partition=place.partition,
        record_offset=place.offset,
        own_version=row.get("version"),
        record_version=record_version(row["timestamp_ms"], place.offset),
        documents=counted.of_topic,
        visible=counted.visible,
    )


def decide(
    connection: Connection,
    plan: TruncationPlan,
    decision: Decision,
    reason: str,
    decided_by: str,
) -> None:
    """Keep a decision; the batch with the record carries it out. Once it did, nothing is changed."""
    values = {
        "source": plan.source,
        "topic": plan.topic,
        "topic_id": plan.topic_id,
        "partition": plan.partition,
        "record_offset": plan.record_offset,
        "decision": str(decision),
        "own_version": plan.own_version,
        "record_version": plan.record_version,
        "reason": reason,
        "decided_by": decided_by,
    }
    connection.execute(query("decide_truncation"), values)
    logger.warning(
        "a truncated table was decided about",
        extra={
            "action": "truncation_decided",
            "source": plan.source,
            "decision": str(decision),
        },
    )
