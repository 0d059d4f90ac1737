"""Collects the blocks of a file while it is read, and what of it is not read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from corpus.clean.account import AccountBuilder, DropRule, visible_length
from corpus.clean.blocks import Block, BlockKind, CleanedDocument
from corpus.clean.files.rows import table_piece
from corpus.clean.normalise import normalise
from corpus.clean.page.piece import NO_LINES, Lines, Piece, assembled
from corpus.clean.parts import Part
from corpus.clean.plain import plain_blocks

_LOWEST_LEVEL = 6
_BETWEEN_PARTS = "\n\n"
# What a page without text is counted as: a page of print has about so many.
CHARACTERS_OF_A_PAGE = 1_500


@dataclass(slots=True)
class Draft:
    """The blocks of a file.

    Attributes:
        account: what is not kept.
        level: of the headings that are above whatever is added next.
        has_pictures: whether the file holds pictures, which may be all there is to see.
        places: how many pages, slides or sheets were added.
    """

    account: AccountBuilder = field(default_factory=AccountBuilder)
    level: int = 0
    has_pictures: bool = False
    places: int = 0
    _pieces: list[Piece] = field(default_factory=list[Piece])
    _kept: int = 0

    @property
    def kept(self) -> int:
        """Characters of the file that are kept so far; white space, and what is added here, are not counted."""
        return self._kept

    def place(self, name: str) -> None:
        """Add a heading that is not in the file: where the following text stands (`page 12`)."""
        self.places += 1
        self._add(BlockKind.HEADING, normalise(name), level=self._below(1))

    def heading(self, text: str, level: int) -> None:
        """Add a heading of the file."""
        shown = " ".join(normalise(text, self.account).split())
        self._keep(shown)
        self._add(BlockKind.HEADING, shown, level=self._below(level))

    def text(self, text: str) -> None:
        """Add paragraphs and list items, as plain text has them."""
        shown = normalise(text, self.account)
        self._keep(shown)
        blocks = plain_blocks(shown)
        for block in blocks:
            own_text = shown[block.start : block.end]
            self._add(block.kind, own_text)

    def item(self, text: str) -> None:
        """Add an item of a list."""
        written = normalise(text, self.account)
        words = written.split()
        shown = " ".join(words)
        self._keep(shown)
        if shown:
            self._add(BlockKind.LIST_ITEM, f"- {shown}")

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Add a table: each row becomes a line, and the first one names the columns if it looks like it."""
        shown = [
            [" ".join(normalise(cell, self.account).split()) for cell in row]
            for row in rows
        ]
        piece = table_piece(shown)
        for row in shown:
            self._keep("".join(row))
        if piece is not None:
            self._pieces.append(piece)

    def document(self, document: CleanedDocument, level: int = 0) -> None:
        """Add a document that was cleaned by itself, with what was dropped of it.

        Args:
            document: cleaned.
            level: of the headings that are above its own.
        """
        account = document.account
        self._kept += account.kept
        self.account.add(account)
        text = document.text
        for block in document.blocks:
            piece = self._moved(text, block, level)
            self._pieces.append(piece)

    def unread(self, name: str, characters: int) -> None:
        """Note a part that is not read, in the account and in the text, so that its reader knows of it.

        Args:
            name: what it is, in words.
            characters: that it is counted as.
        """
        self.account.count(DropRule.UNREAD, max(characters, 1), name)
        self._add(BlockKind.PARAGRAPH, f"[not read: {normalise(name)}]")

    def finish(self) -> CleanedDocument:
        """The file as a cleaned document; headings of places with nothing below them are left out."""
        pieces = list(_without_empty_places(self._pieces))
        return assembled(pieces, self.account, self._kept)

    def _below(self, level: int) -> int:
        return min(self.level + level, _LOWEST_LEVEL)

    def _keep(self, text: str) -> None:
        self._kept += visible_length(text)

    def _add(self, kind: BlockKind, text: str, *, level: int = 0) -> None:
        shown = text.strip()
        if shown:
            self._pieces.append(Piece(kind, level, shown))

    def _moved(self, text: str, block: Block, level: int) -> Piece:
        """A block of another document as a piece of this one."""
        header = NO_LINES
        if block.header_end:
            first = text.count("\n", block.start, block.header_start)
            lines = text.count("\n", block.header_start, block.header_end) + 1
            header = Lines(first, first + lines)
        below = self._below(level + block.level) if block.level else 0
        return Piece(block.kind, below, text[block.start : block.end], header)


def _without_empty_places(pieces: Sequence[Piece]) -> Iterator[Piece]:
    """Leave out a heading that another one of its level, or above it, follows at once; the last one as well."""
    following = [*pieces[1:], None]
    for piece, after in zip(pieces, following, strict=False):
        if piece.kind is not BlockKind.HEADING:
            yield piece
            continue
        if not _is_place(piece):
            yield piece
            continue
        if after is None:
            continue
        is_empty = 0 < after.level <= piece.level
        if not is_empty:
            yield piece


def _is_place(piece: Piece) -> bool:
    return piece.text.startswith(("page ", "slide ", "sheet "))


def with_parts(
    own: CleanedDocument, attached: Sequence[tuple[Part, CleanedDocument | None]]
) -> CleanedDocument:
    """A document with the texts of its parts behind its own; accounts are added up.

    Args:
        own: the document without them.
        attached: its parts in order, with what they hold; None: they are not read.
    """
    account = AccountBuilder()
    account.add(own.account)
    kept = own.account.kept
    texts, blocks, parts = [own.text], list(own.blocks), list[Part]()
    at = len(own.text)
    for part, document in attached:
        if document is None:
            parts.append(replace(part, start=at, end=at))
            continue
        account.add_part(document.account)
        kept += document.account.kept
        start = at
        if document.text:
            start += len(_BETWEEN_PARTS)
            texts.append(document.text)
            blocks += (block.moved(start) for block in document.blocks)
            at = start + len(document.text)
        parts.append(
            replace(
                part,
                start=start,
                end=at,
                received=document.account.received,
                kept=document.account.kept,
            )
        )
    text = _BETWEEN_PARTS.join(texts)
    return CleanedDocument(text, tuple(blocks), account.finish(kept), tuple(parts))
