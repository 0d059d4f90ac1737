"""What a Parquet file becomes is known before it is read."""

import io
import random

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.errors import StagedFileError
from corpus.staging import frames
from corpus.staging.expansion import MalformedError, expansion_of
from corpus.staging.frames import read_frame, schema_of, to_parquet
from corpus.staging.layout import TEXTS
from corpus.staging.store import StagingStore

MEGABYTE = 1_000_000


def texts(rows: list[tuple[bytes, str, list[int]]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=schema_of(TEXTS), orient="row")


@given(st.lists(st.tuples(st.binary(), st.text(), st.lists(st.integers(0, 9))), max_size=9))
def test_it_is_at_least_what_the_file_holds(rows: list[tuple[bytes, str, list[int]]]) -> None:
    frame = texts([row for row in rows if row[1].isprintable()])
    size = expansion_of(to_parquet(frame))
    assert size.rows == frame.height
    held = frame["text"].unique().str.len_bytes().sum() + 4 * frame["token_ids"].list.len().sum()
    assert size.memory_bytes >= held


@pytest.mark.parametrize("codec", ["zstd", "gzip", "snappy", "lz4", "uncompressed"])
def test_every_codec_is_seen_through(codec: str) -> None:
    buffer = io.BytesIO()
    pl.DataFrame({"a": [bytes(MEGABYTE), b""]}).write_parquet(buffer, compression=codec)
    assert MEGABYTE <= expansion_of(buffer.getvalue()).memory_bytes < 1.1 * MEGABYTE


def test_a_bomb_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few KB that would take 20 MB; each row is as large as it may be."""
    monkeypatch.setattr(frames, "MAX_MEMORY_BYTES", 10 * MEGABYTE)
    store = StagingStore("memory:///")
    buffer = io.BytesIO()
    texts([(b"", "x" * MEGABYTE, [])] * 20).write_parquet(buffer, row_group_size=1)
    content = buffer.getvalue()
    assert len(content) < MEGABYTE / 10
    staged = store.put("f", content, rows=20)
    monkeypatch.setattr(frames.pl, "read_parquet", None)
    with pytest.raises(
        StagedFileError, match=r"would take 20,.* in memory; 10,000,000 are the most"
    ):
        read_frame(store, staged, TEXTS)


def test_a_list_of_a_thousand_million_numbers_is_seen() -> None:
    """Repeated numbers take no room in a file at all."""
    frame = pl.DataFrame({"a": [[0] * MEGABYTE]})
    content = to_parquet(frame)
    assert len(content) < 10_000
    assert expansion_of(content).memory_bytes >= 8 * MEGABYTE


def test_rows_that_are_not_stated_are_not_read() -> None:
    store = StagingStore("memory:///")
    staged = store.put("f", to_parquet(texts([(b"", "a", [])] * 5)), rows=4)
    with pytest.raises(StagedFileError, match="has 5 rows, 4 are stated"):
        read_frame(store, staged, TEXTS)


@pytest.mark.parametrize("seed", range(3))
def test_a_damaged_file_is_an_error_with_a_name(seed: int) -> None:
    """Any byte may be another one: no other exception, no endless reading."""
    choose = random.Random(seed)
    content = to_parquet(texts([(b"12", "some text", [1, 2, 3])] * 20))
    store = StagingStore("memory:///")
    for _ in range(200):
        damaged = bytearray(content)
        for _ in range(choose.randint(1, 4)):
            damaged[choose.randrange(len(damaged))] = choose.randrange(256)
        staged = store.put("f", bytes(damaged), rows=20)
        try:
            read_frame(store, staged, TEXTS)
        except StagedFileError as error:
            assert "staged file f" in str(error), f"seed {seed}"


@pytest.mark.parametrize(
    "content", [b"", b"PAR1", b"PAR1" + b"\xff" * 20 + b"PAR1", random.Random(99).randbytes(99)]
)
def test_what_is_no_parquet_file_is_malformed(content: bytes) -> None:
    with pytest.raises(MalformedError):
        expansion_of(content)


def test_lists_in_lists_without_end_are_malformed() -> None:
    """Each level takes a byte, and Python's own limit would be another error, which ends no batch by name."""
    footer = b"\x49" + b"\x19" * 5_000
    content = b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1"
    with pytest.raises(MalformedError):
        expansion_of(content)
