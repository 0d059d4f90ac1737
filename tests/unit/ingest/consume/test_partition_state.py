"""What a reader buffers, when it gives a micro-batch away, when it is behind, where it starts."""

import pytest

from ingest.consume import pace
from ingest.consume.backpressure import MAX_REFERENCES, is_behind
from ingest.consume.partition_state import (
    CATCH_UP_SECONDS,
    MAX_MICRO_BATCH_BYTES,
    AssignedPartition,
    Gap,
    PartitionReader,
    Position,
    start_offset,
)
from ingest.source_state import BATCH_GROWTH, FIRST_BATCH_BYTES
from tests.support.readers import (
    hand_over,
    hand_over_singly,
    make_log,
    make_partition,
    make_position,
    make_reader,
    make_record,
    receive,
)


def test_a_record_is_buffered_once_and_holes_belong_to_the_range() -> None:
    reader = make_reader(start=5)
    for offset in (3, 4, 5, 5, 6, 9, 8, 9):
        reader.add(make_record(offset), 1.0)
    batch = reader.take_batch(1.0)
    assert [record.offset for record in batch.records] == [5, 6, 9]
    assert (batch.first_offset, batch.next_offset) == (5, 10)
    assert (reader.handed_over_offset, reader.batch_offset) == (5, 10)
    assert reader.confirm(batch, now=0.0)
    assert reader.handed_over_offset == 10


def test_ranges_of_micro_batches_meet() -> None:
    reader = make_reader(max_records=2)
    for offset in range(7):
        reader.add(make_record(offset), 0.0)
    ranges = []
    while reader.buffer:
        batch = hand_over(reader)
        ranges.append((batch.first_offset, batch.next_offset))
    assert ranges == [(0, 2), (2, 4), (4, 6), (6, 7)]
    assert reader.buffered_bytes == 0


def test_a_large_record_makes_a_micro_batch_of_its_own() -> None:
    reader = make_reader(max_bytes=1_000)
    for offset, size in enumerate((100, 5_000, 100)):
        reader.add(make_record(offset, size), 0.0)
    sizes = []
    while reader.buffer:
        sizes.append(len(hand_over(reader).records))
    assert sizes == [1, 1, 1]


def test_a_micro_batch_stays_small_whatever_a_source_allows() -> None:
    reader = make_reader(max_bytes=8_000_000)
    for offset in range(20):
        reader.add(make_record(offset, 100_000), 0.0)
    assert reader.is_full
    batches = [hand_over(reader) for _ in range(3)]
    assert max(batch.value_bytes for batch in batches) <= MAX_MICRO_BATCH_BYTES
    assert len(batches[-1].records) == 4


def sizes_of_backlog(reader: PartitionReader, records: int) -> list[int]:
    """Records of the micro-batches of a backlog of records of 1,000 bytes, of which nothing is published meanwhile."""
    for _ in range(records):
        reader.add(make_record(reader.expected_offset, 800), 0.0)
    sizes = []
    while reader.buffer:
        sizes.append(len(hand_over(reader).records))
    return sizes


def test_micro_batches_grow_while_a_source_is_behind() -> None:
    reader = make_reader()
    first = FIRST_BATCH_BYTES // 1_000
    grown = [first, BATCH_GROWTH * first]
    assert sizes_of_backlog(reader, 1_660) == [*grown, 500, 500, 500]
    # It is behind already: what comes next continues with large ones.
    assert sizes_of_backlog(reader, 1_000) == [500, 500]
    # All is published, and then it falls behind again.
    reader.forget_published(reader.batch_offset, now=0.0)
    assert sizes_of_backlog(reader, 1_160) == [*grown, 500, 500]


def test_a_storm_behind_a_trickle_begins_with_a_small_micro_batch() -> None:
    """With one event and another, something is always unpublished; the storm is no reason to wait for 500 KB."""
    reader = make_reader()
    for _ in range(50):
        reader.add(make_record(reader.expected_offset, 300), 0.0)
        hand_over(reader)
        reader.forget_published(reader.batch_offset - 1, now=0.0)
        assert reader.outstanding
    assert sizes_of_backlog(reader, 200)[0] == FIRST_BATCH_BYTES // 1_000


def test_a_record_without_a_value_costs_memory_too() -> None:
    reader = make_reader()
    for offset in range(1_000):
        reader.add(make_record(offset, 0), 0.0)
    assert reader.held_bytes >= 200_000


def test_when_a_micro_batch_is_due() -> None:
    reader = make_reader(max_records=3)
    reader.add(make_record(0), 5.0)
    assert reader.due_at(log_end=1) == 0.0  # nothing more to come: at once
    assert reader.due_at(log_end=50) == 5.0 + CATCH_UP_SECONDS
    lingering = make_reader(linger_ms=500)
    lingering.add(make_record(0), 5.0)
    assert lingering.due_at(log_end=1) == 5.5
    reader.add(make_record(1), 5.0)
    reader.add(make_record(2), 5.0)
    assert reader.is_full
    assert reader.due_at(log_end=50) == 0.0


