"""Bytes of a document: a text, or a file that stays as it is."""

import base64
import json
from typing import Any

import pytest

from corpus.clean.files.kinds import KINDS
from corpus.dead_letter import DeadLetterReason
from corpus.source import SourceSpec
from ingest.decode.decoder import decode
from ingest.decode.staged_content import content_of
from ingest.event import ChangeEvent, KafkaRecord, Undecodable
from ingest.stage import headers_json
from tests.support.files import office, pdfs, word
from tests.support.files.made import DOCX, PDF

NATIVE = SourceSpec(source="s", topics=("s",))
TEXT = SourceSpec(source="s", topics=("s",), format="text")
ANY_PDF = pdfs.many_pages(1)


def record(value: bytes, **headers: str) -> KafkaRecord:
    pairs = tuple((name.replace("_", "-"), text.encode()) for name, text in headers.items())
    return KafkaRecord(
        topic="s", partition=0, offset=0, timestamp_ms=1, key=b"d", value=value, headers=pairs
    )


def native(content: bytes | str, **fields: Any) -> KafkaRecord:
    if isinstance(content, bytes):
        content = base64.b64encode(content).decode()
    event = {"id": "d", "content_base64": content, **fields}
    return record(json.dumps(event).encode())


def content(decoded: object) -> str | bytes | None:
    assert isinstance(decoded, ChangeEvent), decoded
    return decoded.content


@pytest.mark.parametrize("media_type", list(KINDS))
def test_a_file_stays_as_it_is_in_each_format(media_type: str) -> None:
    assert content(decode(native(b"\xff\x00", content_type=media_type), NATIVE)) == b"\xff\x00"
    assert content(decode(record(b"\xff\x00", content_type=media_type), TEXT)) == b"\xff\x00"


@pytest.mark.parametrize("stated", [None, "text/plain", "application/octet-stream"])
@pytest.mark.parametrize("made", [ANY_PDF, word.report(), office.workbook()])
def test_a_file_is_known_by_how_it_begins(stated: str | None, made: bytes) -> None:
    assert content(decode(native(made, content_type=stated), NATIVE)) == made
    headers = {} if stated is None else {"content_type": stated}
    assert content(decode(record(made, **headers), TEXT)) == made


def test_bytes_of_a_text_become_a_text() -> None:
    assert content(decode(native("Höhe".encode(), content_type="text/plain"), NATIVE)) == "Höhe"
    stated = "text/html; charset=windows-1252"
    assert content(decode(native(b"H\xf6he", content_type=stated), NATIVE)) == "Höhe"


def test_the_size_and_the_hash_are_those_of_the_file() -> None:
    decoded = decode(native(ANY_PDF, content_type=PDF), NATIVE)
    assert isinstance(decoded, ChangeEvent)
    other = decode(record(ANY_PDF, content_type=PDF), TEXT)
    assert isinstance(other, ChangeEvent)
    assert decoded.content_bytes == other.content_bytes == len(ANY_PDF)
    assert decoded.content_sha256 == other.content_sha256
    assert decoded.content_type == PDF


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"content_base64": "%%%"}, "content_base64 is '%%%'; it must be text in base64"),
        ({"content_base64": 4}, "content_base64 is 4"),
        ({"content_base64": "QQ==", "content": "A"}, "absent where there is a content"),
        ({"content_base64": "QQ="}, "text in base64"),
    ],
)
def test_what_is_no_base64_is_named(fields: dict[str, Any], words: str) -> None:
    decoded = decode(record(json.dumps({"id": "d", **fields}).encode()), NATIVE)
    assert isinstance(decoded, Undecodable)
    assert (decoded.reason, decoded.document_id) == (DeadLetterReason.INVALID_FIELD, "d")
    assert words in decoded.detail


def test_base64_may_be_in_lines() -> None:
    lines = base64.encodebytes(ANY_PDF).decode()
    assert content(decode(native(lines, content_type=PDF), NATIVE)) == ANY_PDF


def test_a_field_that_is_there_twice_is_refused() -> None:
    value = b'{"id": "d", "content_base64": "QQ==", "content_base64": "Qg=="}'
    assert isinstance(decode(record(value), NATIVE), Undecodable)


def test_other_archives_are_no_documents() -> None:
    decoded = decode(record(b"PK\x03\x04 and no part of a document"), TEXT)
    assert isinstance(decoded, Undecodable)
    assert "zip archive" in decoded.detail


def test_a_delete_needs_no_content() -> None:
    value = json.dumps({"id": "d", "op": "delete"}).encode()
    assert content(decode(record(value), NATIVE)) is None


def test_a_staged_file_is_read_again() -> None:
    sent = record(ANY_PDF, content_type=DOCX)
    decoded = decode(sent, TEXT)
    assert isinstance(decoded, ChangeEvent)
    headers = headers_json(sent.headers)
    sha256 = decoded.content_sha256 or b""
    assert content_of(TEXT, sent.key, ANY_PDF, headers, sha256) == ANY_PDF
