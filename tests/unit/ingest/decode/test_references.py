"""`content_url` in place of a content: which addresses are taken, and that no message quotes one."""

import json
from typing import Any

import pytest

from corpus.clean.blocks import CleaningFailure
from corpus.dead_letter import DeadLetterReason
from corpus.source import SourceSpec
from corpus.specs.formats import MappingSpec
from ingest.decode.decoder import decode
from ingest.decode.references import MAX_URL, fetched_content
from ingest.event import ChangeEvent, Undecodable
from tests.support.decoding import NATIVE, record

SUM = "ab" * 32
SECRET = "s3cr3t"


def decoded(**fields: Any) -> Any:
    return decode(record(json.dumps({"id": "a", **fields}).encode()), NATIVE)


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("https://h/a", "https://h/a"),
        ("HTTPS://H/A?b=c", "https://H/A?b=c"),
        ("s3://bucket/a%20b", "s3://bucket/a%20b"),
        ("file:///srv/a.pdf", "file:///srv/a.pdf"),
        ("https://h/ä", "https://h/ä"),
    ],
)
def test_an_address_is_taken(url: str, taken: str) -> None:
    read = decoded(content_url=url, content_sha256=SUM.upper())
    assert isinstance(read, ChangeEvent)
    assert (read.content_url, read.stated_sha256) == (taken, bytes.fromhex(SUM))
    assert (read.content, read.content_sha256, read.content_bytes) == (None, None, None)


@pytest.mark.parametrize(
    "fields",
    [
        {"content_url": f"ftp://h/{SECRET}"},
        {"content_url": f"javascript:{SECRET}"},
        {"content_url": SECRET},
        {"content_url": f"https://h/{SECRET} b"},
        {"content_url": f"https://h/{SECRET}\r\nHost: other"},
        {"content_url": f"https://h/{SECRET}" + "a" * MAX_URL},
        {"content_url": f"https://h/{SECRET}\ud800"},
        {"content_url": ""},
        {"content_url": 7},
        {"content_url": {"a": SECRET}},
        {"content_url": "https://h/a", "content": "Text."},
        {"content_url": "https://h/a", "content_base64": "YQ=="},
        {"content_url": "https://h/a", "content_sha256": "ab"},
        {"content_url": "https://h/a", "content_sha256": 7},
        {"content_url": None},
    ],
)
def test_what_is_no_address_is_a_dead_letter_that_does_not_quote_it(fields: Any) -> None:
    read = decoded(**fields)
    assert isinstance(read, Undecodable)
    assert read.reason is DeadLetterReason.INVALID_FIELD
    assert read.document_id is not None
    assert SECRET not in read.detail


def test_a_delete_needs_none() -> None:
    read = decoded(op="delete", content_url="ftp://h")
    assert isinstance(read, ChangeEvent)
    assert read.content_url is None


def test_a_missing_path_of_an_address_is_named() -> None:
    mapping = MappingSpec(id="id", content_url="file.url")
    spec = SourceSpec(source="s", topics=("s",), format="json", mapping=mapping)
    read = decode(record(b'{"id": "a", "file": {}}'), spec)
    assert isinstance(read, Undecodable)
    assert "file.url" in read.detail


def test_what_fetched_bytes_are() -> None:
    assert (
        fetched_content(NATIVE, "Käse".encode("latin-1"), ["text/plain; charset=latin1"]) == "Käse"
    )
    assert fetched_content(NATIVE, b"%PDF-1.7", ["text/plain"]) == b"%PDF-1.7"
    damaged = fetched_content(NATIVE, b"\xff\xfe\xfd" * 100, ["text/plain; charset=utf-8"])
    assert isinstance(damaged, CleaningFailure)
