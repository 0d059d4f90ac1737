"""A chunk: a piece of a document that is retrieved and embedded as one."""

import hashlib
from dataclasses import dataclass


def text_sha256(text: str) -> bytes:
    """Hash of a chunk's text (UTF-8): what "the same text" means everywhere."""
    return hashlib.sha256(text.encode()).digest()


@dataclass(frozen=True, slots=True)
class Chunk:
    """A slice of a cleaned text."""

    start: int
    """Character offset in the cleaned text."""
    text: str
    """Never longer, in tokens, than the model reads, unless `truncated`."""
    token_ids: tuple[int, ...]
    """Of the text, without special tokens; already cut to what the model reads when `truncated`."""
    heading: str | None = None
    """Headings above it, joined by " > "."""
    truncated: bool = False
    """The model reads only the beginning; only by explicit choice (`chunker = "whole"`)."""

    def sha256(self) -> bytes:
        """What tells chunks apart: the text; where only a part of it is embedded, how many tokens of it, too."""
        return text_sha256(f"{self.text}\0{len(self.token_ids)}" if self.truncated else self.text)
