"""How long a model has been silent."""

import time

import pytest

from corpus.embed.progress import Progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The monotonic clock, which a test moves."""
    now = [1_000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_without_a_batch_nothing_is_silent(clock: list[float]) -> None:
    progress = Progress()
    clock[0] += 500
    assert progress.silent_seconds == 0


def test_time_counts_from_the_last_that_was_finished(clock: list[float]) -> None:
    progress = Progress()
    with progress.batch():
        clock[0] += 70.9
        assert progress.silent_seconds == 70
        progress.moved()
        clock[0] += 2
        assert progress.silent_seconds == 2
    assert progress.silent_seconds == 0


def test_a_batch_that_waits_for_a_silent_one_does_not_hide_it(clock: list[float]) -> None:
    progress = Progress()
    with progress.batch():
        clock[0] += 30
        with progress.batch():
            clock[0] += 40
            assert progress.silent_seconds == 70


def test_a_batch_that_fails_is_progress_of_the_others(clock: list[float]) -> None:
    progress = Progress()
    with progress.batch():
        with pytest.raises(MemoryError), progress.batch():
            clock[0] += 30
            raise MemoryError
        clock[0] += 1
        assert progress.silent_seconds == 1
