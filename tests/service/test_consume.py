"""The consumer on a real broker and a real database: nothing lost, nothing skipped silently, bounded, graceful."""

import io
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from corpus.batch import BatchRef
from corpus.database import connect
from corpus.staging.store import StagingStore
from ingest import operate as control
from ingest.consume import consumer as consumer_module
from ingest.consume import poller as poller_module
from ingest.hand_over import hand_over
from tests.support.consuming import Bench, bench
from tests.support.polling import until

pytestmark = [pytest.mark.service, pytest.mark.slow, pytest.mark.timeout(300)]
_GROUPS = itertools.count(1)


@pytest.fixture
def stand(database_url: str, kafka_bootstrap: str, tmp_path: Path) -> Iterator[Bench]:
    with bench(database_url, kafka_bootstrap, tmp_path, f"group-{next(_GROUPS)}") as made:
        yield made


async def test_every_record_is_handed_over_once_in_ranges_that_meet(
    stand: Bench, make_topic: Callable[..., str]
) -> None:
    topics = [make_topic(partitions=3), make_topic()]
    stand.add_source("both", *topics)
    stand.add_source("second", topics[1])  # two sources may read one topic
    stand.produce(topics[0], 300)
    stand.produce(topics[1], 20)
    async with stand.consumer():
        await until(
            lambda: stand.ledger.records("both") == 320 and stand.ledger.records("second") == 20
        )
        stand.produce(topics[1], 5, first=20)
        await until(lambda: stand.ledger.records() == 350)
        await until(lambda: stand.committed(topics[1]) == 25)
    assert all(len(ranges) == 1 and ranges[0][0] == 0 for ranges in stand.ledger.ranges().values())
    assert sum(ref.records for ref in stand.ledger.refs) == 350  # and none twice


async def test_nothing_is_committed_or_lost_while_temporal_is_down(
    stand: Bench, make_topic: Callable[..., str]
) -> None:
    topic = make_topic()
    stand.add_source("a", topic, max_records=10)
    stand.produce(topic, 500)
    stand.ledger.down = True
    async with stand.consumer() as consumer:
        await until(lambda: stand.ledger.attempts >= 4)
        assert stand.committed(topic) < 0
        assignment = consumer._poller.assignment
        held = sum(len(reader.buffer) for reader in assignment.readers())
        assert held < 10 + 500  # what came before the pause, no more
        assert all(partition.paused for partition in assignment.partitions.values())
        stand.ledger.down = False
        await until(lambda: stand.ledger.records("a") == 500)
    assert stand.ledger.ranges("a") == {("a", topic, 0): [(0, 500)]}


async def test_a_source_that_is_behind_pauses_and_another_does_not(
    stand: Bench, make_topic: Callable[..., str]
) -> None:
    slow, quick = make_topic(), make_topic()
    stand.add_source("slow", slow, max_records=10, max_pending_records=30)
    stand.add_source("quick", quick)
    stand.produce(slow, 200)
    published = stand.ledger.publish
    stand.ledger.publish = lambda ref: None if ref.source == "slow" else published(ref)  # type: ignore[method-assign]
    async with stand.consumer():
        await until(lambda: stand.ledger.records("slow") >= 30)
        stand.produce(quick, 50)
        await until(lambda: stand.ledger.records("quick") == 50)
        assert stand.ledger.records("slow") <= 40
        stand.ledger.publish = published  # type: ignore[method-assign]
        for ref in [ref for ref in stand.ledger.refs if ref.source == "slow"]:
            published(ref)
        await until(lambda: stand.ledger.records("slow") == 200)


