"""What `freshet try` makes of a topic: its format, the proposal, and what the proposal makes of its own records."""

import base64
import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest

from corpus.source import SourceSpec
from ingest.event import KafkaRecord
from ingest.stage import Row, rows_of
from ingest.trial.context import SURE, UNSURE
from ingest.trial.proposal import proposed_toml, source_name
from ingest.trial.topic import Recognised, recognise
from tests.support.debezium import read_fixture
from tests.support.decoding import record
from tests.support.inputs import DATA, nasty, needs_inputs
from workers.config.file import parse
from workers.trial import Outcome, Trial, try_records

NOW_MS = 1_800_000_000_000
PAGE = {
    "pageId": 7,
    "headline": "Leave",
    "body": "Ask your **lead**.\n\n- first\n- then",
    "modifiedAt": "2026-01-02T08:00:00Z",
    "readers": ["hr"],
    "link": "https://wiki.example/7",
    "lang": "en",
    "api_key": "hunter2",
    "status": "live",
    "area": "hr",
}


def sent(value: Any, *, key: bytes | None = b"k", offset: int = 0, **headers: bytes) -> KafkaRecord:
    named = tuple((name.replace("_", "-"), header) for name, header in headers.items())
    return record(
        value if isinstance(value, bytes) or value is None else json.dumps(value).encode(),
        key=key,
        headers=named,
        offset=offset,
    )


def proposed(records: list[KafkaRecord], topic: str = "a.topic") -> SourceSpec:
    [spec] = parse(proposed_toml(topic, recognise(records))).sources
    return spec


def tried(records: list[KafkaRecord]) -> Trial:
    return try_records(records, proposed(records), topic_id="t", now_ms=NOW_MS)


def lines(recognised: Recognised) -> dict[str, Any]:
    return {guess.field: guess.value for guess in recognised.guesses}


def outcomes(records: list[KafkaRecord]) -> list[str]:
    """What the records decode to; nothing is cleaned, so that no process is started."""
    return [row.get("op") or row["outcome"] for row in rows(records)]


def rows(records: list[KafkaRecord]) -> list[Row]:
    spec = proposed(records)
    return rows_of(records, spec, topic_id="t", now_ms=NOW_MS)


# ── formats ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@needs_inputs
@pytest.mark.parametrize(
    ("name", "variant"),
    [
        ("ce.kb.articles", "envelope as CloudEvents"),
        ("ce.kb.notes_truncate", "envelope as CloudEvents; a truncated table"),
        ("dbz.kb.articles", "envelope without schema"),
        ("dbz.kb.notes", "envelope without schema"),
        ("dbz.transaction", "markers of transactions"),
        ("dbzs.kb.notes", "envelope with schema"),
        ("dbzs.transaction", "markers of transactions"),
        ("flat.kb.articles", "flattened rows without schema"),
        ("flat.kb.notes", "flattened rows without schema"),
    ],
)
def test_what_a_real_debezium_wrote_is_recognised_and_read(name: str, variant: str) -> None:
    records = read_fixture(DATA / "wire/debezium" / f"{name}.jsonl")
    found = recognise(records)
    assert found.format == "debezium"
    assert variant in found.forms
    assert "dead_letter" not in outcomes(records)


@needs_inputs
def test_the_placeholder_of_an_unchanged_column_is_no_text() -> None:
    records = read_fixture(DATA / "wire/debezium/dbz.kb.articles.jsonl")
    found = recognise(records)
    wanted = {"content": "body_html", "content_type": "'text/html'", "title": "title", "acl": "acl"}
    assert wanted.items() <= lines(found).items()


@needs_inputs
def test_cloud_events_of_their_library_are_recognised_in_both_modes() -> None:
    path: Path = DATA / "wire/cloudevents_sdk.jsonl"
    records: list[KafkaRecord] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        stored = json.loads(line)
        headers = tuple(
            (name, value.encode())
            for name, _, value in (each.partition("=") for each in stored["headers"].split(","))
        )
        value = json.dumps(stored["value"]).encode()
        records.append(record(value, key=stored["key"].encode(), headers=headers))
    found = recognise(records)
    assert (found.format, found.forms) == ("cloudevents", {"binary mode": 1, "structured mode": 1})
    assert [row.get("document_id") for row in rows(records)] == ["page/7", "page/7"]


@needs_inputs
def test_the_wire_format_of_a_registry_is_named_with_its_id() -> None:
    value = (DATA / "wire/avro_confluent_wire.bin").read_bytes()
    found = recognise([sent(value)])
    assert (found.format, found.schema_ids) == ("registry", ("1",))
    assert "schema ids 1" in found.sentence()


def test_the_id_of_a_schema_may_be_in_a_header() -> None:
    by_number = record(b"\x0aabc", headers=(("__value_schema_id", b"\0\0\0\1\2"),))
    by_name = record(b"\x0aabc", headers=(("__value_schema_id", b"\1" + bytes(range(16))),))
    found = recognise([by_number, by_name])
    assert (found.format, found.schema_ids) == ("registry", ("258", bytes(range(16)).hex()))


