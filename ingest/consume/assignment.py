"""The partitions that this process reads, the sources that read them, and from where.

Everything here runs in the polling thread: the answers of the services come as messages (`Poller.call_soon`), the
changes of the consumer group as calls inside `ConsumerClient.poll`.
"""

import logging
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

    def readers(self) -> Iterator[PartitionReader]:
        """Every reader of every partition."""
        for partition in self.partitions.values():
            yield from partition.readers.values()

    # ── sources ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def apply_sources(self, active: Sequence[ActiveSource]) -> None:
        """1. Subscribe to the topics of the active sources; close the readers of other sources and of moved ones."""
        before, self.sources = (
            self.sources,
            {source.spec.source: source for source in active},
        )
        for name, source in before.items():
            self._close_if_gone_or_moved(name, source.epoch)
        for key, partition in self.partitions.items():
            partition.topic_missing = False
            self._apply_specs(key.topic, partition)
        self._subscribe()
        self.request_positions()

    def _close_if_gone_or_moved(self, name: str, epoch: int) -> None:
        source = self.sources.get(name)
        if source is not None and source.epoch == epoch:
            return
        if source is not None:
            logger.info(
                "position was moved, reading again",
                extra={"action": "epoch", "source": name, "epoch": source.epoch},
            )
        self._close_readers(name)

    def _apply_specs(self, topic: str, partition: AssignedPartition) -> None:
        for name, reader in list(partition.readers.items()):
            source = self.sources.get(name)
            if source is None or topic not in source.spec.topics:
                partition.close_reader(name)
            else:
                reader.spec = source.spec

    def _subscribe(self) -> None:
        topics = frozenset(
            topic for source in self.sources.values() for topic in source.spec.topics
        )
        if topics == self.topics:
            return
        self.topics = topics
        logger.info(
            "subscribing", extra={"action": "subscribe", "topics": sorted(topics)}
        )
        self._client.subscribe(topics, self)

    def halt_source(self, name: str, epoch: int, reason: str) -> None:
        """Read no more for a source, and stop it visibly."""
        self.drop_source(name)
        self._start(self._services.halt(name, epoch, reason))

    def drop_source(self, name: str) -> None:
        """Read no more for a source."""
        self.sources.pop(name, None)
        self._close_readers(name)

    def _close_readers(self, name: str) -> None:
        for partition in self.partitions.values():
            partition.close_reader(name)

    # ── positions ───────────────────────────────────────────────────────────────────────────────────────────────────

    def request_positions(self) -> None:
        """2. Ask for the positions of sources that have no reader in an assigned partition yet."""
        wanted: dict[PartitionKey, dict[str, ActiveSource]] = {}
        for key, partition in self.partitions.items():
            if partition.positions_requested or partition.topic_missing:
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
            for name, source in self.sources.items()
            if topic in source.spec.topics and name not in partition.readers
        }

    def open_readers(self, wanted: WantedPositions, starts: PartitionStarts) -> None:
        """2. Open one reader per source at its position, or halt the source."""
        for key, sources in wanted.items():
            partition = self.partitions.get(key)
            if partition is None:
                continue  # it was revoked meanwhile
            partition.positions_requested = False
            start = starts.get(key)
            # Where the topic is missing, the next reading of the sources makes us ask again.
            partition.topic_missing = start is None
            if start is None:
                continue
            for source in sources.values():
                self._open_reader(key, source, start)
            partition.request_seek()
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
        )
        where = {"topic": key.topic, "partition": key.partition, "offset": offset}
        logger.info("reading", extra={"action": "read", "source": name, **where})

    def apply_positions(self, positions: Sequence[Position]) -> None:
        """6. What is published is not outstanding any more."""
        for position in positions:
            partition = self.partitions.get(position.key)
            if partition is None:
                continue
            reader = partition.readers.get(position.source)
            if reader is not None and reader.log.topic_id == position.topic_id:
                reader.forget_published(position.next_offset)

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
        self._services.forget_topics()
        self.request_positions()

    # ── offsets ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def seek(self) -> None:
        """Move librdkafka to where partitions are to be read; one that refuses is tried again with the next call."""
        for key, partition in self.partitions.items():
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
            if partition is not None:
                partition.close()
