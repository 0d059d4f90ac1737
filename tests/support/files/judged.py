"""How a made file ends: what of its words was read, where, and how long it took."""

import random
import time
from dataclasses import dataclass

from corpus.clean.blocks import CleanedDocument, CleaningFailure
from corpus.clean.cleaner import Cleaned, Cleaner, RawDocument
from corpus.dead_letter import DeadLetterReason
from corpus.preparation import PreparationSpec
from ingest.decode.body import document_body
from tests.support.files.made import MadeFile

SPEC = PreparationSpec(clean_timeout_seconds=40)
# For what no limit but that of time ends.
SHORT = PreparationSpec(clean_timeout_seconds=2)
# Files that damage is done to, and what a damaged one may end as.
DAMAGED_KINDS = ("attached.eml", "book.epub", "slides.pptx", "text.odt", "sheets.ods", "form.pdf")
REASONS_OF_DAMAGE = frozenset(
    {
        DeadLetterReason.DAMAGED_FILE,
        DeadLetterReason.UNSUPPORTED_CONTENT,
        DeadLetterReason.ENCRYPTED,
        DeadLetterReason.SCANNED,
        DeadLetterReason.TOO_LARGE,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What became of a file.

    Attributes:
        reason: of its dead letter; empty: it was read.
        detail: of its dead letter.
        missing: words of the file that are not in its text.
        misplaced: words that are not below their heading, each with it.
        unwanted: words in the text that nobody would read.
        seconds: until it was read, or refused.
        limit: of the seconds that its cleaning may take.
    """

    reason: str = ""
    detail: str = ""
    missing: tuple[str, ...] = ()
    misplaced: tuple[str, ...] = ()
    unwanted: tuple[str, ...] = ()
    seconds: float
    limit: int

    def is_right(self, file: MadeFile) -> bool:
        """Whether it ended as it should: every word in its place, or with its reason in time."""
        wrong = (*self.missing, *self.misplaced, *self.unwanted)
        if file.reason:
            is_named = self.reason.startswith(file.reason) and file.detail in self.detail
            return is_named and self.seconds < self.limit + 15
        return not self.reason and not wrong


def judge(cleaner: Cleaner, file: MadeFile) -> Judged:
    """Read a file as a preparer does, and compare."""
    spec = SHORT if file.reason == "cleaning_" else SPEC
    content = document_body(file.make(), [file.content_type])
    started = time.monotonic()
    (result,) = cleaner.clean([RawDocument(content, file.content_type)], spec)
    seconds = time.monotonic() - started
    limit = spec.clean_timeout_seconds
    if isinstance(result, CleaningFailure):
        reason = str(result.reason)
        return Judged(reason=reason, detail=result.detail, seconds=seconds, limit=limit)
    text = folded(result.text)
    return Judged(
        missing=tuple(word for word in file.words if folded(word) not in text),
        misplaced=_misplaced(file, result),
        unwanted=tuple(word for word in file.unwanted if word in result.text),
        seconds=seconds,
        limit=limit,
    )


def cleaned(cleaner: Cleaner, file: MadeFile, spec: PreparationSpec = SPEC) -> Cleaned:
    """What the processes with limits make of a file."""
    content = document_body(file.make(), [file.content_type])
    (result,) = cleaner.clean([RawDocument(content, file.content_type)], spec)
    return result


def below(document: CleanedDocument, heading: str) -> str:
    """The text from a heading to the next one of its level, or above it; or that of the part of this name.

    Empty: there is neither.
    """
    for part in document.parts:
        if part.name == heading:
            return document.text[part.start : part.end]
    blocks = document.blocks
    texts_of = [document.text[block.start : block.end] for block in blocks]
    if heading not in texts_of:
        return ""
    first = texts_of.index(heading)
    level = blocks[first].level
    end = first + 1
    while end < len(blocks) and not 0 < blocks[end].level <= level:
        end += 1
    return "\n".join(texts_of[first:end])


def folded(text: str) -> str:
    """Text without white space."""
    return "".join(text.split())


def with_damage(content: bytes, rng: random.Random) -> bytes:
    """The bytes with some changed, left out, repeated, or cut off."""
    at = rng.randrange(len(content))
    length = rng.randrange(1, 300)
    changed = bytes(rng.randrange(256) for _ in range(min(length, 20)))
    return rng.choice(
        [
            content[:at] + changed + content[at + len(changed) :],
            content[:at] + content[at + length :],
            content[:at] + content[at : at + length] * 9 + content[at:],
            content[:at],
        ]
    )


def _misplaced(file: MadeFile, document: CleanedDocument) -> tuple[str, ...]:
    misplaced: list[str] = []
    for heading, expected in file.places.items():
        place = folded(below(document, heading))
        misplaced += [f"{heading}: {word}" for word in expected if folded(word) not in place]
    return tuple(misplaced)
