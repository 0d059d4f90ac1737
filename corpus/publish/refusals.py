"""Find the documents that PostgreSQL refuses, so that one of them does not stop its source.

A batch that is refused because of its data is halved until the documents are found. Their events are remembered in
`freshet.refused_event`, and the batch is prepared again: there they become dead letters, the other events of their
documents are folded as if they had come without them, and the rest of the batch is published.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psycopg

from corpus.batch import Ingest, PublishRequest
from corpus.database import Connection
from corpus.dead_letter import DeadLetterReason
from corpus.disclosure.error_text import public_text
from corpus.errors import StalePreparationError
from corpus.publish.changes import judge, write_changes
from corpus.publish.contents import Frames
from corpus.publish.copy_in import copy_in
from corpus.publish.ledger import published_report
from corpus.publish.transaction import PublishTransaction, begin
from corpus.sql import query
from corpus.sqlstates import is_data_error

logger = logging.getLogger(__name__)

# Found in one pass; the next preparation begins without them, and the next pass finds more.
_MAX_REFUSED = 100
# If the database refuses so many and accepts none, the cause is no document: a rule of the schema, a fault of ours.
_MAX_REFUSED_OF_ALL = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unit:
    """What is refused or accepted as a whole: a document, or an event that is no document."""

    row: int  # of the documents, or of the events
    is_document: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedEvent:
    """An event whose row, or whose document, PostgreSQL refuses."""

    topic: str
    partition: int
    record_offset: int
    detail: str  # the server's condition, without values of the row
    is_bare: bool  # the dead letter itself is refused: keep its key and value only


class _TooManyError(Exception):
    """All that was tried is refused."""


def refused_events(
    connection: Connection, request: PublishRequest, frames: Frames
) -> list[RefusedEvent]:
    """Find the events that PostgreSQL refuses; changes nothing.

    Args:
        connection: without an open transaction.
        request: whose publishing failed.
        frames: of its files.

    Returns:
        At least one event; or none where no document is refused by itself, or none is accepted.

    Raises:
        StalePreparationError: the corpus has changed meanwhile.
        psycopg.Error: the server does not answer, or refuses for another reason.
    """
    with connection.transaction(force_rollback=True):
        transaction = begin(connection, request)
        if published_report(transaction) is not None:
            return []
        search = _Search(transaction, frames)
        try:
            search.halve(_units_of(frames))
        except _TooManyError:
            return []
    return search.refused


def _units_of(frames: Frames) -> list[_Unit]:
    documents = [
        _Unit(row=row, is_document=True) for row in range(frames.documents.height)
    ]
    outcomes = frames.events["outcome"].to_list()
    return documents + [
        _Unit(row=row, is_document=False)
        for row, outcome in enumerate(outcomes)
        if outcome != "event"
    ]


class _Search:
    """Halves a batch; every attempt is undone.

    Attributes:
        refused: the events found so far.
    """

    def __init__(self, transaction: PublishTransaction, frames: Frames) -> None:
        self.refused: list[RefusedEvent] = []
        self._transaction = transaction
        self._frames = frames
        self._any_accepted = False

    def halve(self, units: Sequence[_Unit]) -> None:
        """Find the refused units among these."""
        if not units or len(self.refused) >= _MAX_REFUSED:
            return
        error = self._attempt(units)
        if error is None:
            self._any_accepted = True
        elif len(units) == 1:
            self._add(units[0], error)
        else:
            middle = len(units) // 2
            self.halve(units[:middle])
            self.halve(units[middle:])

    def _attempt(self, units: Sequence[_Unit]) -> psycopg.Error | None:
        """Publish these alone, and undo it; returns why they are refused."""
        documents = [unit.row for unit in units if unit.is_document]
        events = [unit.row for unit in units if not unit.is_document]
        part = self._frames.part(documents, events)
        transaction = self._transaction
        connection = transaction.connection
        try:
            with connection.transaction(force_rollback=True):
                copy_in(connection, part.events, part.documents, part.chunks)
                judge(transaction)
                write_changes(transaction)
                transaction.execute("insert_dead_letters")
        except psycopg.Error as error:
            if is_data_error(error):
                return error
            raise
        return None

    def _add(self, unit: _Unit, error: psycopg.Error) -> None:
        frame = self._frames.documents if unit.is_document else self._frames.events
        row = frame.row(unit.row, named=True)
        refused = RefusedEvent(
            topic=row["topic"],
            partition=row["partition"],
            record_offset=row["offset"],
            detail=f"PostgreSQL refuses it: {public_text(error)}",
            is_bare=not unit.is_document,
        )
        if refused.is_bare and _is_bare_already(row):
            raise error
        self.refused.append(refused)
        if not self._any_accepted and len(self.refused) > _MAX_REFUSED_OF_ALL:
            raise _TooManyError


def _is_bare_already(row: Mapping[str, object]) -> bool:
    is_refused = row["reason"] == DeadLetterReason.NOT_STORABLE
    return is_refused and row["headers"] is None and row["document_id"] is None


def remember(
    connection: Connection, request: PublishRequest, refused: Sequence[RefusedEvent]
) -> StalePreparationError:
    """Write down what was found, for the next preparation; returns the error that asks for it."""
    order = request.batch.order
    assert isinstance(order, Ingest), "only events are refused"
    topic_ids = {(ref.topic, ref.partition): ref.topic_id for ref in order.refs}
    with connection.transaction():
        for event in refused:
            values = {
                "source": request.batch.source,
                "topic": event.topic,
                "topic_id": topic_ids[event.topic, event.partition],
                "partition": event.partition,
                "record_offset": event.record_offset,
                "detail": event.detail,
                "is_bare": event.is_bare,
            }
            connection.execute(query("remember_refused_event"), values)
    first = refused[0]
    context = {
        "action": "events_refused",
        "source": request.batch.source,
        "batch": request.batch.batch,
        "events": len(refused),
        "topic": first.topic,
        "partition": first.partition,
        "offset": first.record_offset,
        "detail": first.detail,
    }
    logger.warning("PostgreSQL refuses events of a batch", extra=context)
    return StalePreparationError(
        f"{len(refused)} events cannot be stored, the first at offset {first.record_offset} of "
        f"{first.topic}/{first.partition}: {first.detail}; prepare again, which makes them dead letters"
    )
