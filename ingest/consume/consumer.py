"""The consumer: one Kafka consumer group, many sources; it stages micro-batches, hands them over, then commits.

Two sides share nothing but messages. The *polling thread* (`ingest.consume.poller`) owns librdkafka's consumer and
every `PartitionReader`. The *event loop*, here, talks to PostgreSQL, the staging store and Temporal. Polling never
waits for these, so a service that is down never costs the membership of the group.

1. The sources are read every two seconds; their topics are subscribed.
2. For an assigned partition the positions of its sources are read. Each source gets a reader at its position, or is
   halted with the gap named.
3. Records are buffered per reader (source and partition).
4. A micro-batch is taken from a buffer by records, bytes or time, one at a time per reader. It is decoded and staged
   in a small thread pool, then signalled to the source's workflow; both are tried until they succeed.
5. Only then the Kafka offset is committed (for tools that show the lag: the position row is the truth).
6. What is handed over and not yet published is outstanding; above a source's limits its partitions pause.
7. Where a position stands still, the source's workflow is asked for what it holds; what it has lost is read again.
8. Where nothing comes of a partition although its log holds more, the next record is tried apart; one that cannot be
   read halts its sources.
"""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from corpus.batch import BatchRef
from corpus.errors import DependencyError
from corpus.log_limit import LogLimit
from corpus.retry import NoLongerNeededError, until_answered, until_answered_in_thread
from corpus.source import SourceSpec
from ingest.consume.assignment import Assignment
from ingest.consume.partition_state import MicroBatch, PartitionReader
from ingest.consume.poller import Poller
from ingest.consume.positions import Positions, WantedPositions
from ingest.consume.progress import NO_ROW, Standing, is_on_its_way
from ingest.consume.services import StagingSpan, range_of, why_not_staged, without_span
from ingest.consume.silence import Silent
from ingest.consume.unreadable import why_unreadable
from ingest.kafka import PartitionKey
from ingest.source_state import SourceState
from ingest.stage import SourceStoppedError, Store, Withhold, stage

logger = logging.getLogger(__name__)
logger.addFilter(LogLimit())

SOURCES_SECONDS = 2.0
POSITIONS_SECONDS = 0.25
TOPIC_IDS_SECONDS = 15.0
# A position that stands still for two looks makes us ask.
LOOK_SECONDS = 10.0
# A file that waits so long for Temporal is written again; `corpus.staging.sweep` removes files of a day.
RESTAGE_SECONDS = 3_600.0
_STAGING_THREADS = 2
_QUESTIONS = 8  # to entities, at the same time

HandOver = Callable[[BatchRef, SourceSpec], Awaitable[None]]
StateOf = Callable[[str], Awaitable[SourceState | None]]
Answer = TypeVar("Answer")


