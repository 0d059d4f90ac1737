"""Every record becomes an event or a reason: the shared hostile records, and our own."""

import base64
import hashlib
import json
from typing import Any

import pytest

from corpus.dead_letter import DeadLetterReason
from corpus.preparation import PreparationSpec
from corpus.source import SourceSpec, VersionRule
from ingest.decode.decoder import decode
from ingest.decode.fields import record_version
from ingest.event import ChangeEvent, Decoded, KafkaRecord, Op, Undecodable
from tests.support.inputs import nasty, needs_inputs

NATIVE = SourceSpec(source="s", topics=("t",))
TEXT = SourceSpec(source="s", topics=("t",), format="text")
AT = 1_714_564_800_000
# What the decoder lets through because the cleaner judges it: a media type that is no text.
LEFT_TO_THE_CLEANER = {"type-png-base64"}


def record(
    value: bytes | None,
    *,
    key: bytes | None = b"k",
    headers: tuple[tuple[str, bytes | None], ...] = (),
    offset: int = 7,
    at: int | None = AT,
) -> KafkaRecord:
    return KafkaRecord(
        topic="t",
        partition=0,
        offset=offset,
        timestamp_ms=at,
        key=key,
        value=value,
        headers=headers,
    )


def event(spec: SourceSpec = NATIVE, *, key: bytes | None = b"k", **fields: Any) -> Decoded:
    return decode(
        record(json.dumps({"id": "a", "content": "text", **fields}).encode(), key=key), spec
    )


def upsert(found: Decoded) -> ChangeEvent:
    assert isinstance(found, ChangeEvent), found
    return found


def refused(found: Decoded, reason: DeadLetterReason, *words: str) -> None:
    assert isinstance(found, Undecodable), found
    assert found.reason is reason
    for word in words:
        assert word in found.detail
    assert "\n" not in found.detail
    assert len(found.detail) < 400
    found.detail.encode()


# ── the shared records ──────────────────────────────────────────────────────────────────────────────────────────────


def kafka_record(case: dict[str, Any], offset: int) -> KafkaRecord:
    def decoded(text: str | None) -> bytes | None:
        return None if text is None else base64.b64decode(text)

    headers = tuple((name, decoded(value)) for name, value in case["headers"])
    at = case["timestamp_ms"] if case["timestamp_ms"] >= 0 else None
    return KafkaRecord(
        topic="nasty",
        partition=0,
        offset=offset,
        timestamp_ms=at,
        key=decoded(case["key_b64"]),
        value=decoded(case["value_b64"]),
        headers=headers,
    )


@needs_inputs
def test_the_shared_records_are_there() -> None:
    assert len(nasty("native", "any")) > 180, (
        "set FRESHET_DATA to the folder that holds nasty/nasty.jsonl"
    )