def test_a_source_is_behind_until_its_records_are_published() -> None:
    reader = make_reader(max_pending_records=4)
    for offset in range(4):
        reader.add(make_record(offset), 0.0)
    assert not is_behind([reader])
    hand_over(reader)
    assert is_behind([reader])
    reader.forget_published(3, now=0.0)
    assert is_behind([reader])
    reader.forget_published(4, now=0.0)
    assert not is_behind([reader])


def test_no_reader_is_not_behind() -> None:
    assert not is_behind([])


def test_bytes_count_as_records_do() -> None:
    reader = make_reader(max_pending_bytes=1_000)
    reader.add(make_record(0, 2_000), 0.0)
    hand_over(reader)
    assert is_behind([reader])


def test_a_micro_batch_waits_the_longer_the_more_of_them_are_not_published() -> None:
    reader = make_reader()
    hand_over_singly(reader, pace.UNDELAYED_REFERENCES, 5.0)
    reader.add(make_record(reader.expected_offset), 5.0)
    assert reader.due_at(log_end=reader.expected_offset) == 0.0
    hand_over(reader, 5.0)
    hand_over_singly(reader, 9, 5.0)
    reader.add(make_record(reader.expected_offset), 5.0)
    assert reader.due_at(reader.expected_offset) == 5.0 + 10 * pace.DELAY_SECONDS_PER_REFERENCE
    reader.forget_published(reader.batch_offset, now=0.0)
    assert reader.due_at(log_end=reader.expected_offset) == 0.0


def test_a_micro_batch_waits_for_a_share_of_the_time_that_the_one_before_it_waits() -> None:
    reader = make_reader()
    hand_over_singly(reader, 1, 100.0)
    for seconds in (0.1, 1.0, 4.0, 8.0, 600.0):
        reader.suspend(0.0)
        reader.resume()
        reader.add(make_record(reader.expected_offset), 100.0 + seconds)
        delay = max(0.0, reader.due_at(reader.expected_offset) - 100.0 - seconds)
        waits = max(0.0, seconds - pace.UNDELAYED_SECONDS)
        expected = min(waits * pace.SHARE, pace.MAX_SECONDS)
        assert delay == pytest.approx(expected)
    reader.forget_published(reader.batch_offset, now=0.0)
    assert reader.due_at(reader.expected_offset) == 0.0


def test_a_reader_that_keeps_others_waiting_hands_over_at_once() -> None:
    reader = make_reader()
    hand_over_singly(reader, 1, 100.0)
    reader.add(make_record(reader.expected_offset), 160.0)
    assert reader.due_at(reader.expected_offset) == pytest.approx(160.0 + 59.5 * pace.SHARE)
    reader.blocking_since = 160.0
    assert reader.due_at(reader.expected_offset) == 0.0


def test_a_micro_batch_waits_for_a_share_of_what_the_last_publication_took() -> None:
    reader = make_reader()
    hand_over_singly(reader, 1, 100.0)
    hand_over_singly(reader, 1, 130.0)
    reader.forget_published(1, now=130.5)
    reader.add(make_record(reader.expected_offset), 130.5)
    assert reader.due_at(reader.expected_offset) == pytest.approx(130.5 + 30.0 * pace.SHARE)
    reader.forget_published(2, now=130.6)
    assert reader.due_at(reader.expected_offset) == 0.0  # nothing is unpublished
    hand_over(reader, 130.6)
    reader.add(make_record(reader.expected_offset), 130.7)
    assert reader.due_at(reader.expected_offset) == pytest.approx(130.7 + 0.1 * pace.SHARE)


def test_a_full_buffer_waits_for_nothing_that_is_unpublished() -> None:
    reader = make_reader(max_records=2)
    hand_over_singly(reader, 1, 0.0)
    for _ in range(2):
        reader.add(make_record(reader.expected_offset), 60.0)
    assert reader.due_at(reader.expected_offset) == 0.0


def test_a_source_that_publishes_slowly_gets_few_references() -> None:
    """Five events per second for a minute, each published three seconds after it was handed over."""
    reader, references = make_reader(), 0
    for tick in range(600):
        now = tick / 10
        while reader.outstanding and reader.outstanding[0].at <= now - 3.0:
            reader.forget_published(reader.outstanding[0].next_offset, now=now)
        if tick % 2 == 0:
            reader.add(make_record(reader.expected_offset), now)
        if reader.buffer and reader.due_at(reader.expected_offset) <= now:
            hand_over(reader, now)
            references += 1
    assert references < 90  # of 300 events


