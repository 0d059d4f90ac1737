"""A log may end beyond its last record: the marker of a transaction is no record that waits."""

from typing import Any

from corpus.errors import DependencyError
from ingest.consume.readable import ReadableRecords
from ingest.kafka import PartitionKey

KEY = PartitionKey("t", 0)


class Log:
    """A partition with records at these offsets; counts how often it is looked at."""

    def __init__(self, *records: int) -> None:
        self.records = records
        self.looks = 0
        self.down = False

    def next_record(self, topic: str, partition: int, offset: int) -> int | None:
        self.looks += 1
        if self.down:
            raise DependencyError("Kafka is down")
        return min((record for record in self.records if record >= offset), default=None)


def made(log: Any) -> ReadableRecords:
    return ReadableRecords(log)


def test_a_marker_is_no_lag_and_is_looked_at_once() -> None:
    log = Log(0, 1)
    readable = made(log)
    assert [readable.lag(KEY, 2, 3) for _ in range(5)] == [0] * 5
    assert log.looks == 1
    assert readable.lag(KEY, 3, 3) == readable.lag(KEY, 9, 3) == 0
    assert log.looks == 1


def test_a_record_behind_the_marker_is_seen_when_the_log_grows() -> None:
    log = Log(0, 1)
    readable = made(log)
    assert readable.lag(KEY, 2, 3) == 0
    log.records = (0, 1, 3)
    assert readable.lag(KEY, 2, 5) == 3
    assert readable.lag(KEY, 2, 9) == 7
    assert log.looks == 2
    assert readable.lag(KEY, 4, 9) == 0  # read; what follows is not known yet
    assert log.looks == 3


def test_in_doubt_there_are_records() -> None:
    log = Log()
    readable = made(log)
    assert readable.lag(KEY, 0, 5_000) == 5_000
    assert log.looks == 0
    log.down = True
    assert readable.lag(KEY, 0, 7) == 7
    log.down = False
    assert readable.lag(KEY, 0, 7) == 0


def test_a_round_has_a_bound() -> None:
    log = Log()
    readable = made(log)
    lags = [readable.lag(PartitionKey("t", number), 0, 1) for number in range(30)]
    assert (sum(lags), log.looks) == (10, 20)
    readable.begin_round()
    lags = [readable.lag(PartitionKey("t", number), 0, 1) for number in range(30)]
    assert (sum(lags), log.looks) == (0, 30)
