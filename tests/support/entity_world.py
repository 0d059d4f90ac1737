"""A source's entity with Kafka, a database, a consumer and child workflows that are models of a few lines each.

A test performs one step at a time: the consumer stages, a child starts, publishes or fails, an activity answers, a
person pauses or resumes. After each step the entity runs until it waits, and the model checks what must always hold.
"""

import asyncio
from collections.abc import Generator
from typing import Any

from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError, CancelledError

from corpus.batch import (
    BatchInput,
    BatchKind,
    BatchRef,
    BatchReport,
    BatchState,
    Expire,
    Ingest,
    LoadedSource,
    RewoundSource,
    staged_refs,
)
from ingest.consume.progress import Standing, is_on_its_way
from ingest.kafka import PartitionKey
from ingest.source_state import SourceState
from ingest.workflows import SourceWorkflow
from tests.support.fake_temporal import (
    ContinuedAsNew,
    FakeWorkflowModule,
    activity_error,
    application_error,
    child_error,
    settle,
)
from tests.support.orders import make_expiry, make_ref

MAX_IN_FLIGHT = 3


class Child:
    """One batch workflow, and its handle."""

    def __init__(self, world: "World", batch: BatchInput) -> None:
        self.world = world
        self.batch = batch
        self.started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.result: asyncio.Future[BatchReport] = asyncio.get_running_loop().create_future()
        self.may_publish = batch.first_in_line
        self.cancelled = False

    def __await__(self) -> Generator[Any, None, BatchReport]:
        return self.result.__await__()

    @property
    def running(self) -> bool:
        return not self.result.done()

    def cancel(self) -> None:
        """The request; the child ends in a later step."""
        self.cancelled = True

    async def signal(self, _method: Any) -> None:
        await asyncio.sleep(0)
        if not self.running:
            raise ApplicationError("workflow execution already completed")
        older = [child for child in self.world.running() if child.number < self.number]
        assert not older, f"batch {self.number} may publish while {older[0].number} runs"
        self.may_publish = True

    @property
    def number(self) -> int:
        return self.batch.batch

    def fail(self, cause: BaseException) -> None:
        self.result.set_exception(child_error(cause))


def _through_the_wire(state: SourceState) -> SourceState:
    """What the next run gets."""
    converter = DataConverter.default.payload_converter
    [copy] = converter.from_payloads(converter.to_payloads([state]), [SourceState])
    return copy


