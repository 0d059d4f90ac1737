"""Embed a batch's texts: only those without a vector, in shards that are stored as soon as they exist (promise 6).

A shard is claimed text by text with `pg_try_advisory_xact_lock`, looked up once more, embedded, written and committed.
The claim ends with the transaction, also when the process is killed. So a text is embedded once, however many batches,
sources and workers want it at the same moment, and a crash loses at most the shards in flight: one that is computed and
one that is written.
"""

import io
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple, NoReturn

import numpy as np
import polars as pl
import psycopg
from psycopg.rows import class_row, scalar_row
from psycopg_pool import ConnectionPool

from corpus.batch import EmbeddedBatch, EmbedRequest
from corpus.database import Connection, database_errors_translated
from corpus.embed.embedder import Embedder, Vectors
from corpus.embed.model_files import read_embedding_spec
from corpus.embed.model_queue import ModelQueue, QueuedBatch
from corpus.embed.refused_texts import remember
from corpus.embed.spaces import register, registered
from corpus.errors import DependencyError, SpaceMismatchError, VectorRefusedError
from corpus.locks import end_stuck_copies
from corpus.sql import query
from corpus.staging.store import StagingStore

logger = logging.getLogger(__name__)

# Pause before texts that another worker has claimed are looked up again; embedding them takes it seconds at most.
_CLAIMED_RETRY_SECONDS = 0.2


class _Text(NamedTuple):
    """A text to embed."""

    sha256: bytes
    token_ids: list[int]


def _count_nothing(_source: str, _texts: int, _seconds: float) -> None:
    pass


@dataclass(slots=True)
class _Shards:
    """What became of all shards of one round."""

    embedded: int = 0  # texts
    held_by_others: list[_Text] = field(default_factory=list[_Text])
    refused: list[bytes] = field(default_factory=list[bytes])  # hashes of texts


