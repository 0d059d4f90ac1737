"""Sources of one partition: which one is suspended, when it is resumed, where reading continues."""

import pytest

from ingest.consume.sharing import (
    MAX_BLOCKING_SECONDS,
    MIN_SUSPENDED_SECONDS,
    is_blocked,
    suspend_and_resume,
)
from tests.support.readers import make_partition, make_record, receive

BOTH = {"stuck", "fine"}


def offsets(partition_reader: object) -> list[int]:
    return [record.offset for record in partition_reader.buffer]  # type: ignore[attr-defined]


def test_a_reader_that_must_wait_is_suspended_after_a_while_and_the_other_continues() -> None:
    partition = make_partition(stuck=0, fine=0)
    stuck, fine = partition.readers["stuck"], partition.readers["fine"]
    receive(partition, 0, 1, 2)
    stuck.take_batch(0.0)
    receive(partition, 3)
    for now, is_suspended in (
        (8.0, False),
        (8.0 + MAX_BLOCKING_SECONDS / 2, False),
        (8.0 + MAX_BLOCKING_SECONDS, True),
    ):
        assert is_blocked(partition, {"stuck"})
        suspend_and_resume(partition, {"stuck"}, {"fine"}, now)
        assert stuck.is_suspended is is_suspended
    assert (partition.seek_to, partition.read_offset) == (None, 4)  # reading is there already
    assert not is_blocked(partition, {"stuck"})
    receive(partition, 4)
    assert not stuck.buffer
    assert (stuck.expected_offset, stuck.handed_over_offset) == (3, 0)
    assert offsets(fine) == [0, 1, 2, 3, 4]


def test_it_is_resumed_when_it_is_relieved_and_the_other_leaves_out_what_it_had() -> None:
    partition = make_partition(stuck=0, fine=7)
    partition.readers["stuck"].suspend(5.0)
    suspend_and_resume(partition, set(), {"fine"}, 50.0)
    assert partition.seek_to is None  # still more than half of its limits
    suspend_and_resume(partition, set(), BOTH, 5.0 + MIN_SUSPENDED_SECONDS / 2)
    assert partition.seek_to is None
    suspend_and_resume(partition, set(), BOTH, 5.0 + MIN_SUSPENDED_SECONDS)
    assert (partition.seek_to, partition.read_offset) == (0, 0)
    receive(partition, *range(9))
    assert offsets(partition.readers["stuck"]) == [*range(9)]
    assert offsets(partition.readers["fine"]) == [7, 8]


def test_it_is_not_resumed_while_a_micro_batch_is_in_flight() -> None:
    partition = make_partition(stuck=0, fine=7)
    stuck = partition.readers["stuck"]
    stuck.add(make_record(0), 0.0)
    batch = stuck.take_batch(0.0)
    stuck.suspend(0.0)
    suspend_and_resume(partition, set(), BOTH, 100.0)
    assert stuck.is_suspended
    assert stuck.confirm(batch, now=0.0)
    suspend_and_resume(partition, set(), BOTH, 100.0)
    assert (stuck.is_suspended, partition.seek_to) == (False, 1)


def test_a_reader_that_is_far_back_lets_the_other_continue() -> None:
    partition = make_partition(stuck=0, fine=1_000)
    suspend_and_resume(partition, set(), BOTH, 0.0)
    suspend_and_resume(partition, set(), BOTH, MAX_BLOCKING_SECONDS)
    assert (partition.readers["stuck"].is_suspended, partition.seek_to) == (True, 1_000)


def test_a_reader_further_on_is_suspended_and_resumed_without_a_seek() -> None:
    """A seek discards what is being fetched for the one that is far back."""
    partition = make_partition(back=0, middle=500, fine=1_000)
    partition.readers["middle"].suspend(0.0)
    suspend_and_resume(partition, set(), {"back", "middle", "fine"}, MIN_SUSPENDED_SECONDS)
    assert not partition.readers["middle"].is_suspended
    assert (partition.seek_to, partition.read_offset) == (None, 0)


def test_a_reader_that_waits_further_on_blocks_no_other() -> None:
    partition = make_partition(stuck=50, fine=0)
    suspend_and_resume(partition, {"stuck"}, {"fine"}, 0.0)
    assert not is_blocked(partition, {"stuck"})
    receive(partition, *range(50))
    assert is_blocked(partition, {"stuck"})


def test_all_behind_means_that_nothing_is_read_and_no_reader_is_suspended() -> None:
    partition = make_partition(stuck=0, fine=0)
    for now in (0.0, 100.0):
        suspend_and_resume(partition, BOTH, set(), now)
    assert partition.seek_to is None
    assert is_blocked(partition, BOTH)


def test_the_last_reader_is_resumed_though_no_other_reads() -> None:
    partition = make_partition(stuck=0, fine=0)
    partition.readers["stuck"].suspend(0.0)
    partition.close_reader("fine")
    assert is_blocked(partition, set())
    suspend_and_resume(partition, set(), {"stuck"}, 5.0)
    assert (partition.seek_to, is_blocked(partition, set())) == (0, False)


@pytest.mark.parametrize(
    ("relieved", "is_suspended"),
    [({"fine"}, True), (BOTH, False)],
    ids=["close to its limits", "far below its limits"],
)
def test_only_a_reader_that_is_always_close_to_its_limits_is_suspended(
    relieved: set[str], is_suspended: bool
) -> None:
    partition = make_partition(stuck=0, fine=0)
    for tick in range(30):  # a batch is published every 0.2 s, and the next one fills the room
        behind = {"stuck"} if tick % 2 else set[str]()
        suspend_and_resume(partition, behind, relieved, tick / 10)
    assert partition.readers["stuck"].is_suspended is is_suspended