def test_json_with_a_schema_id_before_it_is_read() -> None:
    value = b"\0\0\0\0\x09" + json.dumps(PAGE).encode()
    found = recognise([sent(value)])
    assert (found.format, found.schema_ids) == ("json", ("9",))
    assert outcomes([sent(value)]) == ["upsert"]


@needs_inputs
@pytest.mark.parametrize(
    ("decoder", "format_name"),
    [
        ("native", "native"),
        ("debezium", "debezium"),
        ("debezium-flat", "debezium"),
        ("cloudevents", "cloudevents"),
    ],
)
def test_hostile_streams_are_recognised_by_what_most_of_them_are(
    decoder: str, format_name: str
) -> None:
    records: list[KafkaRecord] = []
    for number, case in enumerate(nasty(decoder)):
        headers = tuple((name, _decoded(value)) for name, value in case["headers"])
        key, value = _decoded(case["key_b64"]), _decoded(case["value_b64"])
        records.append(record(value, key=key, headers=headers, offset=number))
    found = recognise(records)
    assert found.format == format_name
    assert parse(proposed_toml("nasty", found)).sources[0].format == format_name
    assert "event" in [row["outcome"] for row in rows(records)]


def _decoded(value: str | None) -> bytes | None:
    return None if value is None else base64.b64decode(value)


@pytest.mark.parametrize(
    ("value", "headers", "format_name", "variant"),
    [
        ({"id": "a", "content": "text"}, {}, "native", "Freshet's own fields"),
        (b"# A text\n\nof words", {}, "text", "texts"),
        (b"%PDF-1.7\n", {}, "text", "files (bytes)"),
        (b"[1, 2]", {}, "text", "texts"),
        (b'{"id": 1', {}, "", "JSON that is damaged"),
        (b"\x1f\x8b\x08\x00", {}, "", "gzip without the header content-encoding"),
        (b"\x28\xb5\x2f\xfd\x00", {}, "", "zstd without the header content-encoding"),
        (b"Obj\x01\x04", {}, "", "an Avro file, which no format reads"),
        (b"\x9c\x81\x02\xf0" * 50, {}, "", "bytes that are neither a text nor a known file"),
        (None, {}, "", "no value (deletes)"),
        (b"x", {"content_encoding": b"gzip"}, "", "gzip that cannot be inflated"),
        (
            {"schema": {"type": "struct"}, "payload": {"nr": 1, "body": "long"}},
            {},
            "json",
            "an object below payload, with its schema",
        ),
        (
            json.dumps({"title": "T", "body": "words"}),
            {},
            "debezium",
            "routed outbox events, as JSON in a text",
        ),
        ({"ts_ms": 1}, {}, "debezium", "heartbeats"),
        ({"ddl": "CREATE", "databaseName": "d"}, {}, "debezium", "changes of the schema"),
    ],
)
def test_a_form_has_a_name(
    value: Any, headers: dict[str, bytes], format_name: str, variant: str
) -> None:
    found = recognise([sent(value, **headers)])
    assert (found.format, found.forms) == (format_name, {variant: 1})
    assert found.sentence()


def test_a_compressed_topic_is_what_it_is_inside() -> None:
    value = gzip.compress(json.dumps(PAGE).encode())
    records = [sent(value, content_encoding=b"gzip")]
    found = recognise(records)
    assert (found.format, found.encodings) == ("json", ("gzip",))
    assert outcomes(records) == ["upsert"]


def test_documents_of_mongodb_are_rows() -> None:
    document = json.dumps({"_id": {"$oid": "5f1e"}, "title": "T", "text": "A long text of words."})
    source = {"connector": "mongodb", "ts_ms": 1, "ord": 1}
    records = [
        sent({"op": "c", "before": None, "after": document, "source": source}, key=b'{"id": "5f"}')
    ]
    found = recognise(records)
    [form] = found.forms
    assert "MongoDB" in form
    assert lines(found)["content"] == "text"
    assert outcomes(records) == ["upsert"]


def test_types_that_delete_are_configured() -> None:
    def event(kind: str) -> KafkaRecord:
        cloud = {"specversion": "1.0", "id": "1", "source": "/s", "type": kind, "subject": "d"}
        return sent(cloud | {"data": {"body": "words"}}, offset=len(kind))

    records = [event("PageUpdated"), event("PageDelete")]
    assert recognise(records).deleted_types == ("PageDelete",)
    assert outcomes(records) == ["upsert", "delete"]
    assert recognise([event("page.updated"), event("page.deleted")]).deleted_types == ()


# ── the mapping of any JSON ─────────────────────────────────────────────────────────────────────────────────────────


