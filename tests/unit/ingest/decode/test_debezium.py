"""Format debezium: every form that its connectors write, and what is no change of a row."""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.dead_letter import DeadLetterReason
from corpus.source import SourceSpec, VersionRule
from corpus.specs.formats import DebeziumSpec, MappingSpec
from corpus.versions.truncation import UNDECIDED
from ingest.decode.debezium.rows import is_second_half
from ingest.decode.decoder import decode
from ingest.decode.staged_content import read_row
from ingest.event import ChangeEvent, Decoded, Ignored, KafkaRecord, Op, Undecodable
from tests.support.debezium import UNAVAILABLE, change, read_fixture, record
from tests.support.decoding import assert_is_storable, changed, kafka_record, refused
from tests.support.inputs import DATA, nasty, needs_inputs

INVALID = DeadLetterReason.INVALID_FIELD


def spec(**paths: Any) -> SourceSpec:
    debezium = paths.pop("debezium", DebeziumSpec())
    return SourceSpec(
        source="s",
        topics=("t",),
        format="debezium",
        version_rule=VersionRule.OWN,
        mapping=MappingSpec(**{"content": "body", **paths}),
        debezium=debezium,
    )


def row(**columns: Any) -> dict[str, Any]:
    return {"id": 1, "body": "text", **columns}


def rule(decoded: Decoded) -> str:
    assert isinstance(decoded, Ignored), decoded
    return decoded.rule


@pytest.mark.parametrize("op", ["c", "u", "r"])
@pytest.mark.parametrize("with_schema", [True, False])
def test_a_row_is_a_document(op: str, with_schema: bool) -> None:
    sent = change(op, 42, row(title="T"))
    if with_schema:
        value = {"schema": {}, "payload": json.loads(sent.value or b"")}
        sent = record({"schema": {}, "payload": {"id": 1}}, value)
    event = changed(decode(sent, spec(title="title")))
    assert (event.document_id, event.version, event.content, event.title) == ("1", 42, "text", "T")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b'{"schema":{},"payload":7}', "payload is 7"),
        (b'{"schema":{},"payload":{"op":"u"}', "JSON"),
        (b'{"schema":{]},"payload":{}}', "JSON"),
        (b'{"schema":{},"payload":{"before":null,"after":null,"op":"u"}}', "full documents"),
    ],
)
def test_a_value_behind_its_schema_is_read_as_strictly(value: bytes, words: str) -> None:
    sent = replace(record({"id": 1}, {}), value=value)
    decoded = decode(sent, spec())
    assert isinstance(decoded, Undecodable), decoded
    assert words in decoded.detail


def test_a_row_may_have_columns_named_schema_and_payload() -> None:
    flat = {"schema": "kb", "payload": {"body": "text"}, "body": "of the row"}
    assert changed(decode(record({"id": 1}, flat), spec())).content == "of the row"


def test_a_deleted_row_and_its_tombstone_name_the_same_document() -> None:
    deleted = changed(decode(change("d", 43, row()), spec()))
    tombstone = changed(decode(record({"id": 1}, None), spec()))
    assert (deleted.op, deleted.document_id, deleted.version) == (Op.DELETE, "1", 43)
    assert (tombstone.op, tombstone.document_id, tombstone.version) == (Op.DELETE, "1", None)


def test_halves_of_a_changed_key_name_each_other() -> None:
    tombstone = changed(decode(record({"id": 1}, None, {"newkey": {"id": 2}}), spec()))
    deleted = changed(decode(change("d", 43, row(), newkey={"id": 2}), spec()))
    assert (tombstone.document_id, tombstone.next_id, deleted.next_id) == ("1", "2", "2")
    assert changed(decode(record({"id": 1}, None), spec())).next_id is None
    for odd in (None, {"id": {}}, ""):
        assert changed(decode(record({"id": 1}, None, {"newkey": odd}), spec())).document_id == "1"


def test_a_tombstone_behind_its_delete_is_its_second_half() -> None:
    tombstone = record({"id": 1}, None)
    assert is_second_half(tombstone, change("d", 43, row()), spec())
    for before in (None, change("u", 43, row()), change("d", 43, row(id=2)), tombstone):
        assert not is_second_half(tombstone, before, spec())
    by_record = spec(debezium=DebeziumSpec(version="record"))
    assert not is_second_half(tombstone, change("d", 43, row()), SourceSpec(source="s", topics=()))
    assert changed(decode(change("u", 43, row()), by_record)).version != 43


