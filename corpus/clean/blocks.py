"""A cleaned text and its structure, or the reason why there is none."""

import hashlib
from dataclasses import astuple, dataclass, replace
from enum import StrEnum

from corpus.clean.account import NOTHING_TOLD, Account
from corpus.clean.parts import Part
from corpus.dead_letter import DeadLetterReason


class BlockKind(StrEnum):
    """What a block is; the splitter divides before, between and, last of all, inside blocks."""

    HEADING = "heading"
    """Belongs to what follows it."""
    PARAGRAPH = "paragraph"
    LIST_ITEM = "list_item"
    CODE = "code"
    """Lines have a meaning: divided at blank lines, then at lines."""
    TABLE = "table"
    """Each row is one line."""


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
    header_start: int = 0
    """Of a table: where the rows begin that name its columns. Character offset, inclusive."""
    header_end: int = 0
    """Character offset, exclusive; 0: no row is known to name the columns."""

    def moved(self, characters: int) -> "Block":
        """The block in a text that has so many characters more before it; negative: less."""
        has_header = self.header_end > 0
        return replace(
            self,
            start=self.start + characters,
            end=self.end + characters,
            header_start=self.header_start + characters * has_header,
            header_end=self.header_end + characters * has_header,
        )


@dataclass(frozen=True, slots=True)
class CleanedDocument:
    """What is hashed, split and embedded. An empty text is a document without chunks, not a failure."""

    text: str
    blocks: tuple[Block, ...] = ()
    """In order, without overlap; between them is nothing but white space."""
    account: Account = NOTHING_TOLD
    """What was kept and what was dropped. Default: nothing is told."""
    parts: tuple[Part, ...] = ()
    """Shown as documents of their own, in order, behind the document's own text."""

    def sha256(self) -> bytes:
        """Of the text, and of its structure where chunks carry it: headings, the headers of tables, and parts.

        A text without any of them has the hash of the text alone.
        """
        digest = hashlib.sha256(self.text.encode())
        for block in self.blocks:
            if block.level or block.header_end:
                carried = (
                    block.start,
                    block.level,
                    block.header_start,
                    block.header_end,
                )
                digest.update(repr(carried).encode())
        for part in self.parts:
            digest.update(repr(astuple(part)).encode())
        return digest.digest()


@dataclass(frozen=True, slots=True)
class CleaningFailure:
    """Why a document has no cleaned text."""

    reason: DeadLetterReason
    detail: str
