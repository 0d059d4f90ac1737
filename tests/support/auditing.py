"""Audits in one process: a pipeline that keeps its log, and the steps of an audit one after the other."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from corpus.audit import store
from corpus.audit.audit import AuditCursor, AuditedPartition, AuditOrder, AuditResult, Phase
from corpus.audit.staged import StagedStep
from corpus.audit.store import StoredFinding
from corpus.audit.vectors import VectorStep
from ingest.audit.repair import Repaired, carry_out
from ingest.audit.repair_plan import RepairPlan, make_plan
from ingest.audit.replay import MAX_RECORDS, Page
from ingest.audit.steps import AuditSteps
from ingest.consume.compaction import deletes_reconciled
from ingest.consume.partition_state import PartitionLog
from ingest.consume.positions import positions_read
from ingest.event import KafkaRecord
from ingest.kafka import PartitionKey
from tests.support.pipeline import Pipeline


class KeptLog:
    """The records that a pipeline has staged, as Kafka would give them; some may be removed."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.records: dict[int, dict[int, KafkaRecord]] = defaultdict(dict)
        self.begins: dict[int, int] = defaultdict(int)
        self.compacted: set[str] = set()
        made = pipeline.records

        def records(*arguments: Any, **options: Any) -> list[KafkaRecord]:
            some = made(*arguments, **options)
            for record in some:
                self.records[record.partition][record.offset] = record
            return some

        pipeline.records = records  # type: ignore[method-assign]

    def cut(self, below: int, partition: int = 0) -> None:
        """Retention removes the beginning."""
        self.begins[partition] = below
        kept = self.records[partition]
        self.records[partition] = {at: kept[at] for at in kept if at >= below}

    def logs_of(self, keys: Sequence[PartitionKey]) -> dict[PartitionKey, PartitionLog]:
        return {
            key: PartitionLog(
                cluster_id="cluster",
                topic=key.topic,
                topic_id=self.pipeline.topic_id,
                partition=key.partition,
                first_offset=self.begins[key.partition],
                next_offset=self.pipeline.next_offset.get(key.partition, 0),
            )
            for key in keys
        }

    def read(self, partition: AuditedPartition, offset: int, *, limit: int = MAX_RECORDS) -> Page:
        """As `LogReader.read`."""
        kept = self.records[partition.partition]
        offsets = [at for at in sorted(kept) if offset <= at < partition.next_offset]
        chosen = offsets[:limit]
        after = chosen[-1] + 1 if len(offsets) > limit else partition.next_offset
        return Page(records=[kept[at] for at in chosen], next_offset=after)

    @contextmanager
    def open(self) -> Iterator["KeptLog"]:
        yield self


class Auditor:
    """Audits a pipeline's corpus."""

    def __init__(self, pipeline: Pipeline, log: KeptLog) -> None:
        self.pipeline = pipeline
        self.log = log
        self.steps = AuditSteps(
            pool=pipeline.pool,
            logs_of=log.logs_of,
            open_reader=log.open,  # type: ignore[arg-type]
            cleaner=pipeline.cleaner,
            compacted=lambda _topics: log.compacted,
        )
        self.vectors = VectorStep(pool=pipeline.pool, embedder_of=pipeline.embedder.of)
        self.staged = StagedStep(
            pool=pipeline.pool, staging=pipeline.store, reconciled=deletes_reconciled
        )
        self._runs = 0
        self.seconds: dict[str, float] = defaultdict(float)  # of the last run, by phase

    def begin(self, **order: Any) -> AuditCursor:
        self._runs += 1
        return AuditCursor(
            order=AuditOrder(source=self.pipeline.spec.source, **order),
            run_id=f"{id(self)}-{self._runs}",
            workflow_id="audit:s",
        )

    def step(self, cursor: AuditCursor) -> AuditCursor:
        match cursor.phase:
            case Phase.VECTORS:
                return self.vectors.step(cursor)
            case Phase.STAGED:
                return self.staged.step(cursor, ())
            case _:
                return self.steps.step(cursor)

    def run(self, **order: Any) -> AuditResult:
        """A whole audit."""
        cursor = self.begin(**order)
        self.seconds.clear()
        while cursor.phase is not Phase.FINISH:
            began = time.monotonic()
            phase = str(cursor.phase)
            cursor = self.step(cursor)
            self.seconds[phase] += time.monotonic() - began
        return self.staged.finish(cursor)

    def plan(self, result: AuditResult) -> RepairPlan:
        """What repairing an audit's findings means."""
        pipeline = self.pipeline
        positions = positions_read(pipeline.connection, pipeline.spec)
        logs = self.log.logs_of([PartitionKey(one.topic, one.partition) for one in positions])
        return make_plan(pipeline.connection, pipeline.spec, result.audit, positions, logs)

    def repair(self, result: AuditResult) -> Repaired:
        """As `freshet audit repair`: the plan, the transaction, and what the entity does then."""
        planned, done = self.carry_out(result)
        self.settle(planned, done)
        return done

    def carry_out(self, result: AuditResult) -> tuple[RepairPlan, Repaired]:
        """The plan and the transaction."""
        planned = self.plan(result)
        return planned, carry_out(self.pipeline.connection, planned)

    def settle(self, planned: RepairPlan, done: Repaired) -> None:
        """What the consumer and the entity do then."""
        pipeline = self.pipeline
        for partition in planned.partitions if done.reads_again else ():
            kept = self.log.records[partition.partition]
            again = [kept[at] for at in sorted(kept) if at >= partition.first_offset]
            for first in range(0, len(again), MAX_RECORDS):
                some = again[first : first + MAX_RECORDS]
                begin = partition.first_offset if first == 0 else some[0].offset
                pipeline.run(pipeline.stage(some, first_offset=begin))
        if done.withdraw is not None:
            pipeline.expire()

    def findings(self, result: AuditResult) -> list[StoredFinding]:
        return store.findings_of(self.pipeline.connection, result.audit)

    def found(self, result: AuditResult) -> Counter[tuple[str, str]]:
        """(kind, document id) -> how often."""
        return Counter((one.kind, one.document_id) for one in self.findings(result))
