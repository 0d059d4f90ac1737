"""A chunk: a piece of a document that is retrieved and embedded as a whole."""

import hashlib
from dataclasses import dataclass


def text_sha256(text: str) -> bytes:
    """Hash of a text (UTF-8). Two texts with one hash are "the same text" everywhere in the corpus."""
    return hashlib.sha256(text.encode()).digest()


def embedded_sha256(text: str, context: str) -> bytes:
    """Hash of what the model reads: a text, below its context where it has one. No text holds the character U+0000."""
    if context:
        text = f"{context}\0\0{text}"
    return text_sha256(text)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A slice of a cleaned text, below the header of the table that it continues."""

    start: int
    """Character offset in the cleaned text; of a table's continuation, that of its first row."""
    text: str
    """At most as long, in tokens, as the model reads, unless `truncated`."""
    token_ids: tuple[int, ...]
    """Of the text, without special tokens; when `truncated`, only those that the model reads."""
    heading: str | None = None
    """Headings above it, joined by " > "."""
    truncated: bool = False
    """The model reads only the beginning; only by explicit choice (`chunker = "whole"`)."""
    repeated: int = 0
    """Characters at the text's beginning that repeat a table's header; the slice follows them."""
    context: str = ""
    """What the model reads above the text; empty without `context = "headings"`."""
    context_ids: tuple[int, ...] = ()
    """Of the context."""
    part_name: str = ""
    """Of the part of the document that it is in; empty: it is in none."""

    @property
    def model_ids(self) -> tuple[int, ...]:
        """What the model reads, without special tokens."""
        return self.context_ids + self.token_ids

    def sha256(self) -> bytes:
        """Identifies what is embedded: context and text, and of a truncated one how many tokens the model reads.

        No text holds the character U+0000.
        """
        embedded = self.text
        if self.truncated:
            tokens = len(self.token_ids)
            embedded = f"{embedded}\0{tokens}"
        return embedded_sha256(embedded, self.context)
