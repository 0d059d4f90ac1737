"""Plan how the version of a document that was a mistake is corrected; the source's entity carries it out."""

from dataclasses import dataclass
from typing import Any

from psycopg.rows import class_row

from corpus.batch import Correct
from corpus.database import Connection, fetch_one
from corpus.errors import ConfigurationError
from corpus.source import SourceSpec, SourceStatus, read_spec
from corpus.versions.comparison import ranked
from corpus.versions.marks import StoredMarks, marks
from corpus.versions.scale import is_far_below


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectionPlan:
    """What a correction means."""

    source: str
    document_id: str
    old_version: int
    new_version: int
    state: str  # of the document: visible, deleted, expired
    dead_letters: tuple[
        int, ...
    ]  # open ones of the document, of versions that were refused

    def order(self, reason: str, requested_by: str) -> Correct:
        """What the entity is asked to do."""
        return Correct(
            document_id=self.document_id,
            old_version=self.old_version,
            new_version=self.new_version,
            reason=reason,
            requested_by=requested_by,
        )

    def lines(self) -> list[str]:
        """The plan for a person."""
        lines = [
            f"document {self.document_id!r} of source {self.source!r} ({self.state}): version {self.old_version} "
            f"becomes {self.new_version}; its content stays, later versions count again, {self.old_version} is refused"
        ]
        if self.dead_letters:
            numbers = " ".join(map(str, self.dead_letters))
            # They are redriven by a person: some may be mistakes, too.
            lines.append(
                f"later events that were refused: `freshet dead-letters redrive {numbers}` afterwards"
            )
        return lines


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """A row of the query `version_to_correct`."""

    spec: dict[str, Any]
    source_state: str
    version: int | None  # None: there is no such document
    written: StoredMarks | None
    state: str | None
    earlier: list[int]  # versions that the document had before
    dead_letters: list[int]


def plan_correction(
    connection: Connection, source: str, document_id: str, new_version: int | None
) -> tuple[CorrectionPlan, SourceSpec]:
    """What correcting a document's version means; nothing is changed.

    Args:
        connection: to PostgreSQL.
        source: of the document.
        document_id: of the document.
        new_version: in place of the present one; None: the highest that it had before and that is far below, else 0.

    Raises:
        ConfigurationError: there is no such source or document, the source carries out no orders, or the version is not
            below the present one.
    """
    values = {"source": source, "document_id": document_id}
    stored = fetch_one(connection, class_row(_Stored), "version_to_correct", values)
    if stored is None:
        raise ConfigurationError(
            f"there is no source {source!r}; `freshet sources` lists them"
        )
    spec = read_spec(source, stored.spec)
    if stored.version is None:
        raise ConfigurationError(
            f"source {source!r} has no document {document_id!r}; "
            f"`freshet documents --source {source} --gone` lists them"
        )
    _check(stored, spec)
    chosen = new_version
    if chosen is None:
        chosen = _earlier_version(stored.earlier, stored.version)
    if not 0 <= chosen < stored.version:
        raise ConfigurationError(
            f"version {chosen} is not below {stored.version}, the version of document {document_id!r}: later events "
            "would count as little as now"
        )
    plan = CorrectionPlan(
        source=source,
        document_id=document_id,
        old_version=stored.version,
        new_version=chosen,
        state=stored.state or "",
        dead_letters=tuple(stored.dead_letters),
    )
    return plan, spec


def _check(stored: _Stored, spec: SourceSpec) -> None:
    if stored.source_state != SourceStatus.ACTIVE:
        raise ConfigurationError(
            f"source {spec.source!r} is {stored.source_state}, so that nothing would be carried out; "
            f"`freshet source resume {spec.source}` continues it"
        )
    is_own = ranked(stored.version or 0, marks(stored.written)).is_own
    if not is_own:
        raise ConfigurationError(
            f"version {stored.version} was made of the record, since the event names none: no single event is wrong. "
            f'Where the versions of events count from now on, set version_rule = "own" for source {spec.source!r} and '
            "run `freshet apply`"
        )


def _earlier_version(earlier: list[int], present: int) -> int:
    far_below = [version for version in earlier if is_far_below(version, present)]
    return max(far_below or earlier, default=0)
