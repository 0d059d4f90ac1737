"""Kafka topics: those that are missing are created; one that exists is left as it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ingest.kafka import MAX_MESSAGE_BYTES
from workers.apply.change import Change
from workers.apply.kind import Kind, Names, Services, Target


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic. Its number of partitions matters at its creation only: Kafka cannot take any away."""

    partitions: int

    def fields(self) -> Mapping[str, Any]:
        """None: a topic that exists needs no change."""
        return {}


class Topics(Kind[Topic]):
    """The topics that the sources read."""

    name = "topic"

    async def desired(self, services: Services, target: Target) -> Mapping[str, Topic]:
        """As the file names them."""
        partitions = target.config.partitions
        return {topic: Topic(number) for topic, number in partitions.items()}

    async def current(self, services: Services, names: Names) -> Mapping[str, Topic]:
        """Those that the cluster has."""
        states = services.cluster.topics(names)
        return {topic: Topic(state.partitions) for topic, state in states.items()}

    async def write(self, services: Services, change: Change[Topic]) -> None:
        """Create it, for records as large as a document may be."""
        if change.desired is not None:
            config = {"max.message.bytes": str(MAX_MESSAGE_BYTES)}
            services.cluster.create_topic(
                change.name, change.desired.partitions, config
            )
