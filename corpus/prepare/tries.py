"""Events whose document was begun and did not end well: a try is noted before it is made, and outlives its process.

A document is cleaned and split in a process of its own (`corpus.limits.processes`), whose end does the worker no harm.
But the worker reads the record before, and takes the result after: that too may end it (out of memory, a crash in
native code), or meet a mistake of ours. The next attempt is then *careful*: it takes one document after the other, and
writes down each before it begins. A document that was begun `MAX_TRIES` times becomes a dead letter; the others of its
batch go through. An attempt that follows no such end, and finds no notes, writes none: they would cost two statements
per document.

The notes are in the database and not in the activity's heartbeat: that is throttled, so what a process did in its last
second is not in it, and it is gone when the batch is rewound.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.rows import class_row
from psycopg_pool import ConnectionPool
from temporalio.exceptions import FailureError

from corpus.batch import PrepareRequest
from corpus.database import Connection, database_errors_translated, fetch_all
from corpus.errors import FreshetError, place_of
from corpus.prepare.time_slice import SliceOver
from corpus.sql import query

MAX_TRIES = 3
# If so many documents raise an error in one attempt and none goes through, the cause is no document.
_MAX_FAILED_OF_ALL = 20

Position = tuple[str, int, int]  # topic, partition, offset


@dataclass(frozen=True, slots=True, kw_only=True)
class _BegunEvent:
    """An event that was begun (query `begun_events_of`)."""

    topic: str
    partition: int
    record_offset: int
    tries: int
    detail: str


class Tries:
    """The notes of one batch.

    Args:
        pool: of connections to PostgreSQL; each note is committed by itself.
        request: of the batch.
    """

    def __init__(
        self, pool: ConnectionPool[Connection], request: PrepareRequest
    ) -> None:
        self._pool = pool
        self._source = request.source
        self._topic_ids = {
            (ref.topic, ref.partition): ref.topic_id for ref in request.refs
        }
        self._begun = self._read()
        self.is_careful = request.bad_ends > 0 or bool(self._begun)

    def _read(self) -> dict[Position, _BegunEvent]:
        begun: dict[Position, _BegunEvent] = {}
        with database_errors_translated(), self._pool.connection() as connection:
            for partition in self._topic_ids:
                values = self._partition_values(*partition)
                factory = class_row(_BegunEvent)
                for event in fetch_all(connection, factory, "begun_events_of", values):
                    begun[event.topic, event.partition, event.record_offset] = event
        return begun

    def why_given_up(self, position: Position) -> str:
        """Why an event is not tried again; empty where it is."""
        event = self._begun.get(position)
        if event is None or event.tries < MAX_TRIES:
            return ""
        how = event.detail or "the process ended over it, or took too long"
        return f"it was begun {event.tries} times and never finished: {how}"

    def each(self, positions: Sequence[Position], step: Callable[[int], None]) -> None:
        """Take the steps of some events one after the other; one that raises does not keep the others from theirs.

        Args:
            positions: of the events.
            step: is called with the number of an event.

        Raises:
            FreshetError: as the step.
            FailureError: as the step; a cancelled activity gets one.
            SliceOver: as the step.
            Exception: the first that a step raised, after all of them.
        """
        failed: list[tuple[Position, Exception]] = []
        succeeded = 0
        for number, position in enumerate(positions):
            self._note("begin_event", position)
            try:
                step(number)
            except (FreshetError, FailureError, SliceOver):
                # The event is not the cause: a service is away, time is used up, or the worker is to stop.
                self._note("end_event", position)
                raise
            except Exception as error:
                failed.append((position, error))
                detail = f"{type(error).__name__} in {place_of(error)}"
                self._note(
                    "describe_begun_event",
                    position,
                    detail=detail,
                )
            else:
                succeeded += 1
                self._note("end_event", position)
            if not succeeded and len(failed) > _MAX_FAILED_OF_ALL:
                for refused, _ in failed:
                    self._note("end_event", refused)
                break
        if failed:
            raise failed[0][1]

    def _note(self, name: str, position: Position, **values: Any) -> None:
        topic, partition, offset = position
        parameters = {
            **self._partition_values(topic, partition),
            "record_offset": offset,
            **values,
        }
        with database_errors_translated(), self._pool.connection() as connection:
            connection.execute(query(name), parameters)

    def _partition_values(self, topic: str, partition: int) -> Mapping[str, Any]:
        return {
            "source": self._source,
            "topic": topic,
            "partition": partition,
            "topic_id": self._topic_ids[topic, partition],
        }
