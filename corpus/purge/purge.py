"""A purge: what a source keeps no longer is removed. Its order, its cursor, its phases and its result.

Phases, in order; each is a number of pages, and a page is one short transaction::

    begin ─► withdrawn ─► chunks ─► versions ─► vectors ─► dead_letters ─► notices ─► reports ─► audits ─► done

"""

from dataclasses import dataclass, field
from enum import StrEnum

DEFAULT_RATE = 1_000
# A purge is overdue when it is later than this many of its intervals.
OVERDUE_INTERVALS = 2


class Phase(StrEnum):
    """What a purge removes next. The names of those that remove are the kinds that are counted."""

    BEGIN = "begin"  # move the horizon: from now on, a search as of before is refused
    WITHDRAWN = "withdrawn"  # what withdrawn documents said; their heads stay
    CHUNKS = "chunks"  # that were closed before the horizon
    VERSIONS = "versions"  # of documents, that ended before the horizon
    VECTORS = (
        "vectors"  # in the embedding store: held by a chunk, too, or by none for long
    )
    DEAD_LETTERS = "dead_letters"  # their bytes
    NOTICES = "notices"  # who was notified of which batch
    REPORTS = "reports"  # of freshness checks
    AUDITS = "audits"  # their results
    DONE = "done"


_ORDER = tuple(Phase)


def after(phase: Phase) -> Phase:
    """The phase that follows."""
    return _ORDER[_ORDER.index(phase) + 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgeOrder:
    """Input of the workflow: what to purge. The ages are those of the source when it begins."""

    source: str
    rate: int = DEFAULT_RATE  # rows per second; 0: no limit


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgeCursor:
    """How far a purge is: input and result of every step."""

    order: PurgeOrder
    phase: Phase = Phase.BEGIN
    purge: int = 0  # its number; 0: not begun
    after: str = ""  # last key of the page before, where pages follow keys
    cost: int = 0  # rows that the last step looked at
    is_busy: bool = False  # another purge was at work, so that nothing was done
    run_id: str = ""  # of the workflow that began it
    workflow_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgeResult:
    """Result of the workflow: pointers and counts."""

    purge: int
    source: str
    removed: dict[str, int] = field(default_factory=dict[str, int])  # by kind


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgeFailure:
    """Why a purge has no result."""

    purge: int  # its number; 0: it had none yet
    run_id: str  # of the workflow that began it
    error: str


def purge_workflow_id(source: str) -> str:
    """Workflow id of a source's purge; one runs at a time."""
    return f"purge:{source}"
