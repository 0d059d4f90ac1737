"""The entity's rules, without Temporal."""

import dataclasses

from corpus.batch import BatchRef, ExpiryOrder
from corpus.source import SourceSpec
from ingest.source_state import (
    MAX_REFERENCES,
    MAX_REWINDS,
    Acceptance,
    accept,
    accept_expiry,
    failed,
    forget_waiting,
    initial_state,
    learn_from,
    succeeded,
    take_batch,
)


def ref(first: int, after: int, *, partition: int = 0, size: int = 100, epoch: int = 0) -> BatchRef:
    return BatchRef(
        source="s", cluster_id="c", topic="t", topic_id="i", partition=partition, first_offset=first, next_offset=after,
        records=after - first, staged_bytes=size, url=f"{partition}/{first}", sha256="", staged_at_ms=0, epoch=epoch,
    )  # fmt: skip


def state():
    return initial_state(SourceSpec(source="s", topics=("t",)))


def test_a_repeated_signal_is_dropped() -> None:
    entity = state()
    assert accept(entity, ref(0, 10)) is Acceptance.ACCEPTED
    assert accept(entity, ref(0, 10)) is Acceptance.REPEATED
    assert accept(entity, ref(2, 8)) is Acceptance.REPEATED
    assert accept(entity, ref(0, 10, partition=1)) is Acceptance.ACCEPTED
    assert entity.repeated == 2


def test_a_range_in_flight_is_not_taken_twice() -> None:
    entity = state()
    accept(entity, ref(0, 10))
    assert len(take_batch(entity)) == 1
    assert accept(entity, ref(0, 10)) is Acceptance.REPEATED


def test_what_was_applied_is_taken_again_since_the_database_decides() -> None:
    entity = state()
    accept(entity, ref(0, 10))
    take_batch(entity)
    entity.in_flight.clear()  # its batch ended
    assert accept(entity, ref(0, 10)) is Acceptance.ACCEPTED


def test_batches_keep_to_the_limits_but_never_starve_a_large_reference() -> None:
    entity = state()
    entity.max_records, entity.budget_bytes = 15, 1_000
    for first in (0, 10, 20):
        accept(entity, ref(first, first + 10))
    assert [taken.first_offset for taken in take_batch(entity)] == [0]
    accept(entity, dataclasses.replace(ref(30, 40), staged_bytes=10_000))
    assert [taken.first_offset for taken in take_batch(entity)] == [10]
    assert [taken.first_offset for taken in take_batch(entity)] == [20]
    assert [taken.first_offset for taken in take_batch(entity)] == [30]
    assert take_batch(entity) == ()


def test_the_budget_follows_the_cost() -> None:
    entity = state()
    before = entity.budget_bytes
    learn_from(entity, texts_embedded=0)
    assert entity.budget_bytes == 2 * before
    for _ in range(20):
        learn_from(entity, texts_embedded=10_000)
    assert 0 < entity.budget_bytes < before
    for _ in range(20):
        learn_from(entity, texts_embedded=0)
    assert entity.budget_bytes == entity.max_bytes


def test_after_a_rewind_older_readings_are_refused() -> None:
    entity = state()
    accept(entity, ref(0, 10))
    accept(entity, ref(10, 20, epoch=1))
    forget_waiting(entity, epoch=1)
    assert [waiting.first_offset for waiting in entity.pending] == [10]
    assert accept(entity, ref(20, 30)) is Acceptance.OUTDATED


def test_a_stuck_partition_counts_on_while_others_are_published() -> None:
    entity = state()
    bad, good = ref(10, 20), dataclasses.replace(ref(0, 10), partition=7)
    told = []
    for _ in range(MAX_REWINDS + 1):
        told.append(failed(entity, [bad]))
        succeeded(entity, [good])
    assert told == [False] * MAX_REWINDS + [True]


def test_what_failed_and_is_published_counts_no_more() -> None:
    entity = state()
    failed(entity, [ref(10, 20), dataclasses.replace(ref(0, 10), partition=7)])
    succeeded(entity, [ref(5, 10)])  # what lay before it
    assert entity.rewinds == 1
    succeeded(entity, [ref(10, 12)])
    assert entity.rewinds == 1
    succeeded(entity, [dataclasses.replace(ref(0, 3), partition=7)])
    assert (entity.rewinds, entity.stuck) == (0, {})


def test_a_batch_takes_so_many_references_and_no_more() -> None:
    """Each is part of a workflow's input, which the server limits to 2 MB."""
    entity = state()
    entity.max_records, entity.budget_bytes, entity.max_bytes = 10**9, 10**9, 10**9
    for first in range(MAX_REFERENCES + 5):
        accept(entity, ref(first, first + 1))
    assert [len(take_batch(entity)) for _ in range(3)] == [MAX_REFERENCES, 5, 0]


def test_a_repeat_that_was_cut_in_other_places_is_dropped() -> None:
    """A consumer that started again while nobody worked reads from the position row once more."""
    entity = state()
    for first, after in ((0, 10), (10, 20), (20, 30)):
        accept(entity, ref(first, after))
    take_batch(entity)
    for first, after in ((0, 7), (7, 14), (14, 30)):
        assert accept(entity, ref(first, after)) is Acceptance.REPEATED
    assert accept(entity, ref(25, 35)) is Acceptance.ACCEPTED
    assert accept(entity, ref(40, 45)) is Acceptance.ACCEPTED
    assert accept(entity, ref(30, 42)) is Acceptance.ACCEPTED  # 35 to 39 are missing


def test_what_is_read_again_from_further_back_is_no_repeat() -> None:
    """After a failover the position row stands further back than the entity has seen."""
    entity = state()
    accept(entity, ref(10, 20))
    take_batch(entity)
    entity.in_flight.clear()
    assert accept(entity, ref(5, 15)) is Acceptance.ACCEPTED
    assert accept(entity, ref(5, 15)) is Acceptance.REPEATED


def test_a_newer_order_to_expire_takes_the_place_of_one_that_waits() -> None:
    entity = state()
    for name in ("r1", "r2"):
        accept_expiry(entity, ExpiryOrder(request_id=name, rule="", expire_after_seconds=1))
    assert [order.request_id for order in entity.expiries] == ["r2"]


def test_an_expiry_order_is_taken_once() -> None:
    entity = state()
    order = ExpiryOrder(request_id="r", rule="", expire_after_seconds=1)
    assert accept_expiry(entity, order) is Acceptance.ACCEPTED
    assert accept_expiry(entity, order) is Acceptance.REPEATED
    assert entity.expiries == [order]
