"""The rate limit of log lines: what passes, what is counted, what stays apart."""

import logging
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.log_limit import LogLimit
from tests.support.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def logger(clock: Clock) -> Iterator[logging.Logger]:
    made = logging.getLogger("tests.log_limit")
    limit = LogLimit(60, clock)
    made.addFilter(limit)
    yield made
    made.removeFilter(limit)


def passed(caplog: pytest.LogCaptureFixture) -> list[tuple[str, int]]:
    return [(record.getMessage(), record.held_back) for record in caplog.records]  # type: ignore[attr-defined]


def test_one_line_per_kind_and_minute_passes_and_the_next_one_counts_the_others(
    logger: logging.Logger, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for clock.now in (0.0, 1.0, 59.9, 60.0, 60.1, 500.0):
        logger.warning("at %s", clock.now, extra={"kind": "a"})
    assert passed(caplog) == [("at 0.0", 0), ("at 60.0", 2), ("at 500.0", 1)]


def test_kinds_do_not_hold_back_one_another(
    logger: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    for kind in ("a", "b", "a", "c"):
        logger.warning(kind, extra={"kind": kind})
    assert passed(caplog) == [("a", 0), ("b", 0), ("c", 0)]


def test_a_line_without_a_kind_always_passes(
    logger: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        logger.error("halted")
    assert len(caplog.records) == 3


def test_a_kind_that_counts_nothing_says_zero_after_a_reset(
    clock: Clock,
) -> None:
    limit = LogLimit(60, clock)

    def record() -> logging.LogRecord:
        return logging.makeLogRecord({"kind": "a"})

    assert limit.filter(record())
    assert not limit.filter(record())
    limit.reset()
    after = record()
    assert limit.filter(after)
    assert after.held_back == 0  # type: ignore[attr-defined]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 90)), max_size=60))
def test_every_line_either_passes_or_is_counted(lines: list[tuple[str, int]]) -> None:
    clock = Clock()
    limit = LogLimit(60, clock)
    accounted = {"a": 0, "b": 0, "c": 0}
    for kind, pause in lines:
        clock.now += pause
        record = logging.makeLogRecord({"kind": kind})
        if limit.filter(record):
            accounted[kind] += 1 + record.held_back  # type: ignore[attr-defined]
    clock.now += 60
    for kind in accounted:
        record = logging.makeLogRecord({"kind": kind})
        assert limit.filter(record)
        accounted[kind] += record.held_back  # type: ignore[attr-defined]
    assert sum(accounted.values()) == len(lines)


def test_threads_that_log_at_once_lose_no_count() -> None:
    limit = LogLimit(60, Clock())
    passes: list[bool] = []

    def log() -> None:
        passes.extend(limit.filter(logging.makeLogRecord({"kind": "a"})) for _ in range(500))

    threads = [threading.Thread(target=log) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert passes.count(True) == 1
    assert limit._kinds["a"].held_back == 1_999
