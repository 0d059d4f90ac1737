"""Every record becomes an event or a reason: tombstones, limits, versions, and the shared hostile records."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.dead_letter import DeadLetterReason
from corpus.errors import ConfigurationError
from corpus.preparation import PreparationSpec
from corpus.source import SourceSpec, VersionRule
from ingest.decode.decoder import FORMATS, decode
from ingest.decode.fields import record_version
from ingest.decode.staged_content import content_of
from ingest.event import ChangeEvent, KafkaRecord, Op
from tests.support.decoding import (
    AT,
    NATIVE,
    TEXT,
    assert_is_storable,
    changed,
    event,
    kafka_record,
    record,
    refused,
)
from tests.support.inputs import nasty, needs_inputs

# The decoder lets these through, because the cleaner judges them: a media type that is not text.
LEFT_TO_THE_CLEANER = {"type-png-base64"}
HEADER_NAMES = (
    *("id", "op", "acl", "version", "expires-at", "updated-at", "content-type", "meta-a"),
    "language",
)


# ── the shared records ──────────────────────────────────────────────────────────────────────────────────────────────


@needs_inputs
def test_the_shared_records_are_there() -> None:
    assert len(nasty("native", "any")) > 180, (
        "set FRESHET_DATA to the folder that holds nasty/nasty.jsonl"
    )


def outcomes_of(decoded: Any) -> set[str]:
    """What the shared records call this outcome. `ignored` is the version fence's word: the decoder has no memory."""
    if not isinstance(decoded, ChangeEvent):
        return {"dead_letter"}
    if decoded.op is Op.DELETE:
        return {"delete", "ignored"}
    return {"accepted", "cleaned", "ignored"}


