"""The partitions that this process reads, the sources that read them, and from where.

Everything here runs in the polling thread: the answers of the services come as messages (`Poller.call_soon`), the
changes of the consumer group as calls inside `ConsumerClient.poll`.
"""

import logging
import time
from collections.abc import Collection, Iterator, Sequence

from ingest.consume.client import ConsumerClient
from ingest.consume.partition_state import (
    AssignedPartition,
    Gap,
    PartitionReader,
    Position,
    start_offset,
)
from ingest.consume.positions import (
    ActiveSource,
    PartitionStart,
    PartitionStarts,
    WantedPositions,
)
from ingest.consume.progress import Progress, Standing
from ingest.consume.services import ConsumerServices, Start
from ingest.kafka import PartitionKey

logger = logging.getLogger(__name__)


class Assignment:
    """Which sources read which partitions.

    Args:
        client: the member of the consumer group.
        services: see `ConsumerServices`.
        start: runs a coroutine of `services` on the event loop.
    """

    def __init__(
        self, client: ConsumerClient, services: ConsumerServices, start: Start
    ) -> None:
        self._client = client
        self._services = services
        self._start = start
        self._generation = 0
        self.sources: dict[str, ActiveSource] = {}
        self.topics: frozenset[str] = frozenset()
        self.partitions: dict[PartitionKey, AssignedPartition] = {}
        self._sources_of: dict[str, dict[str, ActiveSource]] = {}  # by topic, by name
        self._keys_of: dict[str, set[PartitionKey]] = {}  # by topic
        self._changed: set[PartitionKey] = set()
        # Partitions that may lack the reader of a source, and those of them whose log Kafka did not describe.
        self._incomplete: set[PartitionKey] = set()
        self._unanswered: set[PartitionKey] = set()
        self._progress = Progress()
        self.lost_references = 0  # readers that had to read again, since the start

    # ── what changed ────────────────────────────────────────────────────────────────────────────────────────────────

    def note_change(self, key: PartitionKey) -> None:
        """Have the next round look at a partition."""
        self._changed.add(key)

    @property
    def has_changed(self) -> bool:
        """Whether the next round has a partition to look at."""
        return bool(self._changed)

    def take_changed(self) -> set[PartitionKey]:
        """Partitions that changed since the last call, those that were taken away among them."""
        changed, self._changed = self._changed, set()
        return changed

    def keys_of(self, source: str) -> Iterator[PartitionKey]:
        """The assigned partitions of a source's topics."""
        active = self.sources.get(source)
        for topic in active.spec.topics if active else ():
            yield from self._keys_of.get(topic, ())

    def readers(self) -> Iterator[PartitionReader]:
        """Every reader of every partition."""
        for partition in self.partitions.values():
            yield from partition.readers.values()

    # ── sources ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def apply_sources(self, active: Sequence[ActiveSource]) -> None:
        """1. Subscribe to the topics of the active sources; close the readers of other sources and of moved ones.

        Only sources that changed cost something; those that did not are the same objects as before.
        """
        before = self.sources
        self.sources = {source.spec.source: source for source in active}
        for name in before.keys() | self.sources.keys():
            old, new = before.get(name), self.sources.get(name)
            if old is not new:
                self._apply_source(name, old, new)
        self._subscribe()
        self._ask_again()

    def _apply_source(
        self, name: str, old: ActiveSource | None, new: ActiveSource | None
    ) -> None:
        """A source is new, gone, moved or changed."""
        if old is not None:
            self._close_where_gone_or_moved(name, old, new)
        if new is None:
            return
        for topic in new.spec.topics:
            self._sources_of.setdefault(topic, {})[name] = new
            for key in self._keys_of.get(topic, ()):
                reader = self.partitions[key].readers.get(name)
                if reader is None:
                    self._incomplete.add(key)
                else:
                    reader.spec = new.spec
                self.note_change(key)

    def _close_where_gone_or_moved(
        self, name: str, old: ActiveSource, new: ActiveSource | None
    ) -> None:
        kept = frozenset[str]()
        if new is not None and new.epoch == old.epoch:
            kept = frozenset(new.spec.topics)
        elif new is not None:
            logger.info(
                "position was moved, reading again",
                extra={"action": "epoch", "source": name, "epoch": new.epoch},
            )
        for topic in old.spec.topics:
            if topic not in kept:
                self._forget_source_of(topic, name)
                self._close_readers(topic, name)

    def _forget_source_of(self, topic: str, name: str) -> None:
        sources = self._sources_of.get(topic, {})
        sources.pop(name, None)
        if not sources:
            self._sources_of.pop(topic, None)

    def _subscribe(self) -> None:
        topics = frozenset(self._sources_of)
        if topics == self.topics:
            return
        logger.info(
            "subscribing to %d topics",
            len(topics),
            extra={
                "action": "subscribe",
                "added": sorted(topics - self.topics),
                "removed": sorted(self.topics - topics),
            },
        )
        self.topics = topics
        self._client.subscribe(topics, self)

    def _ask_again(self) -> None:
        """Ask again about the logs that Kafka did not describe, and about what became incomplete."""
        for key in self._unanswered:
            partition = self.partitions[key]
            partition.topic_missing = False
        self._incomplete |= self._unanswered
        self._unanswered.clear()
        self.request_positions()

    def halt_source(self, name: str, epoch: int, reason: str) -> None:
        """Read no more for a source, and stop it visibly."""
        self.drop_source(name)
        self._start(self._services.halt(name, epoch, reason))

    def drop_source(self, name: str) -> None:
        """Read no more for a source."""
        source = self.sources.pop(name, None)
        for topic in source.spec.topics if source else ():
            self._forget_source_of(topic, name)
            self._close_readers(topic, name)

    def _close_readers(self, topic: str, name: str) -> None:
        for key in self._keys_of.get(topic, ()):
            self.partitions[key].close_reader(name)
            self.note_change(key)

    # ── positions ───────────────────────────────────────────────────────────────────────────────────────────────────

    def request_positions(self) -> None:
        """2. Ask for the positions of sources that have no reader in an assigned partition yet."""
        wanted: dict[PartitionKey, dict[str, ActiveSource]] = {}
        for key in list(self._incomplete):
            partition = self.partitions[key]
            if partition.positions_requested:
                continue
            self._incomplete.discard(key)
            if partition.topic_missing:
                continue
            if sources := self._without_reader(key.topic, partition):
                partition.positions_requested = True
                wanted[key] = sources
        if wanted:
            self._start(self._services.read_positions(wanted))

    def _without_reader(
        self, topic: str, partition: AssignedPartition
    ) -> dict[str, ActiveSource]:
        return {
            name: source
            for name, source in self._sources_of.get(topic, {}).items()
            if name not in partition.readers
        }

    def open_readers(self, wanted: WantedPositions, starts: PartitionStarts) -> None:
        """2. Open one reader per source at its position, or halt the source."""
        for key, sources in wanted.items():
            partition = self.partitions.get(key)
            if partition is None:
                continue  # it was revoked meanwhile
            partition.positions_requested = False
            start = starts.get(key)
            # Where there is no answer, the next reading of the sources makes us ask again.
            partition.topic_missing = start is None
            if start is None:
                self._unanswered.add(key)
                continue
            for source in sources.values():
                self._open_reader(key, source, start)
            partition.request_seek()
            self._incomplete.add(key)
            self.note_change(key)
        self.request_positions()

    def _open_reader(
        self, key: PartitionKey, wanted: ActiveSource, start: PartitionStart
    ) -> None:
        name = wanted.spec.source
        source = self.sources.get(name)
        if source is None or source.epoch != wanted.epoch:
            return  # it was stopped or moved meanwhile
        readers = self.partitions[key].readers
        if name in readers:
            return
        offset = start_offset(start.positions.get(name), start.log)
        if isinstance(offset, Gap):
            self.halt_source(name, source.epoch, offset.reason)
            return
        self._generation += 1
        readers[name] = PartitionReader(
            spec=source.spec,
            epoch=source.epoch,
            log=start.log,
            expected_offset=offset,
            batch_offset=offset,
            generation=self._generation,
            skips=[skip for skip in start.skips if skip.source == name],
            decisions=[each for each in start.decisions if each.source == name],
        )
        where = {"topic": key.topic, "partition": key.partition, "offset": offset}
        logger.info("reading", extra={"action": "read", "source": name, **where})

    def apply_positions(self, positions: Sequence[Position]) -> None:
        """6. What is published is not outstanding any more."""
        now = time.monotonic()
        for position in positions:
            partition = self.partitions.get(position.key)
            if partition is None:
                continue
            reader = partition.readers.get(position.source)
            if reader is None or reader.log.topic_id != position.topic_id:
                continue
            if reader.forget_published(position.next_offset, now):
                self.note_change(position.key)

    def look(self, positions: Sequence[Position]) -> list[Standing]:
        """7. The readers whose position rows stand still, after `apply_positions`."""
        self.apply_positions(positions)
        return self._progress.look(self.partitions, positions)

    def read_again(self, standing: Standing) -> None:
        """7. Have a reader begin at its position row, unless it was closed meanwhile."""
        partition = self.partitions.get(standing.key)
        if partition is None:
            return
        reader = partition.readers.get(standing.source)
        if reader is None or reader.generation != standing.generation:
            return
        logger.warning(
            "%s: what was handed over from offset %d on is lost, reading again",
            standing.key,
            standing.next_offset,
            extra={"action": "read_again", "source": standing.source},
        )
        self.lost_references += 1
        self._progress.note_lost()
        partition.close_reader(standing.source)
        self.note_change(standing.key)
        self._incomplete.add(standing.key)
        self.request_positions()

    def check_topic_ids(self, topic_ids: dict[str, str]) -> None:
        """Read positions again where a topic was recreated."""
        for key, partition in self.partitions.items():
            topic_id = topic_ids.get(key.topic)
            if topic_id is None:
                continue
            if any(
                reader.log.topic_id != topic_id for reader in partition.readers.values()
            ):
                self.reopen(key)

    def reopen(self, key: PartitionKey) -> None:
        """Close the readers of a partition and read their positions again; a gap halts its source then."""
        self.partitions[key].close()
        self.note_change(key)
        self._incomplete.add(key)
        self._services.forget_topics()
        self.request_positions()

    # ── offsets ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def seek(self, keys: Collection[PartitionKey]) -> None:
        """Move librdkafka to where partitions are to be read; one that refuses is tried again with the next call."""
        for key in keys:
            partition = self.partitions[key]
            offset = partition.seek_to
            if offset is None:
                continue
            if not self._client.seek(key, offset):
                if not self._client.assign_again(key, offset):
                    continue
                partition.paused = False
            partition.seek_to = None
            partition.after_seek = True

    def commit(self, keys: Collection[PartitionKey], *, wait: bool = False) -> None:
        """5. Commit what is handed over of these partitions."""
        offsets: dict[PartitionKey, int] = {}
        for key in keys:
            partition = self.partitions.get(key)
            if partition is None:
                continue
            offset = partition.handed_over_offset
            if offset is not None:
                offsets[key] = offset
        self._client.commit(offsets, wait=wait)

    # ── consumer group (called inside `ConsumerClient.poll`) ────────────────────────────────────────────────────────

    def on_assigned(self, keys: Collection[PartitionKey]) -> None:
        """Hold the partitions paused until they have readers; until then no record is buffered."""
        for key in keys:
            self.partitions[key] = AssignedPartition()
            self._keys_of.setdefault(key.topic, set()).add(key)
            self._incomplete.add(key)
            self.note_change(key)
        self.request_positions()

    def on_revoked(self, keys: Collection[PartitionKey]) -> None:
        """Commit what was handed over and drop the rest: the process that gets the partitions reads it again."""
        self.commit(keys, wait=True)
        self._release(keys)

    def on_lost(self, keys: Collection[PartitionKey]) -> None:
        """Drop the partitions without a commit."""
        self._release(keys)

    def _release(self, keys: Collection[PartitionKey]) -> None:
        for key in keys:
            partition = self.partitions.pop(key, None)
            if partition is None:
                continue
            partition.close()
            self._incomplete.discard(key)
            self._unanswered.discard(key)
            self._keys_of[key.topic].discard(key)
            self.note_change(key)
