"""The embed step against a real database: a text is embedded once (promise 6), whatever wants it and whatever dies."""

import json
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import psycopg
import pytest

from corpus.batch import PreparedBatch
from corpus.clean.cleaner import Cleaner
from corpus.embed.embedder import Vectors
from corpus.embed.step import EmbedStep
from corpus.errors import DependencyError, SpaceMismatchError
from tests.support.fakes import HashEmbedder
from tests.support.pipeline import Pipeline, make_event
from tests.support.polling import wait_until


class SlowEmbedder(HashEmbedder):
    """Pauses on each shard, so that steps really overlap; a subclass does something on each shard."""

    def __init__(self, pause: float = 0.02) -> None:
        super().__init__()
        self.pause = pause
        self.shards = 0
        self._counting = threading.Lock()

    def embed_tokens(self, token_ids: Sequence[Sequence[int]]) -> Vectors:
        time.sleep(self.pause)  # what a model costs
        with self._counting:
            self.shards += 1
            self.on_shard()
            return super().embed_tokens(token_ids)

    def on_shard(self) -> None:
        """Called before each shard."""


def prepared(pipeline: Pipeline, texts: range, number: int) -> PreparedBatch:
    events = [make_event(f"d{n}", number, f"Text number {n} about weirs.") for n in texts]
    return pipeline.prepare([pipeline.stage(pipeline.records(events))], number)


def stored(pipeline: Pipeline) -> int:
    row = pipeline.connection.execute("SELECT count(*) FROM freshet.embedding").fetchone()
    assert row is not None
    return int(row[0])


def in_shards_of(pipeline: Pipeline, texts: int) -> None:
    pipeline.embed_step = EmbedStep(
        store=pipeline.store,
        pool=pipeline.pool,
        embedder_of=pipeline.embedder.with_fingerprint,
        shard=texts,
    )


def test_two_steps_and_two_sources_at_once_embed_each_text_once(
    database_url: str, tmp_path: Path, cleaner: Cleaner
) -> None:
    embedder = SlowEmbedder()
    with (
        Pipeline(database_url, tmp_path, cleaner=cleaner, embedder=embedder) as one,
        Pipeline(
            database_url, tmp_path, source="other", cleaner=cleaner, embedder=embedder
        ) as other,
    ):
        in_shards_of(one, 8)
        in_shards_of(other, 5)
        work = [
            (one, prepared(one, range(100), 1)),
            (one, prepared(one, range(50, 150), 2)),
            (other, prepared(other, range(150), 1)),
        ]
        with ThreadPoolExecutor(3) as threads:
            embedded = list(threads.map(lambda pair: pair[0].embed(pair[1]), work))
        assert max(embedder.embedded.values()) == 1
        assert sum(embedded) == embedder.embedded.total() == stored(one) == 150
        assert min(embedded) < 100, "one did it all: they never overlapped"


def test_a_failure_loses_at_most_the_shards_in_flight(pipeline: Pipeline) -> None:
    class Dies(SlowEmbedder):
        def on_shard(self) -> None:
            if self.shards == 6:
                raise MemoryError("out of memory")

    pipeline.embedder = Dies(pause=0)
    in_shards_of(pipeline, 10)
    batch = prepared(pipeline, range(100), 1)
    with pytest.raises(MemoryError):
        pipeline.embed(batch)
    assert stored(pipeline) == 50
    assert pipeline.embed(batch) == 50
    assert max(pipeline.embedder.embedded.values()) == 1


def test_the_ledger_counts_what_a_failed_attempt_embedded_too(pipeline: Pipeline) -> None:
    class FailsOnce(SlowEmbedder):
        def on_shard(self) -> None:
            if self.shards == 3:
                raise MemoryError("out of memory")

    pipeline.embedder = FailsOnce(pause=0)
    in_shards_of(pipeline, 10)
    refs = [
        pipeline.stage(
            pipeline.records(
                [make_event(f"d{n}", 1, f"Text number {n} about weirs.") for n in range(40)]
            )
        )
    ]
    number = pipeline.number()
    batch = pipeline.prepare(refs, number)
    with pytest.raises(MemoryError):
        pipeline.embed(batch)
    assert pipeline.embed(batch) == 20
    assert pipeline.publish(refs, batch, number).texts_embedded == 40
    assert pipeline.connection.execute("SELECT texts_embedded FROM freshet.batch").fetchone() == (
        40,
    )