class SourceConsumer:
    """Runs until it is stopped.

    Args:
        kafka: librdkafka properties, address and group included.
        positions: sources and position rows.
        store: the staging store.
        hand_over: gives a reference to the source's workflow; raises FreshetError to be tried again.
        state_of: what the workflow of a source knows, None where it does not run; raises DependencyError.
        staging_span: opens the span of a micro-batch.
        withhold: what is visible and shall be shown to fewer.
    """

    def __init__(
        self,
        kafka: dict[str, Any],
        positions: Positions,
        store: Store,
        hand_over: HandOver,
        state_of: StateOf,
        staging_span: StagingSpan = without_span,
        withhold: Withhold | None = None,
    ) -> None:
        self._kafka = dict(kafka)
        self._poller = Poller(kafka, self, self._start)
        self._positions = positions
        self._store = store
        self._hand_over = hand_over
        self._state_of = state_of
        self._staging_span = staging_span
        self._withhold = withhold
        self._questions = asyncio.Semaphore(_QUESTIONS)
        self._stagers = ThreadPoolExecutor(_STAGING_THREADS, thread_name_prefix="stage")
        self._tasks: set[asyncio.Task[None]] = set()
        self._task_failed = asyncio.Event()
        self._task_failure: Exception | None = None

    def log_in(self, username: str, password: str) -> None:
        """Use another name and password at Kafka's next login."""
        new = {"sasl.username": username, "sasl.password": password}
        self._kafka |= new  # for clients to come
        self._poller.log_in(username, password)

    @property
    def handed_over_records(self) -> int:
        """Records handed over since the start."""
        return self._poller.handed_over_records

    @property
    def lost_references(self) -> int:
        """How often what a workflow had lost was read again since the start."""
        return self._assignment.lost_references

    @property
    def behind(self) -> int:
        """Sources of which something is handed over and not yet published."""
        return len(self._poller.outstanding)

    async def run(self, stop: asyncio.Event, grace: float = 10.0) -> None:
        """Consume until `stop` is set; then finish what is in flight, for at most `grace` seconds.

        Raises:
            Exception: what ended the polling thread or a task; the process is to be started again.
        """
        self._loop = asyncio.get_running_loop()
        for watch in (
            self._watch_sources,
            self._watch_positions,
            self._watch_progress,
            self._watch_topic_ids,
            self._watch_silence,
        ):
            self._create_task(watch())
        thread = threading.Thread(
            target=self._poller.run, args=(grace,), name="poll", daemon=True
        )
        thread.start()
        polled = asyncio.create_task(asyncio.to_thread(thread.join))
        stopped = asyncio.create_task(stop.wait())
        failed = asyncio.create_task(self._task_failed.wait())
        try:
            await asyncio.wait(
                [stopped, failed, polled], return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            self._poller.stop()
            await polled
            for task in (stopped, failed, *self._tasks):
                task.cancel()
            self._stagers.shutdown(wait=False, cancel_futures=True)
        failure = self._poller.failure or self._task_failure
        if failure is None and not stop.is_set():
            failure = RuntimeError("the polling thread ended without an error")
        if failure is not None:
            raise failure

    async def _watch_sources(self) -> None:
        """1. Read the sources again and again."""
        while True:
            active = await self._answer(
                "reading the sources", self._positions.active_sources
            )
            self._poller.call_soon(
                lambda active=active: self._assignment.apply_sources(active)
            )
            await asyncio.sleep(SOURCES_SECONDS)

    async def _watch_positions(self) -> None:
        """6. While something is outstanding, read how far publishing has come."""
        while True:
            await asyncio.sleep(POSITIONS_SECONDS)
            sources = sorted(self._poller.outstanding)
            if not sources:
                continue
            rows = await self._answer(
                "reading positions",
                lambda sources=sources: self._positions.of_sources(sources),
            )
            self._poller.call_soon(
                lambda rows=rows: self._assignment.apply_positions(rows)
            )

    async def _watch_progress(self) -> None:
        """7. Have read again what the workflows lost, also when no record arrives and when a partition is paused."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            sources = sorted(self._assignment.sources)
            if not sources:
                continue
            rows = await self._answer(
                "reading positions",
                lambda sources=sources: self._positions.of_sources(sources),
            )
            standing = await self._ask_polling_thread(
                lambda rows=rows: self._assignment.look(rows)
            )
            by_source: dict[str, list[Standing]] = {}
            for one in standing:
                by_source.setdefault(one.source, []).append(one)
            await asyncio.gather(*map(self._compare, by_source.values()))

    async def _compare(self, standing: Sequence[Standing]) -> None:
        """Compare what one source's readers have handed over with what its workflow holds."""
        source = standing[0].source
        try:
            async with self._questions:
                state = await self._state_of(source)
        # Whatever it answers, the others must be read: a state that cannot be decoded is named, too.
        except Exception as error:
            logger.warning(
                "published nothing since the last look, and %s",
                error,
                exc_info=not isinstance(error, DependencyError),
                extra={"action": "stands_still", "source": source},
            )
            return
        lost = [one for one in standing if not is_on_its_way(one, state)]
        if not lost:
            return
        # A batch may have been published, and its references released, while the workflow was asked.
        rows = await self._answer(
            "reading positions", lambda: self._positions.of_sources([source])
        )
        offsets = {row.key: row.next_offset for row in rows}
        for one in lost:
            if offsets.get(one.key, NO_ROW) == one.next_offset:
                self._poller.call_soon(lambda one=one: self._assignment.read_again(one))

    async def _ask_polling_thread(self, question: Callable[[], Answer]) -> Answer:
        """What the polling thread answers between two rounds."""
        answer: asyncio.Future[Answer] = self._loop.create_future()

        def give(found: Answer) -> None:
            if not answer.done():
                answer.set_result(found)

        def ask() -> None:
            self._loop.call_soon_threadsafe(give, question())

        self._poller.call_soon(ask)
        return await answer

    async def _watch_silence(self) -> None:
        """8. Find the record that cannot be read where librdkafka does not say so; it holds up its partition only."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            for silent in await self._ask_polling_thread(self._poller.find_silent):
                await self._probe(silent)

    async def _probe(self, silent: Silent) -> None:
        why = await asyncio.to_thread(why_unreadable, self._kafka, *silent)
        if why:
            self._poller.call_soon(lambda: self._poller.halt_silent(silent, why))

    async def _watch_topic_ids(self) -> None:
        """A topic that is recreated under a running consumer is another log: read its positions again."""
        while True:
            await asyncio.sleep(TOPIC_IDS_SECONDS)
            topics = sorted(self._assignment.topics)
            if not topics:
                continue
            ids = await self._answer(
                "describing topics",
                lambda topics=topics: self._positions.topic_ids(topics),
            )
            self._poller.call_soon(
                lambda ids=ids: self._assignment.check_topic_ids(ids)
            )

    async def _answer(
        self, doing: str, ask: Callable[[], Answer], **context: str
    ) -> Answer:
        """The answer of a service, however long it takes, unless the consumer is stopped meanwhile."""
        return await until_answered_in_thread(
            ask,
            doing=doing,
            logger=logger,
            stop=lambda: self._poller.is_stopping,
            context=context,
        )

    @property
    def _assignment(self) -> Assignment:
        return self._poller.assignment

    # ── for the polling thread (`ConsumerServices`) ─────────────────────────────────────────────────────────────────

    async def read_positions(self, wanted: WantedPositions) -> None:
        """2. Read from where sources start in partitions that were assigned."""
        starts = await self._answer(
            "reading positions", lambda: self._positions.read(wanted)
        )
        self._poller.call_soon(lambda: self._assignment.open_readers(wanted, starts))

    async def hand_over(
        self, key: PartitionKey, reader: PartitionReader, batch: MicroBatch
    ) -> None:
        """4. Stage one micro-batch and hand it over, however long it takes, unless the reader is closed meanwhile."""
        source = reader.spec.source
        try:
            with self._staging_span(batch.records, range_of(reader, batch)) as span:
                await self._stage_and_hand_over(reader, batch, span)
        except NoLongerNeededError:
            return
        except Exception as mistake:  # a mistake of ours: this source stops with its reason, the others continue
            if not isinstance(mistake, SourceStoppedError):
                logger.exception(
                    "staging failed", extra={"action": "halt", "source": source}
                )
            reason = why_not_staged(key, batch, mistake)
            await self.halt(source, reader.epoch, reason)
            return
        self._poller.call_soon(lambda: self._poller.confirm(key, reader, batch))

    async def _stage_and_hand_over(
        self, reader: PartitionReader, batch: MicroBatch, traceparent: str
    ) -> None:
        spec = reader.spec
        offsets = range_of(reader, batch, traceparent)

        def is_outdated() -> bool:
            return reader.generation != batch.generation

        async def attempt_staging() -> BatchRef:
            of_source = (batch.before, reader.decisions, self._withhold)
            work = (batch.records, spec, offsets, self._store, *of_source)
            return await self._loop.run_in_executor(self._stagers, stage, *work)

        context = {"source": spec.source}
        reference = await until_answered(
            attempt_staging,
            doing="staging",
            logger=logger,
            stop=is_outdated,
            context=context,
        )
        staged_at = self._loop.time()

        async def attempt_hand_over() -> None:
            nonlocal staged_at
            if self._loop.time() - staged_at > RESTAGE_SECONDS:
                await attempt_staging()  # the same file, and young: no sweep takes it
                staged_at = self._loop.time()
            await self._hand_over(reference, spec)

        await until_answered(
            attempt_hand_over,
            doing="handing over",
            logger=logger,
            stop=is_outdated,
            context=context,
        )

    async def halt(self, source: str, epoch: int, reason: str) -> None:
        """Stop one source visibly; the others continue."""
        logger.error(
            "source halted: %s", reason, extra={"action": "halt", "source": source}
        )
        self._poller.call_soon(lambda: self._assignment.drop_source(source))
        await self._answer(
            "halting a source",
            lambda: self._positions.halt(source, epoch, reason),
            source=source,
        )

    def forget_topics(self) -> None:
        """Topics may have been recreated."""
        self._positions.forget_cluster_id()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        """From the polling thread: run a coroutine on the event loop."""
        self._loop.call_soon_threadsafe(self._create_task, work)

    def _create_task(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(self._run_task(work))
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() and not self._poller.is_stopping:
            self._task_failure = RuntimeError("a task of the consumer was cancelled")
            self._task_failed.set()

    async def _run_task(self, work: Coroutine[Any, Any, None]) -> None:
        """Run to the end, or until the consumer is stopped.

        A mistake ends the consumer: otherwise a partition could wait for its positions for ever.
        """
        try:
            await work
        except NoLongerNeededError as error:
            logger.debug("stopped while %s", error, extra={"action": "stop"})
        except Exception as mistake:
            self._task_failure = mistake
            self._task_failed.set()
