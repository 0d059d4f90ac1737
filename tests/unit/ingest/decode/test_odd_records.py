"""Records that are odd in one way only: each is read, or has its reason, and none ends its batch."""

import json

import pytest

from corpus.source import SourceSpec, VersionRule
from corpus.specs.formats import MappingSpec
from ingest.decode.decoder import decode
from ingest.decode.fields import FieldError
from ingest.decode.registry.avro import avro_reader
from ingest.decode.registry.protobuf import protobuf_reader
from ingest.decode.registry.schemas import StoredSchema
from ingest.decode.staged_content import read_row
from ingest.event import KafkaRecord
from tests.support.decoding import changed

LEFT_OUT = "__debezium_unavailable_value"
TABLE = SourceSpec(
    source="s",
    topics=("t",),
    format="debezium",
    version_rule=VersionRule.OWN,
    mapping=MappingSpec(id="id", content="body", metadata=("*",)),
)


@pytest.mark.parametrize("brackets", [("[", "]"), ('{"a":', "}")])
def test_a_row_that_is_nested_too_deeply_is_refused_when_it_is_read_again(
    brackets: tuple[str, str],
) -> None:
    """Its metadata are not looked at before the column that it leaves out is known."""
    begin, end = brackets
    for depth in (380, 400, 600, 900):
        nested = f"{begin * depth}1{end * depth}"
        after = f'{{"id":1,"body":"{LEFT_OUT}","meta":{nested}}}'
        value = f'{{"before":null,"after":{after},"op":"u","source":{{"lsn":5}}}}'.encode()
        read = read_row(TABLE, b"k", value, "[]", {"body": "the text that is there"})
        assert read.values["outcome"] == "dead_letter"
        assert "nested" in str(read.values["detail"])


def test_a_document_of_mongodb_may_hold_half_of_a_character() -> None:
    after = '{"_id": 1, "body": "half \\ud83d of it"}'
    value = {"before": None, "after": after, "op": "c", "source": {"lsn": 5}}
    record = KafkaRecord(
        topic="t",
        partition=0,
        offset=1,
        timestamp_ms=1,
        key=b'{"id":1}',
        value=json.dumps(value).encode(),
    )
    spec = SourceSpec(
        source="s", topics=("t",), format="debezium", mapping=MappingSpec(content="body")
    )
    assert "half" in str(changed(decode(record, spec)).content)
    raw = json.dumps({**value, "after": '{"body": "\ud83d"}'}).encode()
    assert changed(decode(record_with(record, raw), spec)).content == "\ufffd"


def record_with(record: KafkaRecord, value: bytes) -> KafkaRecord:
    return KafkaRecord(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp_ms,
        key=record.key,
        value=value,
    )


def test_a_type_of_avro_may_be_written_inside_of_a_type() -> None:
    schema = {
        "type": "record",
        "name": "R",
        "fields": [{"name": "f", "type": {"type": {"type": "string"}}}],
    }
    read = avro_reader(StoredSchema("AVRO", json.dumps(schema), ()))
    assert read(b"\x06abc") == {"f": "abc"}


def test_an_extension_of_protobuf_is_refused_and_not_dropped() -> None:
    schema = (
        'syntax = "proto2"; message M { optional string id = 1; extensions 100 to 200; } '
        "extend M { optional string body = 100; }"
    )
    read = protobuf_reader(StoredSchema("PROTOBUF", schema, ()))
    assert read(b"\0\x0a\x01a", None, False) == {"id": "a"}
    with pytest.raises(FieldError) as raised:
        read(b"\0\x0a\x01a\xa2\x06\x05hello", None, False)
    assert "extension" in raised.value.detail
