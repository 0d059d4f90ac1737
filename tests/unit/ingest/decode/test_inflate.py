"""Compressed values: read in every format, and refused when they become too large."""

import gzip
import tracemalloc
from collections.abc import Callable
from dataclasses import replace

import pytest

from corpus.dead_letter import DeadLetterReason
from corpus.preparation import PreparationSpec
from ingest.decode.decoder import decode
from ingest.decode.inflate import zstd
from ingest.event import Decoded
from tests.support.decoding import NATIVE, TEXT, changed, record, refused

VALUE = b'{"id":"a","content":"text"}'
LIMIT = 1_000_000
SMALL = replace(NATIVE, pipeline=PreparationSpec(max_document_bytes=LIMIT))


def sent(value: bytes, encoding: bytes | None) -> Decoded:
    return decode(record(value, headers=(("Content-Encoding", encoding),)), SMALL)


# Without a time: the ids of the tests are made of these bytes, and have to be the same in all processes.
GZIPPED_IN_TWO = gzip.compress(VALUE[:9], mtime=0) + gzip.compress(VALUE[9:], mtime=0)


@pytest.mark.parametrize(
    ("value", "encoding"),
    [
        (gzip.compress(VALUE, mtime=0), b"gzip"),
        (GZIPPED_IN_TWO, b"x-gzip"),
        (zstd.compress(VALUE), b"zstd"),
        (zstd.compress(VALUE[:9]) + zstd.compress(VALUE[9:]), b" ZSTD "),
        (zstd.compress(gzip.compress(VALUE, mtime=0)), b"gzip, zstd"),
        (VALUE, b"identity"),
        (VALUE, None),
    ],
)
def test_a_compressed_value_is_the_same_event(value: bytes, encoding: bytes) -> None:
    assert changed(sent(value, encoding)).content == "text"


def test_the_document_of_format_text_may_be_compressed() -> None:
    headers = (("content-encoding", b"gzip"),)
    assert changed(decode(record(gzip.compress(b"text"), headers=headers), TEXT)).content == "text"


@pytest.mark.parametrize("encoding", [b"gzip", b"zstd", b"gzip,gzip"])
def test_a_bomb_costs_no_more_than_the_limit(encoding: bytes) -> None:
    value = b"\0" * 200_000_000
    for name in encoding.split(b","):
        value = zstd.compress(value) if name == b"zstd" else gzip.compress(value, 1)
    tracemalloc.start()
    try:
        refused(sent(value, encoding), DeadLetterReason.TOO_LARGE, "inflated")
        assert tracemalloc.get_traced_memory()[1] < 10 * LIMIT
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("encoding", "compress"), [(b"gzip", gzip.compress), (b"zstd", zstd.compress)]
)
def test_a_bomb_below_the_limit_of_documents_is_refused(
    encoding: bytes, compress: Callable[[bytes], bytes]
) -> None:
    for size, is_refused in ((900_000, False), (20_000_000, True)):
        value = compress(VALUE.replace(b"text", b" " * size))
        headers = (("content-encoding", encoding),)
        decoded = decode(record(value, headers=headers), NATIVE)
        if is_refused:
            refused(decoded, DeadLetterReason.TOO_LARGE, "200 times what was sent")
        else:
            assert changed(decoded).content_bytes == size


@pytest.mark.parametrize("encoding", [b"gzip", b"zstd"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda value: value[:-3],
        lambda value: value + b"x",
        lambda value: b"x" + value,
        lambda _: b"",
    ],
)
def test_what_is_damaged_or_cut_off_is_refused(
    encoding: bytes, damage: Callable[[bytes], bytes]
) -> None:
    whole = gzip.compress(VALUE) if encoding == b"gzip" else zstd.compress(VALUE)
    value = damage(whole)
    refused(sent(value, encoding), DeadLetterReason.NOT_DECODABLE, encoding.decode())


def test_an_encoding_that_is_not_known_is_named() -> None:
    for stated in (b"br", b"gzip,br", b"gzip,gzip,gzip,gzip"):
        refused(sent(VALUE, stated), DeadLetterReason.INVALID_FIELD, "content-encoding")
