"""What a model has no word for in a text, counted in tokens and in characters.

A tokenizer without a fallback to bytes or letters makes one unknown token of a whole word; in a script without spaces
that is a whole sentence. So the share of characters says how much of a text is lost, and the share of tokens does not.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from corpus.chunk import Chunk
from corpus.clean.account import visible_length
from corpus.embed.tokenizer import ChunkTokenizer


@dataclass(frozen=True, slots=True)
class UnknownText:
    """What a model reads of some chunks, and what of it is unknown to the model."""

    tokens: int
    """Of the chunks, special tokens not counted."""
    unknown_tokens: int
    """Of them, those that stand for something that the model has no word for."""
    unknown_characters: int
    """Characters that these tokens stand for, white space not counted."""


NOTHING_UNKNOWN = UnknownText(0, 0, 0)


def unknown_text(chunks: Iterable[Chunk], tokenizer: ChunkTokenizer) -> UnknownText:
    """Count the tokens of some chunks, and what is unknown to their model.

    Args:
        chunks: of one document or more.
        tokenizer: that made them. One that falls back to bytes or letters knows everything, so that nothing is counted.
    """
    tokens = unknown_tokens = characters = 0
    for chunk in chunks:
        tokens += len(chunk.token_ids)
        unknown = chunk.token_ids.count(tokenizer.unknown_token)
        if unknown:
            unknown_tokens += unknown
            characters += _unknown_characters(chunk, tokenizer)
    return UnknownText(tokens, unknown_tokens, characters)


def _unknown_characters(chunk: Chunk, tokenizer: ChunkTokenizer) -> int:
    ids, offsets = tokenizer.encode(chunk.text)
    read = len(chunk.token_ids)  # of a truncated chunk, the model reads the beginning
    return sum(
        visible_length(chunk.text[start:end])
        for token, (start, end) in zip(ids[:read], offsets[:read], strict=True)
        if token == tokenizer.unknown_token
    )
