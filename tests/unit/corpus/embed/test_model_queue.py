"""The order in which batches use the model."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from corpus.embed.model_queue import ModelQueue, QueuedBatch
from tests.support.polling import wait_until


class Users:
    """Threads that each use the model once; `order` names them as they got it."""

    def __init__(self, queue: ModelQueue) -> None:
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
    queue = ModelQueue()
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
    queue = ModelQueue()
    with pytest.raises(ZeroDivisionError), queue.acquire(QueuedBatch("s", 1, 1)):
        _ = 1 / 0
    with queue.acquire(QueuedBatch("s", 2, 1)):
        pass


def test_one_batch_at_a_time_has_the_model() -> None:
    queue = ModelQueue()
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