@needs_inputs
def test_every_shared_record_ends_as_expected() -> None:
    wrong: list[str] = []
    for offset, case in enumerate(nasty("native", "any")):
        allowed = {case["expect"], *case["alt"]}
        decoded = decode(kafka_record(case, offset), NATIVE)
        if not allowed & outcomes_of(decoded) and case["case"] not in LEFT_TO_THE_CLEANER:
            wrong.append(f"{case['case']}: {decoded!r:.200} is none of {sorted(allowed)}")
        if (
            isinstance(decoded, ChangeEvent)
            and case["doc_id"]
            and decoded.document_id != case["doc_id"]
        ):
            wrong.append(f"{case['case']}: id {decoded.document_id!r}, not {case['doc_id']!r}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("spec", [NATIVE, TEXT], ids=["native", "text"])
def test_postgresql_can_store_what_any_shared_record_becomes(spec: SourceSpec) -> None:
    for offset, case in enumerate(nasty("native", "any")):
        assert_is_storable(decode(kafka_record(case, offset), spec))


# ── any record at all ───────────────────────────────────────────────────────────────────────────────────────────────


@settings(deadline=None)
@given(
    value=st.none() | st.binary(max_size=200),
    key=st.none() | st.binary(max_size=20),
    headers=st.lists(st.tuples(st.sampled_from(HEADER_NAMES), st.none() | st.binary(max_size=20))),
    at=st.none() | st.integers(-(2**63), 2**63 - 1),
    rule=st.sampled_from(VersionRule),
    format_name=st.sampled_from(sorted(FORMATS)),
)
def test_arbitrary_bytes_never_raise(
    value: bytes | None,
    key: bytes | None,
    headers: list[tuple[str, bytes | None]],
    at: int | None,
    rule: VersionRule,
    format_name: str,
) -> None:
    spec = SourceSpec(source="s", topics=("t",), format=format_name, version_rule=rule)
    assert_is_storable(decode(record(value, key=key, headers=tuple(headers), at=at), spec))


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
JSON_VALUES = (
    SCALARS
    | st.lists(SCALARS, max_size=3)
    | st.dictionaries(st.text(max_size=5), SCALARS | st.lists(SCALARS, max_size=2), max_size=2)
)
FIELD_NAMES = (
    *("id", "op", "uri", "title", "content_type", "content"),
    *("updated_at", "version", "metadata", "expires_at", "acl", "language", "unknown"),
)


@settings(deadline=None, max_examples=60)
@given(
    fields=st.dictionaries(st.sampled_from(FIELD_NAMES), JSON_VALUES),
    escaped=st.booleans(),
    damage=st.none() | st.tuples(st.integers(0, 300), st.binary(min_size=1, max_size=3)),
)
def test_any_json_of_any_type_never_raises(
    fields: dict[str, Any], escaped: bool, damage: tuple[int, bytes] | None
) -> None:
    text = json.dumps(fields, ensure_ascii=escaped)
    value = text.encode("utf-8", "surrogatepass")
    if damage is not None:
        at, inserted = damage
        value = value[:at] + inserted + value[at:]
    assert_is_storable(decode(record(value), NATIVE))


# ── what comes before the format ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("size", "fits"), [(19, True), (20, True), (21, False)])
def test_the_size_limit_comes_first(size: int, fits: bool) -> None:
    pipeline = PreparationSpec(max_document_bytes=20)
    small = SourceSpec(source="s", topics=("t",), format="text", pipeline=pipeline)
    decoded = decode(record(b"x" * size), small)
    if fits:
        assert changed(decoded).content_bytes == size
        return
    undecodable = refused(decoded, DeadLetterReason.TOO_LARGE, "21 bytes", "max_document_bytes")
    assert undecodable.document_id == "k"


def test_a_record_that_the_client_could_not_read_is_a_dead_letter() -> None:
    unreadable = KafkaRecord(
        topic="t",
        partition=0,
        offset=1,
        timestamp_ms=AT,
        key=b"k",
        value=b"{}",
        unreadable="a header is not UTF-8",
    )
    decoded = refused(decode(unreadable, NATIVE), DeadLetterReason.NOT_DECODABLE, "header")
    assert decoded.document_id == "k"


def test_a_tombstone_deletes_the_document_of_its_key() -> None:
    for spec in (NATIVE, TEXT):
        deleted = changed(decode(record(None, key=b"doc"), spec))
        assert (deleted.op, deleted.document_id, deleted.version) == (Op.DELETE, "doc", None)
    by_record = SourceSpec(source="s", topics=("t",), version_rule=VersionRule.RECORD)
    by_record_version = changed(decode(record(None, key=b"doc"), by_record)).version
    assert by_record_version == record_version(record(None))


@pytest.mark.parametrize(
    ("key", "word"), [(None, "no key"), (b"\xff\xfe", "UTF-8"), (b"", "blank"), (b"\0", "U+0000")]
)
def test_a_tombstone_without_a_usable_key_is_a_dead_letter(key: bytes | None, word: str) -> None:
    decoded = refused(decode(record(None, key=key), NATIVE), DeadLetterReason.INVALID_ID, word)
    assert decoded.document_id is None


# ── versions ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("rule", "own", "expected"),
    [
        ("event", 5, 5),
        ("event", "12", 12),
        ("event", 3.0, 3),
        ("offset", 5, 7),
        ("offset", "not a version", 7),
        ("record", 5, AT * 2**20 + 7),
        ("event", None, AT * 2**20 + 7),
    ],
)
def test_version_rules(rule: str, own: Any, expected: int) -> None:
    spec = SourceSpec(source="s", topics=("t",), version_rule=VersionRule(rule))
    assert changed(event(spec, version=own)).version == expected


def test_record_versions_rise_with_time_then_offset_and_fit_a_bigint() -> None:
    versions = [
        record_version(record(None, at=at, offset=offset))
        for at, offset in [
            (None, 2**40),
            (AT, 0),
            (AT, 5),
            (AT + 1, 2),
            (4_102_444_800_000, 0),
            (2**60, 1),
        ]
    ]
    assert versions == sorted(versions)
    assert versions[-1] < 2**63


def test_a_record_version_is_never_negative() -> None:
    assert record_version(record(None, at=-5, offset=3)) == 3


# ── content of a staged record ──────────────────────────────────────────────────────────────────────────────────────


def test_the_content_comes_out_of_the_staged_record() -> None:
    staged = changed(decode(record(b"the text", key=b"doc"), TEXT))
    assert staged.content_sha256 is not None
    content = content_of(TEXT, b"doc", b"the text", '[["meta-a", null]]', staged.content_sha256)
    assert content == "the text"


@pytest.mark.parametrize(
    ("spec", "value", "headers"),
    [
        (NATIVE, b"the text", ""),
        (TEXT, b"another text", ""),
        (TEXT, b"the text", '[["op", "ZGVsZXRl"]]'),
    ],
)
def test_a_content_that_reads_differently_now_ends_the_batch(
    spec: SourceSpec, value: bytes, headers: str
) -> None:
    staged = changed(decode(record(b"the text", key=b"doc"), TEXT))
    assert staged.content_sha256 is not None
    with pytest.raises(ConfigurationError, match="format of source 's' was changed"):
        content_of(spec, b"doc", value, headers, staged.content_sha256)
