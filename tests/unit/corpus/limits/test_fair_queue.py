"""The order in which batches use the model."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from corpus.limits.fair_queue import FairQueue, QueuedBatch
from tests.support.polling import wait_until


class Users:
    """Threads that each use a place once; `order` names them as they got it."""

    def __init__(self, queue: FairQueue) -> None:
        self.order: list[str] = []
        self._queue = queue
        self._threads = ThreadPoolExecutor(8)

    def start(self, name: str, batch: QueuedBatch) -> None:
        self._threads.submit(self._use, name, batch)

    def _use(self, name: str, batch: QueuedBatch) -> None:
        with self._queue.acquire(batch):
            self.order.append(name)

    def join(self) -> list[str]:
        self._threads.shutdown()
        return self.order


def order_of(wanted: dict[str, QueuedBatch]) -> list[str]:
    """Return the names in the order in which the queue serves batches that all wait."""
    queue = FairQueue()
    users = Users(queue)
    with queue.acquire(QueuedBatch("holder", 1, 10)):
        for number, (name, batch) in enumerate(wanted.items(), 1):
            users.start(name, batch)
            wait_until(lambda number=number: len(queue._waiting) == number, seconds=10)
    return users.join()


def test_an_older_batch_of_a_source_and_a_smaller_one_of_another_go_first() -> None:
    order = order_of(
        {
            "large, younger": QueuedBatch("bulk", 8, 100),
            "large, older": QueuedBatch("bulk", 7, 5_000),
            "an edit": QueuedBatch("edits", 3, 2),
        }
    )
    assert order == ["an edit", "large, older", "large, younger"]


def test_a_younger_batch_never_overtakes_however_small_it_is() -> None:
    batches = {str(number): QueuedBatch("s", number, 10 - number) for number in (3, 1, 2)}
    assert order_of(batches) == ["1", "2", "3"]


def test_of_equals_the_first_in_the_queue_is_served_first() -> None:
    batches = {source: QueuedBatch(source, 1, 5) for source in ("a", "b", "c")}
    assert order_of(batches) == ["a", "b", "c"]


def test_a_body_that_fails_frees_the_model() -> None:
    queue = FairQueue()
    with pytest.raises(ZeroDivisionError), queue.acquire(QueuedBatch("s", 1, 1)):
        _ = 1 / 0
    with queue.acquire(QueuedBatch("s", 2, 1)):
        pass


def test_one_batch_at_a_time_has_the_model() -> None:
    queue = FairQueue()
    inside = 0
    most = 0
    counting = threading.Lock()

    def use(number: int) -> None:
        nonlocal inside, most
        batch = QueuedBatch(f"source {number % 3}", number, number)
        for _ in range(50):
            with queue.acquire(batch):
                with counting:
                    inside += 1
                    most = max(most, inside)
                with counting:
                    inside -= 1

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(use, range(6)))
    assert most == 1
    assert queue._waiting == []


def turns(queue: FairQueue, batches: list[QueuedBatch], seconds: dict[str, float]) -> list[str]:
    """The sources in the order in which they get the one place, while all of them always want it again."""
    for batch in batches:
        queue._join(batch.source)
        queue._waiting.append(batch)
    served: list[str] = []
    for _ in range(60):
        batch = queue._next()
        assert batch is not None
        queue._waiting.remove(batch)
        queue._take(batch.source)
        queue._give_back(batch.source, seconds[batch.source])
        queue._join(batch.source)
        queue._waiting.append(batch)
        served.append(batch.source)
    return served


def test_two_backlogs_have_equal_shares_of_time() -> None:
    batches = [QueuedBatch("a", 1, 5_000), QueuedBatch("b", 1, 100)]
    served = turns(FairQueue(), batches, {"a": 1.0, "b": 1.0})
    assert served[:4] == ["b", "a", "b", "a"]
    slower = turns(FairQueue(), batches, {"a": 4.0, "b": 1.0})
    assert 4 * 0.8 <= slower.count("b") / slower.count("a") <= 4 * 1.2


def test_a_stream_of_small_batches_does_not_keep_a_backlog_waiting() -> None:
    batches = [QueuedBatch("stream", 1, 1), QueuedBatch("backlog", 1, 5_000)]
    served = turns(FairQueue(), batches, {"stream": 1.0, "backlog": 1.0})
    assert served.count("backlog") == 30


def test_a_source_that_comes_later_begins_where_the_others_are() -> None:
    queue = FairQueue()
    turns(queue, [QueuedBatch("old", 1, 5_000)], {"old": 1.0})
    served = turns(queue, [QueuedBatch("new", 1, 9_000)], {"old": 1.0, "new": 1.0})
    assert served[:4] == ["new", "old", "new", "old"]
    assert served.count("new") == 30


def test_the_last_of_several_places_is_not_for_a_slow_source() -> None:
    queue = FairQueue(2)
    queue._slow.add("slow")
    first, second = QueuedBatch("slow", 1, 9), QueuedBatch("slow", 2, 9)
    quick = QueuedBatch("quick", 1, 9)
    with queue.acquire(first):
        queue._join("quick")
        queue._waiting.append(second)
        assert queue._next() is None
        queue._waiting.append(quick)
        assert queue._next() is quick
        queue._waiting.remove(quick)
    assert queue._next() is second


def test_the_only_place_is_for_a_slow_source_as_well() -> None:
    queue = FairQueue()
    queue._slow.add("slow")
    with queue.acquire(QueuedBatch("slow", 1, 9)):
        pass
    assert "slow" not in queue._slow  # it was quick this time