async def test_a_source_that_is_stuck_does_not_stop_another_on_the_same_topic(
    stand: Bench, make_topic: Callable[..., str]
) -> None:
    topic = make_topic()
    stand.add_source("stuck", topic, max_records=10, max_pending_records=30)
    stand.add_source("fine", topic)
    stand.produce(topic, 200)
    published, stuck = stand.ledger.publish, True

    def publish_unless_stuck(ref: BatchRef) -> None:
        if not (stuck and ref.source == "stuck"):
            published(ref)

    stand.ledger.publish = publish_unless_stuck  # type: ignore[method-assign]
    async with stand.consumer():
        await until(lambda: stand.ledger.records("fine") == 200)
        stand.produce(topic, 200, first=200)
        await until(lambda: stand.ledger.records("fine") == 400)
        assert stand.ledger.records("stuck") <= 40
        stuck = False
        for ref in [ref for ref in stand.ledger.refs if ref.source == "stuck"]:
            published(ref)
        await until(lambda: stand.ledger.records("stuck") == 400, seconds=90)
    assert stand.ledger.ranges() == {
        ("stuck", topic, 0): [(0, 400)],
        ("fine", topic, 0): [(0, 400)],
    }
    assert sum(ref.records for ref in stand.ledger.refs) == 800  # and none twice


async def test_a_restart_continues_at_the_position_row_not_at_the_committed_offset(
    stand: Bench, make_topic: Callable[..., str]
) -> None:
    topic = make_topic()
    stand.add_source("a", topic)
    stand.produce(topic, 10)
    async with stand.consumer():
        await until(lambda: stand.ledger.records() == 10)
    await until(lambda: stand.committed(topic) == 10)
    # a failover to a copy of the database that lags
    stand.execute("UPDATE freshet.source_position SET next_offset = 4")
    stand.ledger.refs.clear()
    async with stand.consumer():
        await until(lambda: stand.ledger.ranges() == {("a", topic, 0): [(4, 10)]})


async def test_a_moved_position_is_read_again_without_a_restart(
    stand: Bench, make_topic: Callable[..., str]
) -> None:
    topic = make_topic()
    stand.add_source("a", topic)
    stand.produce(topic, 10)
    async with stand.consumer():
        await until(lambda: stand.ledger.records() == 10)
        stand.ledger.refs.clear()
        stand.execute("UPDATE freshet.source_position SET next_offset = 3")
        stand.execute("UPDATE freshet.source SET epoch = epoch + 1")
        await until(lambda: stand.ledger.ranges() == {("a", topic, 0): [(3, 10)]})
        assert {ref.epoch for ref in stand.ledger.refs} == {1}


async def test_sources_come_pause_and_go_without_a_restart(
    stand: Bench, make_topic: Callable[..., str]
) -> None:
    first, second = make_topic(), make_topic()
    stand.add_source("first", first)
    async with stand.consumer() as consumer:
        stand.produce(first, 3)
        await until(lambda: stand.ledger.records("first") == 3)
        stand.produce(second, 4)
        stand.add_source("second", second)
        await until(lambda: stand.ledger.records("second") == 4)
        with connect(stand.url) as connection:
            control.pause(connection, "first", "maintenance")
        stand.produce(second, 1, first=4)
        await until(lambda: stand.ledger.records("second") == 5)
        await until(lambda: "first" not in consumer._poller.assignment.sources)
        stand.produce(first, 2, first=3)
        stand.produce(second, 1, first=5)
        await until(lambda: stand.ledger.records("second") == 6)
        assert stand.ledger.records("first") == 3
        with connect(stand.url) as connection:
            control.resume(connection, "first")
        await until(lambda: stand.ledger.records("first") == 5)


async def test_records_removed_before_they_were_read_halt_the_source_by_name(
    stand: Bench, make_topic: Callable[..., str]
) -> None:
    lost, fine = make_topic(), make_topic()
    stand.add_source("lost", lost)
    stand.add_source("fine", fine)
    stand.produce(lost, 10)
    async with stand.consumer():
        await until(lambda: stand.ledger.records("lost") == 10)
    admin = AdminClient({"bootstrap.servers": stand.bootstrap})
    stand.produce(lost, 10, first=10)
    admin.delete_records([TopicPartition(lost, 0, 15)])[TopicPartition(lost, 0)].result(30)
    stand.produce(fine, 3)
    async with stand.consumer():
        await until(lambda: stand.ledger.records("fine") == 3)
        await until(lambda: stand.state("lost")[0] == "halted")
        assert "5 offsets from 10 to 14 were removed" in (stand.state("lost")[1] or "")
        assert stand.ledger.records("lost") == 10
        with connect(stand.url) as connection:
            (gap,) = control.skip_gaps(connection, stand.cluster(), "lost")
            control.resume(connection, "lost")
        assert (gap.was, gap.is_now) == (10, 15)
        await until(lambda: stand.ledger.ranges("lost") == {("lost", lost, 0): [(0, 10), (15, 20)]})


