"""What the corpus holds of a batch's documents, and whether their events change it."""

from dataclasses import dataclass

from psycopg.rows import class_row

from corpus.database import Connection, fetch_all
from corpus.prepare.fold import FoldedDocument


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

    def outranks(self, document: FoldedDocument) -> bool:
        """Whether the fence will certainly refuse the document: versions only rise, so what is stale stays stale."""
        if document.winner_version > self.version:
            return False
        # An expired document that is seen again may come back under the same version.
        return not (self.expired and document.winner_version == self.version)

    def is_reusable(
        self, *, content_type: str | None, pipeline: str, space_id: int
    ) -> bool:
        """Whether the chunks of this version are also those of the same text under these conditions.

        The content type is one of them: the same text may have headings in one format and none in another.
        """
        return (
            self.visible
            and self.content_type == content_type
            and self.pipeline == pipeline
            and self.space_id == space_id
        )


def heads_of(
    connection: Connection, source: str, document_ids: list[str]
) -> dict[str, Head]:
    """The heads of these documents, by document id; a document that was never seen has none."""
    values = {"source": source, "document_ids": document_ids}
    heads = fetch_all(connection, class_row(Head), "document_heads", values)
    return {head.document_id: head for head in heads}
