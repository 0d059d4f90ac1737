"""A cleaned text and the structure that was found in it, or why there is none."""

from dataclasses import dataclass
from enum import StrEnum

from corpus.dead_letter import DeadLetterReason


class BlockKind(StrEnum):
    """What a block is; the splitter cuts before, between and, last of all, inside them."""

    HEADING = "heading"  # belongs to what follows it
    PARAGRAPH = "paragraph"
    LIST_ITEM = "list_item"
    CODE = "code"  # lines mean something: cut at blank lines, then at lines
    TABLE = "table"  # one row a line


@dataclass(frozen=True, slots=True)
class Block:
    """A slice of a cleaned text: `text[start:end]`, not blank at either end."""

    start: int
    """Character offset, inclusive."""
    end: int
    """Character offset, exclusive."""
    kind: BlockKind
    level: int = 0
    """Of a heading: 1 (highest) to 6; else 0."""


@dataclass(frozen=True, slots=True)
class CleanedDocument:
    """What is hashed, split and embedded. An empty text is a document without chunks, not a failure."""

    text: str
    blocks: tuple[Block, ...] = ()
    """In order, without overlap; between them is nothing but white space."""


@dataclass(frozen=True, slots=True)
class CleaningFailure:
    """Why a document has no cleaned text."""

    reason: DeadLetterReason
    detail: str
