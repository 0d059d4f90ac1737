"""Format cloudevents: both modes, what the body is, what names the document and its version."""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.dead_letter import DeadLetterReason
from corpus.source import SourceSpec
from corpus.specs.formats import CloudEventsSpec, MappingSpec
from ingest.decode.decoder import decode
from ingest.event import ChangeEvent, Decoded, Ignored, Op, Undecodable
from tests.support.decoding import assert_is_storable, changed, kafka_record, record, refused
from tests.support.inputs import nasty, needs_inputs

PLAIN = SourceSpec(source="s", topics=("t",), format="cloudevents")
MAPPED = replace(PLAIN, mapping=MappingSpec(content="html", title="title?"))
AT = "2026-01-02T08:00:00.000001Z"
AT_US = 1_767_340_800_000_001
EVENT = {"specversion": "1.0", "id": "e", "source": "/s", "type": "x.page.updated", "time": AT}
BODY = {"html": "<p>x</p>", "title": "T"}


def structured(spec: SourceSpec = MAPPED, **fields: Any) -> Decoded:
    value = {name: each for name, each in {**EVENT, **fields}.items() if each is not None}
    return decode(record(json.dumps(value).encode()), spec)


def binary(value: bytes | None, spec: SourceSpec = MAPPED, **attributes: str) -> Decoded:
    headers = {f"ce_{name}": each for name, each in {**EVENT, **attributes}.items()}
    content_type = headers.pop("ce_datacontenttype", "application/json")
    pairs = [(name, each.encode()) for name, each in headers.items()]
    return decode(record(value, headers=(*pairs, ("Content-Type", content_type.encode()))), spec)


def test_both_modes_are_the_same_event() -> None:
    one = changed(structured(data=BODY, subject="p/7"))
    other = changed(binary(json.dumps(BODY).encode(), subject="p/7"))
    assert (one.document_id, one.version, one.content) == ("p/7", AT_US, "<p>x</p>")
    assert replace(one, raw_sha256=b"") == replace(other, raw_sha256=b"")


def test_the_key_names_the_document_without_a_subject() -> None:
    assert changed(structured(data=BODY)).document_id == "k"


def test_a_body_without_a_mapping_is_an_event_of_our_own() -> None:
    body = {"id": "a", "content": "text", "version": 3}
    event = changed(structured(PLAIN, data=body, subject="p/7"))
    assert (event.document_id, event.content, event.version) == ("a", "text", AT_US)
    assert changed(structured(PLAIN, data={"content": "", "op": "delete"})).op is Op.DELETE


@pytest.mark.parametrize("sequence", ["7", 7, "7".zfill(20), "7".zfill(32), "7".zfill(10_000)])
def test_the_sequence_is_the_version(sequence: Any) -> None:
    assert changed(structured(data=BODY, sequence=sequence)).version == 7


@pytest.mark.parametrize("sequence", ["9" * 19, "1" * 20, "1" * 32, "1" * 100_000, "١٢"])
def test_a_sequence_that_no_version_holds_is_never_cut(sequence: str) -> None:
    decoded = structured(data=BODY, sequence=sequence)
    refused(decoded, DeadLetterReason.INVALID_FIELD, "a whole number from 0 to 2^63-1")


def test_a_placeholder_of_debezium_is_no_text_in_any_body() -> None:
    reason = DeadLetterReason.UNAVAILABLE_COLUMN
    left_out = "__debezium_unavailable_value"
    body = json.dumps({"html": left_out, "content": left_out}).encode()
    encoded = base64.b64encode(body).decode()
    for spec in (MAPPED, PLAIN):
        refused(structured(spec, data_base64=encoded), reason, "Debezium left out")
        refused(binary(body, spec), reason, "Debezium left out")
    refused(binary(left_out.encode(), datacontenttype="text/plain"), reason, "'content'")


