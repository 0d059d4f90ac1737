"""The polling thread: owns librdkafka's consumer and every lane; cuts micro-batches, pauses, seeks, commits.

It waits for nothing but librdkafka: what needs PostgreSQL, the staging store or Temporal is `Work`, done elsewhere, and its
results come back as messages (`post`).
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from queue import Empty, SimpleQueue
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from ingest.consume.partition_state import (
    AssignedPartition,
    Gap,
    MicroBatch,
    PartitionLog,
    PartitionReader,
    Position,
    is_behind,
    start_offset,
)
from ingest.consume.positions import ActiveSource
from ingest.consume.services import Place, Work
from ingest.consume.sharing import is_blocked, position, take_turns
from ingest.kafka import CONSUMER_PROPERTIES, record_of

log = logging.getLogger("freshet.consume")

# Values in memory over all lanes; above it everything pauses. With what librdkafka holds (16 MB and one response) and the two
# cuts that are being staged (about four copies each), the process stays under CONSUMER_MEMORY_MB of ingest/README.md.
MAX_HELD_BYTES = 96_000_000
_BURST = 500
_MAX_HOLE_CHECKS = 2


class Poller:
    """The polling thread's side.

    Args:
        kafka: librdkafka properties, address and group included.
        work: see `Work`.
        start: runs a coroutine of `work` on the event loop; called from the polling thread.
    """

    def __init__(
        self, kafka: dict[str, Any], work: Work, start: Callable[[Coroutine[Any, Any, None]], None]
    ) -> None:
        self._consumer = Consumer({**CONSUMER_PROPERTIES, **kafka})
        self._work = work
        self._start = start
        self._inbox: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._sources: dict[str, ActiveSource] = {}
        self._stopping = threading.Event()
        self._generation = 0
        self.topics: frozenset[str] = frozenset()
        self.slots: dict[Place, AssignedPartition] = {}
        self.failure: Exception | None = None
        self.handed_over_records = 0

    # ── from any thread ─────────────────────────────────────────────────────────────────────────────────────────────

    def post(self, message: Callable[[], None]) -> None:
        """Have the polling thread call `message`."""
        self._inbox.put(message)

    def stop(self) -> None:
        """Make `run` finish and return."""
        self._stopping.set()

    @property
    def stopping(self) -> bool:
        """Whether stop() was called."""
        return self._stopping.is_set()

    def outstanding(self) -> set[str]:
        """Sources of which something is handed over and not yet published."""
        return {
            name
            for slot in list(self.slots.values())
            for name, lane in list(slot.lanes.items())
            if lane.outstanding
        }

    # ── polling thread ──────────────────────────────────────────────────────────────────────────────────────────────

    def run(self, grace: float) -> None:
        """Poll until told to stop; what ended it otherwise stands in `failure`."""
        try:
            while not self._stopping.is_set():
                self._turn(time.monotonic())
            self._finish(grace)
        except Exception as error:
            log.exception("the polling thread ended", extra={"action": "poll_failed"})
            self.failure = error
        finally:
            self._consumer.close()

    def _turn(self, now: float) -> None:
        """One round: messages from the event loop, records, cuts, pauses."""
        self._read_inbox()
        busy = any(
            lane.in_flight or lane.buffer
            for slot in self.slots.values()
            for lane in slot.lanes.values()
        )
        first = self._consumer.poll(0.003 if busy else 0.05)
        if first is not None:
            self._take_in(first)
            for message in self._consumer.consume(_BURST, 0):
                self._take_in(message)
        now = time.monotonic()
        for place, slot in self.slots.items():
            if slot.seek_to is not None:
                self._seek(place, slot)
        behind = self._sources_behind()
        self._share(behind, now)
        for place, slot in self.slots.items():
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
        slot = self.slots.get(place)
        if slot is None or slot.seek_to is not None or not slot.lanes:
            return
        if slot.sought and self._doubtful(slot, message.offset() or 0):
            return
        try:
            record = record_of(message)
        except (
            Exception
        ) as error:  # one record, met again after every restart, must not end the reading of all
            log.exception(
                "a record cannot be taken in", extra={"action": "halt", "topic": place[0]}
            )
            for name, lane in list(slot.lanes.items()):
                reason = f"{place[0]}/{place[1]}: offset {message.offset()} cannot be taken in: {type(error).__name__}: {error}"
                self._start(self._work.halt(name, lane.epoch, reason))
                self.drop_source(name)
            return
        now = time.monotonic()
        for lane in slot.lanes.values():
            lane.take_in(record, now)

    def _doubtful(self, slot: AssignedPartition, offset: int) -> bool:
        """Whether the first record after a seek stands further on than it should; then seek again.

        A seek that was lost looks like a hole that Kafka left (an aborted transaction, compaction). Nothing may be skipped
        silently, so such a hole is believed only when it is still there after some more seeks.
        """
        slot.sought = False
        wanted = position(slot)
        if wanted is not None and offset > wanted and slot.doubts < _MAX_HOLE_CHECKS:
            slot.doubts += 1
            slot.seek_to = wanted
            return True
        slot.doubts = 0
        return False

    def _failed(self, place: Place, error: KafkaError) -> None:
        code = error.code()
        if code == KafkaError._PARTITION_EOF:
            return
        if (
            code
            in (
                KafkaError._AUTO_OFFSET_RESET,
                KafkaError.OFFSET_OUT_OF_RANGE,
                KafkaError.UNKNOWN_TOPIC_ID,
            )
            and place in self.slots
        ):
            # The log moved under us: look again where every source stands; a gap halts it.
            self._place_again(place)
            return
        log.warning(
            "Kafka: %s",
            error.str(),
            extra={"action": "kafka_error", "code": error.name(), "topic": place[0]},
        )

    def _cut(self, place: Place, lane: PartitionReader, now: float, behind: frozenset[str]) -> None:
        if lane.in_flight or not lane.buffer or lane.spec.source in behind:
            return
        if lane.due_at(self._log_end(place)) > now:
            return
        self._start(self._work.deliver(place, lane, lane.cut(now)))

    def _log_end(self, place: Place) -> int:
        """End of the log as of the newest response; no question to the broker."""
        try:
            found = self._consumer.get_watermark_offsets(TopicPartition(*place), cached=True)
        except KafkaException:
            return 0
        return found[1] if found else 0

    def delivered(self, place: Place, lane: PartitionReader, cut: MicroBatch) -> None:
        """5. Commit, unless the lane was given up meanwhile."""
        if lane.generation != cut.generation:
            return
        lane.handed(cut)
        self.handed_over_records += len(cut.records)
        slot = self.slots.get(place)
        if slot is not None:
            self._commit([(place, slot)], wait=False)

    def _commit(self, slots: Sequence[tuple[Place, AssignedPartition]], *, wait: bool) -> None:
        offsets = [
            TopicPartition(*place, min(lane.handed_over for lane in slot.lanes.values()))
            for place, slot in slots
            if slot.lanes
        ]
        if not offsets:
            return
        try:
            self._consumer.commit(offsets=offsets, asynchronous=not wait)
        except KafkaException as error:
            # The position row is the truth; Kafka's own offset serves lag tools only.
            log.info("commit refused: %s", error.args[0].str(), extra={"action": "commit_refused"})

    def _share(self, behind: frozenset[str], now: float) -> None:
        """Sources of one partition take turns where one of them cannot go on."""
        shared = [
            slot
            for slot in self.slots.values()
            if slot.seek_to is None and (len(slot.lanes) > 1 or position(slot) is None)
        ]
        if shared:
            relieved = self._sources.keys() - self._sources_behind(share=0.5)
            for slot in shared:
                take_turns(slot, behind, relieved, now)

    def _sources_behind(self, share: float = 1.0) -> frozenset[str]:
        lanes: dict[str, list[PartitionReader]] = {}
        for slot in self.slots.values():
            for name, lane in slot.lanes.items():
                lanes.setdefault(name, []).append(lane)
        return frozenset(name for name, of in lanes.items() if is_behind(of, share))

    def _pause_and_resume(self, behind: frozenset[str]) -> None:
        """6. A partition runs while the lanes that read it want more and memory allows."""
        held = sum(lane.held_bytes for slot in self.slots.values() for lane in slot.lanes.values())
        pause: list[TopicPartition] = []
        resume: list[TopicPartition] = []
        for place, slot in self.slots.items():
            blocked = slot.seek_to is not None or held > MAX_HELD_BYTES or is_blocked(slot, behind)
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

    def _seek(self, place: Place, slot: AssignedPartition) -> None:
        """Read on from `seek_to`. A partition whose fetching ended (its offset was out of range) refuses: take it anew."""
        at = TopicPartition(*place, slot.seek_to or 0)
        try:
            self._consumer.seek(at)
        except KafkaException as error:
            log.debug(
                "seek refused, assigning anew: %s",
                error.args[0].str(),
                extra={"action": "seek_refused"},
            )
            with contextlib.suppress(KafkaException):  # an earlier round may have come this far
                self._consumer.incremental_unassign([at])
            try:
                self._consumer.incremental_assign([at])
                self._consumer.resume([at])
            except KafkaException as again:  # a rebalance is going on: the next round tries again
                log.debug(
                    "assigning anew refused: %s",
                    again.args[0].str(),
                    extra={"action": "seek_refused"},
                )
                return
            slot.paused = False
        slot.seek_to = None
        slot.sought = True

    # ── sources, placing (polling thread) ───────────────────────────────────────────────────────────────────────────

    def apply_sources(self, found: Sequence[ActiveSource]) -> None:
        """1. Subscribe what is active; drop what is not; place again what was moved."""
        before, self._sources = self._sources, {source.spec.source: source for source in found}
        for name in before.keys() - self._sources.keys():
            self._drop_lanes(name)
        for name, source in self._sources.items():
            if name in before and before[name].epoch != source.epoch:
                log.info(
                    "position was moved, reading again",
                    extra={"action": "epoch", "source": name, "epoch": source.epoch},
                )
                self._drop_lanes(name)
        for (topic, _), slot in self.slots.items():
            slot.absent = False
            for name, lane in list(slot.lanes.items()):
                source = self._sources.get(name)
                if source is None or topic not in source.spec.topics:
                    self._drop(slot, name)
                else:
                    lane.spec = source.spec
        topics = frozenset(
            topic for source in self._sources.values() for topic in source.spec.topics
        )
        if topics != self.topics:
            self.topics = topics
            log.info("subscribing", extra={"action": "subscribe", "topics": sorted(topics)})
            if topics:
                self._consumer.subscribe(
                    sorted(topics),
                    on_assign=self._on_assign,
                    on_revoke=self._on_revoke,
                    on_lost=self._on_lost,
                )
            else:
                self._consumer.unsubscribe()
        self._place_missing()

    def _place_missing(self) -> None:
        """2. Ask for the positions of sources that have no lane in an assigned partition yet."""
        asked: dict[Place, dict[str, ActiveSource]] = {}
        for place, slot in self.slots.items():
            missing = {
                name: source
                for name, source in self._sources.items()
                if place[0] in source.spec.topics and name not in slot.lanes
            }
            if missing and not slot.placing and not slot.absent:
                slot.placing = True
                asked[place] = missing
        if asked:
            self._start(self._work.place(asked))

    def apply_places(
        self,
        asked: dict[Place, dict[str, ActiveSource]],
        logs: dict[Place, PartitionLog],
        rows: dict[tuple[str, str, int], Position],
    ) -> None:
        """2. Open a lane a source at its position, or halt it."""
        for place, sources in asked.items():
            slot = self.slots.get(place)
            if slot is None:
                continue
            slot.placing = False
            at = logs.get(place)
            slot.absent = at is None
            if at is None:
                continue  # the topic is gone; the next look at the sources asks again
            for name, source in sources.items():
                current = self._sources.get(name)
                if current is None or current.epoch != source.epoch or name in slot.lanes:
                    continue
                start = start_offset(rows.get((name, *place)), at, name)
                if isinstance(start, Gap):
                    self.drop_source(name)
                    self._start(self._work.halt(name, source.epoch, start.reason))
                    continue
                self._generation += 1
                slot.lanes[name] = PartitionReader(
                    spec=current.spec,
                    epoch=source.epoch,
                    at=at,
                    expected=start,
                    cut_from=start,
                    generation=self._generation,
                )
                log.info(
                    "reading",
                    extra={
                        "action": "placed",
                        "source": name,
                        "topic": place[0],
                        "partition": place[1],
                        "offset": start,
                    },
                )
            slot.seek_to = position(slot)
        self._place_missing()

    def apply_positions(self, rows: dict[tuple[str, str, int], Position]) -> None:
        """6. What is published is not outstanding any more."""
        for (topic, partition), slot in self.slots.items():
            for name, lane in slot.lanes.items():
                row = rows.get((name, topic, partition))
                if row is not None and row.topic_id == lane.at.topic_id:
                    lane.published_up_to(row.next_offset)

    def check_topic_ids(self, ids: dict[str, str]) -> None:
        """Place again the partitions of topics that were made anew."""
        for place, slot in self.slots.items():
            known = ids.get(place[0])
            if known is not None and any(lane.at.topic_id != known for lane in slot.lanes.values()):
                self._place_again(place)

    def _place_again(self, place: Place) -> None:
        slot = self.slots[place]
        for name in list(slot.lanes):
            self._drop(slot, name)
        self._work.forget_topics()
        self._place_missing()

    def drop_source(self, name: str) -> None:
        """Read no more for a source."""
        self._sources.pop(name, None)
        self._drop_lanes(name)

    def _drop_lanes(self, name: str) -> None:
        for slot in self.slots.values():
            self._drop(slot, name)

    def _drop(self, slot: AssignedPartition, name: str) -> None:
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
            self.slots[(partition.topic, partition.partition)] = AssignedPartition()
        self._place_missing()

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Give up the partitions: commit what was handed over, drop the rest (whoever gets them reads it again)."""
        places = [(partition.topic, partition.partition) for partition in partitions]
        self._commit(
            [(place, self.slots[place]) for place in places if place in self.slots], wait=True
        )
        self._give_up(places)
        consumer.incremental_unassign(partitions)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """The partitions may be somebody else's already: commit nothing."""
        self._give_up([(partition.topic, partition.partition) for partition in partitions])
        consumer.incremental_unassign(partitions)

    def _give_up(self, places: Sequence[Place]) -> None:
        for place in places:
            slot = self.slots.pop(place, None)
            if slot is not None:
                for name in list(slot.lanes):
                    self._drop(slot, name)

    def _finish(self, grace: float) -> None:
        """Stop taking records, let what is in flight arrive, commit."""
        end = time.monotonic() + grace
        if self.slots:
            self._consumer.pause([TopicPartition(*place) for place in self.slots])
        while time.monotonic() < end and any(
            lane.in_flight for slot in self.slots.values() for lane in slot.lanes.values()
        ):
            self._consumer.poll(0.02)
            self._read_inbox()
        self._commit(list(self.slots.items()), wait=True)