@needs_inputs
def test_every_shared_record_ends_as_expected() -> None:
    wrong: list[str] = []
    for offset, case in enumerate(nasty("native", "any")):
        allowed = {case["expect"], *case["alt"]}
        found = decode(kafka_record(case, offset), NATIVE)
        if isinstance(found, ChangeEvent):
            # "ignored" is the version fence's word: the decoder has no memory
            fits = (
                allowed
                & (
                    {"accepted", "cleaned", "ignored"}
                    if found.op is Op.UPSERT
                    else {"delete", "ignored"}
                )
                or case["case"] in LEFT_TO_THE_CLEANER
            )
        else:
            fits = "dead_letter" in allowed
        if not fits:
            wrong.append(f"{case['case']}: {found!r:.200} is none of {sorted(allowed)}")
        if (
            isinstance(found, ChangeEvent)
            and case["doc_id"]
            and found.document_id != case["doc_id"]
        ):
            wrong.append(f"{case['case']}: id {found.document_id!r}, expected {case['doc_id']!r}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("spec", [NATIVE, TEXT], ids=["native", "text"])
def test_no_record_of_any_format_escapes_or_leaves_what_postgresql_refuses(
    spec: SourceSpec,
) -> None:
    for offset, case in enumerate(nasty("native", "any")):
        found = decode(kafka_record(case, offset), spec)
        if isinstance(found, ChangeEvent):
            stored = json.dumps(
                [
                    found.document_id,
                    found.uri,
                    found.title,
                    found.content_type,
                    found.content,
                    found.metadata,
                    found.acl,
                ],
                ensure_ascii=False,
            )
            assert "\\u0000" not in stored.replace("\\\\", ""), case["case"]
            stored.encode()  # no half of a surrogate pair


# ── our own hostile records ─────────────────────────────────────────────────────────────────────────────────────────

REASONS = DeadLetterReason


@pytest.mark.parametrize(
    ("value", "reason", "word"),
    [
        (b"", REASONS.NOT_DECODABLE, "no tombstone"),
        (b" \n", REASONS.NOT_DECODABLE, "no tombstone"),
        (b"null", REASONS.NOT_DECODABLE, "not a JSON object"),
        (b"[]", REASONS.NOT_DECODABLE, "not a JSON object"),
        (b"{'id': 1}", REASONS.NOT_DECODABLE, "not JSON"),
        (b'{"id":"a","content":"x",}', REASONS.NOT_DECODABLE, "not JSON"),
        (b'{"id":"a","content":"x","version":NaN}', REASONS.NOT_DECODABLE, "NaN"),
        (b'{"id":"a","id":"b","content":"x"}', REASONS.NOT_DECODABLE, "id stands 2 times"),
        (b'{"id":"a","op":"upsert","op":"delete"}', REASONS.NOT_DECODABLE, "op stands 2 times"),
        (
            b'{"id":"a","content":"x","acl":["boss"],"acl":null}',
            REASONS.NOT_DECODABLE,
            "acl stands 2 times",
        ),
        (
            b'{"id":"a","content":"x","expires_at":1,"expires_at":null}',
            REASONS.NOT_DECODABLE,
            "expires_at stands 2 times",
        ),
        (b"[" * 200_000, REASONS.NOT_DECODABLE, "nested"),
        (
            b'{"id":"a","content":"x","junk":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
            REASONS.NOT_DECODABLE,
            "nested",
        ),
        (
            b'{"id":"a","content":"x","metadata":' + b'{"k":' * 400 + b"1" + b"}" * 400 + b"}",
            REASONS.INVALID_FIELD,
            "levels",
        ),
        (b'{"id":"a","content":"x","metadata":{"n":1e999}}', REASONS.INVALID_FIELD, "finite"),
        (b"\x00\x00\x00\x00\x07\x10text", REASONS.NOT_DECODABLE, "wire format"),
        (b"\x1f\x8b\x08\x00zip", REASONS.NOT_DECODABLE, "gzip"),
        ('{"id":"a","content":"x"}'.encode("utf-16"), REASONS.NOT_DECODABLE, "UTF-16"),
        (b'{"id":"\xff","content":"x"}', REASONS.INVALID_ID, "U+DCFF"),
        (b'{"id":"a\\u0000b","content":"x"}', REASONS.INVALID_ID, "U+0000"),
        (b'{"id":"\\ud800","content":"x"}', REASONS.INVALID_ID, "U+D800"),
        (b'{"id":"\\u200b ","content":"x"}', REASONS.INVALID_ID, "blank"),
        (b'{"id":true,"content":"x"}', REASONS.INVALID_ID, "text"),
        (b'{"id":null,"content":"x"}', REASONS.INVALID_ID, "text"),
        (b'{"id":"' + "é".encode() * 501 + b'","content":"x"}', REASONS.INVALID_ID, "1,002 bytes"),
        (b'{"id":"a"}', REASONS.INVALID_FIELD, "content"),
        (b'{"id":"a","content":5}', REASONS.INVALID_FIELD, "content"),
        (b'{"id":"a","content":"x","op":"merge"}', REASONS.INVALID_FIELD, "op"),
        (
            b'{"id":"a","content":"x","version":9223372036854775808}',
            REASONS.INVALID_FIELD,
            "version",
        ),
        (b'{"id":"a","content":"x","version":true}', REASONS.INVALID_FIELD, "version"),
        (b'{"id":"a","content":"x","version":1.5}', REASONS.INVALID_FIELD, "version"),
        (b'{"id":"a","content":"x","expires_at":"soon"}', REASONS.INVALID_FIELD, "expires_at"),
        (b'{"id":"a","content":"x","acl":"everybody"}', REASONS.INVALID_FIELD, "acl"),
        (b'{"id":"a","content":"x","acl":[1]}', REASONS.INVALID_FIELD, "acl"),
        (b'{"id":"a","content":"x","metadata":[1]}', REASONS.INVALID_FIELD, "metadata"),
    ],
)
def test_what_cannot_be_used_says_why(value: bytes, reason: DeadLetterReason, word: str) -> None:
    refused(decode(record(value), NATIVE), reason, word)


def test_another_encoding_is_not_guessed() -> None:
    value = (
        b'{"id":"a","content":"' + "水門の制御について説明します。".encode("euc-jp") * 20 + b'"}'
    )
    refused(decode(record(value), NATIVE), REASONS.NOT_DECODABLE, "not UTF-8")


def test_a_bad_byte_in_the_text_costs_a_character() -> None:
    found = upsert(
        decode(
            record(
                b'{"id":"a","title":"caf\xe9","content":"He said \x93hello\x94, and went home again."}'
            ),
            NATIVE,
        )
    )
    assert found.content == "He said �hello�, and went home again."
    assert found.title == "caf�"


def test_halves_of_surrogate_pairs_are_joined_or_replaced() -> None:
    found = upsert(
        decode(
            record(rb'{"id":"a","content":"\ud83d\ude00 \ud83d","metadata":{"k\ud800":"\udc00"}}'),
            NATIVE,
        )
    )
    assert found.content == "😀 �"
    assert found.metadata == {"k�": "�"}
    cesu = upsert(decode(record(b'{"id":"a","content":"\xed\xa0\xbd\xed\xb8\x80"}'), NATIVE))
    assert cesu.content == "😀"


def test_nul_leaves_texts_and_metadata() -> None:
    found = upsert(event(content="a\0b", title="t\0t", metadata={"k\0": ["v\0"]}, uri="u\0"))
    assert (found.content, found.title, found.metadata, found.uri) == (
        "ab",
        "t t",
        {"k": ["v"]},
        "u",
    )


def test_the_hash_is_of_the_content_as_received() -> None:
    found = upsert(event(content="\ufeffa\0\r\n"))
    assert found.content_sha256 == hashlib.sha256(b"\xef\xbb\xbfa\0\r\n").digest()
    assert found.content_bytes == 7
    assert found.content == "\ufeffa\r\n"


def test_prefixes_before_json_are_taken_off() -> None:
    body = b'{"id":"a","content":"x"}'
    for prefix in (b"\xef\xbb\xbf", b"\x00\x00\x00\x00\x2a"):
        assert upsert(decode(record(prefix + body), NATIVE)).content == "x"


def test_a_missing_id_falls_back_on_the_key() -> None:
    assert (
        upsert(decode(record(b'{"content":"x"}', key=b"from-key"), NATIVE)).document_id
        == "from-key"
    )
    refused(decode(record(b'{"content":"x"}', key=None), NATIVE), REASONS.INVALID_ID, "no key")


def test_large_numbers_in_metadata_survive_as_text() -> None:
    assert upsert(event(metadata={"n": 2**64, "m": -5})).metadata == {"n": str(2**64), "m": -5}


def test_the_size_limit_comes_first() -> None:
    small = SourceSpec(source="s", topics=("t",), pipeline=PreparationSpec(max_document_bytes=20))
    found = decode(record(b"not even json, but long", key=b"k"), small)
    refused(found, REASONS.TOO_LARGE, "23 bytes", "max_document_bytes")
    assert isinstance(found, Undecodable)
    assert found.document_id == "k"


# ── deletes, versions, times ────────────────────────────────────────────────────────────────────────────────────────


def test_a_tombstone_deletes_the_document_of_its_key() -> None:
    for spec in (NATIVE, TEXT):
        found = upsert(decode(record(None, key=b"doc"), spec))
        assert (found.op, found.document_id, found.version) == (Op.DELETE, "doc", None)
    by_record = SourceSpec(source="s", topics=("t",), version_rule=VersionRule.RECORD)
    assert upsert(decode(record(None, key=b"doc"), by_record)).version == record_version(
        record(None)
    )
    refused(decode(record(None, key=None), NATIVE), REASONS.INVALID_ID)
    refused(decode(record(None, key=b"\xff\xfe"), NATIVE), REASONS.INVALID_ID, "UTF-8")


def test_a_delete_needs_no_content_and_without_a_version_is_relative() -> None:
    assert upsert(event(op="DELETE", version=4)).version == 4
    found = upsert(event(op="delete"))
    assert (found.op, found.version, found.content) == (Op.DELETE, None, None)


@pytest.mark.parametrize(
    ("rule", "own", "expected"),
    [
        ("event", 5, 5),
        ("event", "12", 12),
        ("event", 3.0, 3),
        ("offset", 5, 7),
        ("record", 5, AT * 2**20 + 7),
        ("event", None, AT * 2**20 + 7),
    ],
)
def test_version_rules(rule: str, own: Any, expected: int) -> None:
    spec = SourceSpec(source="s", topics=("t",), version_rule=VersionRule(rule))
    assert upsert(event(spec, version=own)).version == expected


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


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2024-05-01T12:00:00Z", AT),
        ("2024-05-01T12:00:00.123456789Z", AT + 123),
        ("2024-05-01T14:00:00+02:00", AT),
        ("2024-05-01 12:00:00", AT),
        ("2024-05-01", AT - 43_200_000),
        ("2016-12-31T23:59:60Z", 1_483_228_799_000),
        (AT, AT),
        (AT // 1000, AT),
        (AT * 1000, AT),
        (AT * 1_000_000, AT),
        (AT / 1000, AT),
        ("0001-01-01T00:00:00+14:00", None),
        ("10000-01-01T00:00:00Z", None),
        ("2024-02-30T00:00:00Z", None),
        ("", None),
        (None, None),
        (True, None),
        (float("1e300"), None),
        ("yesterday", None),
    ],
)
def test_times(value: Any, expected: int | None) -> None:
    assert upsert(event(updated_at=value)).event_at_ms == expected


