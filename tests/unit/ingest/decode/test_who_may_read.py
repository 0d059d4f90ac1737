"""What decides who may read, and which document it is, is never taken from the wrong place: it is a dead letter."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.dead_letter import DeadLetterReason
from corpus.source import SourceSpec, VersionRule
from corpus.specs.formats import MappingSpec
from ingest.decode.decoder import decode
from ingest.event import ChangeEvent, Decoded
from tests.support.decoding import NATIVE, changed, record, refused, text_event

INVALID = DeadLetterReason.INVALID_FIELD
NOT_DECODABLE = DeadLetterReason.NOT_DECODABLE
WHO = ["board"]


def read(value: Any, key: bytes = b"k", **paths: Any) -> Decoded:
    mapping = MappingSpec(**{"content": "body", **paths})
    spec = SourceSpec(source="s", topics=("t",), format="json", mapping=mapping)
    written = value if isinstance(value, bytes) else json.dumps(value).encode()
    return decode(record(written, key=key), spec)


@pytest.mark.parametrize("end", ["", "?"])
@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("page.acl", {"page.acl": WHO}),
        ("a.page.acl", {"a": {"page.acl": WHO}}),
        ("a.page.acl", {"a.page": {"acl": WHO}}),
        ("a.page.acl", {"a.page.acl": WHO}),
        ("page.acl", {"page": {"ACL": WHO}}),
        ("page.acl", {"Page": {"acl": WHO}}),
        ("page.acl", {"Page.Acl": WHO}),
        ("page.read_by", {"page": {"readBy": WHO}}),
        ("page.readers", {"page": {"read-ers": WHO}}),
        ("acl", {"Acl": WHO}),
        ("page.acl", {"page": [{"acl": WHO}]}),
        ("page.acl", {"page": "text"}),
        ("page.acl", {"page": 0}),
        ("page.acl", {"page": False}),
        ("page.acl", {"page": {"acl": "", "x": 1}}),
        ("page.acl", {"page": {"acl": {"board": True}}}),
    ],
)
def test_an_access_list_is_not_looked_for_in_the_wrong_place(
    path: str, value: dict[str, Any], end: str
) -> None:
    refused(read({"body": "t"} | value, acl=path + end), INVALID)


def test_a_name_with_a_dot_is_written_in_quotes() -> None:
    value = {"body": "t", "page.acl": WHO, "page": {"acl.x": ["staff"]}}
    assert changed(read(value, acl='"page.acl"')).acl == ("board",)
    assert changed(read(value, acl='page."acl.x"')).acl == ("staff",)


@pytest.mark.parametrize(
    "value", [{"page": None}, {"page": {"acl": None}}, {"page": {}}, {"other": 1}, {}]
)
def test_null_is_no_list_unless_the_path_may_be_missing(value: dict[str, Any]) -> None:
    refused(read({"body": "t"} | value, acl="page.acl"), INVALID, "mapping.acl", "page.acl")
    assert changed(read({"body": "t"} | value, acl="page.acl?")).acl is None


KEYS = st.sampled_from(["acl", "ACL", "page", "Page", "page.acl", "x"])
LISTS = st.sampled_from([None, [], WHO, "board", "", 0, {"acl": WHO}, [WHO]])
VALUES = st.dictionaries(KEYS, LISTS | st.dictionaries(KEYS, LISTS))


@given(value=VALUES)
def test_a_list_is_the_one_at_its_path_or_there_is_no_event(value: dict[str, Any]) -> None:
    """Without a list only what has neither the field nor anything that is named like it."""
    decoded = read({"body": "t"} | value, acl="page.acl?")
    if not isinstance(decoded, ChangeEvent):
        return
    page = value.get("page")
    stated = page.get("acl") if isinstance(page, dict) else None
    if decoded.acl is not None:
        assert list(decoded.acl) == (stated.split(",") if isinstance(stated, str) else stated)
        return
    assert stated is None
    assert page is None or isinstance(page, dict)
    if page is None:
        assert "page" in value or not value.keys() & {"Page", "page.acl"}
    else:
        assert "acl" in page or "ACL" not in page


TWICE = [
    ("acl", b'{"body":"t","page":{"acl":["board"],"acl":["everyone"]}}', "page.acl"),
    ("acl", b'{"body":"t","page":{"acl":["board"],"\\u0061cl":["everyone"]}}', "page.acl"),
    ("acl", b'{"body":"t","page":{"acl":["board"]},"page":{"acl":["everyone"]}}', "page.acl"),
    ("acl", b'{"body":"t","pages":[{"acl":["board"],"acl":["everyone"]}]}', "pages[0].acl"),
    ("id", b'{"body":"t","page":{"id":"a","id":"b"}}', "page.id"),
    ("id", b'{"body":"t","page":{"id":"a","id":"b"}}', "doc/{page.id}"),
    ("expires_at", b'{"body":"t","page":{"end":1,"end":2}}', "page.end"),
    ("content", b'{"p":{"q":{"body":"t","body":"u"}}}', "p.q.body"),
]


@pytest.mark.parametrize(("field", "value", "path"), TWICE)
def test_a_name_of_a_path_is_in_no_object_twice(field: str, value: bytes, path: str) -> None:
    refused(read(value, **{field: path}), NOT_DECODABLE, "2 times")


def test_other_names_may_be() -> None:
    value = b'{"body":"t","x":{"y":1,"y":2},"page":{"acl":["board"],"z":1,"z":2}}'
    assert changed(read(value, acl="page.acl")).acl == ("board",)


ROW = '{"id": 1, "body": "text", "acl": ["board"]}'
OTHER = ROW.replace("board", "everyone")


@pytest.mark.parametrize(
    "value",
    [
        f'{{"before": null, "after": {ROW}, "op": "u", "after": {OTHER}}}',
        f'{{"before": {ROW}, "before": null, "after": {ROW}, "op": "u"}}',
        f'{{"op": "d", "before": {ROW}, "after": {ROW}, "op": "u"}}',
        f'{{"payload": {{"after": {ROW}, "op": "u", "after": {OTHER}}}}}',
        f'{{"schema": {{}}, "payload": {{"after": {ROW}, "op": "u", "after": {OTHER}}}}}',
        f'{{"schema": {{}}, "payload": {ROW}, "payload": {OTHER}}}',
        f'{{"schema": {{"fields": []}}, "payload": {ROW}, "payload": {OTHER}}}',
        f'{{"payload": {ROW}, "payload": {OTHER}, "schema": {{}}}}',
    ],
)
def test_an_envelope_has_no_row_twice(value: str) -> None:
    mapping = MappingSpec(content="body", acl="acl")
    spec = SourceSpec(
        source="s",
        topics=("t",),
        format="debezium",
        version_rule=VersionRule.RECORD,
        mapping=mapping,
    )
    refused(decode(record(value.encode(), key=b'{"id": 1}'), spec), NOT_DECODABLE, "2 times")


TWICE_IN_KEY = [
    b'{"id":"a","id":"b"}',
    b'{"id":"a","\\u0069d":"b"}',
    b'{"schema":null,"payload":{"id":"a","id":"b"}}',
    b'{"schema":null,"payload":{"id":"a"},"payload":{"id":"b"}}',
    b'\x00\x00\x00\x00\x07{"id":"a","id":"b"}',
    b'{"id":"{\\"$oid\\":\\"a\\",\\"$oid\\":\\"b\\"}"}',
]


@pytest.mark.parametrize("key", TWICE_IN_KEY)
def test_a_key_that_is_taken_apart_has_no_name_twice(key: bytes) -> None:
    debezium = SourceSpec(
        source="s", topics=("t",), format="debezium", mapping=MappingSpec(content="body")
    )
    row = {"before": None, "after": {"id": "c", "body": "t"}, "op": "c"}
    for value in (None, json.dumps(row).encode()):
        decoded = decode(record(value, key=key), debezium)
        refused(decoded, DeadLetterReason.INVALID_ID, "twice")
        assert decoded.document_id is None
    if b"$oid" not in key:
        mapped = SourceSpec(
            source="s", topics=("t",), format="json", mapping=MappingSpec(content="body", id="id")
        )
        refused(decode(record(None, key=key), mapped), DeadLetterReason.INVALID_ID, "twice")


def test_a_key_that_is_an_id_as_it_is_written_may_have_one() -> None:
    key = b'{"id":"a","id":"b"}'
    event = changed(decode(record(b'{"content": "t"}', key=key), NATIVE))
    assert event.document_id == key.decode()
    assert changed(read({"body": "t", "id": "own"}, key=key, id="id")).document_id == "own"


@pytest.mark.parametrize("name", ["id", "op", "acl", "version", "expires_at"])
def test_a_header_that_decides_has_one_value(name: str) -> None:
    values = {"op": (b"upsert", b"delete"), "version": (b"1", b"2"), "expires_at": (b"1", b"2")}
    first, second = values.get(name, (b"a", b"b"))
    header = name.replace("_", "-")
    form = SourceSpec(source="s", topics=("t",), format="text")
    for headers in (
        ((header, first), (header, second)),
        ((header, first), (header.upper(), second)),
    ):
        refused(decode(record(b"t", headers=headers), form), INVALID, f"header {header}", "twice")
    same = ((header, first), (header, first))
    changed(decode(record(b"t", headers=same), form))
    if name == "op":
        return
    paths: Any = {"content": "body", name: "header:h?"}
    mapping = MappingSpec(**paths)
    spec = SourceSpec(source="s", topics=("t",), format="json", mapping=mapping)
    twice = record(b'{"body": "t"}', headers=(("h", first), ("H", second)))
    refused(decode(twice, spec), INVALID, "header h", "twice")
    assert text_event(title=b"x")
