"""Embed a batch's texts: only those without a vector, in shards that are stored as soon as they exist (promise 6).

A shard is claimed text by text with `pg_try_advisory_xact_lock`, looked up once more, embedded, written and committed.
The claim ends with the transaction, also when the process is killed. So a text is embedded once, however many batches,
sources and workers want it at the same moment, and a crash loses at most the shards in flight: one that is computed and
one that is written.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NoReturn

import polars as pl
from psycopg_pool import ConnectionPool

from corpus.batch import EmbeddedBatch, EmbedRequest
from corpus.database import Connection, database_errors_translated
from corpus.embed.claim import Claim, Text, space_of
from corpus.embed.embedder import Embedder, Vectors
from corpus.embed.known_texts import known_texts
from corpus.embed.model_files import read_embedding_spec
from corpus.embed.progress import Progress
from corpus.embed.refused_texts import remember
from corpus.embed.spaces import register, registered
from corpus.embed.tries import TextTries
from corpus.errors import (
    SpaceMismatchError,
    TimeSliceUsedError,
    VectorRefusedError,
)
from corpus.limits.fair_queue import FairQueue, QueuedBatch
from corpus.locks import end_stuck_copies
from corpus.staging.bound import check_batch_file
from corpus.staging.frames import read_frame
from corpus.staging.layout import TEXTS
from corpus.staging.store import StagingStore

logger = logging.getLogger(__name__)

# A batch that is not embedded by then gives its place in the embedder to others; what is embedded stays.
SLICE_SECONDS = 60.0
# How long a shard should hold the model, and texts that it has at least: enough for passes side by side.
_SHARD_SECONDS = 1.0
_MIN_SHARD = 16
_CLOCK_SECONDS = 0.001
# Pause before texts that another worker has claimed are looked up again; embedding them takes it seconds at most.
_CLAIMED_RETRY_SECONDS = 0.2


@dataclass(slots=True)
class _Shards:
    """What became of all shards of one round."""

    embedded: int = 0  # texts
    held_by_others: list[Text] = field(default_factory=list[Text])
    refused: list[bytes] = field(default_factory=list[bytes])  # hashes of texts

    def add(self, claim: Claim) -> None:
        """Count a shard whose vectors are there."""
        self.held_by_others += claim.held_by_others
        self.refused += claim.refused
        self.embedded += len(claim.texts)


def _count_nothing(_source: str, _texts: int, _seconds: float) -> None:
    pass


def _always() -> bool:
    return True


class EmbedStep:
    """The embed step.

    Args:
        embedder_of: returns the embedder of (model, prefix), loaded once, with the fingerprint of the space that it
            puts texts of a context into.
        shard: texts per shard.
        count_shard: called with the source, the number of texts, and the seconds that the model took.

    Attributes:
        progress: of all batches of this process.
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
        self._max_shard = shard
        self._shard = shard
        self._count_shard = count_shard
        self._loading = threading.Lock()
        self._model_queue = FairQueue()
        self.progress = Progress()

    def embed(self, request: EmbedRequest) -> EmbeddedBatch:
        """Give every text of the staged file a vector in the space.

        1. read the texts without a vector, longest first, so that texts of a shard are alike
        2. claim a shard, leave out what has a vector by now, embed it while the shard before is written
        3. return to the texts that other workers had claimed

        Raises:
            SpaceMismatchError: this worker's model makes vectors of another space.
            VectorRefusedError: the model makes no usable vector of some texts, or they were tried too often; all others
                are embedded, and these are remembered, so that the next preparation leaves their documents out.
            StagedFileError: the file of texts is missing or altered.
            DependencyError: the database or the store does not answer.
            TimeSliceUsedError: only a part is embedded; the same request continues.
        """
        with self.progress.batch():
            return self._embed(request)

    def help_embed(
        self, request: EmbedRequest, is_wanted: Callable[[], bool]
    ) -> EmbeddedBatch:
        """Embed a part of a batch that another embedder works on: what has no vector there, and nobody has claimed.

        What it leaves, the batch's own step embeds: texts that were begun before, or that the model refuses, and the
        rest where a slice of time is over.

        Args:
            request: of the batch, with the part of its texts.
            is_wanted: asked after each shard.

        Raises:
            SpaceMismatchError: as `embed`.
            StagedFileError: as `embed`.
            DependencyError: as `embed`.
        """
        with self.progress.batch():
            embedder = self._embedder_for(request)
            end = time.monotonic() + SLICE_SECONDS
            self.progress.moved()

            def goes_on() -> bool:
                return time.monotonic() < end and is_wanted()

            with database_errors_translated():
                texts = self._read_texts(request)
                first = len(texts) * request.part // request.parts
                beyond = len(texts) * (request.part + 1) // request.parts
                waiting = self._without_vector(request, texts[first:beyond])
                tries = TextTries(
                    self._pool, request, [text.sha256 for text in waiting]
                )
                waiting = [text for text in waiting if not tries.was_begun(text.sha256)]
                done = self._embed_shards(
                    request, embedder, waiting, tries, goes_on=goes_on
                )
        return EmbeddedBatch(embedded=done.embedded, found=0)

    def _embed(self, request: EmbedRequest) -> EmbeddedBatch:
        embedder = self._embedder_for(request)
        started = time.monotonic()
        end = started + SLICE_SECONDS
        self.progress.moved()
        # 1.
        total = request.texts.rows
        embedded = 0
        with database_errors_translated():
            self._ensure_space(request)
            texts = self._read_texts(request)
            waiting = self._without_vector(request, texts)
            tries = TextTries(self._pool, request, [text.sha256 for text in waiting])
            refused = tries.given_up()
            waiting = [text for text in waiting if text.sha256 not in refused]
            while waiting:
                # 2.
                done = self._embed_shards(request, embedder, waiting, tries, end=end)
                embedded += done.embedded
                refused += done.refused
                waiting = done.held_by_others
                # 3.
                if waiting:
                    self._wait_for_others()
            if refused:
                tries.end(refused)
                self._refuse(request, refused)
        found = total - embedded
        return EmbeddedBatch(embedded=embedded, found=found)

    def _refuse(self, request: EmbedRequest, refused: list[bytes]) -> NoReturn:
        with self._pool.connection() as connection:
            remember(connection, request.space_fingerprint, refused)
        raise VectorRefusedError(
            f"model {request.model!r} makes no usable vectors of {len(refused)} texts: they hold no numbers, "
            "or the embedder ended over the text; their documents become dead letters (not_embeddable) when the batch "
            "is prepared again"
        )

    def _wait_for_others(self) -> None:
        """Wait for the workers that hold texts; one that has stopped while it wrote them is no worker any more."""
        time.sleep(_CLAIMED_RETRY_SECONDS)
        self.progress.moved()  # it is the other worker's model that is to answer
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

    def _read_texts(self, request: EmbedRequest) -> list[Text]:
        texts = request.texts
        check_batch_file(texts, request.source, request.batch, "texts")
        frame = read_frame(self._store, texts, TEXTS)
        length = pl.col("token_ids").list.len()
        frame = frame.sort(length, descending=True, maintain_order=True)
        hashes = frame["text_sha256"].to_list()
        token_ids = frame["token_ids"].to_list()
        return list(map(Text, hashes, token_ids))

    def _shards(self, texts: list[Text], tries: TextTries) -> Iterator[list[Text]]:
        """The texts in shards; those that did not come through the model before are alone, and last."""
        begun = [text for text in texts if tries.was_begun(text.sha256)]
        others = [text for text in texts if not tries.was_begun(text.sha256)]
        start = 0
        while start < len(others):
            end = start + self._shard
            yield others[start:end]
            start = end
        for text in begun:
            yield [text]

    def _adapt_shard(self, texts: int, seconds: float) -> None:
        """Let the next shard hold the model for about a second: other sources wait for the end of one."""
        wanted = round(texts * _SHARD_SECONDS / max(seconds, _CLOCK_SECONDS))
        self._shard = min(max(wanted, _MIN_SHARD), self._max_shard)

    def _without_vector(self, request: EmbedRequest, texts: list[Text]) -> list[Text]:
        """Those that no attempt before, and no other batch, has embedded."""
        with self._pool.connection() as connection:
            space_id = space_of(connection, request)
            known = known_texts(connection, space_id, [text.sha256 for text in texts])
        return [text for text in texts if text.sha256 not in known]

    def _embed_shards(
        self,
        request: EmbedRequest,
        embedder: Embedder,
        texts: list[Text],
        tries: TextTries,
        *,
        end: float = math.inf,
        goes_on: Callable[[], bool] = _always,
    ) -> _Shards:
        """Go through all shards once, as long as `goes_on`.

        Raises:
            TimeSliceUsedError: the clock has reached `end`.
        """
        queued = QueuedBatch(request.source, request.batch, len(texts), request.weight)
        done = _Shards()
        is_over = False
        previous_write = _finished()
        with ThreadPoolExecutor(1, thread_name_prefix="write-vectors") as writer:
            with self._model_queue.turns(queued) as turn:
                for shard in self._shards(texts, tries):
                    with turn():
                        claim, vectors = self._embed_shard(
                            request, embedder, shard, tries, previous_write
                        )
                    previous_write = writer.submit(claim.commit, vectors)
                    done.add(claim)
                    queued.remaining -= len(shard)
                    is_over = time.monotonic() > end and not done.refused
                    if is_over or not goes_on():
                        break
            previous_write.result()
        if is_over and queued.remaining:
            raise TimeSliceUsedError(
                f"{queued.remaining:,} of {request.texts.rows:,} texts are left to embed"
            )
        return done

    def _embed_shard(
        self,
        request: EmbedRequest,
        embedder: Embedder,
        shard: list[Text],
        tries: TextTries,
        previous_write: Future[None],
    ) -> tuple[Claim, Vectors | None]:
        """Claim a shard and embed it; its vectors are to be committed.

        It is claimed while it has the model: a batch that waits holds nothing that the batch before it may want.
        """
        started = time.monotonic()
        claim = Claim(self._pool, request, shard)
        vectors = self._compute(request, embedder, claim, tries, previous_write)
        vectors = claim.without_refused(vectors)
        self._adapt_shard(len(shard), time.monotonic() - started)
        self.progress.moved()
        return claim, vectors

    def _compute(
        self,
        request: EmbedRequest,
        embedder: Embedder,
        claim: Claim,
        tries: TextTries,
        previous_write: Future[None],
    ) -> Vectors | None:
        """Embed a claimed shard; at most one shard is written meanwhile. The claim ends if this fails."""
        hashes = [text.sha256 for text in claim.texts]
        try:
            tries.begin(hashes)
            vectors = self._run_model(request, embedder, claim.texts)
            tries.end(hashes)
            previous_write.result()
        except BaseException:
            claim.release()
            raise
        return vectors

    def _run_model(
        self, request: EmbedRequest, embedder: Embedder, texts: list[Text]
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


def _finished() -> Future[None]:
    future: Future[None] = Future()
    future.set_result(None)
    return future