class EmbedStep:
    """The embed step.

    Args:
        embedder_of: returns the embedder of (model, prefix), loaded once, with the fingerprint of the space that it
            puts texts of a context into.
        shard: texts per shard.
        count_shard: called with the source, the number of texts, and the seconds that the model took.
    """

    def __init__(
        self,
        *,
        store: StagingStore,
        pool: ConnectionPool[Connection],
        embedder_of: Callable[[str, str, str], tuple[Embedder, str]],
        shard: int,
        count_shard: Callable[[str, int, float], None] = _count_nothing,
    ) -> None:
        self._store = store
        self._pool = pool
        self._embedder_of = embedder_of
        self._shard = shard
        self._count_shard = count_shard
        self._loading = threading.Lock()
        self._model_queue = ModelQueue()

    def embed(self, request: EmbedRequest) -> EmbeddedBatch:
        """Give every text of the staged file a vector in the space.

        1. read the texts, longest first, so that texts of a shard are alike
        2. claim a shard, leave out what has a vector by now, embed it while the shard before is written
        3. return to the texts that other workers had claimed

        Raises:
            SpaceMismatchError: this worker's model makes vectors of another space.
            VectorRefusedError: the model makes no usable vector of some texts; all others are embedded, and these
                are remembered, so that the next preparation leaves their documents out.
            StagedFileError: the file of texts is missing or altered.
            DependencyError: the database or the store does not answer.
        """
        embedder = self._embedder_for(request)
        # 1.
        waiting = self._read_texts(request)
        total = len(waiting)
        embedded = 0
        refused: list[bytes] = []
        with database_errors_translated():
            self._ensure_space(request)
            while waiting:
                # 2.
                done = self._embed_shards(request, embedder, waiting)
                embedded += done.embedded
                refused += done.refused
                waiting = done.held_by_others
                # 3.
                if waiting:
                    self._wait_for_others()
            if refused:
                self._refuse(request, refused)
        found = total - embedded
        return EmbeddedBatch(embedded=embedded, found=found)

    def _refuse(self, request: EmbedRequest, refused: list[bytes]) -> NoReturn:
        with self._pool.connection() as connection:
            remember(connection, request.space_fingerprint, refused)
        raise VectorRefusedError(
            f"model {request.model!r} makes vectors of {len(refused)} texts that hold no numbers; their documents "
            "become dead letters (not_embeddable) when the batch is prepared again"
        )

    def _wait_for_others(self) -> None:
        """Wait for the workers that hold texts; one that has stopped while it wrote them is no worker any more."""
        time.sleep(_CLAIMED_RETRY_SECONDS)
        with self._pool.connection() as connection:
            end_stuck_copies(connection)

    def _embedder_for(self, request: EmbedRequest) -> Embedder:
        with self._loading:
            embedder, fingerprint = self._embedder_of(
                request.model, request.prefix, request.context
            )
        if fingerprint != request.space_fingerprint:
            raise SpaceMismatchError(
                f"this embedder's model {request.model!r} makes vectors of space {fingerprint}, "
                f"the batch wants {request.space_fingerprint}: "
                "its weights or settings differ from those of the preparing worker"
            )
        return embedder

    def _ensure_space(self, request: EmbedRequest) -> None:
        """Register the space where the database does not know it: it was restored after the batch was prepared."""
        with self._pool.connection() as connection:
            space_id = registered(connection, request.space_fingerprint)
            if space_id is None:
                spec = read_embedding_spec(
                    request.model, request.prefix, request.context
                )
                register(connection, spec)

    def _read_texts(self, request: EmbedRequest) -> list[_Text]:
        content = self._store.get(request.texts)
        frame = pl.read_parquet(io.BytesIO(content))
        length = pl.col("token_ids").list.len()
        frame = frame.sort(length, descending=True, maintain_order=True)
        hashes = frame["text_sha256"].to_list()
        token_ids = frame["token_ids"].to_list()
        return list(map(_Text, hashes, token_ids))

    def _embed_shards(
        self, request: EmbedRequest, embedder: Embedder, texts: list[_Text]
    ) -> _Shards:
        """Go through all shards once."""
        queued = QueuedBatch(request.source, request.batch, len(texts))
        done = _Shards()
        previous_write = _finished()
        with ThreadPoolExecutor(1, thread_name_prefix="write-vectors") as writer:
            for shard in _shards(texts, self._shard):
                # Claimed while it has the model: a batch that waits holds nothing that the batch before it may want.
                with self._model_queue.acquire(queued):
                    claim = _Claim(self._pool, request, shard)
                    vectors = self._compute(request, embedder, claim, previous_write)
                    vectors = claim.without_refused(vectors)
                previous_write = writer.submit(claim.commit, vectors)
                done.held_by_others += claim.held_by_others
                done.refused += claim.refused
                done.embedded += len(claim.texts)
                queued.remaining -= len(shard)
            previous_write.result()
        return done

    def _compute(
        self,
        request: EmbedRequest,
        embedder: Embedder,
        claim: "_Claim",
        previous_write: Future[None],
    ) -> Vectors | None:
        """Embed a claimed shard; at most one shard is written meanwhile. The claim ends if this fails."""
        try:
            vectors = self._run_model(request, embedder, claim.texts)
            previous_write.result()
        except BaseException:
            claim.release()
            raise
        return vectors

    def _run_model(
        self, request: EmbedRequest, embedder: Embedder, texts: list[_Text]
    ) -> Vectors | None:
        if not texts:
            return None
        started = time.perf_counter()
        vectors = embedder.embed_tokens([text.token_ids for text in texts])
        seconds = time.perf_counter() - started
        context = {
            "action": "shard_embedded",
            "source": request.source,
            "batch": request.batch,
            "texts": len(texts),
            "tokens": sum(len(text.token_ids) for text in texts),
            "seconds": round(seconds, 4),
        }
        logger.info("shard embedded", extra=context)
        self._count_shard(request.source, len(texts), seconds)
        return vectors


def _shards(texts: list[_Text], size: int) -> Iterator[list[_Text]]:
    for start in range(0, len(texts), size):
        yield texts[start : start + size]


def _finished() -> Future[None]:
    future: Future[None] = Future()
    future.set_result(None)
    return future