def test_a_source_of_many_small_references_is_behind() -> None:
    readers = [make_reader(), make_reader()]
    hand_over_singly(readers[0], MAX_REFERENCES - 1)
    assert not is_behind(readers)
    hand_over_singly(readers[1], 1)
    assert is_behind(readers)


def test_a_trickle_that_no_worker_publishes_makes_few_references() -> None:
    reader, now = make_reader(), 0.0
    while not is_behind([reader]) and now < 3_600:
        reader.add(make_record(reader.expected_offset), now)
        if reader.due_at(log_end=reader.expected_offset) <= now:
            hand_over(reader, now)
        now += 0.1
    assert now > 600  # ten records per second, for ten minutes
    assert len(reader.outstanding) <= MAX_REFERENCES


def test_a_closed_reader_takes_back_nothing() -> None:
    partition = make_partition(s=0)
    reader = partition.readers["s"]
    receive(partition, 0, 1)
    batch = reader.take_batch(0.0)
    partition.close()
    assert not reader.confirm(batch, now=0.0)
    assert not reader.outstanding
    assert partition.readers == {}
    partition.close_reader("s")  # a second time is harmless


def test_the_group_may_commit_what_every_source_has_handed_over() -> None:
    partition = make_partition(a=3, b=9)
    assert (partition.handed_over_offset, partition.read_offset) == (3, 3)
    partition.readers["a"].suspend(0.0)
    assert (partition.handed_over_offset, partition.read_offset) == (3, 9)
    assert AssignedPartition().handed_over_offset is None
    assert AssignedPartition().read_offset is None


def after_seek(partition: AssignedPartition) -> AssignedPartition:
    partition.seek_to, partition.after_seek = None, True
    return partition


def test_a_hole_is_believed_when_a_further_seek_leads_to_the_same_record() -> None:
    partition = make_partition(s=5)
    assert not after_seek(partition).accepts(8)
    assert partition.seek_to == 5
    assert after_seek(partition).accepts(8)
    assert (partition.seek_to, partition.hole) == (None, None)


def test_a_seek_that_is_lost_is_repeated_for_as_long_as_it_takes() -> None:
    partition = make_partition(s=5)
    for offset in range(8, 20):  # librdkafka only goes on
        assert not after_seek(partition).accepts(offset)
        assert partition.seek_to == 5
    assert after_seek(partition).accepts(5)


def test_a_hole_and_then_a_lost_seek_skip_nothing() -> None:
    partition = make_partition(s=5)
    assert not after_seek(partition).accepts(8)  # the hole
    assert not after_seek(partition).accepts(9)  # lost
    assert not after_seek(partition).accepts(8)
    assert after_seek(partition).accepts(8)


def test_a_hole_is_not_believed_for_another_offset() -> None:
    partition = make_partition(s=5)
    assert not after_seek(partition).accepts(8)
    partition.readers["late"] = make_reader(3, "late")
    assert not after_seek(partition).accepts(8)
    assert partition.seek_to == 3


def test_a_hole_is_not_believed_when_another_seek_came_between() -> None:
    partition = make_partition(s=5)
    assert not after_seek(partition).accepts(8)
    partition.request_seek()  # a source was opened; librdkafka is moved back, and what it sends is left alone
    assert not partition.accepts(5)
    assert not after_seek(partition).accepts(8)  # this seek was lost


def test_the_record_that_was_sought_ends_the_hole_check() -> None:
    partition = make_partition(s=5)
    assert not after_seek(partition).accepts(8)
    assert after_seek(partition).accepts(5)
    assert partition.hole is None
    assert partition.accepts(8)  # a hole further on is Kafka's


def test_nothing_is_accepted_before_a_seek_or_without_a_reader() -> None:
    partition = make_partition(s=5)
    partition.seek_to = 5
    assert not partition.accepts(5)
    assert not AssignedPartition().accepts(5)


def test_a_new_source_starts_at_the_beginning_and_a_known_one_at_its_row() -> None:
    assert start_offset(None, make_log()) == 10
    assert start_offset(make_position(10), make_log()) == 10
    assert start_offset(make_position(100), make_log()) == 100


@pytest.mark.parametrize(
    ("position", "reason"),
    [
        (make_position(4), "6 offsets from 4 to 9 were removed"),
        (make_position(101), "beyond the end of the log"),
        (make_position(50, topic_id="other"), "recreated"),
        (make_position(50, cluster_id="elsewhere"), "cluster elsewhere"),
    ],
    ids=["removed", "beyond", "recreated", "elsewhere"],
)
def test_a_gap_is_named_and_never_skipped(position: Position, reason: str) -> None:
    gap = start_offset(position, make_log())
    assert isinstance(gap, Gap)
    assert gap.reason.startswith("t/0: ")
    assert reason in gap.reason
    assert "freshet source resume s --skip-gap" in gap.reason
