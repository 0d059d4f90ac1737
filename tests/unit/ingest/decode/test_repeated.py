"""Format debezium: a name that counts is in no object twice, since parsers differ on which one counts."""

import json

import pytest

from corpus.dead_letter import DeadLetterReason
from corpus.source import SourceSpec, VersionRule
from corpus.specs.formats import MappingSpec
from ingest.decode import repeated
from ingest.decode.decoder import decode
from ingest.event import KafkaRecord
from tests.support.debezium import change
from tests.support.decoding import changed, record, refused

SPEC = SourceSpec(
    source="s",
    topics=("t",),
    format="debezium",
    version_rule=VersionRule.OWN,
    mapping=MappingSpec(content="body", acl="acl"),
)
ROW = '{"id": 1, "body": "text", "acl": ["a"]}'
TWICE = '{"id": 1, "body": "text", "acl": ["a"], "acl": ["everyone"]}'
IN_TEXT = json.dumps(TWICE)
FORMS = [
    '{"before": null, "after": ROW, "source": {"lsn": 1}, "op": "u"}',
    '{"before": {"id": 1, "body": "text", "acl": ["a"]}, "after": ROW, "op": "u"}',
    '{"schema": {"field": "acl", "name": "acl"}, "payload": {"before": null, "after": ROW, "op": "u"}}',
    '{"payload": {"before": null, "after": ROW, "op": "u"}, "schema": {"field": "acl", "of": "acl"}}',
    '{"schema": {"field": "acl", "name": "acl"}, "payload": ROW}',
    '{"iodebeziumop": "u", "data": {"before": null, "after": ROW}}',
    "ROW",
]


def sent(value: str) -> KafkaRecord:
    return record(value.encode(), key=b'{"id": 1}')


@pytest.mark.parametrize("form", FORMS)
def test_an_access_list_is_in_no_row_twice(form: str) -> None:
    assert changed(decode(sent(form.replace("ROW", ROW)), SPEC)).acl == ("a",)
    for twice in (TWICE, TWICE.replace('"acl": ["e', '"\\u0061cl": ["e')):
        decoded = decode(sent(form.replace("ROW", twice)), SPEC)
        refused(decoded, DeadLetterReason.NOT_DECODABLE, "acl appears 2 times")


@pytest.mark.parametrize(
    "value",
    [
        json.dumps('{"before": null, "after": ROW, "op": "u"}').replace("ROW", IN_TEXT[1:-1]),
        '{"after": ROW, "op": "c"}'.replace("ROW", IN_TEXT),
    ],
)
def test_nor_in_a_row_that_is_a_text(value: str) -> None:
    refused(decode(sent(value), SPEC), DeadLetterReason.NOT_DECODABLE, "appears 2 times")


def test_a_whole_row_before_its_change_is_read_by_the_fast_parser(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(repeated, "load_object", None)
    for form in FORMS[:3]:
        assert changed(decode(sent(form.replace("ROW", ROW)), SPEC)).content == "text"
    assert changed(decode(change("u", 1, json.loads(ROW)), SPEC)).content == "text"
