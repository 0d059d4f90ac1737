"""What an erasure does not reach, and until when it holds what was erased."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from corpus.erase.plan import OutOfReach
from corpus.source import SourceSpec

_NEVER = "for ever"
_UNKNOWN = "unknown"
# Stores that have no address here.
_ELSEWHERE = (
    OutOfReach(
        store="PostgreSQL: write-ahead log, replicas, pages that are not used again yet",
        until="its next checkpoints, archives and vacuums",
        detail="`VACUUM freshet.document, freshet.chunk, freshet.embedding, freshet.dead_letter` frees the pages.",
    ),
    OutOfReach(
        store="backups of PostgreSQL and Kafka",
        until="they are deleted",
        detail="Erase again after one was restored.",
    ),
    OutOfReach(
        store="blocks, versions, copies and backups of the staging store",
        until="they are written again, expire, or are deleted",
        detail="Files that were staged with payload keys are unreadable: the key of each was destroyed with it. "
        "Whoever has the payload keys and a backup of PostgreSQL from when a file was there reads it.",
    ),
    OutOfReach(
        store="access log: reasons of commands, digests of ids and queries, and their text where the source keeps it",
        until=_NEVER,
        detail="Its rows are chained, so none can be changed.",
    ),
    OutOfReach(
        store="notices, search answers and exports that others have received",
        until="they forget them",
        detail="Subscribers receive a notice of the erasure's batch, without ids.",
    ),
)


def out_of_reach(
    spec: SourceSpec,
    settings: Mapping[str, Mapping[str, str]],
    histories: str,
    now: datetime,
) -> tuple[OutOfReach, ...]:
    """The stores, those of Kafka with the retention that they have now.

    Args:
        spec: of the source.
        settings: of the topics that Kafka tells of, by name.
        histories: how long Temporal keeps histories, in words.
        now: the time of the order.
    """
    of_temporal = OutOfReach(
        store="Temporal: messages of failures, and corrections, that name a document",
        until=histories,
    )
    of_kafka = [
        _of_topic(topic, settings.get(topic), now)
        for topic in (*spec.topics, spec.dead_letters_to())
    ]
    return (*of_kafka, of_temporal, *_ELSEWHERE)


def _of_topic(
    topic: str, settings: Mapping[str, str] | None, now: datetime
) -> OutOfReach:
    store = f"Kafka topic {topic!r}"
    if settings is None:
        return OutOfReach(
            store=store, until=_UNKNOWN, detail="Kafka does not tell its settings."
        )
    if "delete" not in settings["cleanup.policy"]:
        return OutOfReach(
            store=store,
            until=_NEVER,
            detail="It is compacted: a tombstone with the document's key removes its records.",
        )
    retention_ms = int(settings["retention.ms"])
    if retention_ms < 0:
        return OutOfReach(store=store, until=_NEVER, detail="It has no retention time.")
    return OutOfReach(
        store=store,
        until=_instant(now, retention_ms),
        detail="A segment goes only as a whole, so some records stay a little longer.",
    )


def _instant(now: datetime, retention_ms: int) -> str:
    try:
        end = now.astimezone(UTC) + timedelta(milliseconds=retention_ms)
    except OverflowError:
        return _NEVER
    return end.isoformat(timespec="seconds")
