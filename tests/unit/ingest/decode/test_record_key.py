"""A key names one document, whatever converter wrote it."""

import json

import pytest

from corpus.dead_letter import DeadLetterReason
from corpus.source import SourceSpec
from ingest.decode.decoder import decode
from ingest.event import Op
from tests.support.decoding import NATIVE, TEXT, changed, record, refused

AS_IT_IS = SourceSpec(source="s", topics=("t",), key_format="text")
SCHEMA = {"type": "string", "optional": False}


def enveloped(payload: object) -> bytes:
    return json.dumps({"schema": SCHEMA, "payload": payload}).encode()


@pytest.mark.parametrize(
    ("key", "document"),
    [
        (b"doc-1", "doc-1"),
        (b'"doc-1"', "doc-1"),
        (rb'"\u0064oc \"1\""', 'doc "1"'),
        (enveloped("doc-1"), "doc-1"),
        (enveloped(12), "12"),
        (b"12", "12"),
        (b'\x00\x00\x00\x00\x07"doc-1"', "doc-1"),
        # Not all of it is what a converter writes, so it is a name.
        (b'"doc" 1', '"doc" 1'),
        (b'"a"b"', '"a"b"'),
        (b'"', '"'),
        (b'{"id": 1}', '{"id": 1}'),
        (b'{"schema": {}, "payload": "a", "more": 1}', '{"schema": {}, "payload": "a", "more": 1}'),
        (b'{"schema": null, "payload": {"id": 1}}', '{"schema": null, "payload": {"id": 1}}'),
        (b"{" * 900, "{" * 900),
    ],
)
def test_the_document_of_a_key(key: bytes, document: str) -> None:
    for spec in (NATIVE, TEXT):
        deleted = changed(decode(record(None, key=key), spec))
        assert (deleted.op, deleted.document_id) == (Op.DELETE, document)
    assert changed(decode(record(b"text", key=key), TEXT)).document_id == document


@pytest.mark.parametrize("key", [b'"doc-1"', enveloped("doc-1")])
def test_a_source_may_take_every_key_as_it_is(key: bytes) -> None:
    assert changed(decode(record(None, key=key), AS_IT_IS)).document_id == key.decode()


@pytest.mark.parametrize("key", [b'""', b'"\\u0000"', enveloped(" "), enveloped(True)])
def test_a_written_key_that_is_no_id_is_a_dead_letter(key: bytes) -> None:
    refused(decode(record(None, key=key), NATIVE), DeadLetterReason.INVALID_ID)
