"""Format `native`: hostile JSON, repeated fields, damaged bytes."""

import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.dead_letter import DeadLetterReason
from ingest.decode.decoder import decode
from ingest.decode.native import UNREPEATED_FIELDS
from ingest.event import Op
from tests.support.decoding import NATIVE, changed, event, record, refused

NOT_DECODABLE = DeadLetterReason.NOT_DECODABLE
INVALID_FIELD = DeadLetterReason.INVALID_FIELD
DEEP = 100_000


@pytest.mark.parametrize(
    ("value", "reason", "word"),
    [
        (b"", NOT_DECODABLE, "only a null value is a tombstone"),
        (b" \n", NOT_DECODABLE, "only a null value is a tombstone"),
        (b"null", NOT_DECODABLE, "not a JSON object"),
        (b"[]", NOT_DECODABLE, "not a JSON object"),
        (b"{'id': 1}", NOT_DECODABLE, "not JSON"),
        (b'{"id":"a","content":"x",}', NOT_DECODABLE, "not JSON"),
        (b'{"id":"a","content":"x"} {}', NOT_DECODABLE, "not JSON"),
        (b'{"id":"a","content":"x","version":NaN}', NOT_DECODABLE, "NaN"),
        (b'{"id":"a","content":"x","version":-Infinity}', NOT_DECODABLE, "-Infinity"),
        (b'{"version":' + b"1" * 5_000 + b"}", NOT_DECODABLE, "cannot be read"),
        (b"[" * 200_000, NOT_DECODABLE, "nested"),
        (b'{"id":"a","junk":' + b"[" * DEEP + b"]" * DEEP + b"}", NOT_DECODABLE, "nested"),
        (b'{"id":' + b"[" * 400 + b"]" * 400 + b"}", DeadLetterReason.INVALID_ID, "text"),
        (b'{"id":"a","content":"x","metadata":{"n":1e999}}', INVALID_FIELD, "finite"),
        (b"\x00\x00\x00\x00\x07\x10text", NOT_DECODABLE, "wire format"),
        (b"\x1f\x8b\x08\x00zip", NOT_DECODABLE, "gzip"),
        (b"PK\x03\x04zip", NOT_DECODABLE, "zip archive"),
        (b"\xac\xed\x00\x05sr", NOT_DECODABLE, "Java"),
        (b"\x80\x04K\x01.", NOT_DECODABLE, "pickle"),
        ('{"id":"a","content":"x"}'.encode("utf-16"), NOT_DECODABLE, "UTF-16"),
        ('{"id":"a","content":"x"}'.encode("utf-16-le"), NOT_DECODABLE, "UTF-16"),
        ('{"id":"a","content":"x"}'.encode("utf-32-be"), NOT_DECODABLE, "UTF-32"),
        (b'{"id":"a"}', INVALID_FIELD, "content"),
        (b'{"id":"a","content":null}', INVALID_FIELD, "content"),
        (b'{"id":"a","content":"x","op":"merge"}', INVALID_FIELD, "op"),
        (b'{"id":"a","content":"x","metadata":[1]}', INVALID_FIELD, "metadata"),
    ],
)
def test_what_cannot_be_used_says_why(value: bytes, reason: DeadLetterReason, word: str) -> None:
    refused(decode(record(value), NATIVE), reason, word)


# ── repeated fields ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", UNREPEATED_FIELDS)
@pytest.mark.parametrize("escaped", [False, True], ids=["plain", "escaped"])
def test_a_field_that_decides_something_is_not_repeated(name: str, escaped: bool) -> None:
    again = f"\\u{ord(name[0]):04X}{name[1:]}" if escaped else name
    value = f'{{"{name}": "a", "title": "t", "{again}": "b"}}'.encode()
    refused(decode(record(value), NATIVE), NOT_DECODABLE, f"{name} appears 2 times")


def test_an_underscore_may_be_escaped_too() -> None:
    value = rb'{"id":"a","content":"x","expires_at":1893456000,"expires\u005fat":null}'
    refused(decode(record(value), NATIVE), NOT_DECODABLE, "expires_at appears 2 times")


def test_a_field_written_with_escapes_is_read() -> None:
    decoded = changed(decode(record(rb'{"\u0069d":"a","cont\u0065nt":"x"}'), NATIVE))
    assert (decoded.document_id, decoded.content) == ("a", "x")


@pytest.mark.parametrize("damage", [b"", b"\xff"], ids=["plain", "damaged"])
def test_of_other_repeated_fields_the_last_counts_on_both_ways_through(damage: bytes) -> None:
    value = b'{"id":"a","content":"x' + damage + b'","title":"first","title":"last"}'
    assert changed(decode(record(value), NATIVE)).title == "last"


@pytest.mark.parametrize("damage", [b"", b"\xff"], ids=["plain", "damaged"])
def test_an_access_list_that_is_null_is_a_dead_letter(damage: bytes) -> None:
    """Absent, it would be the default of its source: every reader."""
    value = b'{"id":"a","content":"x' + damage + b'","acl":null}'
    refused(decode(record(value), NATIVE), INVALID_FIELD, "acl", "null")
    assert changed(decode(record(value.replace(b',"acl":null', b"")), NATIVE)).acl is None


def test_a_name_may_appear_in_metadata_and_in_the_text() -> None:
    decoded = changed(event(metadata={"id": 1, "acl": {"id": 2}}, content='"id" "id"'))
    assert decoded.metadata == {"id": 1, "acl": {"id": 2}}
    assert decoded.content == '"id" "id"'


