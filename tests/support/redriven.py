"""Dead letters as they are redriven, without Kafka."""

from ingest.dead_letters.first_position import FirstPosition, first_position_of, own_headers
from ingest.dead_letters.headers import stored_headers
from ingest.dead_letters.redrive import show
from ingest.event import KafkaRecord
from tests.support.pipeline import NOW_MS, Pipeline


def copy_of(pipeline: Pipeline, number: int) -> KafkaRecord:
    """The record that a dead letter comes back as."""
    letter = show(pipeline.connection, number)
    headers = stored_headers(letter["headers"])
    first = first_position_of(headers) or FirstPosition(
        topic=letter["topic"],
        partition=letter["partition"],
        offset=letter["record_offset"],
        timestamp_ms=round(letter["record_at"].timestamp() * 1_000),
    )
    kept = [(name, value) for name, value in own_headers(headers) if not isinstance(value, str)]
    return KafkaRecord(
        topic="",
        partition=letter["partition"],
        offset=0,
        timestamp_ms=NOW_MS + 60_000,
        key=letter["key"],
        value=letter["value"],
        headers=(*kept, *first.headers(number)),
    )


def redrive_waiting(pipeline: Pipeline) -> int:
    """Send again what waits for columns, as the consumers do when its time has come; returns how many."""
    letters = pipeline.connection.execute(
        """UPDATE freshet.dead_letter SET state = 'redriven' WHERE state = 'open' AND reason = 'column_waits'
           RETURNING dead_letter"""
    ).fetchall()
    for (number,) in sorted(letters):
        again = copy_of(pipeline, number)
        pipeline.ingest(again, partition=again.partition)
    return len(letters)
