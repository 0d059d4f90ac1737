"""The staged files of a prepared batch, as frames."""

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass

import polars as pl

from corpus.batch import PreparedBatch, StagedFile
from corpus.database import Connection
from corpus.errors import StagedFileError, StalePreparationError
from corpus.sql import query
from corpus.staging.bound import check_batch_file
from corpus.staging.frames import read_frame
from corpus.staging.layout import CHUNKS, DOCUMENTS, PREPARED_EVENTS, Columns
from corpus.staging.store import StagingStore

# The files of a prepared batch, as `PreparedBatch` names them.
PARTS = ("events", "documents", "chunks", "texts")

_SIGN_OF_LIFE_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """The files; their columns are declared in `corpus.staging.layout`."""

    events: pl.DataFrame
    documents: pl.DataFrame
    chunks: pl.DataFrame

    @property
    def height(self) -> int:
        """Rows of the longest."""
        return max(self.events.height, self.documents.height, self.chunks.height)

    def part(self, documents: Collection[int], events: Collection[int]) -> "Frames":
        """Some documents with their events and chunks, and some events besides.

        Args:
            documents: rows of `documents`.
            events: rows of `events`.
        """
        chosen = self.documents.filter(_row_is_in(documents))
        of_chosen = pl.col("document_id").is_in(chosen["document_id"].implode())
        acting = (pl.col("outcome") == "event") & of_chosen
        return Frames(
            events=self.events.filter(acting | _row_is_in(events)),
            documents=chosen,
            chunks=self.chunks.filter(of_chosen),
        )


def _row_is_in(rows: Collection[int]) -> pl.Expr:
    return pl.int_range(pl.len()).is_in(sorted(rows))


def read_contents(store: StagingStore, prepared: PreparedBatch) -> Frames:
    """Read the files of a batch.

    Raises:
        StagedFileError: one is altered.
        StalePreparationError: one is missing.
        DependencyError: the staging store does not answer.
    """
    try:
        return Frames(
            events=_read(store, prepared, "events", PREPARED_EVENTS),
            documents=_read(store, prepared, "documents", DOCUMENTS),
            chunks=_read(store, prepared, "chunks", CHUNKS),
        )
    except StagedFileError as error:
        if not error.is_missing:
            raise
        # It was removed with a batch that was published meanwhile, or swept: preparing writes it again.
        raise StalePreparationError(f"{error}; prepare again") from error


def _read(
    store: StagingStore, prepared: PreparedBatch, part: str, columns: Columns
) -> pl.DataFrame:
    file: StagedFile = getattr(prepared, part)
    return read_frame(store, file, columns)


def check_files(prepared: PreparedBatch, source: str, batch: int) -> None:
    """Check that the files are those of this batch.

    Raises:
        StagedFileError: one is not; none was opened.
    """
    for part in PARTS:
        check_batch_file(getattr(prepared, part), source, batch, part)


def read_in_transaction(
    connection: Connection, store: StagingStore, prepared: PreparedBatch
) -> Frames:
    """Read the files while a transaction is open.

    PostgreSQL closes a session that does nothing in a transaction. While a slow store is read, the session shows that
    its process is alive; one that stands still does not.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="read-staged") as reader:
        frames = reader.submit(read_contents, store, prepared)
        while not wait([frames], timeout=_SIGN_OF_LIFE_SECONDS).done:
            connection.execute(query("show_life"))
        return frames.result()