def test_lost_connections_are_no_lost_places_in_the_pool(
    pipeline: Pipeline, database_url: str
) -> None:
    """Connections break, again and again, while a shard is computed: each claim returns its connection to the pool."""

    class LosesConnections(SlowEmbedder):
        losses = 10  # two per attempt: the shard that is written and the one that is computed

        def on_shard(self) -> None:
            if self.losses:
                self.losses -= 1
                with psycopg.connect(database_url, autocommit=True) as killer:
                    killer.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                        " AND state = 'idle in transaction'"
                    )

    pipeline.embedder = LosesConnections()
    in_shards_of(pipeline, 10)
    batch = prepared(pipeline, range(30), 1)
    for _ in range(5):  # more often than the pool has connections
        with pytest.raises(DependencyError):
            pipeline.embed(batch)
    assert pipeline.embed(batch) == 30
    assert stored(pipeline) == 30


# A worker that hangs on its second shard.
_HANGING_WORKER = textwrap.dedent(
    """
    import json, sys, time
    from corpus.batch import EmbedRequest, StagedFile
    from corpus.database import open_pool
    from corpus.embed.step import EmbedStep
    from corpus.staging.store import StagingStore
    from tests.support.fakes import HashEmbedder

    class Hangs(HashEmbedder):
        def embed_tokens(self, token_ids):
            if self.embedded:
                print("hanging", flush=True)
                time.sleep(600)
            return super().embed_tokens(token_ids)

    url, staging, request = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    request["texts"] = StagedFile(**request["texts"])
    embedder = Hangs()
    with open_pool(url, size=4) as pool:
        step = EmbedStep(
            store=StagingStore(staging), pool=pool, embedder_of=embedder.with_fingerprint, shard=10
        )
        step.embed(EmbedRequest(**request))
    """
)


def test_a_killed_worker_frees_its_claim_and_keeps_what_it_finished(
    pipeline: Pipeline, database_url: str
) -> None:
    batch = prepared(pipeline, range(40), 1)
    request = {
        name: getattr(batch, name)
        for name in ("source", "batch", "model", "prefix", "space_id", "space_fingerprint")
    }
    request["texts"] = asdict(batch.texts)
    arguments = [
        sys.executable,
        "-c",
        _HANGING_WORKER,
        database_url,
        pipeline.store.url,
        json.dumps(request),
    ]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "hanging\n"
        # The first shard is written while the second one computes.
        wait_until(lambda: stored(pipeline) == 10, seconds=10)
        worker.kill()
    assert stored(pipeline) == 10
    assert pipeline.embed(batch) == 30
    assert stored(pipeline) == 40


def test_a_model_of_another_space_embeds_nothing(pipeline: Pipeline) -> None:
    batch = prepared(pipeline, range(5), 1)
    other = HashEmbedder()

    def with_another_fingerprint(*_: str) -> tuple[HashEmbedder, str]:
        return other, "0" * 16

    pipeline.embed_step = EmbedStep(
        store=pipeline.store,
        pool=pipeline.pool,
        embedder_of=with_another_fingerprint,
        shard=10,
    )
    with pytest.raises(SpaceMismatchError, match="weights or settings differ"):
        pipeline.embed(batch)
    assert not other.embedded
    assert stored(pipeline) == 0


def test_a_model_that_returns_too_few_vectors_writes_none(pipeline: Pipeline) -> None:
    class Forgets(HashEmbedder):
        def embed_tokens(self, token_ids: Sequence[Sequence[int]]) -> Vectors:
            return super().embed_tokens(token_ids)[:-1]

    pipeline.embedder = Forgets()
    in_shards_of(pipeline, 10)
    batch = prepared(pipeline, range(10), 1)
    with pytest.raises(ValueError, match="shorter"):
        pipeline.embed(batch)
    assert stored(pipeline) == 0
    pipeline.embedder = HashEmbedder()
    in_shards_of(pipeline, 10)
    assert pipeline.embed(batch) == 10


def test_every_text_has_a_vector_already_and_the_model_is_not_used(pipeline: Pipeline) -> None:
    batch = prepared(pipeline, range(30), 1)
    assert pipeline.embed(batch) == 30
    pipeline.embedder = HashEmbedder()
    in_shards_of(pipeline, 10)
    assert pipeline.embed(batch) == 0
    assert not pipeline.embedder.embedded


def test_an_attempt_that_outlives_its_batch_keeps_no_vector(pipeline: Pipeline) -> None:
    """Its texts may be erased meanwhile, and no receipt would tell of them."""
    ahead = prepared(pipeline, range(3), 2)

    class Overtaken(SlowEmbedder):
        def on_shard(self) -> None:
            with psycopg.connect(pipeline.database_url, autocommit=True) as storer:
                storer.execute("UPDATE freshet.source SET last_batch = 2")

    pipeline.embed_step = EmbedStep(
        store=pipeline.store, pool=pipeline.pool, embedder_of=Overtaken().with_fingerprint, shard=64
    )
    pipeline.embed(ahead)
    assert stored(pipeline) == 0