def test_a_field_may_be_the_version() -> None:
    spec = replace(MAPPED, mapping=replace(MAPPED.mapping, version="v"))
    assert changed(structured(spec, data=BODY | {"v": 4})).version == 4
    deleted = changed(structured(spec, type="x.page.deleted"))
    assert (deleted.op, deleted.version) == (Op.DELETE, None)


def test_a_body_that_is_no_json_is_the_document() -> None:
    event = changed(binary(b"# T", datacontenttype="text/markdown; charset=utf-8", subject="p"))
    assert (event.content, event.content_type, event.document_id) == ("# T", "text/markdown", "p")
    encoded = structured(data_base64="IyBU", datacontenttype="text/markdown")
    assert changed(encoded).content == "# T"


PDF = b"%PDF-1.7 \xff"


@pytest.mark.parametrize("stated", ["application/pdf", "text/plain", "application/json", None])
@pytest.mark.parametrize("spec", [PLAIN, MAPPED])
def test_a_body_that_is_a_file_stays_as_it_is(stated: str | None, spec: SourceSpec) -> None:
    encoded = base64.b64encode(PDF).decode()
    event = changed(structured(spec, data_base64=encoded, datacontenttype=stated, subject="p"))
    assert (event.content, event.document_id, event.version) == (PDF, "p", AT_US)
    other = changed(binary(PDF, spec, datacontenttype=stated or "", subject="p"))
    assert other.content == PDF


def test_a_field_of_a_body_may_hold_a_file() -> None:
    data = {"content_base64": base64.b64encode(PDF).decode()}
    assert changed(structured(PLAIN, data=data)).content == PDF
    spec = replace(PLAIN, mapping=MappingSpec(content_base64="file"))
    assert changed(structured(spec, data={"file": data["content_base64"]})).content == PDF


def test_a_field_that_counts_is_not_there_twice() -> None:
    reason = DeadLetterReason.NOT_DECODABLE
    refused(binary(b'{"html":"a","html":"b","title":"T"}'), reason, "html appears 2 times")
    whole = json.dumps({**EVENT, "data": BODY, "subject": "a"})
    twice = whole.removesuffix("}") + ',"subject":"b"}'
    refused(decode(record(twice.encode()), MAPPED), reason, "subject appears 2 times")
    for spec, name in ((MAPPED, "html"), (PLAIN, "acl"), (PLAIN, "content")):
        data = {"id": "a", "content": "x", "acl": ["a"], "html": "x"}
        whole = json.dumps({**EVENT, "data": data}).replace(f'"{name}"', f'"{name}": 1, "{name}"')
        refused(decode(record(whole.encode()), spec), reason, f"{name} appears 2 times")
    assert changed(structured(PLAIN, data={"id": "a", "content": "x"})).document_id == "a"
    nested = structured(MAPPED, data=BODY | {"subject": "b"}, subject="a")
    assert changed(nested).document_id == "a"


def test_bytes_of_a_text_become_a_text() -> None:
    encoded = base64.b64encode(b"H\xf6he").decode()
    stated = "text/plain; charset=windows-1252"
    assert changed(structured(data_base64=encoded, datacontenttype=stated)).content == "Höhe"


URL = "https://docs.example.org/page-7.html"


def test_an_event_may_say_where_its_data_is() -> None:
    other = {"dataref": URL, "datacontenttype": "text/html", "subject": "p/7"}
    events = [changed(structured(**other)), changed(structured(PLAIN, **other))]
    events += [changed(binary(value, **other)) for value in (None, b"")]
    for event in events:
        assert (event.document_id, event.content_url, event.content) == ("p/7", URL, None)
        assert (event.version, event.content_type) == (AT_US, "text/html")
    assert changed(structured(dataref=URL)).content_type is None  # its origin says what it is
    elsewhere = changed(structured(**(other | {"dataref": f"{URL}?2"})))
    assert elsewhere.raw_sha256 != events[0].raw_sha256