@pytest.mark.parametrize(
    ("key", "path", "document"),
    [
        ({"id": 1}, None, "1"),
        ({"tenant": "a/b", "nr": 7}, None, "a%2Fb/7"),
        ({"tenant": "a", "nr": 7}, "{tenant}-{nr}", "a-7"),
        ({"id": '{"$oid": "5f1e"}'}, None, "5f1e"),
        ({"id": '"x"'}, None, "x"),
        ({"id": 1}, "slug", "s-1"),
    ],
)
def test_the_columns_of_the_key_name_the_document(key: Any, path: Any, document: str) -> None:
    sent = change("u", 42, row(slug="s-1"), key=key)
    assert changed(decode(sent, spec(id=path))).document_id == document


@pytest.mark.parametrize("key", [{"id": None}, {"id": [1]}, {}])
def test_a_key_without_a_value_names_none(key: Any) -> None:
    assert isinstance(decode(change("u", 42, row(), key=key), spec()), Undecodable)


@pytest.mark.parametrize(
    ("choice", "source", "version"),
    [
        ("auto", {"lsn": 5, "ts_ms": 9}, 5),
        ("auto", {"lsn": None, "ts_ms": 9}, None),
        ("auto", {"file": "mysql-bin.000002", "pos": 7, "ts_ms": 9}, (2 << 32) + 7),
        ("auto", {"ord": 3, "ts_ms": 9_000}, (9 << 32) + 3),
        ("auto", {"ts_us": 9_001, "ts_ms": 9}, 9_001),
        ("auto", {"ts_ms": 9}, 9_000),
        ("ts_us", {"lsn": 5, "ts_us": 9_001}, 9_001),
        ("ts_ms", {"lsn": 5, "ts_ms": 9}, 9),
        ("lsn", {"lsn": "5".zfill(30)}, 5),
        ("lsn", {"lsn": "5" * 30}, None),
        ("lsn", {"ts_ms": 9}, None),
        ("binlog", {"file": "x", "pos": 7}, None),
        ("binlog", {"file": 2, "pos": 7}, None),
        ("binlog", {"file": "x" + "2".zfill(30), "pos": 7}, (2 << 32) + 7),
        ("binlog", {"file": "1" * 1_000_000, "pos": 7}, None),
        ("binlog", {"file": "1" * 1_000_000 + "x", "pos": 7}, None),
        ("auto", {"file": "1" * 1_000_000 + "x", "pos": 7}, None),
        ("record", {"lsn": 5}, None),
    ],
)
def test_the_version_is_that_of_the_log(choice: Any, source: Any, version: int | None) -> None:
    value = {"before": None, "after": row(), "source": source, "op": "u"}
    chosen = spec(debezium=DebeziumSpec(version=choice))
    read = changed(decode(record({"id": 1}, value), chosen)).version
    assert read == version or (version is None and read is not None and read > 2**60)


def test_a_column_may_be_the_version() -> None:
    by_column = spec(version="revision")
    assert changed(decode(change("u", 42, row(revision=3)), by_column)).version == 3
    assert changed(decode(change("d", 42, row(revision=3)), by_column)).version is None


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({"status": "BEGIN", "id": "1:2", "event_count": None}, "debezium transaction"),
        ({"ts_ms": 1}, "debezium heartbeat"),
        ({"ddl": "CREATE", "databaseName": "d"}, "debezium schema change"),
        ({"op": "m", "message": {}}, "debezium message"),
        ({"op": "m", "ts_ms": 1, "source": {}, "message": {"prefix": "p"}}, "debezium message"),
        ({"before": None, "after": None, "op": "t"}, UNDECIDED),
    ],
)
def test_what_is_no_change_of_a_row_is_ignored_by_its_rule(value: Any, named: str) -> None:
    assert rule(decode(record(None, value), spec())) == named
    assert rule(decode(record(None, {"schema": {}, "payload": value}), spec())) == named


OWN = ["op", "message", "status", "id", "event_count", "ts_ms", "ddl", "databaseName", "source"]


@given(st.dictionaries(st.sampled_from(OWN), st.sampled_from(["m", "BEGIN", "END", 3, None, {}])))
def test_a_row_whose_columns_are_named_as_those_of_debezium_is_a_row(columns: Any) -> None:
    sent = record({"id": 1}, columns | {"body": "text"})
    assert changed(decode(sent, spec())).content == "text"