class World:
    """Everything around one entity."""

    def __init__(self, partitions: int = 2) -> None:
        self.positions = dict.fromkeys(range(partitions), 0)
        self.epoch = 0
        self.last_batch = 0
        self.backup = (0, dict(self.positions), 0)
        self.halted = False
        self.halt_reason = ""
        self.names_state = True  # False: a storer of a version before
        self.texts_embedded = 0  # by the next batch
        # The consumer.
        self.read = dict.fromkeys(range(partitions), 0)
        self.read_epoch = dict.fromkeys(range(partitions), 0)
        self.end = dict.fromkeys(range(partitions), 0)
        self.sent: list[BatchRef] = []
        # What came of it.
        self.published: list[int] = []
        self.gaps: list[str] = []
        self.requested: list[str] = []
        self.expired: list[str] = []
        self.refused: list[str] = []
        self.rewinds: list[bool] = []  # whether each one halted the source
        # The entity.
        self.children: list[Child] = []
        self.activities: list[tuple[str, Any, asyncio.Future[Any]]] = []
        self.module = FakeWorkflowModule(self._activity, self._start_child)
        self.runs = 0
        self._run(SourceState(source="s", max_in_flight=1))

    # ── what the entity calls ───────────────────────────────────────────────────────────────────────────────────────

    def _run(self, state: SourceState) -> None:
        self.runs += 1
        self.module.new_run()
        self.entity = SourceWorkflow(state)
        self.task = asyncio.create_task(self.entity.run(state))

    async def _activity(self, name: str, argument: Any) -> Any:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.activities.append((name, argument, answer))
        return await answer

    async def _start_child(self, batch: BatchInput) -> Child:
        child = Child(self, batch)
        assert batch.batch not in {other.number for other in self.running()}
        self.children.append(child)
        await child.started
        return child

    @property
    def state(self) -> SourceState:
        return self.entity.status()

    def running(self) -> list[Child]:
        return [child for child in self.children if child.running]

    # ── steps ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def settle(self) -> None:
        """Let the entity run until it waits; start its next run when it continues as new."""
        await settle()
        if self.task.done():
            error = self.task.exception()
            assert isinstance(error, ContinuedAsNew), error
            assert not self.running()
            self._run(_through_the_wire(error.argument))
            await settle()
        assert len(self.running()) <= MAX_IN_FLIGHT
        used: set[BatchRef] = set()
        for child in self.running():
            used.update(staged_refs(child.batch.order))
        assert set(self.state.in_flight) <= used, "a batch has ended, its references are in flight"

    def stage(
        self, partition: int, records: int, *, notices_rewind: bool = True, staged_bytes: int = 100
    ) -> None:
        """The consumer reads on in a partition, unless the source is halted."""
        if self.halted:
            return
        if notices_rewind and self.read_epoch[partition] != self.epoch:
            self.restart_consumer(partition)
        first = self.read[partition]
        after = first + records
        where = {"partition": partition, "epoch": self.read_epoch[partition]}
        ref = make_ref(first, after, **where, staged_bytes=staged_bytes)
        self.read[partition] = after
        self.end[partition] = max(self.end[partition], after)
        self._send(ref)

    def restart_consumer(self, partition: int) -> None:
        """The consumer reads from the position row again."""
        self.read[partition] = self.positions[partition]
        self.read_epoch[partition] = self.epoch

    def repeat(self, number: int) -> None:
        """A signal whose reply was lost is sent again."""
        if self.sent:
            self._send(self.sent[-1 - number % len(self.sent)])

    def _send(self, ref: BatchRef) -> None:
        self.sent.append(ref)
        self.entity.batch_staged(ref)

    def expire(self, request: int) -> None:
        """A freshness check orders; the same number is a repeated signal."""
        name = f"r{request}"
        if name not in self.requested:
            self.requested.append(name)
        self.entity.expire(make_expiry(name))

    def start(self, number: int) -> None:
        """The server starts a child."""
        waiting = [child for child in self.children if not child.started.done()]
        if waiting:
            waiting[number % len(waiting)].started.set_result(None)

    def end_child(self, number: int, *, fails: bool) -> None:
        """A child that was started ends: cancelled, failed, or published if it may."""
        started = [child for child in self.running() if child.started.done()]
        if not started:
            return
        child = started[number % len(started)]
        if child.cancelled:
            child.fail(CancelledError())
        elif fails:
            child.fail(application_error("StagedFileError", f"batch {child.number}"))
            if isinstance(child.batch.order, Expire):
                self.refused.append(child.batch.order.request_id)
        elif child.may_publish:
            self.publish(child)

    def answer(self, *, refuses: bool = False) -> None:
        """The oldest activity that waits gets its answer."""
        if not self.activities:
            return
        name, argument, answer = self.activities.pop(0)
        if refuses:
            refusal = application_error("ConfigurationError", "the source is not configured")
            answer.set_exception(activity_error(refusal))
            return
        answer.set_result(getattr(self, f"_{name}")(argument))

    def suggest_continue_as_new(self) -> None:
        """As the server does."""
        self.module.continue_as_new_suggested = True

    def resume_in_database(self) -> None:
        """First half of `freshet source resume`."""
        self.halted = False
        self.epoch += 1

    def resume(self) -> None:
        """Both halves."""
        self.resume_in_database()
        self.entity.resume()

    def configure_again(self) -> None:
        """`freshet apply` after the source was retired: the row is active in a new epoch, the entity reads it."""
        self.resume_in_database()
        self.entity.reload()

    def back_up_database(self) -> None:
        """What `restore_database` brings back; the first backup is of the beginning."""
        self.backup = (self.epoch, dict(self.positions), self.last_batch)

    def restore_database(self) -> None:
        """The database goes back to its backup.

        The consumer has seen the epoch before: it looks every two seconds, and a restore takes longer.
        """
        for partition, read_epoch in list(self.read_epoch.items()):
            if read_epoch != self.epoch:
                self.restart_consumer(partition)
        self.epoch, positions, self.last_batch = self.backup
        self.positions = dict(positions)
        self.published = [number for number in self.published if number <= self.last_batch]
        self.halted = False

    def compare(self) -> None:
        """The consumer compares what it handed over with what the entity holds, in every partition."""
        for partition, position in self.positions.items():
            standing = Standing(
                source="s",
                key=PartitionKey("t", partition),
                generation=0,
                topic_id=make_ref(0, 1).topic_id,
                next_offset=position,
            )
            is_behind = position < self.read[partition]
            if is_behind and not is_on_its_way(standing, self.state):
                self.restart_consumer(partition)

    # ── database ────────────────────────────────────────────────────────────────────────────────────────────────────

    def publish(self, child: Child) -> None:
        assert not [older for older in self.running() if older.number < child.number]
        assert not self.published or child.number > self.published[-1]
        order = child.batch.order
        moved = True
        if isinstance(order, Ingest):
            gap = self._gap(order.refs)
            if gap:
                self.gaps.append(gap)
                child.fail(application_error("PositionGapError", gap))
                return
            moved = self._move(order.refs)
        elif isinstance(order, Expire):
            self.expired.append(order.request_id)
        self.published.append(child.number)
        if moved:
            self.last_batch = child.number
        child.result.set_result(
            BatchReport(
                source="s",
                batch=child.number,
                kind=BatchKind.INGEST,
                state=BatchState.PUBLISHED,
                texts_embedded=self.texts_embedded,
            )
        )

    def _gap(self, refs: tuple[BatchRef, ...]) -> str:
        reached = dict(self.positions)
        for ref in sorted(refs, key=lambda ref: ref.first_offset):
            if ref.first_offset > reached[ref.partition]:
                return f"t/{ref.partition}: {reached[ref.partition]} to {ref.first_offset} missing"
            reached[ref.partition] = max(reached[ref.partition], ref.next_offset)
        return ""

    def _move(self, refs: tuple[BatchRef, ...]) -> bool:
        before = dict(self.positions)
        for ref in refs:
            self.positions[ref.partition] = max(self.positions[ref.partition], ref.next_offset)
        return self.positions != before

    def _load_source(self, _source: str) -> LoadedSource:
        return LoadedSource(
            last_batch=self.last_batch,
            max_records=12,
            max_bytes=10_000,
            max_in_flight=MAX_IN_FLIGHT,
            epoch=self.epoch,
            **self._named_state(),
        )

    def _named_state(self) -> dict[str, str]:
        if not self.names_state:
            return {}
        if self.halted:
            return {"state": "halted", "reason": self.halt_reason}
        return {"state": "active"}

    def _rewind_source(self, request: Any) -> RewoundSource:
        if request.epoch == self.epoch:
            self.epoch += 1
            self.halted = self.halted or request.halt
            if request.halt:
                self.halt_reason = request.reason
        self.rewinds.append(request.halt)
        halted = self.halted if self.names_state else None
        return RewoundSource(epoch=self.epoch, halted=halted)

    # ── the end ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def drain(self) -> None:
        """Nothing fails any more: read all there is, until every record is published."""
        for _ in range(60):
            if self.halted or self.state.paused:
                self.resume()
            self.compare()
            if self.state.halted:
                self.expire(100)  # the next freshness check
            for partition, end in self.end.items():
                if self.read_epoch[partition] != self.epoch:
                    self.restart_consumer(partition)
                if self.read[partition] < end:
                    self.stage(partition, end - self.read[partition])
            await self._finish_everything()
            if self.positions == self.end and not self._busy():
                return
        raise AssertionError(f"{self.positions} of {self.end} after 60 rounds: {self.state}")

    async def _finish_everything(self) -> None:
        await self.settle()
        while self.activities:
            self.answer()
            await self.settle()
        for number in range(len(self.children)):
            self.start(number)
        await self.settle()
        for number in range(len(self.running())):
            self.end_child(number, fails=False)
            await self.settle()

    def _busy(self) -> bool:
        return bool(self.running() or self.activities or self.state.pending or self.state.expiries)
