"""A chunk: a piece of a document that is retrieved and embedded as a whole."""

import hashlib
from dataclasses import dataclass


def text_sha256(text: str) -> bytes:
    """Hash of a text (UTF-8). Two texts with one hash are "the same text" everywhere in the corpus."""
    return hashlib.sha256(text.encode()).digest()


@dataclass(frozen=True, slots=True)
class Chunk:
    """A slice of a cleaned text."""

    start: int
    """Character offset in the cleaned text."""
    text: str
    """At most as long, in tokens, as the model reads, unless `truncated`."""
    token_ids: tuple[int, ...]
    """Of the text, without special tokens; when `truncated`, only those that the model reads."""
    heading: str | None = None
    """Headings above it, joined by " > "."""
    truncated: bool = False
    """The model reads only the beginning; only by explicit choice (`chunker = "whole"`)."""

    def sha256(self) -> bytes:
        """Identifies what is embedded: the text, and of a truncated one how many tokens the model reads."""
        if self.truncated:
            return text_sha256(f"{self.text}\0{len(self.token_ids)}")
        return text_sha256(self.text)