def test_data_that_is_there_is_not_fetched() -> None:
    event = changed(structured(data=BODY, dataref=URL))
    assert (event.content, event.content_url) == ("<p>x</p>", None)
    event = changed(binary(json.dumps(BODY).encode(), dataref=URL))
    assert (event.content, event.content_url) == ("<p>x</p>", None)


def test_an_event_that_deletes_fetches_nothing() -> None:
    event = changed(structured(type="x.page.deleted", dataref=URL))
    assert (event.op, event.content_url) == (Op.DELETE, None)


@pytest.mark.parametrize("dataref", ["", "relative/page.html", "ftp://h/x", 7, ["https://h/x"]])
def test_a_dataref_that_is_no_address_is_refused(dataref: Any) -> None:
    refused(structured(dataref=dataref), DeadLetterReason.INVALID_FIELD, "content_url must be")


@pytest.mark.parametrize("name", ["id", "version", "acl", "expires_at"])
def test_what_a_mapping_reads_of_the_data_is_not_left_out(name: str) -> None:
    """Without its access list, a document would be shown to the readers of the source's default."""
    values: Any = {name: name}
    spec = replace(PLAIN, mapping=MappingSpec(content="html", **values))
    words = f"the mapping reads {name} of it"
    refused(structured(spec, dataref=URL), DeadLetterReason.INVALID_FIELD, words)


@pytest.mark.parametrize("value", [None, b""])
def test_a_type_deletes(value: bytes | None) -> None:
    event = changed(binary(value, type="x.page.deleted", subject="p/7"))
    assert (event.op, event.document_id, event.version) == (Op.DELETE, "p/7", AT_US)


def test_other_types_are_ignored_by_their_rule() -> None:
    spec = replace(MAPPED, cloudevents=CloudEventsSpec(types=("x.page.*",)))
    assert isinstance(structured(spec, type="x.user.login"), Ignored)
    assert changed(structured(spec, data=BODY)).content == "<p>x</p>"


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"specversion": "0.3", "data": BODY}, "specversion"),
        ({"specversion": None, "data": BODY}, "CloudEvent"),
        ({"type": None, "data": BODY}, "type"),
        ({"time": "soon", "data": BODY}, "time"),
        ({}, "data"),
        ({"data_base64": "-"}, "data_base64"),
        ({"data": {"title": "T"}}, "html"),
    ],
)
def test_what_is_missing_is_named(fields: Any, word: str) -> None:
    refused(structured(**fields), DeadLetterReason.INVALID_FIELD, word)


def test_a_subject_that_is_no_text_names_no_document() -> None:
    for spec in (PLAIN, MAPPED):
        refused(structured(spec, data=BODY, subject="\ud800"), DeadLetterReason.INVALID_ID)


VALUES = st.one_of(
    st.none(), st.text(max_size=5), st.integers(), st.dictionaries(st.text(), st.text())
)
NAMES = st.sampled_from([*EVENT, "data", "data_base64", "subject", "sequence", "datacontenttype"])


@settings(deadline=None)
@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_any_event_is_decoded_or_refused(fields: dict[str, Any]) -> None:
    for spec in (PLAIN, MAPPED):
        decoded = decode(record(json.dumps({**EVENT, **fields}).encode()), spec)
        if not isinstance(decoded, Ignored):
            assert_is_storable(decoded)


@needs_inputs
@pytest.mark.parametrize("case", nasty("cloudevents"), ids=lambda case: case["case"])
def test_hostile_records_end_as_expected(case: dict[str, Any]) -> None:
    decoded = decode(kafka_record(case, 0), PLAIN)
    match decoded:
        case ChangeEvent():
            outcome = {"upsert": "accepted", "delete": "delete"}[decoded.op]
        case Ignored():
            outcome = "ignored"
        case Undecodable():
            outcome = "dead_letter"
    assert outcome in {case["expect"], *case["alt"]}
