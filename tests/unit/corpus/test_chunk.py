"""What makes two chunks the same."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from corpus.chunk import Chunk, text_sha256

TEXTS = st.text(max_size=30)
TOKENS = st.lists(st.integers(0, 30_000), max_size=5).map(tuple)
CHUNKS = st.builds(
    Chunk,
    start=st.integers(0, 100),
    text=TEXTS,
    token_ids=TOKENS,
    heading=st.none() | TEXTS,
    truncated=st.booleans(),
)


def test_a_text_is_hashed_as_utf_8() -> None:
    assert text_sha256("é") == hashlib.sha256(b"\xc3\xa9").digest()


@given(CHUNKS, CHUNKS)
def test_a_whole_chunk_is_its_text_wherever_it_is(one: Chunk, other: Chunk) -> None:
    if not one.truncated and not other.truncated:
        assert (one.sha256() == other.sha256()) is (one.text == other.text)


@given(TEXTS, TOKENS, TOKENS)
def test_a_truncated_chunk_is_embedded_again_when_more_of_it_is_read(
    text: str, tokens: tuple[int, ...], other: tuple[int, ...]
) -> None:
    hashes = {
        Chunk(start=0, text=text, token_ids=ids, truncated=True).sha256() for ids in (tokens, other)
    }
    assert (len(hashes) == 1) is (len(tokens) == len(other))
    assert text_sha256(text) not in hashes
