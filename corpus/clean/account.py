"""What cleaning kept of a document, and what it dropped by which rule.

All figures are characters that are no white space, as they stood in the document: what the cleaner itself adds (the
mark of a list item, the bar between two cells) is in no figure. So `kept` and the dropped add up to what came in.
"""

from collections import Counter
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum

_SAMPLE_CHARACTERS = 200
_MOST_PIECES = 1_000
_REPLACEMENT = "\ufffd"


class DropRule(StrEnum):
    """Why text is not in a cleaned document."""

    NAVIGATION = "navigation"
    """Menus, link lists, language bars, breadcrumbs, paging."""
    BOILERPLATE = "boilerplate"
    """Banners, footers, share bars, notices of cookies, what lies outside the main part."""
    HIDDEN = "hidden"
    """What a reader's browser would not show, comments of the markup included."""
    FRONT_MATTER = "front_matter"
    """Metadata: at the beginning of a Markdown document, the title in a page's head."""
    MACHINE = "machine"
    """Scripts, style sheets, data URIs, long base64, minified lines, escape sequences of terminals."""
    MARKUP = "markup"
    """Marks of the format: underlines of titles, names and options of directives, targets of links."""
    FORM = "form"
    """Labels of buttons and options of lists."""
    REPEATED = "repeated"
    """What the document holds in another form as well: the second notation of a formula."""
    UNDECODABLE = "undecodable"
    """Bytes that are no text in the document's encoding; each is U+FFFD in the cleaned text."""
    UNREAD = "unread"
    """Parts of a file that are not read: pages that are pictures, attachments, formulas. Of what has no characters,
    they are an estimate: 1,500 per page, a byte of an attachment."""


@dataclass(frozen=True, slots=True)
class DroppedPiece:
    """One piece of text that is not in the cleaned document."""

    rule: DropRule
    characters: int
    """Without white space."""
    sample: str
    """Its beginning, white space folded; at most 200 characters."""


@dataclass(frozen=True, slots=True)
class Notes:
    """What a reader should know of where a text is from; kept per version, and counted per batch."""

    read_as: str = ""
    """Media type that the content was read as, where another one was stated; empty: none was, or this one."""
    recognised_pages: int = 0
    """Pages without text whose pictures were read by text recognition (OCR)."""
    recognised_characters: int = 0
    """Of the characters that are kept, those of these pages: some of them may be wrong."""
    same_bytes: int = 0
    """1: another address of its host gave the very same bytes: a copy, or a page that the host gives for everything."""

    def stated(self) -> dict[str, str | int]:
        """Those that there are, by name."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: value for name, value in values.items() if value}


NO_NOTES = Notes()


@dataclass(frozen=True, slots=True)
class Account:
    """What became of a document's characters."""

    kept: int = 0
    dropped: tuple[tuple[DropRule, int], ...] = ()
    """Characters per rule, in the order of the rules; rules that dropped nothing are left out."""
    pieces: tuple[DroppedPiece, ...] = ()
    """The first 1,000, in the order in which they were dropped: of HTML, rule by rule before the reading order."""
    notes: Notes = NO_NOTES

    @property
    def received(self) -> int:
        """Characters of the document."""
        return self.kept + sum(characters for _, characters in self.dropped)

    @property
    def readable(self) -> int:
        """Characters that a person could have read: all but those of machines, and marks of the format."""
        dropped = dict(self.dropped)
        of_machines = (DropRule.MACHINE, DropRule.MARKUP)
        return self.received - sum(dropped.get(rule, 0) for rule in of_machines)

    @property
    def is_emptied(self) -> bool:
        """Whether nothing is left of a text that a person could have read."""
        return self.kept == 0 and self.readable > 0

    def how_emptied(self) -> str:
        """One line for a person: what dropped all of it, and what to do."""
        lengths = [f"{rule} {length:,}" for rule, length in self.dropped]
        rules = ", ".join(lengths)
        return (
            f"cleaning dropped all of the document's {self.received:,} characters ({rules}); "
            'see `freshet clean --explain`, or set on_empty = "publish"'
        )


NOTHING_TOLD = Account()


@dataclass(slots=True)
class AccountBuilder:
    """Collects what rules drop.

    Attributes:
        notes: of the document, without those of the documents in it.
    """

    notes: Notes = NO_NOTES
    _characters: Counter[DropRule] = field(default_factory=Counter[DropRule])
    _pieces: list[DroppedPiece] = field(default_factory=list[DroppedPiece])

    def drop(self, rule: DropRule, text: str) -> None:
        """Note a dropped text; white space alone is none."""
        self.count(rule, visible_length(text), text)

    def count(self, rule: DropRule, characters: int, near: str) -> None:
        """Note so many dropped characters, and the text that they are of."""
        if not characters:
            return
        self._characters[rule] += characters
        if len(self._pieces) < _MOST_PIECES:
            sample = " ".join(near[: 4 * _SAMPLE_CHARACTERS].split())
            piece = DroppedPiece(rule, characters, sample[:_SAMPLE_CHARACTERS])
            self._pieces.append(piece)

    def count_undecodable(self, text: str) -> int:
        """Note each U+FFFD of a cleaned text; return how many there are. They are no characters of the document."""
        characters = text.count(_REPLACEMENT)
        if characters:
            first = max(text.index(_REPLACEMENT) - _SAMPLE_CHARACTERS // 2, 0)
            self.count(DropRule.UNDECODABLE, characters, text[first:])
        return characters

    def count_recognised(self, characters: int) -> None:
        """Note a page whose picture was read."""
        self.notes = replace(
            self.notes,
            recognised_pages=self.notes.recognised_pages + 1,
            recognised_characters=self.notes.recognised_characters + characters,
        )

    def add_part(self, account: Account) -> None:
        """Note what the account of a part says was dropped, and what of it was recognised."""
        self.add(account)
        notes = account.notes
        self.notes = replace(
            self.notes,
            recognised_pages=self.notes.recognised_pages + notes.recognised_pages,
            recognised_characters=self.notes.recognised_characters
            + notes.recognised_characters,
        )

    def add(self, account: Account) -> None:
        """Note all that another account says was dropped."""
        self._characters.update(dict(account.dropped))
        room = _MOST_PIECES - len(self._pieces)
        self._pieces += account.pieces[: max(room, 0)]

    def dropped(self, rule: DropRule) -> int:
        """Characters that a rule has dropped so far."""
        return self._characters[rule]

    def finish(self, kept: int) -> Account:
        """Return the account of a document of which `kept` characters are left."""
        dropped = tuple(
            (rule, self._characters[rule])
            for rule in DropRule
            if self._characters[rule]
        )
        pieces = tuple(self._pieces)
        return Account(kept, dropped, pieces, self.notes)


def visible_length(text: str) -> int:
    """Return how many characters of a text are no white space."""
    return len("".join(text.split()))
