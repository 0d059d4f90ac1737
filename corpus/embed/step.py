"""Embed a batch's texts: only what nobody has embedded, in shards that are kept as soon as they exist (promise 6).

A shard is claimed text by text with `pg_try_advisory_xact_lock`, looked up once more, embedded, written, committed: the claim
ends with the transaction, also when the process is killed. So a text is embedded once however many batches, sources and
workers want it at the same moment, and a crash loses at most the shards in flight (one that computes, one that is written).
"""

import io
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import polars as pl
import psycopg
from psycopg_pool import ConnectionPool

from corpus.batch import EmbeddedBatch, EmbedRequest
from corpus.database import Connection, database_errors_translated
from corpus.embed.embedder import Embedder, Vectors
from corpus.embed.model_queue import Turn, Turns
from corpus.errors import SpaceMismatchError
from corpus.sql import query
from corpus.staging.store import StagingStore

logger = logging.getLogger(__name__)

# Looking again for texts that another worker has claimed; it needs seconds at most.
_CLAIMED_ELSEWHERE_SECONDS = 0.2

Shard = list[tuple[bytes, list[int]]]  # (hash of the text, token ids)


class EmbedStep:
    """The embed step.

    Args:
        embedder_of: gives the embedder of (model, prefix), loaded once, with its space's fingerprint.
        shard: texts a shard.
    """

    def __init__(
        self,
        *,
        store: StagingStore,
        pool: ConnectionPool[Connection],
        embedder_of: Callable[[str, str], tuple[Embedder, str]],
        shard: int,
    ) -> None:
        self._store = store
        self._pool = pool
        self._embedder_of = embedder_of
        self._shard = shard
        self._loading = threading.Lock()
        self._turns = Turns()

    def embed(self, request: EmbedRequest) -> EmbeddedBatch:
        """Give every text of the file a vector in the space.

        1. read the texts, longest first, so that texts of a shard are alike
        2. claim a shard, leave out what has a vector by now, embed it while the shard before is written
        3. come back for texts that somebody else had claimed

        Raises:
            SpaceMismatchError: this worker's model makes vectors of another space.
            StagedFileError, DependencyError: as they say.
        """
        with self._loading:
            embedder, fingerprint = self._embedder_of(request.model, request.prefix)
        if fingerprint != request.space_fingerprint:
            raise SpaceMismatchError(
                f"this embedder's model {request.model!r} makes vectors of space {fingerprint}, the batch wants {request.space_fingerprint}: "
                "its weights or settings differ from those of the preparing worker"
            )
        # Step 1.
        frame = pl.read_parquet(io.BytesIO(self._store.get(request.texts)))
        frame = frame.sort(pl.col("token_ids").list.len(), descending=True, maintain_order=True)
        waiting: Shard = list(
            zip(frame["text_sha256"].to_list(), frame["token_ids"].to_list(), strict=True)
        )
        embedded = 0
        total = len(waiting)
        with database_errors_translated():
            while waiting:
                done, waiting = self._round(request, embedder, waiting)  # Steps 2, 3.
                embedded += done
                if waiting:
                    time.sleep(_CLAIMED_ELSEWHERE_SECONDS)
        return EmbeddedBatch(embedded=embedded, found=total - embedded)

    def _round(
        self, request: EmbedRequest, embedder: Embedder, waiting: Shard
    ) -> tuple[int, Shard]:
        """Go through all shards once; returns (texts embedded, texts that others have claimed)."""
        elsewhere: Shard = []
        embedded = 0
        writing: Future[None] | None = None
        turn = Turn(request.source, request.batch, len(waiting))
        with ThreadPoolExecutor(1, thread_name_prefix="keep") as keeper:
            for start in range(0, len(waiting), self._shard):
                # Claimed inside the turn: a batch that waits holds nothing that the one before it may want.
                with self._turns.take(turn):
                    claim = _Claim(self._pool, request, waiting[start : start + self._shard])
                    try:
                        vectors = self._through_the_model(request, embedder, claim.mine)
                        if writing is not None:
                            writing.result()  # one shard is written while the next one computes, not more
                    except BaseException:
                        claim.drop()
                        raise
                elsewhere += claim.elsewhere
                writing = keeper.submit(claim.keep, vectors)
                embedded += len(claim.mine)
                turn.remaining -= self._shard
            if writing is not None:
                writing.result()
        return embedded, elsewhere

    def _through_the_model(
        self, request: EmbedRequest, embedder: Embedder, shard: Shard
    ) -> Vectors | None:
        if not shard:
            return None
        started = time.perf_counter()
        vectors = embedder.embed_tokens([token_ids for _, token_ids in shard])
        tokens = sum(len(token_ids) for _, token_ids in shard)
        took = round(time.perf_counter() - started, 4)
        context = {
            "action": "shard_embedded",
            "source": request.source,
            "batch": request.batch,
            "texts": len(shard),
            "tokens": tokens,
            "seconds": took,
        }
        logger.info("shard embedded", extra=context)
        return vectors


class _Claim:
    """A shard under claim: one transaction that holds the locks until the vectors are written."""

    def __init__(
        self, pool: ConnectionPool[Connection], request: EmbedRequest, shard: Shard
    ) -> None:
        self._pool = pool
        self._request = request
        self._connection = pool.getconn()
        try:
            # The pool's connections commit by themselves; this one must not, until its vectors are written.
            self._connection.autocommit = False
            values = {"space_id": request.space_id, "hashes": [digest for digest, _ in shard]}
            rows = self._connection.execute(query("claim_texts"), values).fetchall()
            claimed = {bytes(row[0]) for row in rows if row[1]}
            # A second look, after the locks: who held them before us may have just written.
            values["hashes"] = list(claimed)
            seen = {
                bytes(row[0])
                for row in self._connection.execute(query("embedded_texts"), values).fetchall()
            }
        except BaseException:
            self.drop()
            raise
        self.mine: Shard = [
            (digest, tokens) for digest, tokens in shard if digest in claimed - seen
        ]
        self.elsewhere: Shard = [
            (digest, tokens) for digest, tokens in shard if digest not in claimed
        ]

    def keep(self, vectors: Vectors | None) -> None:
        """Write the vectors and end the claim."""
        try:
            if vectors is not None:
                self._copy(self.mine, vectors)
            self._connection.commit()
        finally:
            self.drop()

    def drop(self) -> None:
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

    def _copy(self, shard: Sequence[tuple[bytes, list[int]]], vectors: Vectors) -> None:
        request = self._request
        with self._connection.cursor() as cursor, cursor.copy(query("copy_embeddings")) as copy:
            copy.set_types(("int2", "bytea", "int4", "vector", "text", "int8"))
            for (digest, _), vector in zip(shard, vectors, strict=True):
                copy.write_row(
                    (request.space_id, digest, len(vector), vector, request.source, request.batch)
                )
