"""What the corpus holds of a batch's documents, and whether their events change it."""

from collections.abc import Set
from dataclasses import dataclass

from psycopg.rows import class_row

from corpus.database import Connection, fetch_all
from corpus.prepare.fold import FoldedDocument, Place
from corpus.versions.comparison import ranked
from corpus.versions.marks import StoredMarks, earliest, is_after, latest, marks
from corpus.versions.scale import Ranked


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The newest known version of a document, visible or not (query `document_heads`)."""

    document_id: str
    document_key: int
    version: int
    visible: bool
    expired: bool
    content_sha256: bytes | None  # of the content as received
    cleaned_sha256: bytes | None  # of the cleaned text
    pipeline: str  # fingerprint of its preparation
    space_id: int | None
    content_type: str | None
    language: str | None = None  # a text search configuration; None: of the source
    language_from: str | None = None  # an `Origin`
    language_note: str | None = None  # a `Note`
    title: str | None = None
    first_record: tuple[int, str, int, int] | None = None  # a `Place`
    written: StoredMarks | None = None  # see `FoldedDocument.written`
    deletes: StoredMarks | None = None  # see `FoldedDocument.deletes`
    purged: bool = False  # its content is gone: it was withdrawn, long ago

    @property
    def ranked(self) -> Ranked:
        """Its version as it is compared."""
        return ranked(self.version, marks(self.written))

    def outranks(
        self, document: FoldedDocument, *, own_first: bool = False, again: bool = False
    ) -> bool:
        """Whether the content of the document's winner will certainly not be used.

        Versions only rise, and the first record of a version only moves back, so what is outranked stays so. An expired
        document that is sent again comes back with the content that it had, or, where that was purged, with the content
        that is sent.

        Args:
            document: what its events come to.
            own_first: versions that events name are greater than all that are made of records.
            again: the record that the head is of counts, too: it is read again, and may say something else now.
        """
        if document.winner_version != self.version:
            return document.ranked.is_below(self.ranked, own_first=own_first)
        if self.purged:
            return False
        if self.first_record is None or document.first is None:
            return True
        is_its_record = document.first == Place(*self.first_record)
        if again and is_its_record and not self.expired:
            return False
        return document.first >= Place(*self.first_record)

    def deletes_winner(self, document: FoldedDocument) -> bool:
        """Whether the document is deleted, by what the corpus and the batch have together. It then stays deleted."""
        written = document.written
        if document.winner_version == self.version:
            written = earliest(written, marks(self.written))
        return is_after(latest(document.deletes, marks(self.deletes)), written)

    def is_reusable(
        self,
        *,
        content_type: str | None,
        pipelines: Set[str],
        space_id: int,
        title: str | None = None,
    ) -> bool:
        """Whether the chunks of this version are also those of the same text under these conditions.

        The content type is one of them: the same text may have headings in one format and none in another.

        Args:
            content_type: of the document.
            pipelines: fingerprints of the preparations that count as the same.
            space_id: embedding space.
            title: of the document, where its chunks are embedded below it; None: they are not.
        """
        if title is not None and title != (self.title or ""):
            return False
        return (
            self.visible
            and self.content_type == content_type
            and self.pipeline in pipelines
            and self.space_id == space_id
        )


def heads_of(
    connection: Connection, source: str, document_ids: list[str]
) -> dict[str, Head]:
    """The heads of these documents, by document id; a document that was never seen has none."""
    values = {"source": source, "document_ids": document_ids}
    heads = fetch_all(connection, class_row(Head), "document_heads", values)
    return {head.document_id: head for head in heads}
