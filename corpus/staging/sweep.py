"""Remove staged files that no batch needs any more, and that publishing did not remove.

Publishing removes the files of its batch, and those that it leaves behind for sure. What stays is what nothing points
to: micro-batches of a consumer that was killed before it handed them over, other cuts of the same records that came
after their batch, files of batches that failed or were cancelled. Every storer sweeps, once per hour.

A file is removed when it is older than its source's `retention.staged_files` (a day), by its last writing, and

- the position row has passed its records, or a later batch of its source is published: no batch reads it; or
- the source's entity can be asked, does not hold it, and none of the source's batches runs.

A consumer that waits longer to hand a file over writes it again (`ingest.consume.consumer`). One that was frozen for
longer than that may hand over a file that is gone: its batch fails with `StagedFileError`, and the source reads the
records again from Kafka.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta

from psycopg.rows import class_row
from psycopg_pool import ConnectionPool

from corpus.database import Connection, database_errors_translated, fetch_all
from corpus.retention.spec import RetentionSpec
from corpus.sql import query
from corpus.staging.layout import BatchFileName, StagedRange, parse_name
from corpus.staging.store import StagingStore, StoredFile

# Of a source that does not say otherwise, or is not in the database.
MIN_AGE = timedelta(seconds=RetentionSpec().staged_files_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceProgress:
    """How far a source is; a row of the query `sweep_progress`, one per partition."""

    source: str
    last_batch: int
    topic: str | None  # None: no partition was read yet
    partition: int | None
    next_offset: int | None
    staged_files_seconds: float | None = None  # age of files that are removed


@dataclass(slots=True, kw_only=True)
class OldFiles:
    """Files that are old enough to be removed."""

    settled: list[StoredFile] = field(default_factory=list[StoredFile])
    # By source: only its entity can say whether a batch needs them.
    undecided: dict[str, list[StoredFile]] = field(
        default_factory=dict[str, list[StoredFile]]
    )
    unknown: int = 0  # files whose names are not Freshet's; they stay
    listed: list[str] = field(default_factory=list[str])  # names of all files


@dataclass(frozen=True, slots=True, kw_only=True)
class SweptFiles:
    """What a sweep did."""

    removed: int
    removed_bytes: int
    needed: int  # a batch holds them, or may hold them
    unknown: int  # not Freshet's, or reached through a link


class Sweeper:
    """Finds and removes the files; what an entity holds is asked elsewhere, since that needs Temporal.

    Args:
        store: of the staged files.
        pool: of connections to PostgreSQL.
    """

    def __init__(self, store: StagingStore, pool: ConnectionPool[Connection]) -> None:
        self._store = store
        self._pool = pool

    def find(self, now: datetime, min_age: timedelta | None = None) -> OldFiles:
        """Sort the files that were last written `min_age` ago or earlier; None: as long ago as their source says.

        Raises:
            DependencyError: PostgreSQL or the staging store does not answer.
        """
        # The files are listed before the positions are read: one that is staged meanwhile is young.
        folders = ("events", "batches", "backfills")
        stored = [file for folder in folders for file in self._store.files(folder)]
        sources = {name.source for file in stored if (name := parse_name(file.name))}
        with database_errors_translated(), self._pool.connection() as connection:
            progress = fetch_all(
                connection,
                class_row(SourceProgress),
                "sweep_progress",
                {"sources": sorted(sources)},
            )
        ages = _ages(progress)
        old: list[StoredFile] = []
        for file in stored:
            age = _age(file, ages) if min_age is None else min_age
            if file.written_at <= now - age:
                old.append(file)
        sorted_files = sort_files(old, progress)
        sorted_files.listed = [file.name for file in stored]
        return sorted_files

    def remove(
        self, old: OldFiles, held: Mapping[str, Collection[str] | None]
    ) -> SweptFiles:
        """Remove what is settled, and what no entity holds, and record it (`freshet sweeps`).

        Keys of files that there are not, as of a write that failed, go with it.

        Args:
            old: as `find` returned it.
            held: names that the entity of each source holds; None: it could not be asked, or one of its batches runs.

        Raises:
            DependencyError: the staging store or PostgreSQL does not answer.
        """
        superfluous = list(old.settled)
        for source, files in old.undecided.items():
            names = held.get(source)
            if names is not None:
                superfluous += [file for file in files if file.name not in names]
        through_links = self._store.delete([file.name for file in superfluous])
        removed = len(superfluous) - through_links
        undecided = sum(map(len, old.undecided.values()))
        swept = SweptFiles(
            removed=removed,
            removed_bytes=sum(file.file_bytes for file in superfluous),
            needed=undecided + len(old.settled) - len(superfluous),
            unknown=old.unknown + through_links,
        )
        with database_errors_translated(), self._pool.connection() as connection:
            connection.execute(query("record_sweep"), asdict(swept))
            connection.execute(query("destroy_lost_keys"), {"names": old.listed})
        return swept


def _ages(progress: Iterable[SourceProgress]) -> Mapping[str, timedelta]:
    """By source, how old files are that are removed."""
    stated = {row.source: row.staged_files_seconds for row in progress}
    return {
        source: timedelta(seconds=seconds)
        for source, seconds in stated.items()
        if seconds is not None
    }


def _age(file: StoredFile, ages: Mapping[str, timedelta]) -> timedelta:
    name = parse_name(file.name)
    if name is None:
        return MIN_AGE
    return ages.get(name.source, MIN_AGE)


def sort_files(
    files: Iterable[StoredFile], progress: Sequence[SourceProgress]
) -> OldFiles:
    """Sort files by what the database says about them."""
    last_batches = {row.source: row.last_batch for row in progress}
    positions = {
        (row.source, row.topic, row.partition): row.next_offset or 0 for row in progress
    }
    old = OldFiles()
    for file in files:
        match parse_name(file.name):
            case None:
                old.unknown += 1
                continue
            case StagedRange() as name:
                key = (name.source, name.topic, name.partition)
                is_passed = name.next_offset <= positions.get(key, 0)
                is_settled = is_passed and not name.backfill
            case BatchFileName() as name:
                is_settled = name.batch <= last_batches.get(name.source, 0)
        if is_settled:
            old.settled.append(file)
        else:
            old.undecided.setdefault(name.source, []).append(file)
    return old
