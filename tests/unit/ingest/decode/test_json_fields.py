"""Format json: the mapping of a source says which field is what; what it cannot read is named."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.dead_letter import DeadLetterReason
from corpus.source import SourceSpec
from corpus.specs.formats import MappingSpec
from ingest.decode.debezium.placeholder import names_with_placeholder
from ingest.decode.decoder import decode
from ingest.event import Decoded, Op
from tests.support.decoding import assert_is_storable, changed, record, refused

INVALID = DeadLetterReason.INVALID_FIELD


# Fields with one path each.
SINGLE = [
    name for name in MappingSpec.__dataclass_fields__ if name not in {"metadata", "deleted_when"}
]


def mapped(**paths: Any) -> SourceSpec:
    return SourceSpec(source="s", topics=("t",), format="json", mapping=MappingSpec(**paths))


def read(value: Any, headers: Any = (), key: bytes | None = b"k", **paths: Any) -> Decoded:
    return decode(
        record(json.dumps(value).encode(), headers=headers, key=key),
        mapped(**{"content": "body", **paths}),
    )


def test_the_key_names_the_document_where_no_path_does() -> None:
    event = changed(read({"body": "text"}))
    assert (event.document_id, event.content, event.metadata) == ("k", "text", {})


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        ("body", {"body": "x"}, "x"),
        ("a.b.c", {"a": {"b": {"c": "x"}}}, "x"),
        ('"a-b"."c d"', {"a-b": {"c d": "x"}}, "x"),
        ("a[0].b", {"a": [{"b": "x"}]}, "x"),
        ("a || b", {"b": "x"}, "x"),
        ("join(', ', tags)", {"tags": ["x", "y"]}, "x, y"),
        ("{a}\n\n{b.c}", {"a": "x", "b": {"c": 2}}, "x\n\n2"),
        ("{{{a}}} {b}", {"a": True, "b": None}, "{true} "),
        ("{a?}{b}", {"b": "x"}, "x"),
        ("header:Text", {}, "x"),
    ],
)
def test_a_path_finds_its_field(path: str, value: Any, text: str) -> None:
    event = changed(read(value, headers=(("text", b"-"), ("text", b"x")), content=path))
    assert event.content == text


@pytest.mark.parametrize(
    ("field", "path", "named"),
    [
        *(
            (field, "x.y", "x.y")
            for field in MappingSpec.__dataclass_fields__
            if field not in ("metadata", "deleted_when")
        ),
        ("content", "{body} {x.y}", "x.y"),
        ("content", "a.b", "a.b"),
        ("metadata", ("a", "x.y"), "x.y"),
        ("metadata", ("z = x[0].y",), "x[0].y"),
        ("title", "header:x", "header:x"),
    ],
)
def test_a_missing_path_is_named(field: str, path: Any, named: str) -> None:
    decoded = read({"body": "t", "a": "text"}, **{field: path})
    refusal = refused(decoded, INVALID, f"mapping.{field}: the record has no {named}")
    assert refusal.document_id == "k"


def test_a_path_that_may_be_missing_or_is_null_leaves_its_field_out() -> None:
    event = changed(
        read(
            {"body": "t", "n": None, "u": {"self": None}},
            title="n",
            uri="u.self.href",
            acl="x?",
            language="y[0]?",
            expires_at="header:z?",
        )
    )
    assert (event.title, event.uri, event.acl, event.stated_language) == (None,) * 4


def test_a_delete_needs_no_more_than_its_version() -> None:
    paths = {"version": "v", "title": "title", "deleted_when": ("state = gone", "sure = true")}
    event = changed(read({"v": 3, "state": "gone", "sure": True}, **paths))
    assert (event.op, event.version) == (Op.DELETE, 3)
    kept = read({"v": 3, "state": "gone", "body": "t", "title": "t", "sure": "no"}, **paths)
    assert changed(kept).op is Op.UPSERT
    refused(read({"state": "gone", "sure": "true"}, **paths), INVALID, "mapping.version")


def test_times_are_versions() -> None:
    """Two changes of one second have an order."""
    times = ["2026-01-01T00:00:00.000001Z", "2026-01-01T00:00:00.000002Z"]
    first, second = (changed(read({"body": "", "v": one}, version="v")).version for one in times)
    assert first is not None
    assert second == first + 1
    refused(read({"body": "", "v": "soon"}, version="v"), INVALID, "version is 'soon'")


def test_every_other_field_is_metadata() -> None:
    value = {"id": 1, "body": "t", "a": {"b": 1}, "c": [1], "d": None, "s": "live"}
    event = changed(
        read(value, id="id", metadata=("*", "e = a.b"), deleted_when=("s = gone",)),
    )
    assert event.metadata == {"c": [1], "d": None, "e": 1}


def test_headers_are_read_strictly_where_they_decide() -> None:
    acl = (("readers", b"a, b"), ("title", b"\xff"))
    event = changed(read({"body": "t"}, headers=acl, acl="header:readers", title="header:title"))
    assert (event.acl, event.title) == (("a", "b"), "\ufffd")
    refused(read({"body": "t"}, headers=(("id", b"\xff"),), id="header:id"), INVALID, "header id")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", '{"id":"a","id":"b","body":""}'),
        ("id", '{"i\\u0064":"a","id":"b"}'),
        ("ID", '{"\\u0049D":"a","ID":"b"}'),
        ("id-64", '{"id\\u002D\\u00364":"a","id-64":"b"}'),
        ("größe", '{"größe":"a","größe":"b"}'),
        ("größe", '{"gr\\u00F6ße":"a","größe":"b"}'),
        ("a b", '{"a\\u0020b":"a","a b":"b"}'),
    ],
)
def test_a_field_that_counts_is_not_there_twice(name: str, value: str) -> None:
    spec = mapped(id=f'"{name}"', content="body")
    refused(decode(record(value.encode()), spec), DeadLetterReason.NOT_DECODABLE, "2 times")


def test_a_name_may_be_nested_again() -> None:
    value = b'{"id":"a","author":{"id":"b"},"body":"\\u00fc"}'
    event = changed(decode(record(value), mapped(id="id", content="body")))
    assert (event.document_id, event.content) == ("a", "ü")


@pytest.mark.parametrize("value", [b"[]", b"1", b'"x"', b"null", b"", b"{", b"\xff\xfe{\0"])
def test_what_is_no_object_is_refused(value: bytes) -> None:
    refused(decode(record(value), mapped(content="body")), DeadLetterReason.NOT_DECODABLE)


@pytest.mark.parametrize(
    ("key", "document"),
    [(b'{"id": 7}', "7"), (b'{"schema": {}, "payload": {"id": "x"}}', "x"), (b"plain", "plain")],
)
def test_a_tombstone_deletes_what_its_key_names(key: bytes, document: str) -> None:
    event = changed(decode(record(None, key=key), mapped(id="id", content="body")))
    assert (event.op, event.document_id) == (Op.DELETE, document)
    refused(decode(record(None, key=b'{"nr": 7}'), mapped(id="id")), INVALID, "mapping.id")


def test_headers_of_a_tombstone_count() -> None:
    spec = mapped(id="header:doc", version="header:version", content="body")
    headers = (("doc", b"d"), ("version", b"4"))
    event = changed(decode(record(None, key=b"{}", headers=headers), spec))
    assert (event.document_id, event.version) == ("d", 4)


NATIVE_HEADERS = (("x-acl", b"hr"), ("x-team", b"payroll"), ("x-v", b"7"))


EMPTY = (("readers", None),), (("readers", b""),)


@pytest.mark.parametrize("path", ["header:readers", "header:readers?"])
@pytest.mark.parametrize("headers", EMPTY)
def test_a_header_without_a_value_is_no_access_list(headers: Any, path: str) -> None:
    """A producer that found no groups: without a list, every reader of the source would see the document."""
    refused(read({"body": "t"}, headers=headers, acl=path), INVALID, "acl is")
    for form in ("native", "text"):
        spec = SourceSpec(source="s", topics=("t",), format=form, mapping=MappingSpec(acl=path))
        value = b'{"id":"k","content":"c"}'
        refused(decode(record(value, headers=headers), spec), INVALID, "acl is")


def test_an_empty_text_is_no_access_list() -> None:
    refused(read({"body": "t", "acl": ""}, acl="acl"), INVALID, "acl is")


@pytest.mark.parametrize("acl", ["null", '"hr"'])
def test_what_is_no_list_in_a_native_event_is_none_with_a_mapping_either(acl: str) -> None:
    mapping = MappingSpec(title="header:t?", acl="header:readers?")
    spec = SourceSpec(source="s", topics=("t",), mapping=mapping)
    value = f'{{"id":"k","content":"c","acl":{acl}}}'.encode()
    refused(decode(record(value), spec), INVALID, "acl is")
    of_header = changed(decode(record(value, headers=(("readers", b"it"),)), spec))
    assert of_header.acl == ("it",)


PDF = b"%PDF-1.7 \xff"


@pytest.mark.parametrize(
    ("sent", "content_type", "content"),
    [
        (PDF, "application/pdf", PDF),
        (PDF, "text/plain", PDF),
        (b"H\xf6he", "text/plain; charset=windows-1252", "Höhe"),
        (b"", "text/plain", ""),
    ],
)
def test_a_field_may_hold_bytes(sent: bytes, content_type: str, content: str | bytes) -> None:
    paths = {"content": None, "content_base64": "file.data", "content_type": "file.type"}
    value = {"file": {"data": base64.b64encode(sent).decode(), "type": content_type}}
    assert changed(read(value, **paths)).content == content


def test_a_record_has_a_text_or_bytes() -> None:
    paths = {"content": "text?", "content_base64": "data?"}
    assert changed(read({"text": "x"}, **paths)).content == "x"
    assert changed(read({"data": "eA=="}, **paths)).content == "x"
    refused(
        read({"text": "x", "data": "eA=="}, **paths), INVALID, "absent where there is a content"
    )
    refused(read({"data": "?"}, **paths), INVALID, "content_base64 is '?'")
    refused(read({"text": None}, **paths), INVALID, "content")


@pytest.mark.parametrize("form", ["native", "text"])
def test_other_formats_take_headers(form: Any) -> None:
    mapping = MappingSpec(
        acl="header:x-acl", version="header:x-v", metadata=("header:x-team",), title="header:t?"
    )
    spec = SourceSpec(source="s", topics=("t",), format=form, mapping=mapping)
    value = b'{"id":"k","content":"c","title":"T","metadata":{"a":1}}'
    event = changed(decode(record(value, headers=(*NATIVE_HEADERS, ("title", b"T"))), spec))
    assert (event.acl, event.version, event.title) == (("hr",), 7, "T")
    assert event.metadata["x-team"] == "payroll"


UNAVAILABLE = "__debezium_unavailable_value"


@pytest.mark.parametrize(
    ("value", "paths"),
    [
        ({"body": UNAVAILABLE}, {}),
        ({"body": "t", "title": UNAVAILABLE}, {"content": "{title}: {body}"}),
        ({"body": {"a": [{"b": UNAVAILABLE}, "t"]}}, {"content": "body.a[0].b"}),
        ({"body": "t", "big": UNAVAILABLE}, {"content": "to_string(@)"}),
        ({f"body{number}": UNAVAILABLE for number in range(99)}, {"content": "to_string(@)"}),
        ({"body": "t", "tags": ["x", UNAVAILABLE]}, {"metadata": ("tags",)}),
        ({"body": "t", "raw": {"map": {UNAVAILABLE: UNAVAILABLE}}}, {"metadata": ("*",)}),
    ],
)
def test_what_a_row_of_debezium_leaves_out_is_no_text(value: Any, paths: dict[str, Any]) -> None:
    """Flattened rows are JSON like any other, and a source may read them as such."""
    reason = DeadLetterReason.UNAVAILABLE_COLUMN
    refused(read(value, **paths), reason, "Debezium left out what did not change in")


def test_a_field_that_is_not_read_may_be_left_out_and_a_delete_needs_none() -> None:
    assert changed(read({"body": "t", "big": UNAVAILABLE})).content == "t"
    gone = read({"body": UNAVAILABLE, "gone": 1}, deleted_when=("gone = 1",))
    assert changed(gone).op is Op.DELETE
    text = f"the word {UNAVAILABLE} in a sentence"
    assert changed(read({"body": text})).content == text


JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=8),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["a", "b", "c", "id"]), inner, max_size=3),
    ),
    max_leaves=12,
)
PATHS = st.sampled_from(
    ["a", "b", "a.b", "c?", "a[0]", "a[*].b?", "{a} {b?}", "length(a)", "a || b", "header:h?", "id"]
)
FIELDS = [*SINGLE, "deleted_when"]


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(["a", "b", "c", "id"]), JSON, max_size=4),
    st.dictionaries(st.sampled_from(FIELDS), PATHS),
    st.lists(st.sampled_from(["*", "a", "n = a.b", "c?"]), max_size=3),
)
def test_any_json_with_any_mapping_is_an_event_or_a_dead_letter(
    value: dict[str, Any], paths: dict[str, Any], metadata: list[str]
) -> None:
    texts = {"id", "content", "title", "uri"}
    paths = {
        name: path for name, path in paths.items() if name in texts or not path.startswith("{")
    }
    if "deleted_when" in paths:
        paths["deleted_when"] = (f"{paths['deleted_when'].rstrip('?')} = 1",)
    spec = mapped(**{"content": "a", **paths, "metadata": tuple(metadata)})
    text = json.dumps(value).encode("utf-8", "surrogatepass")
    assert_is_storable(decode(record(text, headers=(("h", b"1"),)), spec))


class Compared(str):
    """A text that counts how often any of them is compared."""

    times = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        Compared.times += 1
        return str.__eq__(self, other)


@pytest.mark.parametrize("depth", [1, 30, 300])
def test_each_member_is_looked_at_once_however_deep_it_is(depth: int) -> None:
    value: Any = [Compared("x") for _ in range(100)]
    for _ in range(depth):
        value = [value]
    Compared.times = 0
    assert names_with_placeholder({"a": value}, None, UNAVAILABLE) == []
    assert 100 <= Compared.times <= 200