def _space_of(connection: Connection, request: EmbedRequest) -> int:
    """The id of the batch's space in this transaction; the request's may be of another database."""
    space_id = registered(connection, request.space_fingerprint)
    if space_id is None:
        raise DependencyError(
            f"embedding space {request.space_fingerprint} is not in the database any more: was it restored? "
            "The next attempt registers it again"
        )
    return space_id


@dataclass(frozen=True, slots=True)
class _ClaimedText:
    """A row of `claim_texts`."""

    hash: bytes
    claimed: bool
    """False: another worker holds the text."""


class _Claim:
    """A claimed shard: one transaction that holds the locks until the vectors are written.

    Attributes:
        texts: claimed, and without a vector: to be embedded.
        held_by_others: claimed by other workers.
        refused: hashes of texts that the model makes no usable vector of.
    """

    def __init__(
        self,
        pool: ConnectionPool[Connection],
        request: EmbedRequest,
        shard: list[_Text],
    ) -> None:
        self._pool = pool
        self._request = request
        self._connection = pool.getconn()
        try:
            # The pool's connections commit each statement; this one must not, until its vectors are written.
            self._connection.autocommit = False
            self._space_id = _space_of(self._connection, request)
            claimed = self._claim([text.sha256 for text in shard])
            # A second look, after the locks: the worker that held them before may have just written.
            embedded = self._embedded(claimed)
        except BaseException:
            self.release()
            raise
        wanted = claimed - embedded
        self.texts = [text for text in shard if text.sha256 in wanted]
        self.held_by_others = [text for text in shard if text.sha256 not in claimed]
        self.refused: list[bytes] = []

    def without_refused(self, vectors: Vectors | None) -> Vectors | None:
        """Leave out the texts whose vectors hold no numbers; PostgreSQL would refuse them all."""
        if vectors is None:
            return None
        usable = [bool(np.isfinite(vector).all()) for vector in vectors]
        if all(usable):
            return vectors
        judged = list(zip(self.texts, usable, strict=True))
        self.texts = [text for text, is_usable in judged if is_usable]
        self.refused = [text.sha256 for text, is_usable in judged if not is_usable]
        return vectors[usable]

    def commit(self, vectors: Vectors | None) -> None:
        """Write the vectors of `texts` and end the claim."""
        try:
            if vectors is not None:
                self._copy(vectors)
            self._connection.commit()
        finally:
            self.release()

    def release(self) -> None:
        """End the claim; what was not committed is gone."""
        connection = self._connection
        try:
            if not connection.closed:
                connection.rollback()
                connection.autocommit = True
        except psycopg.Error:
            connection.close()  # it was lost; the pool opens another one in its place
        finally:
            self._pool.putconn(connection)

    def _claim(self, hashes: list[bytes]) -> set[bytes]:
        """Return those that this transaction holds now."""
        parameters = self._parameters(hashes)
        with self._connection.cursor(row_factory=class_row(_ClaimedText)) as cursor:
            cursor.execute(query("claim_texts"), parameters)
            rows = cursor.fetchall()
        return {row.hash for row in rows if row.claimed}

    def _embedded(self, hashes: set[bytes]) -> set[bytes]:
        """Return those that have a vector."""
        parameters = self._parameters(list(hashes))
        with self._connection.cursor(row_factory=scalar_row) as cursor:
            cursor.execute(query("embedded_texts"), parameters)
            return set(cursor.fetchall())

    def _parameters(self, hashes: list[bytes]) -> dict[str, object]:
        return {"space_id": self._space_id, "hashes": hashes}

    def _copy(self, vectors: Vectors) -> None:
        request = self._request
        with (
            self._connection.cursor() as cursor,
            cursor.copy(query("copy_embeddings")) as copy,
        ):
            copy.set_types(("int2", "bytea", "int4", "vector", "text", "int8"))
            for text, vector in zip(self.texts, vectors, strict=True):
                columns = (
                    self._space_id,
                    text.sha256,
                    len(vector),
                    vector,
                    request.source,
                    request.batch,
                )
                copy.write_row(columns)