async def test_records_removed_under_a_running_consumer_halt_the_source(
    stand: Bench, make_topic: Callable[..., str]
) -> None:
    topic = make_topic()
    stand.add_source("a", topic, max_records=100, max_pending_records=100)
    stand.produce(topic, 2_000, size=5_000)
    stand.ledger.publishes = False
    async with stand.consumer():
        await until(lambda: stand.ledger.records() >= 5)
        admin = AdminClient({"bootstrap.servers": stand.bootstrap})
        admin.delete_records([TopicPartition(topic, 0, 1_990)])[TopicPartition(topic, 0)].result(30)
        stand.ledger.publishes = True
        for ref in list(stand.ledger.refs):
            stand.ledger.publish(ref)
        await until(lambda: stand.state("a")[0] == "halted")
        assert "were removed" in (stand.state("a")[1] or "")
        assert stand.ledger.ranges("a")[("a", topic, 0)][0][0] == 0
        assert len(stand.ledger.ranges("a")[("a", topic, 0)]) == 1
        with connect(stand.url) as connection:
            control.skip_gaps(connection, stand.cluster(), "a")
            control.resume(connection, "a")
        await until(lambda: stand.ledger.ranges("a")[("a", topic, 0)][-1] == (1_990, 2_000))


async def test_a_recreated_topic_halts_the_source(
    stand: Bench, make_topic: Callable[..., str]
) -> None:
    topic = make_topic()
    stand.add_source("a", topic)
    stand.produce(topic, 5)
    async with stand.consumer():
        await until(lambda: stand.ledger.records() == 5)
    admin = AdminClient({"bootstrap.servers": stand.bootstrap})
    admin.delete_topics([topic])[topic].result(30)
    await until(lambda: topic not in stand.cluster().topics([topic]))
    await until(lambda: stand.cluster().create_topic(topic, 1))
    stand.produce(topic, 50)
    async with stand.consumer():
        await until(lambda: stand.state("a")[0] == "halted")
        assert "recreated" in (stand.state("a")[1] or "")
    assert stand.ledger.records() == 5


async def test_two_consumers_share_and_one_leaving_loses_nothing(
    stand: Bench, make_topic: Callable[..., str]
) -> None:
    topic = make_topic(partitions=4)
    stand.add_source("a", topic, max_records=20)
    async with stand.consumer():
        stand.produce(topic, 200)
        async with stand.consumer() as second:
            stand.produce(topic, 200, first=200)
            await until(lambda: second._poller.assignment.partitions)
            stand.produce(topic, 200, first=400)
            await until(lambda: second.handed_over_records)
        stand.produce(topic, 200, first=600)
        await until(lambda: stand.ledger.records() == 800, seconds=60)
    assert all(len(ranges) == 1 and ranges[0][0] == 0 for ranges in stand.ledger.ranges().values())


async def test_a_topic_that_is_made_later_is_read(
    stand: Bench, make_topic: Callable[..., str]
) -> None:
    there = make_topic()
    stand.add_source("a", there, "made-later")
    async with stand.consumer():
        stand.produce(there, 1)
        await until(lambda: stand.ledger.records() == 1)
        stand.cluster().create_topic("made-later", 1)
        stand.produce("made-later", 3)
        await until(lambda: stand.ledger.records() == 4, seconds=60)


