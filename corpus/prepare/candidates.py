"""A batch while it is prepared, and which of its documents have to be cleaned to know what becomes of them."""

import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from corpus.chunk import Chunk
from corpus.clean.cleaner import RawDocument
from corpus.clean.parts import Part
from corpus.embed.spaces import Space
from corpus.preparation import NO_CONTEXT, PreparationRule, PreparationRules
from corpus.prepare.columns import Completion, RowReader
from corpus.prepare.divide import Divide
from corpus.prepare.events import JudgedEvents
from corpus.prepare.files import DocumentChunk, document_row, parts_json
from corpus.prepare.fold import FoldedDocument, is_after
from corpus.prepare.heads import Head
from corpus.prepare.language import Language, Languages
from corpus.prepare.tries import Tries
from corpus.source import SourceSpec

Documents = dict[str, FoldedDocument]
_ORIGINAL = ("key", "value", "headers")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A document that has to be cleaned to know what becomes of it."""

    document_id: str
    document: FoldedDocument
    row: int  # of its winner
    # The version whose chunks stay if the cleaned text is the same.
    reusable: Head | None = None
    is_again: bool = False  # the corpus has this version, of another preparation

    @property
    def reusable_sha256(self) -> bytes | None:
        """Hash of the cleaned text of `reusable`."""
        if self.reusable is None:
            return None
        return self.reusable.cleaned_sha256


@dataclass(slots=True)
class BatchState:
    """A batch while it is prepared."""

    spec: SourceSpec
    space: Space
    events: JudgedEvents
    heads: dict[str, Head]
    preparation: PreparationRules
    languages: Languages
    refused_texts: frozenset[bytes] = frozenset()  # that the model makes no vector of
    number: int = 0
    tries: Tries | None = None  # None: none are noted
    completion: Completion = field(default_factory=Completion)
    read_row: RowReader | None = None  # for a source whose columns are kept
    again: bool = False  # a backfill: records that the corpus has are read again
    preparation_of_copies: PreparationRules | None = None  # of what a backfill read
    contents: dict[int, RawDocument] = field(default_factory=dict[int, RawDocument])
    """Of documents that were fetched, by row, while they are prepared."""
    hosts_left_alone: dict[str, str] = field(default_factory=dict[str, str])
    """That no more documents are asked of for this batch, and why."""
    same_bytes: set[int] = field(default_factory=set[int])
    """Rows whose document was fetched, and has the bytes of another address of its host."""
    is_behind: bool = False  # earlier batches of the source are not published yet
    documents: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    chunks: list[DocumentChunk] = field(default_factory=list[DocumentChunk])

    def is_deleted(self, document_id: str, document: FoldedDocument) -> bool:
        """Whether a delete without a version, of this batch or before, deletes what the document's events come to."""
        head = self.heads.get(document_id)
        if head is None:
            return is_after(document.deletes, document.written)
        return head.deletes_winner(document)

    def is_outranked(self, head: Head, document: FoldedDocument) -> bool:
        """Whether the content of the document's winner will certainly not be used."""
        own_first = self.spec.own_first
        again = self.is_read_again(document.winner)
        return head.outranks(document, own_first=own_first, again=again)

    def is_read_again(self, row: int | None) -> bool:
        """Whether a backfill reads an event, or has read what it is a copy of."""
        return self.again or row in self.events.copies

    def rule(self, row: int) -> PreparationRule:
        """Which documents with the media type of an event stay as they were prepared."""
        content_type = self.events.value("content_type", row)
        rules = self.preparation
        if row in self.events.copies and self.preparation_of_copies is not None:
            rules = self.preparation_of_copies
        return rules.of(content_type)

    def reusable_head(
        self,
        document_id: str,
        document: FoldedDocument,
        row: int,
        pipelines: Set[str],
    ) -> Head | None:
        """The document's visible version, if its chunks are valid for the same text; none where it is deleted.

        Args:
            document_id: of the document.
            document: what its events come to.
            row: of its winner.
            pipelines: fingerprints of the preparations that count as the same.
        """
        head = self.heads.get(document_id)
        if head is None or self.is_deleted(document_id, document):
            return None
        is_reusable = head.is_reusable(
            content_type=self.events.value("content_type", row),
            pipelines=pipelines,
            space_id=self.space.space_id,
            title=self.title_above(row),
        )
        return head if is_reusable else None

    def title_above(self, row: int) -> str | None:
        """The title that the chunks of an event's document are embedded below; None: they are embedded alone."""
        if self.spec.context == NO_CONTEXT:
            return None
        title: str | None = self.events.value("title", row)
        return title or ""

    def unchanged_head(
        self, document_id: str, document: FoldedDocument, row: int
    ) -> Head | None:
        """The document's visible version, if the event has the same content and it stays as it was prepared."""
        kept = self.rule(row).kept
        head = self.reusable_head(document_id, document, row, kept)
        if head is None:
            return None
        content_sha256 = self.events.value("content_sha256", row)
        if head.content_sha256 != content_sha256:
            return None
        return head

    def is_again(self, head: Head, document: FoldedDocument, row: int) -> bool:
        """Whether the event is that of a version which is to be prepared again."""
        rule = self.rule(row)
        if not rule.is_asked or not head.visible:
            return False
        content_sha256 = self.events.value("content_sha256", row)
        return (
            head.pipeline not in rule.kept
            and head.version == document.winner_version
            and head.content_sha256 == content_sha256
        )

    def add(
        self,
        document_id: str,
        document: FoldedDocument,
        *,
        reused: Head | None = None,
        cleaned_sha256: bytes | None = None,
        chunks: Sequence[Chunk] = (),
        account: Mapping[str, Any] | None = None,
        language: Language | None = None,
        is_again: bool = False,
        parts: Sequence[Part] = (),
    ) -> None:
        """Add a document to what is published.

        Args:
            document_id: of the document.
            document: what its events come to.
            reused: the version whose chunks stay as they are.
            cleaned_sha256: of the cleaned text, where the document was cleaned.
            chunks: of the cleaned text.
            account: of its text (`text_account`); None where it was not cleaned, or where the chunks of `reused` stay.
            language: of its text; None where it has none.
            is_again: whether the corpus has this version, of another preparation.
            parts: of the document, where it was cleaned.
        """
        row = document_row(
            self.events,
            document_id,
            document,
            reused=reused,
            cleaned_sha256=cleaned_sha256,
            account=account,
            language=language,
            is_again=is_again,
        )
        row["parts"] = parts_json(parts)
        row["is_copy"] = document.winner in self.events.copies
        if document.winner is not None:
            row["pipeline"] = self.rule(document.winner).current
        self.documents.append(row | self.columns_of(document_id, document))
        self.chunks.extend(
            DocumentChunk(document_id, ordinal, chunk)
            for ordinal, chunk in enumerate(chunks)
        )

    def columns_of(self, document_id: str, document: FoldedDocument) -> dict[str, Any]:
        """What is kept of a document's row for later changes that leave it out."""
        row = document.winner
        completion = self.completion
        if self.read_row is None or not self.spec.keeps_columns:
            return {}
        if row is None or row in completion.incomplete:
            return {}
        columns = completion.last.get(document_id)
        if self.events.is_upsert(row):
            known = completion.known.get(row, {})
            key, value, headers = (self.events.value(name, row) for name in _ORIGINAL)
            read = self.read_row(self.spec, key, value, headers, known)
            columns = read.columns
        taken_from: int | None = None
        if document_id in completion.last:
            head = self.heads.get(document_id)
            taken_from = 0 if head is None else head.document_key
        kept = json.dumps(dict(columns)) if columns else None
        return {"kept_columns": kept, "taken_from": taken_from}


