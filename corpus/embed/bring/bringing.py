"""Compare a sample of brought vectors with those of the model, and keep all of them in the embedding store."""

import random
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from psycopg.rows import class_row

from corpus.database import Connection, fetch_all
from corpus.embed.bring.file import EmbeddingsFile, Page
from corpus.embed.claim import ClaimedText
from corpus.embed.embedder import Embedder, Vectors
from corpus.embed.known_texts import known_texts
from corpus.embed.tokenizer import ChunkTokenizer
from corpus.sql import query

# Vectors of one model and one text, whatever the precision: the smallest cosine that an audit takes for the same, and
# the mean, since those of a prefix or a pooling that differs are near, too.
MIN_COSINE = 0.98
MIN_MEAN_COSINE = 0.995
# Of a sample that says something of its file; and more than half of the sample.
MIN_TRIED = 30
# Texts of one transaction; each is claimed with a lock while it is written.
_SHARD = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleResult:
    """What re-embedding a sample shows."""

    wanted: int  # texts that were to be tried
    tried: int
    too_long: int  # texts of the sample of which the model reads only the beginning
    unknown: (
        int  # hashes of the sample whose text is neither in the file nor in the corpus
    )
    mean: float = 0.0  # cosine
    smallest: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether the vectors are of the space."""
        is_near = self.smallest >= MIN_COSINE and self.mean >= MIN_MEAN_COSINE
        return self.is_enough and is_near

    @property
    def is_enough(self) -> bool:
        """Whether so many texts could be compared that they speak for the file."""
        least = max(min(self.wanted, MIN_TRIED), self.wanted // 2 + 1)
        return self.tried >= least

    def sentence(self) -> str:
        """For a person."""
        if not self.is_enough:
            return (
                f"only {self.tried:,} of {self.wanted:,} texts could be embedded again to compare, which says nothing "
                f"of the others: {self.too_long:,} are longer than the model reads, the texts of {self.unknown:,} "
                "hashes are not known"
            )
        left_out = self.wanted - self.tried
        return (
            f"{self.tried:,} texts embedded again ({left_out:,} could not be compared): "
            f"cosine {self.mean:.4f} in the mean (at least {MIN_MEAN_COSINE}), "
            f"{self.smallest:.4f} at the smallest (at least {MIN_COSINE})"
        )


@dataclass(slots=True, kw_only=True)
class Brought:
    """What was written."""

    kept: int = 0
    present: int = 0  # texts that have a vector in the space already
    claimed: int = 0  # texts that an embedder works on at this moment


def try_sample(
    connection: Connection,
    file: EmbeddingsFile,
    embedder: Embedder,
    tokenizer: ChunkTokenizer,
    *,
    size: int,
    rows: int,
) -> SampleResult:
    """Embed a sample again, drawn by chance out of each part of the file; of the same file the same one.

    Args:
        connection: to PostgreSQL, for the texts of hashes.
        file: checked.
        embedder: of the space.
        tokenizer: of its model.
        size: texts, at most.
        rows: usable rows of the file.
    """
    drawn = _drawn(rows, size, file.seed)
    hashes: list[bytes] = []
    texts: list[str | None] = []
    contexts: list[str] = []
    vectors: list[Vectors] = []
    number = 0
    for page in file.pages():
        end = number + len(page.hashes)
        for row in drawn[bisect_left(drawn, number) : bisect_left(drawn, end)]:
            index = row - number
            hashes.append(page.hashes[index])
            texts.append(page.texts[index])
            contexts.append(page.contexts[index])
            vectors.append(page.vectors[index])
        number = end
    known = _with_known_texts(connection, hashes, texts)
    embedded = list(zip(known, contexts, strict=True))
    return _compare(embedded, vectors, embedder, tokenizer)


def _drawn(rows: int, size: int, seed: int) -> list[int]:
    """A row out of each of equal parts: no pattern of a file that is put together keeps rows out of it."""
    chance = random.Random(seed)
    parts = min(rows, size)
    starts = [rows * number // parts for number in range(parts)]
    ends = [*starts[1:], rows]
    return [chance.randrange(*each) for each in zip(starts, ends, strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _KnownText:
    """A row of the query `texts_of_hashes`."""

    text_sha256: bytes
    text: str


def _with_known_texts(
    connection: Connection, hashes: list[bytes], texts: list[str | None]
) -> list[str | None]:
    """The texts, those that the file lacks out of the corpus."""
    pairs = list(zip(hashes, texts, strict=True))
    wanted = [digest for digest, text in pairs if text is None]
    if not wanted:
        return texts
    values = {"hashes": wanted}
    rows = fetch_all(connection, class_row(_KnownText), "texts_of_hashes", values)
    known = {row.text_sha256: row.text for row in rows}
    return [known.get(digest) if text is None else text for digest, text in pairs]


def _compare(
    embedded: Sequence[tuple[str | None, str]],
    vectors: Sequence[Vectors],
    embedder: Embedder,
    tokenizer: ChunkTokenizer,
) -> SampleResult:
    limit = tokenizer.limit - tokenizer.special_tokens
    token_ids: list[list[int]] = []
    brought: list[Vectors] = []
    too_long = 0
    for (text, context), vector in zip(embedded, vectors, strict=True):
        if text is None:
            continue
        tokens = _tokens(tokenizer, text, context)
        if len(tokens) > limit:
            too_long += 1
            continue
        token_ids.append(tokens)
        brought.append(vector)
    unknown = sum(text is None for text, _ in embedded)
    counts = {"wanted": len(embedded), "too_long": too_long, "unknown": unknown}
    if not token_ids:
        return SampleResult(tried=0, **counts)
    made = embedder.embed_tokens(token_ids)
    cosines = _cosines(np.stack(brought), made)
    return SampleResult(
        tried=len(token_ids),
        mean=float(cosines.mean()),
        smallest=float(cosines.min()),
        **counts,
    )


def _tokens(tokenizer: ChunkTokenizer, text: str, context: str) -> list[int]:
    """What the model reads of a text, as chunks are made (`corpus.split.above`)."""
    tokens, _ = tokenizer.encode(text)
    if not context:
        return list(tokens)
    above, _ = tokenizer.encode(f"{context}\n")
    return [*above, *tokens]


def _cosines(some: Vectors, others: Vectors) -> Vectors:
    products = (some * others).sum(axis=1)
    lengths = np.linalg.norm(some, axis=1) * np.linalg.norm(others, axis=1)
    return products / np.maximum(lengths, 1e-12)


# ── keeping ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def keep(
    connection: Connection,
    file: EmbeddingsFile,
    *,
    space_id: int,
    source: str,
    progress: Callable[[int], None],
) -> Brought:
    """Keep the vectors of a checked file; ended in the middle, it is repeated and goes on where it was.

    Args:
        connection: to PostgreSQL, in no transaction.
        file: checked.
        space_id: of the space, in this database.
        source: that the vectors are of, for purges and erasures.
        progress: called with the rows that are done.
    """
    done = Brought()
    rows = 0
    connection.execute(query("create_incoming_embedding"))
    for page in file.pages():
        for start in range(0, len(page.hashes), _SHARD):
            with connection.transaction():
                _keep_shard(connection, page, start, space_id, source, done)
            rows = rows + min(_SHARD, len(page.hashes) - start)
            progress(rows)
    return done


def _keep_shard(
    connection: Connection,
    page: Page,
    start: int,
    space_id: int,
    source: str,
    done: Brought,
) -> None:
    """Keep some vectors; an embedder that works on a text at this moment writes its own."""
    hashes = page.hashes[start : start + _SHARD]
    values = {"space_id": space_id, "hashes": hashes}
    claims = fetch_all(connection, class_row(ClaimedText), "claim_texts", values)
    claimed = {row.hash for row in claims if row.claimed}
    present = known_texts(connection, space_id, hashes)
    done.present += len(present)
    done.claimed += len(set(hashes) - claimed - present)
    with (
        connection.cursor() as cursor,
        cursor.copy(query("copy_embeddings")) as copy,
    ):
        copy.set_types(("int2", "bytea", "int4", "vector", "text", "int8"))
        for number, digest in enumerate(hashes, start):
            if digest in present or digest not in claimed:
                continue
            vector = page.vectors[number]
            copy.write_row((space_id, digest, len(vector), vector, source, 0))
            done.kept += 1
    connection.execute(query("keep_brought_embeddings"))