def test_fields_are_normalised() -> None:
    found = upsert(
        event(
            content_type="TEXT/HTML; Charset=UTF-8",
            title="a\r\nERROR forged",
            uri=None,
            metadata=None,
            acl=["team a"],
            expires_at="2030-01-01T00:00:00Z",
        )
    )
    assert (found.content_type, found.title, found.uri, found.metadata, found.acl) == (
        "text/html",
        "a ERROR forged",
        None,
        {},
        ("team a",),
    )
    assert found.expires_at_ms == 1_893_456_000_000
    assert len(upsert(event(title="T" * 100_000)).title or "") == 1_000


# ── text format ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_text_takes_the_rest_from_headers() -> None:
    headers = (
        ("Title", b"A weir"),
        ("content-type", b"text/markdown; charset=utf-8"),
        ("uri", b"https://example.org/w"),
        ("version", b"12"),
        ("updated-at", b"2024-05-01T12:00:00Z"),
        ("expires-at", b"1893456000000"),
        ("meta-team", b"dams"),
        ("acl", b"a, b"),
        ("traceparent", b"\xff"),
        ("empty", None),
    )
    found = upsert(decode(record(b"\xef\xbb\xbf# Weir", headers=headers), TEXT))
    assert (found.document_id, found.content, found.title, found.content_type) == (
        "k",
        "# Weir",
        "A weir",
        "text/markdown",
    )
    assert (found.version, found.metadata, found.acl, found.event_at_ms, found.expires_at_ms) == (
        12,
        {"team": "dams"},
        ("a", "b"),
        AT,
        1_893_456_000_000,
    )


