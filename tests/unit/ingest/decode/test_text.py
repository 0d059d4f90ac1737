"""Format `text`: the value is the document, and headers describe it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.dead_letter import DeadLetterReason
from corpus.preparation import PreparationSpec
from corpus.source import SourceSpec
from ingest.decode.decoder import decode
from ingest.event import Op
from tests.support.decoding import AT, TEXT, changed, record, refused, text_event

NOT_DECODABLE = DeadLetterReason.NOT_DECODABLE
INVALID_FIELD = DeadLetterReason.INVALID_FIELD
DETECTING = SourceSpec(source="s", topics=("t",), format="text", detect_charset=True)


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
        ("acl", None, "acl"),
        ("acl", b"a,,b", "acl"),
        ("acl", b"a\x00b", "acl"),
        ("expires_at", b"soon", "expires_at"),
        ("version", b"1.5", "version"),
        ("version", "²".encode(), "version"),
        ("op", b"merge", "op"),
    ],
)
def test_a_wrong_header_is_a_dead_letter(header: str, value: bytes | None, word: str) -> None:
    refused(text_event(**{header: value}), INVALID_FIELD, word)


# ── which text it is ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("value", "charset", "content"),
    [
        ("Größe".encode("latin-1"), '"iso-8859-1"', "Größe"),
        ("Größe".encode("latin-1"), "'l1'", "Größe"),
        (b"It\x92s shut; 12 \x80", "ISO-8859-1", "It’s shut; 12 €"),
        (b"\xbb\xc3\xd0\xb5\xd9", "windows-874", "ประตู"),
        ("朱镕基".encode("gbk"), "gb2312", "朱镕基"),
        ("水門".encode("euc-jp"), "EUC-JP", "水門"),
        ("水門①".encode("cp932"), "x-sjis", "水門①"),
        ("Größe".encode("utf-16-le"), "utf-16", "Größe"),
        ("Größe".encode("utf-16"), "utf-8", "Größe"),  # its byte order mark comes first
        (b"\xef\xbb\xbfGr\xc3\xb6\xc3\x9fe", "iso-8859-1", "Größe"),
        ("Größe".encode(), "utf-8", "Größe"),
        (b"plain", "rot13", "plain"),
        (b"plain", "zip", "plain"),
        (b"plain", "unicode_escape", "plain"),
        (b"plain", "utf-7", "plain"),
    ],
)
def test_the_stated_charset_is_read_as_browsers_read_it(
    value: bytes, charset: str, content: str
) -> None:
    content_type = f"text/plain; charset={charset}".encode()
    assert changed(text_event(value, content_type=content_type)).content == content


@pytest.mark.parametrize("charset", ["hz-gb-2312", "iso-2022-kr", "ISO-2022-CN", "replacement"])
def test_a_charset_that_browsers_refuse_is_a_dead_letter(charset: str) -> None:
    content_type = f"text/plain; charset={charset}".encode()
    refused(text_event(b"plain", content_type=content_type), NOT_DECODABLE, "refused", "UTF-8")


@pytest.mark.parametrize(
    ("beginning", "media_type"),
    [
        ('<meta charset="windows-1251">', "text/html"),
        ("<!doctype html><head><title>x</title><META CHARSET=cp1251 />", "text/html"),
        (
            "<meta http-equiv='Content-Type' content='text/html; charset=windows-1251'>",
            "text/html",
        ),
        ("<!-- <meta charset=utf-8> --><meta charset=windows-1251>", "application/xhtml+xml"),
        ("<?xml version='1.0' encoding='windows-1251'?>", "application/xhtml+xml"),
        ('<?xml version="1.0" encoding="windows-1251"?>', "text/xml"),
        ('<?xml version="1.0" encoding="windows-1251"?>', "image/svg+xml"),
    ],
)
def test_a_page_declares_its_charset(beginning: str, media_type: str) -> None:
    text = f"{beginning}<p>Затвор закрыт, ключ у дежурного.</p>"
    value = text.encode("windows-1251")
    assert changed(text_event(value, content_type=media_type.encode())).content == text
    stated = f"{media_type}; charset=koi8-r".encode()
    assert changed(text_event(value, content_type=stated)).content != text
    refused(text_event(value, content_type=b"text/markdown"), NOT_DECODABLE)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    "text",
    [
        "Gate one closes.",
        "Шлюз закрывается каждый день.",
        "水門は九時に 閉まる 🚪。\n" * 300,
        "<p>Größe: 12 €</p>",
    ],
)
def test_utf16_without_a_mark_is_no_other_text(text: str, encoding: str) -> None:
    assert changed(text_event(text.encode(encoding))).content == text


@pytest.mark.parametrize("value", [b"", b"a\x00b", b"one\x00two\x00", b"No zero byte here."])
def test_zero_bytes_alone_are_no_utf16(value: bytes) -> None:
    content = changed(text_event(value)).content
    assert content is not None
    assert content.replace("\x00", "") == value.decode().replace("\x00", "")


def test_a_page_that_declares_utf16_in_letters_is_utf8() -> None:
    value = "<meta charset=utf-16><p>ворота".encode()
    decoded = text_event(value, content_type=b"text/html")
    assert changed(decoded).content == value.decode()


def test_the_media_type_of_the_source_counts_before_that_of_the_event() -> None:
    pipeline = PreparationSpec(content_type="text/plain; charset=koi8-r")
    source = SourceSpec(source="s", topics=("t",), format="text", pipeline=pipeline)
    headers = (("content-type", b"text/plain; charset=utf-8"),)
    decoded = decode(record("ворота".encode("koi8-r"), headers=headers), source)
    assert changed(decoded).content == "ворота"


@pytest.mark.parametrize("encoding", ["windows-1251", "shift_jis", "gb18030", "koi8-r", "euc-kr"])
def test_an_encoding_is_detected_only_where_the_source_allows_it(encoding: str) -> None:
    text = {
        "windows-1251": "Затвор закрывается в девять часов, ключ у дежурного. ",
        "koi8-r": "Затвор закрывается в девять часов, ключ у дежурного. ",
        "shift_jis": "水門は九時に閉まります。鍵は当直室にあります。",
        "gb18030": "水门每天上午九点关闭，维修期间请使用北侧的泵站。如果指示灯闪烁，请重复第二步。",
        "euc-kr": "수문은 아홉 시에 닫힙니다. 열쇠는 당직실에 있습니다. ",
    }[encoding] * 8
    value = text.encode(encoding)
    refused(text_event(value), NOT_DECODABLE, "detect")
    assert changed(decode(record(value), DETECTING)).content == text
    assert changed(decode(record(text.encode()), DETECTING)).content == text


@pytest.mark.parametrize("value", [b"\xff", b"\xe9\xe8\xe7", "ворота".encode("koi8-r")])
def test_a_text_of_replacement_characters_is_a_dead_letter(value: bytes) -> None:
    refused(text_event(value), NOT_DECODABLE, "UTF-8")
    stated = b"text/plain; charset=gb18030" if len(value) == 3 else b"text/plain; charset=utf-8"
    refused(text_event(value, content_type=stated), NOT_DECODABLE)


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
    if 0 in value and len(value) % 2 == 0:
        return  # zero bytes in one half of the characters only are those of UTF-16
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
