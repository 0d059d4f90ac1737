"""Plan an erasure: which documents, what goes of each store, and whether a person must confirm it."""

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from psycopg.rows import class_row, scalar_row

from corpus.batch import Erase
from corpus.database import Connection, fetch_all, fetch_one
from corpus.erase.unread import UnreadLetters, unread_letters
from corpus.errors import ConfigurationError
from corpus.source import SourceSpec, read_spec

# An id that is so short may be a word of a reason by chance.
_MIN_TELLING = 4
_MAX_SHOWN = 20  # numbers on a line


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfReach:
    """A store that Freshet does not erase from."""

    store: str
    until: str  # an instant in ISO 8601, or when in words
    detail: str = ""  # why, and what a person can do


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasurePlan:
    """What an erasure means."""

    source: str
    document_ids: tuple[str, ...]
    visible: int  # of these documents
    all_visible: int  # documents of the source that readers see
    versions: int  # rows of these documents, those that are not visible included
    chunks: int
    dead_letters: int
    erased_before: int  # of these documents, those that were erased before
    max_ratio: float  # of the visible documents; above it a person confirms
    # Dead letters that mention one of the documents and are of another one, as far as their bytes say; they stay.
    mentioned_in: tuple[int, ...] = ()
    chosen: tuple[int, ...] = ()  # of those, the ones that a person has chosen to go
    out_of_reach: tuple[OutOfReach, ...] = field(default_factory=tuple)

    @property
    def is_mass(self) -> bool:
        """Whether so many documents go that a person has to confirm it; a single one was named."""
        is_several = len(self.document_ids) > 1
        return is_several and self.visible > self.max_ratio * self.all_visible

    def lines(self) -> list[str]:
        """The plan for a person; ids are not shown."""
        lines = [
            f"source {self.source!r}: {len(self.document_ids):,} documents, {self.visible:,} of the "
            f"{self.all_visible:,} that readers see; {self.versions:,} versions, {self.chunks:,} chunks, "
            f"{self.dead_letters:,} dead letters, and what names them in outcomes, audits, reports and staged files"
        ]
        if not self.versions:
            lines.append(
                "the corpus has no row of them; their ids are remembered, so that nothing brings them in"
            )
        if self.erased_before:
            lines.append(f"{self.erased_before:,} of them were erased before")
        if self.mentioned_in:
            numbers = ", ".join(map(str, self.mentioned_in[:_MAX_SHOWN]))
            lines.append(
                f"{len(self.mentioned_in):,} dead letters that cannot be read mention one of them and stay: {numbers}; "
                "`freshet dead-letters show NUMBER` shows one, `--dead-letter NUMBER` erases it, too"
            )
        lines += [
            f"out of reach: {one.store}, until {one.until}. {one.detail}".rstrip()
            for one in self.out_of_reach
        ]
        return lines


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """A row of the query `erasure_plan`."""

    spec: dict[str, Any]
    state: str
    all_visible: int
    visible: int
    versions: int
    chunks: int
    dead_letters: int
    erased_before: int


def documents_where(connection: Connection, source: str, metadata: str) -> list[str]:
    """Ids of the documents of which some version has this in its metadata, which is JSON.

    Raises:
        ConfigurationError: there is none.
    """
    values = {"source": source, "metadata": metadata}
    found: list[str] = fetch_all(connection, scalar_row, "documents_where", values)
    if not found:
        raise ConfigurationError(
            f"no document of source {source!r} has {metadata} in its metadata, in any version"
        )
    return found


def plan_erasure(
    connection: Connection,
    source: str,
    document_ids: Sequence[str],
    dead_letters: Collection[int] = (),
) -> tuple[ErasurePlan, SourceSpec]:
    """What erasing documents means; nothing is changed.

    Args:
        connection: to PostgreSQL.
        source: of the documents.
        document_ids: at least one; the corpus need not know them yet.
        dead_letters: that cannot be read and mention one of them, to be erased with them.

    Raises:
        ConfigurationError: there is no such source, or such a dead letter mentions none of them.
        UnreadableSpecError: this version cannot read its specification.
    """
    distinct = tuple(sorted(set(document_ids)))
    values = {"source": source, "document_ids": list(distinct)}
    stored = fetch_one(connection, class_row(_Stored), "erasure_plan", values)
    if stored is None:
        raise ConfigurationError(
            f"there is no source {source!r}; `freshet sources` lists them"
        )
    spec = read_spec(source, stored.spec)
    unread = unread_letters(connection, source, distinct)
    chosen = _chosen(unread, dead_letters)
    unread = unread.with_chosen(chosen)
    plan = ErasurePlan(
        source=source,
        document_ids=distinct,
        visible=stored.visible,
        all_visible=stored.all_visible,
        versions=stored.versions,
        chunks=stored.chunks,
        dead_letters=stored.dead_letters + len(unread.of_document),
        chosen=chosen,
        mentioned_in=tuple(sorted(unread.mentioning)),
        erased_before=stored.erased_before,
        max_ratio=spec.freshness.max_expiry_ratio,
    )
    return plan, spec


def _chosen(unread: UnreadLetters, dead_letters: Collection[int]) -> tuple[int, ...]:
    """The dead letters that a person chose, each once."""
    chosen = sorted({*dead_letters} - unread.of_document.keys())
    for number in chosen:
        if number not in unread.mentioning:
            raise ConfigurationError(
                f"dead letter {number} is none that cannot be read and mentions one of the documents; "
                "`--dry-run` names those"
            )
    return tuple(chosen)


def names_document(reason: str, document_ids: Sequence[str]) -> bool:
    """Whether a reason, which is kept, holds an id."""
    return any(
        document_id in reason
        for document_id in document_ids
        if len(document_id) >= _MIN_TELLING
    )


def request_erasure(
    connection: Connection, plan: ErasurePlan, reason: str, requested_by: str
) -> Erase:
    """Write down what is to be erased; returns the order for the source's entity.

    The same documents again are the same order, as long as it was not carried out.
    """
    out_of_reach = [asdict(one) for one in plan.out_of_reach]
    values = {
        "source": plan.source,
        "document_ids": list(plan.document_ids),
        "dead_letters": list(plan.chosen),
        "reason": reason,
        "requested_by": requested_by,
        "out_of_reach": json.dumps(out_of_reach),
    }
    erasure = fetch_one(connection, scalar_row, "request_erasure", values)
    return Erase(erasure=str(erasure))
