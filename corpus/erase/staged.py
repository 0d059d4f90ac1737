"""Staged files that hold erased documents: which can be removed, and which a batch needs still."""

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from corpus.erase.remembered import names_of
from corpus.erase.spelling import quoted
from corpus.errors import StagedFileError
from corpus.staging.frames import read_columns
from corpus.staging.layout import StagedRange, parse_name
from corpus.staging.store import StagingStore, StoredFile
from corpus.staging.sweep import OldFiles, SourceProgress, sort_files

logger = logging.getLogger(__name__)

_EVENT_COLUMNS = ("outcome", "document_id", "key", "value")
# Parts of a prepared batch that name their documents; the others hold texts of the same documents.
_NAMING_PARTS = ("events", "documents", "chunks")


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldingFiles:
    """Staged files of a source, as far as an erasure is concerned."""

    removable: Sequence[str] = ()  # no batch needs them, and they may hold erased text
    # A batch needs them, and they hold it; publishing removes them.
    needed: list[str] = field(default_factory=list[str])


def holding_files(
    store: StagingStore,
    source: str,
    document_ids: Collection[str],
    erased_at: datetime,
    progress: Sequence[SourceProgress],
) -> HoldingFiles:
    """The files of a source that hold erased documents.

    What no batch needs is removed whatever it holds: it was left behind, and only reading it would tell. Of
    micro-batches those count that were staged before the erasure; of a record that is sent again later nothing is
    prepared.

    Args:
        store: of the staged files.
        source: of the documents.
        document_ids: that are erased.
        erased_at: when.
        progress: how far the source is.

    Raises:
        DependencyError: the store does not answer.
    """
    folders = ("events", "batches", "backfills")
    files = [file for each in folders for file in store.files(f"{each}/{source}")]
    sorted_files = sort_files(files, progress)
    removable = [file.name for file in sorted_files.settled]
    holding = HoldingFiles(removable=removable)
    erased = _Erased.of(document_ids)
    for file in _undecided(sorted_files):
        if _is_older(file, erased_at) and _holds(store, file.name, erased):
            holding.needed.append(file.name)
    return holding


@dataclass(frozen=True, slots=True, kw_only=True)
class _Erased:
    """By what records of erased documents are known."""

    names: frozenset[bytes]  # the ids
    spellings: frozenset[bytes]  # as JSON has them, in records that cannot be read

    @classmethod
    def of(cls, document_ids: Collection[str]) -> "_Erased":
        names = frozenset(document_id.encode() for document_id in document_ids)
        spellings = frozenset[bytes]().union(*map(quoted, document_ids))
        return cls(names=names, spellings=spellings)

    def has(
        self,
        outcome: str,
        document_id: str | None,
        key: bytes | None,
        value: bytes | None,
    ) -> bool:
        """Whether a row of events is of one of them."""
        names = names_of(outcome, document_id, key, value)
        if not self.names.isdisjoint(names):
            return True
        if document_id is not None:
            return False
        # An unreadable record, of which publishing makes a dead letter: it may quote the id somewhere.
        return any(spelling in name for name in names for spelling in self.spellings)


def _undecided(files: OldFiles) -> Iterable[StoredFile]:
    for undecided in files.undecided.values():
        yield from undecided


def _is_older(file: StoredFile, erased_at: datetime) -> bool:
    """Whether it may have been made without knowing of the erasure; files of a batch may be written long afterwards."""
    is_events = isinstance(parse_name(file.name), StagedRange)
    return not is_events or file.written_at <= erased_at


def _holds(store: StagingStore, name: str, erased: _Erased) -> bool:
    part = name.rpartition("/")[2].partition("-")[0]
    is_events = isinstance(parse_name(name), StagedRange)
    if not is_events and part not in _NAMING_PARTS:
        return False
    columns = _EVENT_COLUMNS
    if part in ("documents", "chunks"):
        columns = ("document_id",)
    try:
        frame = read_columns(store, name, columns)
    except StagedFileError as error:
        if error.is_missing:  # its key is destroyed
            return False
        # Its batch names the reason, and the sweep removes it.
        context = {"action": "staged_file_unread", "file": name, "error": str(error)}
        logger.warning("a staged file cannot be read", extra=context)
        return True
    if frame is None:  # published meanwhile
        return False
    return _holds_any(frame, erased)


def _holds_any(frame: pl.DataFrame, erased: _Erased) -> bool:
    if frame.columns == ["document_id"]:
        ids = frame["document_id"].unique().drop_nulls()
        return any(document_id.encode() in erased.names for document_id in ids)
    rows = frame.select(_EVENT_COLUMNS).iter_rows()
    return any(erased.has(*row) for row in rows)