def test_fields_are_guessed_by_their_names_and_their_values() -> None:
    gone = {"pageId": 8, "status": "deleted", "modifiedAt": "2026-01-03T08:00:00Z"}
    records = [
        sent(PAGE, key=b"7", offset=1),
        sent(PAGE | {"pageId": 8, "lang": None}, key=b"8", offset=2),
        sent(gone, key=b"8", offset=3),
        sent(None, key=b"8", offset=4),
    ]
    found = recognise(records)
    assert lines(found) == {
        "id": "pageId",
        "version": "modifiedAt",
        "content": "body",
        "content_type": "'text/markdown'",
        "title": "headline",
        "uri": "link",
        "updated_at": "modifiedAt",
        "acl": "readers",
        "language": "lang",
        "metadata": ["area"],
        "deleted_when": "status = deleted",
    }
    by_field = {guess.field: guess for guess in found.guesses}
    assert by_field["id"].sure == SURE
    assert "key in all" in by_field["id"].why
    assert "api_key" in by_field["metadata"].why
    first, second, third, fourth = tried(records).records
    assert (first.document_id, first.title, first.outcome, first.chunks) == (
        "7",
        "Leave",
        Outcome.UPSERT,
        1,
    )
    assert [each.outcome for each in (second, third, fourth)] == ["upsert", "delete", "delete"]
    assert second.version == first.version == 1_767_340_800_000_000


def test_a_path_that_a_record_lacks_may_be_missing() -> None:
    records = [sent({"id": "a", "body": "one", "title": "T"}), sent({"id": "b", "body": "two"})]
    assert lines(recognise(records))["title"] == "title?"
    assert outcomes(records) == ["upsert", "upsert"]


def test_nested_and_strange_names_become_paths() -> None:
    page = {"page-data": {"Text Body": "words " * 20, "a.b": "x"}, "no": 5}
    found = recognise([sent(page)])
    assert lines(found)["content"] == '"page-data"."Text Body"'
    assert found.guesses[0].sure == UNSURE
    assert outcomes([sent(page)]) == ["upsert"]


def test_a_file_in_base64_is_the_content() -> None:
    pdf = base64.b64encode(b"%PDF-1.7 not really").decode()
    found = recognise([sent({"nr": 1, "blob": pdf})])
    assert lines(found)["content_base64"] == "blob"


def test_a_record_without_a_text_is_a_document_of_all_its_fields() -> None:
    records = [sent({"nr": 1, "count": 5})]
    assert lines(recognise(records))["content"] == "to_string(@)"
    assert outcomes(records) == ["upsert"]


def test_what_the_records_hold_is_no_part_of_the_file() -> None:
    name = 'a\nformat = "text"\x1b[2J\u202e]"\U000e0041'
    records = [sent({"id": "a", name: "words " * 30, "status": "deleted\nx"})]
    text = proposed_toml("topic", recognise(records))
    assert text.isprintable() is False  # its line breaks
    assert all(line.isprintable() for line in text.splitlines())
    [spec] = parse(text).sources
    assert spec.format == "json"


@pytest.mark.parametrize(
    ("topic", "name"),
    [("dbz.kb.Articles", "dbz-kb-articles"), ("_x", "x"), ("9", "source-9"), ("...", "source")],
)
def test_a_source_is_named_after_its_topic(topic: str, name: str) -> None:
    assert source_name(topic) == name


_NAMES = (
    *("id", "body", "title", "op", "before", "after", "source", "status", "deleted", "payload"),
    *("schema", "specversion", "type", "data", "acl", "updated_at", "url", "__op", "content"),
)
_CHARACTERS = "aB1.{}? \n\x00\u202e'\"\\\ue000\U0001f600"


def _text(rng: random.Random) -> str:
    return "".join(rng.choices(_CHARACTERS, k=rng.randint(0, 8)))


def _value(rng: random.Random, depth: int = 0) -> Any:
    plain = [None, True, 7, 1.5, 2**70, "d", "2026-01-01", "https://a/b", _text(rng)]
    choice = rng.random()
    if depth > 2 or choice < 0.6:
        return rng.choice(plain)
    if choice < 0.75:
        return [_value(rng, depth + 1) for _ in range(rng.randint(0, 3))]
    return _object(rng, depth + 1)


def _object(rng: random.Random, depth: int = 0) -> dict[str, Any]:
    names = [*rng.sample(_NAMES, rng.randint(0, 6)), _text(rng)]
    return {name: _value(rng, depth) for name in names}


@pytest.mark.parametrize("seed", range(150))
def test_any_proposal_loads_and_reads_whatever_it_was_made_of(seed: int) -> None:
    rng = random.Random(seed)
    records: list[KafkaRecord] = []
    for number in range(rng.randint(0, 4)):
        value = _object(rng) if rng.random() < 0.8 else _value(rng)
        key = rng.choice([None, b"k", b'{"id": 1}', b"\xff"])
        records.append(sent(json.dumps(value).encode(), key=key, offset=number))
    found = recognise(records)
    text = proposed_toml("t", found)
    if not text:
        assert not found.is_readable
        return
    [spec] = parse(text).sources
    decoded = rows_of(records, spec, topic_id="t", now_ms=NOW_MS)
    assert not any("cannot be staged" in (row.get("detail") or "") for row in decoded)


@pytest.mark.timeout(20)
def test_a_text_of_brackets_is_looked_at_once() -> None:
    """A search that begins anew at each bracket would take minutes."""
    records = [sent({"id": number, "body": "[" * 300_000}) for number in range(2)]
    assert lines(recognise(records))["content"] == "body"
