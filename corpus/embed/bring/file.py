"""A Parquet file of embeddings: which rows can be taken. It is read in pages, so it may be larger than memory."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from polars.exceptions import PolarsError

from corpus.chunk import embedded_sha256
from corpus.disclosure.error_text import public_text
from corpus.embed.embedder import Vectors
from corpus.errors import ConfigurationError

PAGE = 10_000  # rows in memory together
_HASH_BYTES = 32
# A vector shorter than this points nowhere.
_MIN_LENGTH = 1e-6
_UNIT_TOLERANCE = 0.02
# The beginning of a text's hash, by which rows of one text are found.
_KEY = np.dtype("<u8")


@dataclass(slots=True, kw_only=True)
class FileCounts:
    """Rows of a file; each is usable, or refused for one reason."""

    rows: int = 0
    usable: int = 0
    no_text: int = 0  # neither a text nor a hash, or a text with U+0000
    wrong_hash: int = 0  # the hash is not one, or is not that of the text beside it
    wrong_dimensions: int = 0
    not_finite: int = 0  # NaN or infinite, or of length zero
    repeated: int = 0  # of a text that an earlier row has, with the same vector
    contradicting: int = 0  # of a text that has two vectors in the file
    scaled: int = 0  # of the usable ones: are brought to length 1

    @property
    def refused(self) -> int:
        """Rows that are not taken, but for repetitions, which lose nothing."""
        return self.rows - self.usable - self.repeated


@dataclass(frozen=True, slots=True)
class Page:
    """Usable rows."""

    hashes: list[bytes]
    texts: list[str | None]
    contexts: list[str]  # that the model reads above the texts; empty: nothing
    vectors: Vectors  # (rows, dimensions)


@dataclass(slots=True)
class _Read:
    """The rows of a page by number, before repetitions are known."""

    hashes: list[bytes | None]
    texts: list[str | None]
    contexts: list[str]
    vectors: Vectors
    usable: "np.ndarray[tuple[int], np.dtype[np.bool_]]"
    counts: FileCounts = field(default_factory=FileCounts)


class EmbeddingsFile:
    """A file with a column `text`, `text_sha256` (32 bytes, or 64 hexadecimal digits) or both, and `vector`.

    For a space that embeds the headings above a text with it, `context` has them, as the model read them (one line,
    without the line end); null or empty: nothing was above. The hash then is that of both (`Chunk.sha256`).

    Args:
        path: of the file.
        dimensions: of the space.
        normalised: whether vectors of the space have length 1.
        has_context: whether the space embeds what is above a text with it.

    Raises:
        ConfigurationError: it is no Parquet file, or lacks a column.
    """

    def __init__(
        self,
        path: Path,
        *,
        dimensions: int,
        normalised: bool,
        has_context: bool = False,
    ) -> None:
        self._path = path
        self._has_context = has_context
        self._dimensions = dimensions
        self._normalised = normalised
        self._scan = pl.scan_parquet(path)
        with_problem = self._problem_of_columns()
        if with_problem:
            raise ConfigurationError(f"{path} {with_problem}")
        self._wanted: np.ndarray[tuple[int], np.dtype[np.bool_]] | None = None
        # Of its texts and vectors, once it is checked: a sample that is drawn by it suits no pattern of the file.
        self.seed = 0

    def _problem_of_columns(self) -> str:
        try:
            schema = self._scan.collect_schema()
        except (PolarsError, OSError) as error:
            return f"cannot be read as Parquet: {public_text(error)}"
        self._columns = [
            name
            for name in ("text", "text_sha256", "context", "vector")
            if name in schema
        ]
        if "vector" not in schema or not {"text", "text_sha256"} & set(self._columns):
            names = ", ".join(schema)
            return f"needs a column vector, and text or text_sha256 beside it; it has {names}"
        problem = _problem_of_types(schema)
        if problem:
            return problem
        return self._problem_of_context("text" in schema, "context" in schema)

    def _problem_of_context(self, has_texts: bool, is_there: bool) -> str:
        if self._has_context and has_texts and not is_there:
            return (
                "needs a column context beside text: the space embeds the headings above a text with it; "
                "where nothing was above, it is null"
            )
        if is_there and not self._has_context:
            return "has a column context, and the space embeds texts alone"
        return ""

    def check(self) -> FileCounts:
        """Read the whole file once; after this `pages` leaves out what is refused.

        Raises:
            ConfigurationError: the file cannot be read.
        """
        counts = FileCounts()
        keys: list[np.ndarray[tuple[int], np.dtype[np.uint64]]] = []
        points: list[np.ndarray[tuple[int], np.dtype[np.uint64]]] = []
        usable: list[np.ndarray[tuple[int], np.dtype[np.bool_]]] = []
        for read in self._read():
            _add(counts, read.counts)
            usable.append(read.usable)
            keys.append(_keys(read.hashes))
            points.append(_points(read.vectors))
        if not counts.rows:
            raise ConfigurationError(f"{self._path} has no rows")
        rows = pl.DataFrame(
            {
                "row": range(counts.rows),
                "usable": np.concatenate(usable),
                "key": np.concatenate(keys),
                "point": np.concatenate(points),
            }
        )
        self._wanted = _without_repetitions(rows, counts)
        digest = hashlib.sha256()
        for part in (*keys, *points):
            digest.update(part.tobytes())
        self.seed = int.from_bytes(digest.digest())
        return counts

    def pages(self) -> Iterator[Page]:
        """The usable rows, in the order of the file.

        Raises:
            ConfigurationError: the file cannot be read, or was changed since `check`.
        """
        assert self._wanted is not None, "the file is checked before it is taken"
        start = 0
        for read in self._read():
            end = start + len(read.hashes)
            wanted = self._wanted[start:end]
            if len(wanted) != len(read.hashes) or (wanted & ~read.usable).any():
                raise ConfigurationError(
                    f"{self._path} was changed while it was read; bring it again"
                )
            numbers = np.flatnonzero(wanted)
            yield Page(
                hashes=[read.hashes[number] or b"" for number in numbers],
                texts=[read.texts[number] for number in numbers],
                contexts=[read.contexts[number] for number in numbers],
                vectors=read.vectors[numbers],
            )
            start = end

    def _read(self) -> Iterator[_Read]:
        start = 0
        while True:
            try:
                rows = self._scan.select(self._columns).slice(start, PAGE)
                frame = rows.collect()
            except (PolarsError, OSError) as error:
                raise ConfigurationError(
                    f"{self._path} cannot be read: {public_text(error)}"
                ) from error
            if frame.is_empty():
                return
            yield self._judged(frame)
            start += frame.height

    def _judged(self, frame: pl.DataFrame) -> _Read:
        counts = FileCounts(rows=frame.height)
        texts: list[str | None] = [None] * frame.height
        if "text" in self._columns:
            texts = frame["text"].to_list()
        stated: list[bytes | str | None] = [None] * frame.height
        if "text_sha256" in self._columns:
            stated = frame["text_sha256"].to_list()
        contexts = [""] * frame.height
        if "context" in self._columns:
            contexts = frame["context"].fill_null("").to_list()
        hashes = [
            _hash(text, context, digest, counts)
            for text, context, digest in zip(texts, contexts, stated, strict=True)
        ]
        has_hash = np.array([digest is not None for digest in hashes], dtype=np.bool_)
        vectors, usable = self._vectors(frame["vector"], has_hash, counts)
        counts.usable = int(usable.sum())
        return _Read(hashes, texts, contexts, vectors, usable, counts)

    def _vectors(
        self,
        column: pl.Series,
        wanted: "np.ndarray[tuple[int], np.dtype[np.bool_]]",
        counts: FileCounts,
    ) -> tuple[Vectors, "np.ndarray[tuple[int], np.dtype[np.bool_]]"]:
        """The vectors, with zeros for those that are none, and which of the wanted rows have one."""
        lists = column.cast(pl.List(pl.Float32), strict=False)
        lengths = lists.list.len().fill_null(0).to_numpy()
        is_right = lengths == self._dimensions
        counts.wrong_dimensions = int((wanted & ~is_right).sum())
        vectors = np.zeros((len(lists), self._dimensions), dtype=np.float32)
        if is_right.any():
            numbers = lists.filter(pl.Series(is_right)).explode()
            filled = numbers.cast(pl.Float32).fill_null(np.nan).to_numpy()
            vectors[is_right] = filled.reshape(-1, self._dimensions)
        sizes = np.linalg.norm(vectors.astype(np.float64), axis=1)
        is_finite = np.isfinite(sizes) & (sizes > _MIN_LENGTH)
        counts.not_finite = int((wanted & is_right & ~is_finite).sum())
        usable = wanted & is_right & is_finite
        vectors[~is_finite] = 0
        if self._normalised:
            is_scaled = usable & (np.abs(sizes - 1) > _UNIT_TOLERANCE)
            counts.scaled = int(is_scaled.sum())
            vectors[is_scaled] /= sizes[is_scaled, None].astype(np.float32)
        return vectors, usable


def _hash(
    text: str | None, context: str, stated: bytes | str | None, counts: FileCounts
) -> bytes | None:
    """The hash of what a row embeds; None: it is refused, and counted."""
    is_empty = text is None and stated is None
    if is_empty or "\x00" in context + (text or ""):
        counts.no_text += 1
        return None
    digest = _digest(stated)
    if text is not None:
        own = embedded_sha256(text, context)
        if stated is None:
            return own
        if digest != own:
            digest = None
    is_wrong = digest is None
    counts.wrong_hash += is_wrong
    return digest


def _digest(stated: bytes | str | None) -> bytes | None:
    if isinstance(stated, str):
        try:
            stated = bytes.fromhex(stated)
        except ValueError:
            return None
    if stated is None or len(stated) != _HASH_BYTES:
        return None
    return stated


def _keys(
    hashes: list[bytes | None],
) -> "np.ndarray[tuple[int], np.dtype[np.uint64]]":
    beginnings = b"".join((digest or b"\0" * 8)[:8] for digest in hashes)
    return np.frombuffer(beginnings, dtype=_KEY)


def _points(vectors: Vectors) -> "np.ndarray[tuple[int], np.dtype[np.uint64]]":
    """A number per vector; equal vectors have equal numbers."""
    digests = [hashlib.sha256(vector.tobytes()).digest()[:8] for vector in vectors]
    return np.frombuffer(b"".join(digests), dtype=_KEY)


def _without_repetitions(
    rows: pl.DataFrame, counts: FileCounts
) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """Which rows are taken: of equal ones the first, and of a text with two vectors none."""
    usable = rows.filter("usable")
    points = pl.col("point").n_unique().over("key")
    is_first = pl.col("row") == pl.col("row").min().over("key")
    judged = usable.with_columns(points.alias("points"), is_first.alias("is_first"))
    is_one = pl.col("points") == 1
    taken = judged.filter(is_one & pl.col("is_first"))
    counts.contradicting = judged.filter(~is_one).height
    counts.repeated = judged.filter(is_one & ~pl.col("is_first")).height
    counts.usable = taken.height
    wanted = np.zeros(rows.height, dtype=np.bool_)
    wanted[taken["row"].to_numpy()] = True
    return wanted


def _problem_of_types(schema: pl.Schema) -> str:
    if not isinstance(schema["vector"], (pl.List, pl.Array)):
        return f"has a column vector of type {schema['vector']}; it must be a list of numbers"
    hashes = schema.get("text_sha256", pl.Null())
    if not isinstance(hashes, (pl.Binary, pl.String, pl.Null)):
        return f"has a column text_sha256 of type {hashes}; it must be bytes or a text"
    for name in ("text", "context"):
        if name in schema and schema[name] != pl.String:
            return f"has a column {name} of type {schema[name]}; it must be a text"
    return ""


def _add(total: FileCounts, page: FileCounts) -> None:
    for name in FileCounts.__slots__:
        setattr(total, name, getattr(total, name) + getattr(page, name))
