"""Dead letters of which no document could be read: those of erased documents, and those that only mention one."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from psycopg.rows import class_row

from corpus.database import Connection, fetch_all
from corpus.erase.remembered import names_of
from corpus.erase.spelling import quoted, stated_ids


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadLetters:
    """Dead letters without a document whose bytes name one of some ids."""

    # Dead letter -> the id that it states, or has as its key; or quotes, where it states none.
    of_document: Mapping[int, str] = field(default_factory=dict[int, str])
    # Those that state another id, or name one of these only in passing: dead letter -> an id that it names.
    mentioning: Mapping[int, str] = field(default_factory=dict[int, str])

    def with_chosen(self, chosen: Collection[int]) -> "UnreadLetters":
        """With those that a person chose taken for letters of the document that they mention."""
        taken = {
            number: document_id
            for number, document_id in self.mentioning.items()
            if number in chosen
        }
        rest = self.mentioning.items() - taken.items()
        return UnreadLetters(
            of_document={**self.of_document, **taken}, mentioning=dict(sorted(rest))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Letter:
    """A row of the query `unread_dead_letters`."""

    dead_letter: int
    key: bytes | None
    value: bytes | None


def unread_letters(
    connection: Connection, source: str, document_ids: Sequence[str]
) -> UnreadLetters:
    """The dead letters of a source that name documents, and of which none could be read.

    Args:
        connection: to PostgreSQL.
        source: of the documents.
        document_ids: at least one.
    """
    spellings = _spellings(document_ids)
    values = {"source": source, "spellings": sorted(spellings)}
    of_document: dict[int, str] = {}
    mentioning: dict[int, str] = {}
    as_word = _as_word(spellings)
    for letter in fetch_all(
        connection, class_row(_Letter), "unread_dead_letters", values
    ):
        document_id = _document_of(letter, spellings)
        record = b"\n".join((letter.key or b"", letter.value or b""))
        if document_id is not None:
            of_document[letter.dead_letter] = document_id
        elif mention := as_word.search(record):
            mentioning[letter.dead_letter] = spellings[mention.group()]
    return UnreadLetters(of_document=of_document, mentioning=mentioning)


def _spellings(document_ids: Sequence[str]) -> dict[bytes, str]:
    """Spelling without quotes -> id."""
    spellings: dict[bytes, str] = {}
    for document_id in document_ids:
        inner = {spelling[1:-1] for spelling in quoted(document_id)}
        spellings |= dict.fromkeys({document_id.encode(), *inner}, document_id)
    return spellings


def _as_word(spellings: Mapping[bytes, str]) -> re.Pattern[bytes]:
    any_of = b"|".join(map(re.escape, spellings))
    return re.compile(rb"(?<![0-9A-Za-z])(?:%s)(?![0-9A-Za-z])" % any_of)


def _document_of(letter: _Letter, spellings: Mapping[bytes, str]) -> str | None:
    """Of which of the documents a dead letter is; None: of none of them, as far as its bytes say."""
    named = names_of("dead_letter", None, letter.key, letter.value)
    found = {spellings[name] for name in named if name in spellings}
    searched = [letter.key or b""]
    if not stated_ids(letter.value or b""):
        searched.append(letter.value or b"")
    for spelling, document_id in spellings.items():
        in_quotes = b'"%s"' % spelling
        if any(in_quotes in part for part in searched):
            found.add(document_id)
    return min(found, default=None)
