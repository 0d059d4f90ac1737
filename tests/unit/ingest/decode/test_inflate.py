"""Compressed values: read in every format, and refused when they become too large."""

import gzip
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.dead_letter import DeadLetterReason
from corpus.preparation import PreparationSpec
from ingest.decode.decoder import decode
from ingest.decode.inflate import MAX_PARTS, joined, zstd
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


# ── many parts ──────────────────────────────────────────────────────────────────────────────────────────────────────

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda text: gzip.compress(text, mtime=0),
    "zstd": zstd.compress,
}
BEGIN: dict[str, Callable[[], Any]] = {
    "gzip": lambda: zlib.decompressobj(31),
    "zstd": zstd.ZstdDecompressor,
}


@pytest.mark.parametrize("encoding", COMPRESS)
def test_a_value_of_many_parts_is_refused_above_a_number(encoding: str) -> None:
    compress = COMPRESS[encoding]
    parts = [compress(VALUE), *[compress(b"")] * (MAX_PARTS - 1)]
    assert changed(sent(b"".join(parts), encoding.encode())).content == "text"
    parts.append(compress(b""))
    refused(sent(b"".join(parts), encoding.encode()), DeadLetterReason.NOT_DECODABLE, "parts")


def test_many_parts_inside_a_part_are_refused() -> None:
    nested = gzip.compress(COMPRESS["gzip"](b"") * 50_000, mtime=0)
    assert len(nested) < 3_000
    refused(sent(nested, b"gzip, gzip"), DeadLetterReason.NOT_DECODABLE, "parts")


class Counting:
    """A decompressor that knows how many bytes all of its kind were given, as each copies what it does not use."""

    given = 0

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def decompress(self, piece: memoryview, max_bytes: int) -> bytes:
        Counting.given += len(piece)
        return self.inner.decompress(piece, max_bytes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@pytest.mark.parametrize("encoding", COMPRESS)
@given(sizes=st.lists(st.sampled_from([0, 1, 300, 5_000, 40_000]), min_size=1, max_size=80))
def test_the_work_of_many_parts_grows_with_the_bytes(encoding: str, sizes: list[int]) -> None:
    texts = [(b"%d %d. " % (number, size)) * (size // 8) for number, size in enumerate(sizes)]
    value = b"".join(map(COMPRESS[encoding], texts))
    Counting.given = 0
    read = joined(value, sum(map(len, texts)), lambda: Counting(BEGIN[encoding]()))
    assert read == b"".join(texts)
    assert Counting.given <= 6 * len(value) + 256 * len(sizes)