@pytest.mark.parametrize(
    "value",
    [
        {"id": 7, "status": "BEGIN", "event_count": 1},
        {"op": "m", "message": "text", "id": 1},
        {"ddl": "x", "databaseName": "d", "id": 1},
    ],
)
def test_a_row_without_the_column_of_the_text_is_not_ignored(value: Any) -> None:
    refused(decode(record({"id": 1}, value), spec()), INVALID, "the record has no body")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"before": None, "after": None, "op": "u"}, "full documents"),
        ({"before": None, "after": row(), "op": "x"}, "op is 'x'"),
        ({"before": None, "after": row(), "op": ["u"]}, "op is"),
        ({"before": None, "after": 7, "op": "u"}, "a row is 7"),
        ({"schema": {}, "payload": 7}, "payload is 7"),
        (
            {"before": None, "after": {"id": 1}, "op": "u"},
            "mapping.content: the record has no body",
        ),
    ],
)
def test_what_cannot_be_read_is_named(value: Any, words: str) -> None:
    refused(decode(record({"id": 1}, value), spec()), INVALID, words)


def test_a_flattened_row() -> None:
    flat = row(**{"__op": "u", "__lsn": 8, "__deleted": "false", "extra": 1})
    event = changed(decode(record({"id": 1}, flat), spec(metadata=("*",))))
    assert (event.version, event.metadata) == (8, {"id": 1, "extra": 1})
    gone = decode(record({"id": 1}, flat | {"__deleted": "true"}), spec())
    assert (changed(gone).op, changed(gone).version) == (Op.DELETE, 8)


def test_a_document_of_mongodb() -> None:
    after = json.dumps(
        {"_id": {"$oid": "5f"}, "body": "text", "n": {"$numberLong": "7"}, "at": {"$date": 1_000}}
    )
    value = {"after": after, "source": {"ord": 1, "ts_ms": 5_000}, "op": "c"}
    sent = record({"id": '{"$oid": "5f"}'}, value)
    event = changed(decode(sent, spec(metadata=("n",), updated_at="at")))
    assert (event.document_id, event.content, event.metadata) == ("5f", "text", {"n": 7})


@pytest.mark.parametrize("payload", [{"body": "text"}, '{"body": "text"}'])
def test_an_event_of_an_outbox(payload: Any) -> None:
    outbox = {"id": "e-1", "aggregatetype": "doc", "aggregateid": "d-1", "payload": payload}
    mapped = spec(content="payload.body")
    event = changed(decode(change("c", 42, outbox), mapped))
    assert (event.document_id, event.content) == ("d-1", "text")
    assert rule(decode(change("d", 43, outbox), mapped)) == "debezium outbox row removed"
    routed = KafkaRecord(
        topic="t",
        partition=0,
        offset=0,
        timestamp_ms=1,
        key=b"d-1",
        value=json.dumps(json.dumps({"body": "text"})).encode(),
    )
    assert changed(decode(routed, spec())).document_id == "d-1"


# ── columns that did not change ─────────────────────────────────────────────────────────────────────────────────────

FORMS = [
    UNAVAILABLE,
    base64.b64encode(UNAVAILABLE.encode()).decode(),
    [UNAVAILABLE],
    list(UNAVAILABLE.encode()),
    {UNAVAILABLE: UNAVAILABLE},
]


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_a_placeholder_is_no_value(form: Any) -> None:
    event = changed(decode(change("u", 42, row(body=form)), spec(content="{id} {body}")))
    assert (event.content, event.unavailable) == (None, ("body",))


@pytest.mark.parametrize("placeholder", [UNAVAILABLE, "<unchanged>", 'a/"b"', "é"])
@pytest.mark.parametrize("of", ["", "/<>=é_", "all"])
def test_a_placeholder_may_be_written_with_escapes(placeholder: str, of: str) -> None:
    for form in (placeholder, base64.b64encode(placeholder.encode()).decode()):
        sent = change("u", 42, row(body="FORM"))
        value = (sent.value or b"").replace(b"FORM", with_escapes(form, of))
        named = spec(debezium=DebeziumSpec(unavailable=placeholder))
        event = changed(decode(replace(sent, value=value), named))
        assert (event.content, event.unavailable) == (None, ("body",))


def with_escapes(text: str, of: str) -> bytes:
    written = json.dumps(text, ensure_ascii=False)[1:-1]
    if of == "all":
        return "".join(f"\\u{ord(each):04x}" for each in text).encode()
    for each in of.replace("/", ""):
        written = written.replace(each, f"\\u{ord(each):04x}")
    return written.replace("/", "\\/").encode() if "/" in of else written.encode()


