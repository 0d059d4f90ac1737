"""Pages of a real log: its end, its holes, and a beginning that retention removes."""

import json
from collections.abc import Callable

from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from corpus.audit.audit import AuditedPartition
from ingest.audit.replay import log_reader
from ingest.kafka import Cluster


def produce(bootstrap: str, topic: str, values: list[bytes], **properties: str) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, **properties})
    transactional = "transactional.id" in properties
    if transactional:
        producer.init_transactions()
        producer.begin_transaction()
    for number, value in enumerate(values):
        producer.produce(topic, value, key=f"k{number}", partition=0)
    if transactional:
        producer.commit_transaction()
    assert producer.flush(30) == 0


def audited(bootstrap: str, topic: str, next_offset: int) -> AuditedPartition:
    topic_id = Cluster(bootstrap, {}).topics([topic])[topic].topic_id
    return AuditedPartition(
        topic=topic,
        partition=0,
        topic_id=topic_id,
        first_offset=0,
        next_offset=next_offset,
        is_complete=False,
    )


def test_a_log_is_read_page_by_page(kafka_bootstrap: str, make_topic: Callable[..., str]) -> None:
    topic = make_topic()
    values = [json.dumps({"id": f"d{n}"}).encode() for n in range(10)]
    # A transaction ends in a marker, which is no record: the log ends with a hole.
    produce(kafka_bootstrap, topic, values, **{"transactional.id": topic})
    end = 11
    partition = audited(kafka_bootstrap, topic, end)
    read: list[int] = []
    offset = 0
    with log_reader(kafka_bootstrap, {}) as reader:
        while offset < end:
            page = reader.read(partition, offset, limit=4)
            read += [record.offset for record in page.records]
            assert page.next_offset > offset
            offset = page.next_offset
        assert read == list(range(10))
        # Not beyond what is audited.
        part = audited(kafka_bootstrap, topic, 3)
        assert [record.offset for record in reader.read(part, 0).records] == [0, 1, 2]


def test_a_beginning_that_is_gone_gives_nothing(
    kafka_bootstrap: str, make_topic: Callable[..., str]
) -> None:
    topic = make_topic()
    produce(kafka_bootstrap, topic, [b"x"] * 6)
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
    [future] = admin.delete_records([TopicPartition(topic, 0, 4)]).values()
    future.result(30)
    partition = audited(kafka_bootstrap, topic, 6)
    with log_reader(kafka_bootstrap, {}) as reader:
        page = reader.read(partition, 1)
    assert (list(page.records), page.next_offset) == ([], 6)
