"""Format `text`: the value is the document, and headers describe it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.dead_letter import DeadLetterReason
from ingest.decode.decoder import decode
from ingest.event import Op
from tests.support.decoding import AT, TEXT, changed, record, refused, text_event

NOT_DECODABLE = DeadLetterReason.NOT_DECODABLE
INVALID_FIELD = DeadLetterReason.INVALID_FIELD


def test_the_rest_comes_from_headers() -> None:
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
    decoded = changed(decode(record(b"\xef\xbb\xbf# Weir", headers=headers), TEXT))
    assert (decoded.document_id, decoded.content) == ("k", "# Weir")
    assert (decoded.title, decoded.content_type) == ("A weir", "text/markdown")
    assert (decoded.version, decoded.metadata, decoded.acl) == (12, {"team": "dams"}, ("a", "b"))
    assert (decoded.event_at_ms, decoded.expires_at_ms) == (AT, 1_893_456_000_000)


def test_the_id_header_wins_over_the_key_and_op_deletes() -> None:
    decoded = changed(text_event(id=b"other", op=b"delete"))
    assert (decoded.document_id, decoded.op, decoded.content) == ("other", Op.DELETE, None)


def test_without_headers_the_record_gives_time_and_version() -> None:
    decoded = changed(text_event())
    assert (decoded.event_at_ms, decoded.version) == (AT, AT * 2**20 + 7)
    assert (decoded.metadata, decoded.acl, decoded.title) == ({}, None, None)


def test_a_time_that_cannot_be_read_is_the_records_but_1970_is_a_time() -> None:
    assert changed(text_event(updated_at=b"yesterday")).event_at_ms == AT
    assert changed(text_event(updated_at=b"1970-01-01")).event_at_ms == 0


@pytest.mark.parametrize("name", ["id", "op", "acl", "version", "expires_at"])
def test_a_header_that_decides_something_must_be_utf8(name: str) -> None:
    refused(text_event(**{name: b"\xff"}), INVALID_FIELD, "header", "UTF-8")


def test_other_headers_are_repaired() -> None:
    decoded = changed(text_event(title=b"caf\xe9", meta_team=b"d\xe9", uri=b"u\xe9"))
    assert (decoded.title, decoded.metadata, decoded.uri) == ("caf�", {"team": "d�"}, "u�")


@pytest.mark.parametrize(
    ("header", "value", "word"),
    [
        ("acl", b"", "acl"),
        ("acl", b"a,,b", "acl"),
        ("acl", b"a\x00b", "acl"),
        ("expires_at", b"soon", "expires_at"),
        ("version", b"1.5", "version"),
        ("version", "²".encode(), "version"),
        ("op", b"merge", "op"),
    ],
)
def test_a_wrong_header_is_a_dead_letter(header: str, value: bytes, word: str) -> None:
    refused(text_event(**{header: value}), INVALID_FIELD, word)


# ── which text it is ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("value", "charset", "content"),
    [
        ("Größe".encode("latin-1"), "ISO-8859-1", "Größe"),
        ("Größe".encode("latin-1"), '"iso-8859-1"', "Größe"),
        ("水門".encode("euc-jp"), "EUC-JP", "水門"),
        ("水門".encode("shift_jis"), "Shift_JIS", "水門"),
        ("Größe".encode("utf-16"), "utf-8", "Größe"),
        ("Größe".encode(), "utf-8", "Größe"),
        (b"plain", "rot13", "plain"),
        (b"plain", "zip", "plain"),
        (b"plain", "unicode_escape", "plain"),
        (b"plain", "utf-7", "plain"),
    ],
)
def test_the_declared_charset_is_read_only_if_it_is_one(
    value: bytes, charset: str, content: str
) -> None:
    content_type = f"text/plain; charset={charset}".encode()
    assert changed(text_event(value, content_type=content_type)).content == content


@pytest.mark.parametrize(
    "value",
    [b"\x1f\x8b\x08\x00", b"PK\x03\x04", bytes(range(128, 256)) * 4, b"\x00\x00\x00\x00\x01{}"],
)
def test_what_is_not_text_is_refused(value: bytes) -> None:
    refused(text_event(value), NOT_DECODABLE)


@settings(deadline=None)
@given(st.text())
def test_any_utf8_text_is_read_as_it_is(text: str) -> None:
    value = text.encode()
    if value.startswith((b"\xef\xbb\xbf", b"\x80")) or (len(value) > 5 and value[0] == 0):
        return  # a byte order mark is taken off; others are signatures of other formats
    assert changed(text_event(value)).content == text.replace("\0", "") or value.startswith(b"PK")


# ── which events are the same ───────────────────────────────────────────────────────────────────────────────────────


def test_a_new_title_over_the_same_text_is_another_event() -> None:
    hashes = {changed(text_event(b"x", title=title)).raw_sha256 for title in (b"a", b"b")}
    assert len(hashes) == 2


def test_a_new_version_or_an_unknown_header_is_the_same_event() -> None:
    headers = ({"version": b"1"}, {"version": b"2"}, {"version": b"2", "traceparent": b"t"})
    assert len({changed(text_event(b"x", **each)).raw_sha256 for each in headers}) == 1


def test_the_order_of_headers_does_not_matter() -> None:
    pairs = ((("title", b"t"), ("meta-a", b"1")), (("meta-a", b"1"), ("TITLE", b"t")))
    hashes = {changed(decode(record(b"x", headers=each), TEXT)).raw_sha256 for each in pairs}
    assert len(hashes) == 1