def test_text_id_header_wins_over_the_key_and_op_deletes() -> None:
    found = upsert(decode(record(b"x", headers=(("id", b"other"), ("op", b"delete"))), TEXT))
    assert (found.document_id, found.op) == ("other", Op.DELETE)


def test_text_reads_the_declared_charset_only_if_it_is_one() -> None:
    latin = (("content-type", b"text/plain; charset=ISO-8859-1"),)
    assert upsert(decode(record("Größe".encode("latin-1"), headers=latin), TEXT)).content == "Größe"
    assert (
        upsert(
            decode(
                record(b"plain", headers=(("content-type", b"text/plain; charset=rot13"),)), TEXT
            )
        ).content
        == "plain"
    )
    assert upsert(decode(record("Größe".encode("utf-16")), TEXT)).content == "Größe"


def test_text_of_a_new_title_is_not_the_same_event() -> None:
    hashes = {
        upsert(decode(record(b"x", headers=(("title", title),)), TEXT)).raw_sha256
        for title in (b"a", b"b")
    }
    assert len(hashes) == 2


@pytest.mark.parametrize("value", [b"\x1f\x8b\x08\x00", b"PK\x03\x04", bytes(range(128, 256)) * 4])
def test_text_refuses_what_is_no_text(value: bytes) -> None:
    refused(decode(record(value), TEXT), REASONS.NOT_DECODABLE)
