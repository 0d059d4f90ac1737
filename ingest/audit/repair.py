"""Carry out the repair of what an audit has found, in one transaction.

Nothing is written into the corpus that did not come from the source's records. What is visible and wrong is marked so
that its own records replace it, and the position goes back to them; the entity publishes them as it publishes all.
Only rows that no record can mend (a chunk of no document, a second visible version) are closed here, under the lock
of publishing. Texts that have their vector are not embedded again.
"""

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from psycopg.rows import class_row

from corpus.audit import store
from corpus.audit.audit import Finding, FindingKind, Remedy
from corpus.audit.store import StoredFinding
from corpus.batch import Expire
from corpus.database import Connection, fetch_all, fetch_one
from corpus.errors import ConfigurationError
from corpus.publish.transaction import LockedSource
from corpus.source import SourceSpec
from corpus.sql import query
from ingest.audit.repair_plan import RepairPlan
from ingest.consume.compaction import deletes_reconciled

logger = logging.getLogger(__name__)

# Chunks of these kinds are closed before their document is read again.
_DAMAGED_CHUNKS = (
    FindingKind.TEXT_HASH_DIFFERS,
    FindingKind.WRONG_SPACE,
    FindingKind.VECTOR_OF_OTHER_TEXT,
    FindingKind.STORED_VECTOR_OF_OTHER_TEXT,
)
# Of these, the text is embedded again.
_WRONG_VECTORS = (
    FindingKind.VECTOR_OF_OTHER_TEXT,
    FindingKind.STORED_VECTOR_OF_OTHER_TEXT,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """What was done."""

    findings: int
    withdraw: Expire | None = None  # the order that the entity must get
    reads_again: bool = False
    subscribers: tuple[str, ...] = ()  # whose deliveries must be woken


class _Repair:
    """The transaction of a repair, under the locks of publishing."""

    def __init__(
        self, connection: Connection, planned: RepairPlan, source: LockedSource
    ) -> None:
        self._connection = connection
        self._values = {
            "source": planned.source,
            "audit": planned.audit,
            "published_at": source.published_at,
            "detail": f"audit {planned.audit}",
        }

    def execute(self, name: str, **values: Any) -> None:
        """Execute one of the queries of a repair."""
        self._connection.execute(query(name), {**self._values, **values})

    def choose(self, findings: Sequence[Finding]) -> list[Finding]:
        """Those of the findings that are true still."""
        values = {
            **self._values,
            "kinds": [str(one.kind) for one in findings],
            "document_ids": [one.document_id for one in findings],
            "subjects": [one.subject for one in findings],
        }
        factory = class_row(StoredFinding)
        chosen = fetch_all(self._connection, factory, "choose_findings", values)
        return [one.finding() for one in chosen]


def carry_out(connection: Connection, planned: RepairPlan) -> Repaired:
    """Carry out a plan, in one transaction.

    1. lock publishing; leave out findings of documents that were published since the audit began
    2. close what readers must not see, give chunks their vectors and terms
    3. let the documents that are read again yield to their records; end the extra ones
    4. move positions and cursors back, and keep what was done

    Raises:
        ConfigurationError: the plan refuses, or the source was retired meanwhile.
        LockWaitError: a batch is being published; run it again.
    """
    if planned.refusal:
        raise ConfigurationError(planned.refusal)
    row = store.row_of(connection, planned.audit)
    spec = row.readable()
    wanted = _planned_findings(connection, planned)
    with connection.transaction():
        values = {"source": planned.source}
        connection.execute(query("lock_publishing"), values)  # Step 1.
        source = fetch_one(connection, class_row(LockedSource), "lock_source", values)
        if source is None:
            raise ConfigurationError(f"source {planned.source!r} is gone")
        repair = _Repair(connection, planned, source)
        chosen = repair.choose(wanted)
        _mend_chunks(repair, chosen)  # Step 2.
        again, extra = _mend_documents(repair, chosen)  # Step 3.
        subscribers = [one.subject for one in _of(chosen, Remedy.NOTIFY)]
        _move_back(repair, planned, subscribers, again=bool(again))  # Step 4.
        done = {**asdict(planned), "findings": len(chosen)}
        repair.execute("record_repair", repair=json.dumps(done))
        if row.scope == "full" and planned.is_whole:
            begun_at = store.begun_at(connection, planned.audit)
            deletes_reconciled(connection, planned.source, begun_at)
    logger.warning(
        "findings of an audit are repaired",
        extra={
            "action": "audit_repaired",
            "source": planned.source,
            "audit": planned.audit,
            "findings": len(chosen),
        },
    )
    return Repaired(
        findings=len(chosen),
        withdraw=_withdrawal(planned, spec) if extra else None,
        reads_again=bool(again),
        subscribers=tuple(subscribers),
    )


def _planned_findings(connection: Connection, planned: RepairPlan) -> list[Finding]:
    """The open findings that a plan is about."""
    stored = store.findings_of(connection, planned.audit, state="open")
    reachable = {(one.topic, one.partition, one.topic_id) for one in planned.partitions}
    findings = [one.finding() for one in stored]
    return [one for one in findings if _is_planned(one, planned, reachable)]


def _is_planned(
    finding: Finding, planned: RepairPlan, reachable: set[tuple[str, int, str]]
) -> bool:
    if finding.remedy is not Remedy.READ_AGAIN:
        return finding.remedy is not Remedy.BY_HAND
    starts = {
        (one.topic, one.partition): one.first_offset for one in planned.partitions
    }
    return bool(finding.records) and all(
        (topic, partition, topic_id) in reachable and offset >= starts[topic, partition]
        for topic, partition, topic_id, offset in finding.records
    )


def _of(findings: Iterable[Finding], remedy: Remedy) -> list[Finding]:
    return [finding for finding in findings if finding.remedy is remedy]


def _chunk_ids(findings: Iterable[Finding]) -> list[int]:
    return [one.chunk_id for one in findings if one.chunk_id is not None]


def _mend_chunks(repair: _Repair, chosen: Sequence[Finding]) -> None:
    damaged = [one for one in chosen if one.kind in _DAMAGED_CHUNKS]
    vectors = [one for one in damaged if one.kind in _WRONG_VECTORS]
    repair.execute("forget_wrong_vectors", chunk_ids=_chunk_ids(vectors))
    closed = _chunk_ids([*damaged, *_of(chosen, Remedy.CLOSE)])
    repair.execute(
        "close_damaged_chunks", chunk_ids=closed, damaged=_chunk_ids(damaged)
    )
    indexed = _of(chosen, Remedy.INDEX_AGAIN)
    repair.execute(
        "index_chunks_again",
        chunk_ids=_chunk_ids(indexed),
        document_ids=[one.document_id for one in indexed],
    )


def _mend_documents(
    repair: _Repair, chosen: Sequence[Finding]
) -> tuple[list[str], list[str]]:
    """Ids of the documents that are read again, and of those that are withdrawn."""
    again = sorted({one.document_id for one in _of(chosen, Remedy.READ_AGAIN)})
    extra = sorted({one.document_id for one in _of(chosen, Remedy.WITHDRAW)})
    floors = {one.document_id: one.floor for one in _of(chosen, Remedy.READ_AGAIN)}
    # In this order: an index allows one head per document.
    repair.execute("end_duplicates", document_ids=again)
    repair.execute("forget_hidden_heads", document_ids=again)
    repair.execute("yield_heads", document_ids=again, floors=json.dumps(floors))
    repair.execute("end_extra_documents", document_ids=extra)
    return again, extra


def _move_back(
    repair: _Repair, planned: RepairPlan, subscribers: Sequence[str], *, again: bool
) -> None:
    for partition in planned.partitions if again else ():
        repair.execute(
            "move_position_back",
            topic=partition.topic,
            partition=partition.partition,
            topic_id=partition.topic_id,
            first_offset=partition.first_offset,
        )
    repair.execute("move_cursor_back", subscribers=list(subscribers))
    repair.execute("repaired_at", again=again)


def _withdrawal(planned: RepairPlan, spec: SourceSpec) -> Expire:
    policy = spec.freshness
    return Expire(
        request_id=f"audit-{planned.audit}",
        rule=f"audit {planned.audit}: no record accounts for it",
        expire_after_seconds=policy.expire_after_seconds,
        max_ratio=policy.max_expiry_ratio,
    )
