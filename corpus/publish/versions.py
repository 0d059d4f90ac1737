"""Whether the versions of a batch were judged against what the corpus has now; else it is prepared again."""

from dataclasses import dataclass

from psycopg.rows import class_row, scalar_row

from corpus.batch import PreparedBatch
from corpus.errors import StalePreparationError
from corpus.publish.transaction import PublishTransaction
from corpus.source import SourceSpec
from corpus.versions.comparison import incomparable, ranked
from corpus.versions.marks import StoredMarks, marks
from corpus.versions.scale import reach


@dataclass(frozen=True, slots=True, kw_only=True)
class OutrankedDocument:
    """A document of the batch whose head has another version (query `other_versions`)."""

    document_id: str
    version: int
    written: StoredMarks | None
    head_version: int
    head_written: StoredMarks | None

    def is_incomparable(self, spec: SourceSpec) -> bool:
        """Whether the head outranks the batch's version, and the two cannot be compared."""
        written, head_written = marks(self.written), marks(self.head_written)
        lower = ranked(self.version, written)
        upper = ranked(self.head_version, head_written)
        if not lower.is_below(upper, own_first=spec.own_first):
            return False
        why = incomparable(
            lower,
            written,
            upper,
            head_written,
            spec,
        )
        return why is not None


def check_versions(transaction: PublishTransaction, prepared: PreparedBatch) -> None:
    """Check what the preparation judged of versions, before documents are compared with their heads.

    Raises:
        StalePreparationError: another batch was published meanwhile, and the judgement may be another one now.
    """
    _check_highest(transaction, prepared)
    corrected: int = transaction.fetch_one(scalar_row, "count_corrected")
    if corrected:
        raise StalePreparationError(
            f"versions of {corrected} documents were corrected meanwhile; prepare again"
        )
    spec = transaction.spec
    if not spec.reads_own_versions:
        return
    others = transaction.fetch_all(class_row(OutrankedDocument), "other_versions")
    for other in others:
        if other.is_incomparable(spec):
            raise StalePreparationError(
                f"document {other.document_id!r} has version {other.head_version} now, which is on another scale than "
                f"{other.version}; prepare again"
            )


def _check_highest(transaction: PublishTransaction, prepared: PreparedBatch) -> None:
    known = transaction.source.highest_version
    accepted = prepared.highest_accepted
    if accepted is None or known is None or known == prepared.highest_known:
        return
    is_auto = transaction.spec.version_scale == "auto"
    is_beyond = is_auto and accepted > reach(known)
    if is_beyond or prepared.versions_beyond:
        raise StalePreparationError(
            f"the highest version of the source is {known}, the batch was prepared with {prepared.highest_known}; "
            "prepare again"
        )