# ── damaged text ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_another_encoding_is_not_guessed() -> None:
    text = "水門の制御について説明します。".encode("euc-jp") * 20
    refused(
        decode(record(b'{"id":"a","content":"' + text + b'"}'), NATIVE),
        NOT_DECODABLE,
        "are not UTF-8",
    )


@pytest.mark.parametrize(("bad", "fits"), [(8, True), (9, False)])
def test_up_to_8_bad_bytes_are_mistakes_of_a_short_text(bad: int, fits: bool) -> None:
    text = b"a" * 150
    decoded = decode(record(b'{"id":"a","content":"' + text + b"\xe9" * bad + b'"}'), NATIVE)
    if fits:
        assert changed(decoded).content == text.decode() + "�" * bad
    else:
        refused(decoded, NOT_DECODABLE, "9 of 182 characters")


def test_a_short_text_of_bad_bytes_is_no_text() -> None:
    refused(decode(record(b'{"id":"a","content":"' + b"\xcf" * 20 + b'"}'), NATIVE), NOT_DECODABLE)


def test_a_bad_byte_in_the_text_costs_a_character() -> None:
    value = b'{"id":"a","title":"caf\xe9","content":"He said \x93hello\x94, and went home again."}'
    decoded = changed(decode(record(value), NATIVE))
    assert decoded.content == "He said �hello�, and went home again."
    assert decoded.title == "caf�"


def test_a_bad_byte_in_metadata_costs_a_character() -> None:
    value = b'{"id":"a","content":"x","metadata":{"k\xe9":["v\xe9",{"n":18446744073709551616}]}}'
    decoded = changed(decode(record(value), NATIVE))
    assert decoded.metadata == {"k�": ["v�", {"n": "18446744073709551616"}]}


def test_halves_of_surrogate_pairs_are_joined_or_replaced() -> None:
    value = rb'{"id":"a","content":"\ud83d\ude00 \ud83d","metadata":{"k\ud800":"\udc00"}}'
    decoded = changed(decode(record(value), NATIVE))
    assert decoded.content == "😀 �"
    assert decoded.metadata == {"k�": "�"}
    cesu = changed(decode(record(b'{"id":"a","content":"\xed\xa0\xbd\xed\xb8\x80"}'), NATIVE))
    assert cesu.content == "😀"


def test_nul_leaves_texts_and_metadata() -> None:
    decoded = changed(event(content="a\0b", title="t\0t", metadata={"k\0": ["v\0"]}, uri="u\0"))
    assert (decoded.content, decoded.title) == ("ab", "t t")
    assert (decoded.metadata, decoded.uri) == ({"k": ["v"]}, "u")


def test_the_hash_is_of_the_content_as_received() -> None:
    decoded = changed(event(content="\ufeffa\0\r\n"))
    assert decoded.content_sha256 == hashlib.sha256(b"\xef\xbb\xbfa\0\r\n").digest()
    assert decoded.content_bytes == 7
    assert decoded.content == "\ufeffa\r\n"


@pytest.mark.parametrize("prefix", [b"\xef\xbb\xbf", b"\x00\x00\x00\x00\x2a", b"\r\n \t"])
def test_prefixes_before_json_are_taken_off(prefix: bytes) -> None:
    value = prefix + b'{"id":"a","content":"x"}'
    assert changed(decode(record(value), NATIVE)).content == "x"


# ── what the event says ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_missing_id_falls_back_on_the_key() -> None:
    decoded = changed(decode(record(b'{"content":"x"}', key=b"from-key"), NATIVE))
    assert decoded.document_id == "from-key"
    without = decode(record(b'{"content":"x"}', key=None), NATIVE)
    refused(without, DeadLetterReason.INVALID_ID, "no key")


def test_a_dead_letter_names_the_document_of_the_event_not_of_the_key() -> None:
    undecodable = refused(event(version=-1), INVALID_FIELD, "version is -1")
    assert undecodable.document_id == "a"


def test_large_numbers_in_metadata_survive_as_text() -> None:
    assert changed(event(metadata={"n": 2**64, "m": -5})).metadata == {"n": str(2**64), "m": -5}


@pytest.mark.parametrize(("levels", "fits"), [(256, True), (257, False), (400, False)])
@pytest.mark.parametrize("leaf", ["1", '"text"', "[]"])
def test_metadata_is_nested_256_levels_deep_at_most(levels: int, fits: bool, leaf: str) -> None:
    objects = levels - 1 if leaf == "[]" else levels
    nested = '{"k":' * objects + leaf + "}" * objects
    decoded = decode(record(f'{{"id":"a","content":"x","metadata":{nested}}}'.encode()), NATIVE)
    if fits:
        assert json.dumps(changed(decoded).metadata, separators=(",", ":")) == nested
    else:
        refused(decoded, INVALID_FIELD, "256 levels")


def test_a_delete_needs_no_content_and_without_a_version_is_relative() -> None:
    assert changed(event(op="DELETE", version=4)).version == 4
    deleted = changed(event(op="delete"))
    assert (deleted.op, deleted.version, deleted.content) == (Op.DELETE, None, None)


@settings(deadline=None)
@given(st.text(max_size=40), st.text(max_size=10))
def test_a_valid_event_is_read_as_it_is(content: str, title: str) -> None:
    """Both ways through the JSON, escaped and not, give the same event."""
    values = [
        json.dumps({"id": "a", "content": content, "title": title}, ensure_ascii=escaped)
        for escaped in (False, True)
    ]
    events = [changed(decode(record(value.encode()), NATIVE)) for value in values]
    assert events[0].content == events[1].content == content.replace("\0", "")
    assert events[0].title == events[1].title
    assert events[0].content_sha256 == hashlib.sha256(content.encode()).digest()