def candidates_of(batch: BatchState, documents: Documents) -> list[Candidate]:
    """The documents that have to be cleaned; those that need no cleaning are added to the batch."""
    candidates: list[Candidate] = []
    for document_id, document in documents.items():
        candidate = _candidate(batch, document_id, document)
        if candidate is not None:
            candidates.append(candidate)
    return candidates


def _candidate(
    batch: BatchState, document_id: str, document: FoldedDocument
) -> Candidate | None:
    """The document, if it has to be cleaned; None: it is added to the batch."""
    row = document.winner
    if row is None or not batch.events.is_upsert(row):
        batch.add(document_id, document)
        return None
    head = batch.heads.get(document_id)
    if head is not None and batch.is_outranked(head, document):
        if batch.is_again(head, document, row):
            return Candidate(document_id, document, row, is_again=True)
        batch.add(document_id, document)
        return None
    unchanged = batch.unchanged_head(document_id, document, row)
    if unchanged is not None:
        stated = batch.events.value("stated_language", row)
        language = batch.languages.without_text(stated, unchanged)
        if language is None:
            return Candidate(document_id, document, row, unchanged)
        batch.add(document_id, document, reused=unchanged, language=language)
        return None
    current = {batch.rule(row).current}
    reusable = batch.reusable_head(document_id, document, row, current)
    is_again = False
    if head is not None and batch.is_read_again(row):
        is_again = batch.is_again(head, document, row)
    return Candidate(document_id, document, row, reusable, is_again)


def division_of(batch: BatchState, candidate: Candidate) -> Divide:
    """What follows the cleaning of a candidate.

    A deleted version is divided, too: one that could never be in the corpus keeps no other out, so it becomes a dead
    letter, as it would in a batch of its own.
    """
    return Divide(
        batch.space.tokenizer,
        batch.spec.pipeline,
        batch.spec.context,
        batch.title_above(candidate.row),
        candidate.reusable_sha256,
    )