WHOLE = [
    *("to_string(@)", "join(' ', values(@)[?type(@)=='string'])", "* | [2]", "{id} {to_string(@)}"),
    *("to_string(@ | @)", "@ | to_string(@)", "to_string([@])"),
]


@pytest.mark.parametrize("path", WHOLE)
def test_an_expression_of_the_whole_row_reads_each_column(path: str) -> None:
    event = changed(decode(change("u", 42, row(big=UNAVAILABLE)), spec(content=path)))
    assert (event.content, event.unavailable) == (None, ("big",))
    sent = change("u", 42, row(big=UNAVAILABLE))
    read = read_row(spec(content=path), sent.key, sent.value or b"", "", {"big": "kept"})
    assert "kept" in str(read.content)


@pytest.mark.parametrize("path", ["@.body", "body[?@ == 'x'] || body", "@ | body", "body || 'x'"])
def test_an_expression_of_one_column_reads_no_other(path: str) -> None:
    event = changed(decode(change("u", 42, row(big=UNAVAILABLE)), spec(content=path)))
    assert (event.content, event.unavailable) == ("text", ())


def test_a_column_that_is_not_read_may_be_left_out() -> None:
    event = changed(decode(change("u", 42, row(big=UNAVAILABLE)), spec()))
    assert (event.content, event.unavailable) == ("text", ())


def test_a_text_about_the_placeholder_is_a_text() -> None:
    text = f"the word {UNAVAILABLE} in a sentence"
    assert changed(decode(change("u", 42, row(body=text)), spec())).content == text


def test_the_row_before_may_have_the_column() -> None:
    value = {
        "before": row(body="old"),
        "after": row(body=UNAVAILABLE),
        "source": {"lsn": 1},
        "op": "u",
    }
    assert changed(decode(record({"id": 1}, value), spec())).content == "old"


def test_a_row_is_read_again_with_the_columns_that_are_known() -> None:
    sent = change("u", 42, row(title="New", body=UNAVAILABLE))
    mapped = spec(content="{title}: {body}", title="title")
    read = read_row(mapped, sent.key, sent.value or b"", "", {"body": "kept"})
    assert (read.content, read.values["title"]) == ("New: kept", "New")
    assert read.columns == {"title": "New", "body": "kept"}


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=6), st.sampled_from(FORMS)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["id", "body", "op", "after"]), inner, max_size=3),
    ),
    max_leaves=8,
)
NAMES = ["before", "after", "op", "source", "payload", "id", "body", "__deleted", "__lsn", "ts_ms"]


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(NAMES), st.one_of(JSON, st.sampled_from(["c", "u", "d", "t"])), max_size=6
    ),
    JSON,
)
def test_no_value_makes_a_document_of_a_placeholder(value: dict[str, Any], key: Any) -> None:
    decoded = decode(record(key, value), spec(title="body?", content="body", metadata=("*",)))
    if not isinstance(decoded, Ignored):
        assert_is_storable(decoded)
    if isinstance(decoded, ChangeEvent):
        assert decoded.content not in (UNAVAILABLE, FORMS[1])
        assert UNAVAILABLE not in decoded.metadata.values()


# ── what real programs wrote ────────────────────────────────────────────────────────────────────────────────────────


@needs_inputs
@pytest.mark.parametrize("path", sorted((DATA / "wire" / "debezium").glob("*.jsonl")), ids=str)
def test_records_of_a_real_debezium(path: Any) -> None:
    content = "body" if "notes" in path.name else "body_html"
    for sent in read_fixture(path):
        decoded = decode(sent, spec(content=content))
        assert not isinstance(decoded, Undecodable), decoded
        if "transaction" in path.name:
            assert rule(decoded) == "debezium transaction"
        elif "truncate" in path.name:
            assert rule(decoded) == UNDECIDED


NASTY = nasty("debezium", "debezium-flat", "any")


@needs_inputs
@pytest.mark.parametrize("case", NASTY, ids=lambda case: case["case"])
def test_hostile_records_end_as_expected(case: dict[str, Any]) -> None:
    mapped = spec(id="id", content="content", title="title", updated_at="updated_at")
    decoded = decode(kafka_record(case, 0), mapped)
    match decoded:
        case ChangeEvent():
            outcome = {"upsert": "accepted", "delete": "delete"}[decoded.op]
        case Ignored():
            outcome = "ignored"
        case Undecodable():
            outcome = "dead_letter"
    assert outcome in {case["expect"], *case["alt"]}
    if outcome in ("accepted", "delete"):
        assert changed(decoded).document_id == case["doc_id"]
