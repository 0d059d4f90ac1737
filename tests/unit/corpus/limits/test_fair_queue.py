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
        queue._give_back(batch, seconds[batch.source])
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


def test_a_source_of_weight_4_has_four_times_the_turns_of_one_of_weight_1() -> None:
    batches = [QueuedBatch("a", 1, 100, weight=4.0), QueuedBatch("b", 1, 5_000)]
    served = turns(FairQueue(), batches, {"a": 1.0, "b": 1.0})
    assert served.count("a") == 4 * served.count("b")
    waits = [len(run) for run in "".join(served).split("b")[1:-1]]
    assert set(waits) == {4}, "the turns are spread evenly"


def test_weights_are_shares_of_all_that_wait() -> None:
    batches = [QueuedBatch(name, 1, 100, weight=weight) for name, weight in WEIGHTS.items()]
    served = turns(FairQueue(), batches, dict.fromkeys(WEIGHTS, 1.0))
    assert {name: served.count(name) for name in WEIGHTS} == {"a": 40, "b": 10, "c": 5, "d": 5}


def test_a_great_weight_starves_nobody() -> None:
    batches = [QueuedBatch("a", 1, 100, weight=50.0), QueuedBatch("b", 1, 5_000)]
    served = turns(FairQueue(), batches, {"a": 1.0, "b": 1.0})
    assert served.count("b") >= 1
    assert "b" in served[:2], "who has waited begins where the others are"


def test_an_edit_of_a_light_source_does_not_wait_for_what_a_heavy_one_has_used() -> None:
    queue = FairQueue()
    heavy, light = QueuedBatch("heavy", 1, 5_000, weight=10.0), QueuedBatch("light", 1, 1)
    turns(queue, [heavy], {"heavy": 1.0})
    queue._join(light.source)
    queue._waiting.append(light)
    assert queue._next() is light


WEIGHTS = {"a": 4.0, "b": 1.0, "c": 0.5, "d": 0.5}


def test_between_two_turns_a_batch_waits_already() -> None:
    """Else the other one had the place each time, whatever their weights are."""
    queue = FairQueue()
    served: list[str] = []
    batches = [QueuedBatch("a", 1, 100, weight=1_000_000.0), QueuedBatch("b", 1, 100)]

    def use(batch: QueuedBatch) -> None:
        with queue.turns(batch) as turn:
            for _ in range(20):
                with turn():
                    served.append(batch.source)

    with ThreadPoolExecutor(2) as threads, queue.acquire(QueuedBatch("holder", 1, 1)):
        for batch in batches:
            threads.submit(use, batch)
        wait_until(lambda: len(queue._waiting) == 2, seconds=10)
    first_40 = "".join(served)
    assert first_40.replace("b", "", 1).startswith("a" * 20), first_40
    assert queue._waiting == []


def test_a_batch_that_fails_or_ends_early_does_not_wait_any_more() -> None:
    queue = FairQueue()
    batch = QueuedBatch("s", 1, 100)
    with queue.turns(batch) as turn:
        with turn():
            pass
        assert queue._waiting == [batch]
    assert queue._waiting == []
    with pytest.raises(ZeroDivisionError), queue.turns(batch) as turn, turn():
        _ = 1 / 0
    assert queue._waiting == []
