"""The consumer: one Kafka consumer group, many sources; cuts micro-batches, stages them, hands them over, then commits.

Two sides that share nothing but messages: the *polling thread* owns librdkafka's consumer and every `Lane`; the *event loop*
talks to PostgreSQL, the staging store and Temporal. Polling never waits for either, so a service that is down never costs the
group membership.

1. The sources are read again every two seconds; their topics are subscribed.
2. An assigned partition is placed: every source starts at its position row, or is halted with the gap named.
3. Records are buffered a lane (source, partition) and cut by records, bytes or time, one cut in flight a lane.
4. A cut is decoded and staged in a small thread pool, then signalled to the source's workflow; both are tried again for ever.
5. Only then is the Kafka offset committed (for lag tools: the position row is the truth).
6. What is handed over and not yet published is outstanding; above a source's limits its partitions pause.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from corpus.batch import BatchRef
from corpus.errors import FreshetError
from corpus.source import SourceSpec
from ingest.event import KafkaRecord
from ingest.lane import Cut, Gap, Lane, PartitionLog, Position, is_behind, start_offset
from ingest.positions import ActiveSource, Positions
from ingest.stage import OffsetRange, Store, stage

log = logging.getLogger("freshet.consume")

Place = tuple[str, int]  # topic, partition
SOURCES_SECONDS = 2.0
POSITIONS_SECONDS = 0.25
TOPIC_IDS_SECONDS = 15.0
# Values in memory over all lanes; above it everything pauses. With what librdkafka holds (16 MB and one response) and the two
# cuts that are being staged (about four copies each), the process stays under CONSUMER_MEMORY_MB of ingest/README.md.
MAX_HELD_BYTES = 96_000_000
_BURST = 500
_MOST_DOUBTS = 2
_RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)

CONSUMER_PROPERTIES: dict[str, Any] = {
    "partition.assignment.strategy": "cooperative-sticky",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    # A position that is gone is an error to be named, never a jump to either end.
    "auto.offset.reset": "error",
    "allow.auto.create.topics": False,
    "session.timeout.ms": 6_000,  # the least a broker allows; a killed consumer's partitions move after this
    "heartbeat.interval.ms": 1_500,
    "max.poll.interval.ms": 300_000,
    "fetch.min.bytes": 1,
    "fetch.wait.max.ms": 100,
    # What librdkafka may hold: a queue of 16 MB, and one response. A single larger record still comes, alone.
    "queued.max.messages.kbytes": 16_384,
    "queued.min.messages": 1_000,
    # After a full queue, look again soon: the default of a second would be a pause of a second.
    "fetch.queue.backoff.ms": 20,
    "fetch.max.bytes": 16_777_216,
    "max.partition.fetch.bytes": 4_194_304,
    "receive.message.max.bytes": 134_217_728,
}


@dataclass(slots=True)
class Slot:
    """An assigned partition and the sources that read it."""

    lanes: dict[str, Lane] = field(default_factory=dict)
    paused: bool = True  # as librdkafka was told
    seek_to: int | None = None  # to be done, or tried again
    sought: bool = False  # the next record is the first one after a seek
    doubts: int = 0  # times in a row that it stood further on than it should
    placing: bool = False
    placed_at: float = 0.0


HandOver = Callable[[BatchRef, SourceSpec], Awaitable[None]]


class SourceConsumer:
    """Runs until told to stop.

    Args:
        kafka: librdkafka properties, address and group included.
        positions: sources and position rows.
        store: the staging store.
        hand_over: gives a reference to the source's workflow; raises FreshetError to be tried again.
    """

    def __init__(self, kafka: dict[str, Any], positions: Positions, store: Store, hand_over: HandOver) -> None:
        self._consumer = Consumer({**CONSUMER_PROPERTIES, **kafka})
        self._positions = positions
        self._store = store
        self._hand_over = hand_over
        self._stagers = ThreadPoolExecutor(2, thread_name_prefix="stage")
        self._inbox: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._sources: dict[str, ActiveSource] = {}
        self._topics: frozenset[str] = frozenset()
        self._slots: dict[Place, Slot] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = threading.Event()
        self._generation = 0
        self._poll_failure: Exception | None = None
        self.handed_over_records = 0

    # ── event loop ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def run(self, stop: asyncio.Event, grace: float = 10.0) -> None:
        """Consume until `stop` is set; then finish what is in flight, at most `grace` seconds.

        Raises:
            Exception: whatever ended the polling thread; the process is to be started again.
        """
        self._loop = asyncio.get_running_loop()
        watchers = [asyncio.create_task(work()) for work in (self._watch_sources, self._watch_positions, self._watch_topic_ids)]
        thread = threading.Thread(target=self._poll, args=(grace,), name="poll", daemon=True)
        thread.start()
        gone = asyncio.create_task(asyncio.to_thread(thread.join))
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([stopped, gone, *watchers], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._stopping.set()
            await gone
            for task in (*watchers, stopped, *self._tasks):
                task.cancel()
            self._stagers.shutdown(wait=False, cancel_futures=True)
        failures = [self._poll_failure, *(task.exception() for task in watchers if task.done() and not task.cancelled())]
        for failure in failures:
            if failure is not None:
                raise failure

    async def _watch_sources(self) -> None:
        """1. Read the sources again and again."""
        while True:
            found = await self._ask("reading sources", self._positions.active_sources)
            if found is not None:
                self._post(lambda found=found: self._apply_sources(found))
            await asyncio.sleep(SOURCES_SECONDS)

    async def _watch_positions(self) -> None:
        """6. While something is outstanding, look how far publishing has come."""
        while True:
            await asyncio.sleep(POSITIONS_SECONDS)
            waiting = {name for slot in list(self._slots.values()) for name, lane in list(slot.lanes.items()) if lane.outstanding}
            if waiting:
                rows = await self._ask("reading positions", self._positions.positions, sorted(waiting))
                if rows is not None:
                    self._post(lambda rows=rows: self._apply_positions(rows))

    async def _watch_topic_ids(self) -> None:
        """A topic that is recreated under a running consumer is another log: place its partitions again."""
        while True:
            await asyncio.sleep(TOPIC_IDS_SECONDS)
            if self._topics and (states := await self._ask("describing topics", self._positions.topic_ids, sorted(self._topics))) is not None:
                self._post(lambda states=states: self._check_topic_ids(states))

    async def _ask(self, doing: str, question: Callable[..., Any], *arguments: Any) -> Any:
        """Run a blocking question in a thread; None where the service does not answer."""
        try:
            return await asyncio.to_thread(question, *arguments)
        except FreshetError as error:
            log.warning("%s failed, trying again: %s", doing, error, extra={"action": "retry"})
            return None

    async def _place(self, asked: dict[Place, dict[str, ActiveSource]]) -> None:
        """2. Find out where sources start in partitions that were assigned; tried again until answered."""
        for attempt in range(1_000_000):
            found = await self._ask("placing partitions", self._positions.place, asked)
            if found is not None:
                self._post(lambda found=found: self._apply_places(asked, *found))
                return
            if self._stopping.is_set():
                return
            await asyncio.sleep(_RETRY_SECONDS[min(attempt, len(_RETRY_SECONDS) - 1)])

    async def _deliver(self, place: Place, lane: Lane, cut: Cut) -> None:
        """4. Stage one cut and hand it over, however long it takes; given up only when the lane is no longer ours."""
        spec = lane.spec
        offsets = OffsetRange(
            cluster_id=lane.at.cluster_id,
            topic=lane.at.topic,
            topic_id=lane.at.topic_id,
            partition=lane.at.partition,
            first_offset=cut.first_offset,
            next_offset=cut.next_offset,
            epoch=lane.epoch,
        )
        staged = None
        attempt = 0
        while lane.generation == cut.generation:
            try:
                staged = staged or await self._loop.run_in_executor(self._stagers, stage, cut.records, spec, offsets, self._store)
                await self._hand_over(staged, spec)
                self._post(lambda: self._delivered(place, lane, cut))
                return
            except FreshetError as error:
                level = logging.WARNING if attempt in (0, 3) or attempt % 12 == 0 else logging.DEBUG
                log.log(level, "handing over failed, trying again: %s", error, extra={"action": "retry", "source": spec.source, "attempt": attempt})
            except Exception as error:  # a mistake of ours: this source stops with its reason, the others go on
                log.exception("staging failed", extra={"action": "halt", "source": spec.source})
                reason = (
                    f"{place[0]}/{place[1]}: offsets {cut.first_offset} to {cut.next_offset - 1} could not be staged: {type(error).__name__}: {error}"
                )
                await self._halt(spec.source, lane.epoch, reason)
                return
            await asyncio.sleep(_RETRY_SECONDS[min(attempt, len(_RETRY_SECONDS) - 1)])
            attempt += 1

    async def _halt(self, source: str, epoch: int, reason: str) -> None:
        """Stop one source, visibly; the others go on."""
        log.error("source halted: %s", reason, extra={"action": "halt", "source": source})
        self._post(lambda: self._drop_source(source))
        for attempt in range(1_000_000):
            if await self._ask("halting a source", self._positions.halt, source, epoch, reason) is not None or self._stopping.is_set():
                return
            await asyncio.sleep(_RETRY_SECONDS[min(attempt, len(_RETRY_SECONDS) - 1)])

    # ── between the two ─────────────────────────────────────────────────────────────────────────────────────────────

    def _post(self, message: Callable[[], None]) -> None:
        self._inbox.put(message)

    def _start(self, work: Any) -> None:
        """From the polling thread: run a coroutine on the event loop."""

        def create() -> None:
            task = self._loop.create_task(work)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        self._loop.call_soon_threadsafe(create)

    # ── polling thread ──────────────────────────────────────────────────────────────────────────────────────────────

    def _poll(self, grace: float) -> None:
        try:
            while not self._stopping.is_set():
                self._turn(time.monotonic())
            self._finish(grace)
        except Exception as error:
            log.exception("the polling thread ended", extra={"action": "poll_failed"})
            self._poll_failure = error
        finally:
            self._consumer.close()

    def _turn(self, now: float) -> None:
        """One round: messages from the event loop, records, cuts, pauses."""
        self._read_inbox()
        busy = any(lane.in_flight or lane.buffer for slot in self._slots.values() for lane in slot.lanes.values())
        first = self._consumer.poll(0.003 if busy else 0.05)
        if first is not None:
            self._take_in(first)
            for message in self._consumer.consume(_BURST, 0):
                self._take_in(message)
        now = time.monotonic()
        for place, slot in self._slots.items():
            if slot.seek_to is not None:
                self._seek(place, slot)
        behind = self._sources_behind()
        for place, slot in self._slots.items():
            for lane in slot.lanes.values():
                self._cut(place, lane, now, behind)
        self._pause_and_resume(behind)

    def _read_inbox(self) -> None:
        while True:
            try:
                self._inbox.get_nowait()()
            except Empty:
                return

    def _take_in(self, message: Message) -> None:
        """3. Buffer one record in every lane that waits for it."""
        place = (message.topic() or "", message.partition() or 0)
        error = message.error()
        if error is not None:
            self._failed(place, error)
            return
        slot = self._slots.get(place)
        if slot is None or slot.seek_to is not None or not slot.lanes:
            return
        if slot.sought and self._doubtful(slot, message.offset() or 0):
            return
        kind, timestamp = message.timestamp()
        record = KafkaRecord(
            topic=place[0],
            partition=place[1],
            offset=message.offset() or 0,
            timestamp_ms=timestamp if kind and timestamp >= 0 else None,
            key=_bytes(message.key()),
            value=_bytes(message.value()),
            headers=tuple((name, _bytes(value)) for name, value in message.headers() or ()),
        )
        now = time.monotonic()
        for lane in slot.lanes.values():
            lane.take_in(record, now)

    def _doubtful(self, slot: Slot, offset: int) -> bool:
        """Whether the first record after a seek stands further on than it should; then seek again.

        A seek that was lost looks like a hole that Kafka left (an aborted transaction, compaction). Nothing may be skipped
        silently, so such a hole is believed only when it is still there after some more seeks.
        """
        slot.sought = False
        wanted = min(lane.expected for lane in slot.lanes.values())
        if offset > wanted and slot.doubts < _MOST_DOUBTS:
            slot.doubts += 1
            slot.seek_to = wanted
            return True
        slot.doubts = 0
        return False

    def _failed(self, place: Place, error: KafkaError) -> None:
        code = error.code()
        if code == KafkaError._PARTITION_EOF:
            return
        if code in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE, KafkaError.UNKNOWN_TOPIC_ID) and place in self._slots:
            # The log moved under us: look again where every source stands; a gap halts it.
            self._place_again(place)
            return
        log.warning("Kafka: %s", error.str(), extra={"action": "kafka_error", "code": error.name(), "topic": place[0]})

    def _cut(self, place: Place, lane: Lane, now: float, behind: frozenset[str]) -> None:
        if lane.in_flight or not lane.buffer or lane.spec.source in behind:
            return
        if lane.due_at(self._log_end(place)) > now:
            return
        self._start(self._deliver(place, lane, lane.cut(now)))

    def _log_end(self, place: Place) -> int:
        """End of the log as of the newest response; no question to the broker."""
        try:
            found = self._consumer.get_watermark_offsets(TopicPartition(*place), cached=True)
        except KafkaException:
            return 0
        return found[1] if found else 0

    def _delivered(self, place: Place, lane: Lane, cut: Cut) -> None:
        """5. Commit, unless the lane was given up meanwhile."""
        if lane.generation != cut.generation:
            return
        lane.handed(cut)
        self.handed_over_records += len(cut.records)
        slot = self._slots.get(place)
        if slot is not None:
            self._commit([(place, slot)], wait=False)

    def _commit(self, slots: Sequence[tuple[Place, Slot]], *, wait: bool) -> None:
        offsets = [TopicPartition(*place, min(lane.handed_over for lane in slot.lanes.values())) for place, slot in slots if slot.lanes]
        if not offsets:
            return
        try:
            self._consumer.commit(offsets=offsets, asynchronous=not wait)
        except KafkaException as error:
            # The position row is the truth; Kafka's own offset serves lag tools only.
            log.info("commit refused: %s", error.args[0].str(), extra={"action": "commit_refused"})

    def _sources_behind(self) -> frozenset[str]:
        lanes: dict[str, list[Lane]] = {}
        for slot in self._slots.values():
            for name, lane in slot.lanes.items():
                lanes.setdefault(name, []).append(lane)
        return frozenset(name for name, of in lanes.items() if is_behind(of))

    def _pause_and_resume(self, behind: frozenset[str]) -> None:
        """6. A partition runs while all its lanes want more and memory allows."""
        held = sum(lane.held_bytes for slot in self._slots.values() for lane in slot.lanes.values())
        pause: list[TopicPartition] = []
        resume: list[TopicPartition] = []
        for place, slot in self._slots.items():
            blocked = not slot.lanes or slot.seek_to is not None or held > MAX_HELD_BYTES
            blocked = blocked or any(lane.is_full() or name in behind for name, lane in slot.lanes.items())
            if blocked and not slot.paused:
                pause.append(TopicPartition(*place))
            elif not blocked and slot.paused and held <= MAX_HELD_BYTES // 2:
                resume.append(TopicPartition(*place))
            else:
                continue
            slot.paused = blocked
        if pause:
            self._consumer.pause(pause)
        if resume:
            self._consumer.resume(resume)

    def _seek(self, place: Place, slot: Slot) -> None:
        """Read on from `seek_to`. A partition whose fetching ended (its offset was out of range) refuses: take it anew."""
        at = TopicPartition(*place, slot.seek_to or 0)
        try:
            self._consumer.seek(at)
        except KafkaException as error:
            log.debug("seek refused, assigning anew: %s", error.args[0].str(), extra={"action": "seek_refused"})
            with contextlib.suppress(KafkaException):  # an earlier round may have come this far
                self._consumer.incremental_unassign([at])
            try:
                self._consumer.incremental_assign([at])
                self._consumer.resume([at])
            except KafkaException as again:  # a rebalance is going on: the next round tries again
                log.debug("assigning anew refused: %s", again.args[0].str(), extra={"action": "seek_refused"})
                return
            slot.paused = False
        slot.seek_to = None
        slot.sought = True

    # ── sources, placing (polling thread) ───────────────────────────────────────────────────────────────────────────

    def _apply_sources(self, found: Sequence[ActiveSource]) -> None:
        """1. Subscribe what is active; drop what is not; place again what was moved."""
        before, self._sources = self._sources, {source.spec.source: source for source in found}
        for name in before.keys() - self._sources.keys():
            self._drop_lanes(name)
        for name, source in self._sources.items():
            if name in before and before[name].epoch != source.epoch:
                log.info("position was moved, reading again", extra={"action": "epoch", "source": name, "epoch": source.epoch})
                self._drop_lanes(name)
        for (topic, _), slot in self._slots.items():
            for name, lane in list(slot.lanes.items()):
                lane.spec = self._sources[name].spec
                if topic not in lane.spec.topics:
                    self._drop(slot, name)
        topics = frozenset(topic for source in self._sources.values() for topic in source.spec.topics)
        if topics != self._topics:
            self._topics = topics
            log.info("subscribing", extra={"action": "subscribe", "topics": sorted(topics)})
            if topics:
                self._consumer.subscribe(sorted(topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost)
            else:
                self._consumer.unsubscribe()
        self._place_missing()

    def _place_missing(self) -> None:
        """2. Ask for the positions of sources that have no lane in an assigned partition yet."""
        asked: dict[Place, dict[str, ActiveSource]] = {}
        for place, slot in self._slots.items():
            missing = {name: source for name, source in self._sources.items() if place[0] in source.spec.topics and name not in slot.lanes}
            if missing and not slot.placing:
                slot.placing = True
                asked[place] = missing
        if asked:
            self._start(self._place(asked))

    def _apply_places(
        self, asked: dict[Place, dict[str, ActiveSource]], logs: dict[Place, PartitionLog], rows: dict[tuple[str, str, int], Position]
    ) -> None:
        """2. Open a lane a source at its position, or halt it."""
        for place, sources in asked.items():
            slot = self._slots.get(place)
            if slot is None:
                continue
            slot.placing = False
            at = logs.get(place)
            if at is None:
                continue  # the topic is gone; the next look at the sources asks again
            for name, source in sources.items():
                current = self._sources.get(name)
                if current is None or current.epoch != source.epoch or name in slot.lanes:
                    continue
                start = start_offset(rows.get((name, *place)), at, name)
                if isinstance(start, Gap):
                    self._sources.pop(name, None)
                    self._start(self._halt(name, source.epoch, start.reason))
                    continue
                self._generation += 1
                slot.lanes[name] = Lane(spec=current.spec, epoch=source.epoch, at=at, expected=start, cut_from=start, generation=self._generation)
                log.info("reading", extra={"action": "placed", "source": name, "topic": place[0], "partition": place[1], "offset": start})
            if slot.lanes:
                slot.seek_to = min(lane.expected for lane in slot.lanes.values())
        self._place_missing()

    def _apply_positions(self, rows: dict[tuple[str, str, int], Position]) -> None:
        for (topic, partition), slot in self._slots.items():
            for name, lane in slot.lanes.items():
                row = rows.get((name, topic, partition))
                if row is not None and row.topic_id == lane.at.topic_id:
                    lane.published_up_to(row.next_offset)

    def _check_topic_ids(self, ids: dict[str, str]) -> None:
        for place, slot in self._slots.items():
            known = ids.get(place[0])
            if known is not None and any(lane.at.topic_id != known for lane in slot.lanes.values()):
                self._place_again(place)

    def _place_again(self, place: Place) -> None:
        slot = self._slots[place]
        for name in list(slot.lanes):
            self._drop(slot, name)
        self._positions.forget()
        self._place_missing()

    def _drop_source(self, name: str) -> None:
        self._sources.pop(name, None)
        self._drop_lanes(name)

    def _drop_lanes(self, name: str) -> None:
        for slot in self._slots.values():
            self._drop(slot, name)

    def _drop(self, slot: Slot, name: str) -> None:
        """Forget a lane; what it has in flight changes nothing any more."""
        lane = slot.lanes.pop(name, None)
        if lane is not None:
            lane.generation = -1
            lane.buffer.clear()

    # ── assignment (called by librdkafka inside poll) ───────────────────────────────────────────────────────────────

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Take the partitions paused; they run when they are placed. Until then nothing is taken in, whatever comes."""
        for partition in partitions:
            # A number, never a logical offset: the answer to a question about "the end" may come after the seek and undo it,
            # which skips records. If 0 is out of range, fetching ends, and `_seek` takes the partition anew.
            partition.offset = 0
        consumer.incremental_assign(partitions)
        consumer.pause(partitions)
        for partition in partitions:
            self._slots[(partition.topic, partition.partition)] = Slot()
        self._place_missing()

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Give up the partitions: commit what was handed over, drop the rest (whoever gets them reads it again)."""
        places = [(partition.topic, partition.partition) for partition in partitions]
        self._commit([(place, self._slots[place]) for place in places if place in self._slots], wait=True)
        self._give_up(places)
        consumer.incremental_unassign(partitions)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """The partitions may be somebody else's already: commit nothing."""
        self._give_up([(partition.topic, partition.partition) for partition in partitions])
        consumer.incremental_unassign(partitions)

    def _give_up(self, places: Sequence[Place]) -> None:
        for place in places:
            slot = self._slots.pop(place, None)
            if slot is not None:
                for name in list(slot.lanes):
                    self._drop(slot, name)

    def _finish(self, grace: float) -> None:
        """Stop taking records, let what is in flight arrive, commit."""
        end = time.monotonic() + grace
        if self._slots:
            self._consumer.pause([TopicPartition(*place) for place in self._slots])
        while time.monotonic() < end and any(lane.in_flight for slot in self._slots.values() for lane in slot.lanes.values()):
            self._consumer.poll(0.02)
            self._read_inbox()
        self._commit(list(self._slots.items()), wait=True)


def _bytes(value: Any) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