async def test_a_staging_mistake_halts_only_its_source(
    stand: Bench, make_topic: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, fine = make_topic(), make_topic()
    stand.add_source("broken", broken)
    stand.add_source("fine", fine)
    real = consumer_module.stage
    monkeypatch.setattr(
        consumer_module,
        "stage",
        lambda records, spec, *rest: (
            1 / 0 if spec.source == "broken" else real(records, spec, *rest)
        ),
    )
    stand.produce(broken, 1)
    stand.produce(fine, 1)
    async with stand.consumer():
        await until(lambda: stand.ledger.records("fine") == 1)
        await until(lambda: stand.state("broken")[0] == "halted")
    assert "ZeroDivisionError" in (stand.state("broken")[1] or "")


def staged(stand: Bench) -> pl.DataFrame:
    """What stands in the staged files."""
    store = StagingStore(stand.staging.as_uri())
    return pl.concat([pl.read_parquet(io.BytesIO(store.get(ref))) for ref in stand.ledger.refs])


async def test_a_header_that_cannot_be_read_costs_its_record_only(
    stand: Bench, make_topic: Callable[..., str]
) -> None:
    topic = make_topic()
    stand.add_source("a", topic)
    stand.produce(topic, 3)
    stand.produce_with_unreadable_header(topic)
    stand.produce(topic, 3, first=3)
    async with stand.consumer():
        await until(lambda: stand.ledger.records() == 7)
    assert stand.state("a")[0] == "active"
    dead = staged(stand).filter(pl.col("outcome") == "dead_letter")
    assert dead.select("offset", "reason", "key", "value").rows() == [
        (3, "not_decodable", b"k", b"{}")
    ]
    assert "a header's name must be UTF-8" in dead["detail"][0]


async def test_a_record_that_cannot_be_read_halts_its_source_and_no_other(
    stand: Bench, make_topic: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, fine = make_topic(), make_topic()
    stand.add_source("broken", broken)
    stand.add_source("fine", fine)
    real = poller_module.record_of
    monkeypatch.setattr(
        poller_module,
        "record_of",
        lambda message: 1 / 0 if message.topic() == broken else real(message),
    )
    stand.produce(broken, 1)
    async with stand.consumer():
        await until(lambda: stand.state("broken")[0] == "halted")
        stand.produce(fine, 1)
        await until(lambda: stand.ledger.records("fine") == 1)
    assert "/0 cannot be read: ZeroDivisionError" in (stand.state("broken")[1] or "")


async def test_the_workflow_gets_what_was_staged(
    stand: Bench, make_topic: Callable[..., str], temporal_client: Any
) -> None:
    topic = make_topic()
    stand.add_source("a", topic)
    stand.produce(topic, 3)

    async def signal(ref: Any, spec: Any) -> None:
        await hand_over(temporal_client, ref, spec)
        await stand.ledger.hand_over(ref, spec)

    async with stand.consumer(signal):
        await until(lambda: stand.ledger.records() == 3)
    history = await temporal_client.get_workflow_handle("source:a").fetch_history()
    signals = [
        event
        for event in history.events
        if event.HasField("workflow_execution_signaled_event_attributes")
    ]
    assert len(signals) == len(stand.ledger.refs)
    assert signals[0].workflow_execution_signaled_event_attributes.signal_name == "batch_staged"


async def test_a_hole_that_kafka_left_at_the_beginning_is_looked_at_again_and_then_believed(
    stand: Bench, make_topic: Callable[..., str]
) -> None:
    """An aborted transaction: its records are never delivered, and the first one that is stands further on."""
    topic = make_topic()
    producer = Producer({"bootstrap.servers": stand.bootstrap, "transactional.id": f"t-{topic}"})
    producer.init_transactions(30)
    for commit in (False, True):
        producer.begin_transaction()
        for number in range(5):
            producer.produce(
                topic,
                key=f"{commit}-{number}",
                value=f'{{"id": "{commit}-{number}", "content": "x"}}',
            )
        producer.flush(30)  # what was not sent yet, an abort would drop without leaving a hole
        (producer.commit_transaction if commit else producer.abort_transaction)(30)
    stand.add_source("holes", topic)
    async with stand.consumer():
        await until(lambda: stand.ledger.records("holes") >= 11)
    assert sum(ref.records for ref in stand.ledger.refs) == 5
    assert stand.ledger.ranges("holes") == {("holes", topic, 0): [(0, 11)]}
