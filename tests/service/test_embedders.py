"""Several embedders beside each other: none waits for another one's claim, and one that has nothing to do helps."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import psycopg
import pytest

from corpus.batch import EmbedRequest, PreparedBatch
from corpus.clean.cleaner import Cleaner
from corpus.database import open_pool
from corpus.embed.embedder import Vectors
from corpus.embed.step import EmbedStep
from corpus.limits.fair_queue import QueuedBatch
from tests.support.fakes import HashEmbedder
from tests.support.pipeline import Pipeline, make_event
from tests.support.polling import wait_until

SHARD = 10
# Two embedders come to their models within milliseconds, unless one waits for the other.
_MEET_SECONDS = 20
_CLAIMING_SESSIONS = """
    SELECT count(DISTINCT pid) FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND objsubid = 2
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND classid IN (SELECT space_id::int4::oid FROM freshet.embedding_space)
"""


class Meeting:
    """Models of two embedders that go on only together; what was claimed then is kept."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self.claiming: list[int] = []  # sessions that held claims, at each meeting
        self.barrier = threading.Barrier(2, self._look, _MEET_SECONDS)

    def _look(self) -> None:
        with psycopg.connect(self._url) as connection:
            row = connection.execute(_CLAIMING_SESSIONS).fetchone()
        assert row is not None
        self.claiming.append(row[0])


class MeetingEmbedder(HashEmbedder):
    def __init__(self, meeting: Meeting) -> None:
        super().__init__()
        self._meeting = meeting

    def embed_tokens(self, token_ids: Sequence[Sequence[int]]) -> Vectors:
        self._meeting.barrier.wait()
        return super().embed_tokens(token_ids)


@pytest.fixture
def meeting(database_url: str) -> Meeting:
    return Meeting(database_url)


@pytest.fixture
def embedders(
    database_url: str, pipeline: Pipeline, meeting: Meeting
) -> Iterator[list[tuple[EmbedStep, MeetingEmbedder]]]:
    """Two processes' steps: each has a pool, a model and a queue for it of its own."""
    made: list[tuple[EmbedStep, MeetingEmbedder]] = []
    with ExitStack() as stack:
        for _ in range(2):
            model = MeetingEmbedder(meeting)
            step = EmbedStep(
                store=pipeline.store,
                pool=stack.enter_context(open_pool(database_url, size=3)),
                embedder_of=model.with_fingerprint,
                shard=SHARD,
            )
            made.append((step, model))
        yield made


def prepared(pipeline: Pipeline, texts: range, number: int) -> PreparedBatch:
    events = [make_event(f"d{n}", number, f"Text number {n} about weirs.") for n in texts]
    return pipeline.prepare([pipeline.stage(pipeline.records(events))], number)


def request_of(batch: PreparedBatch) -> EmbedRequest:
    return EmbedRequest(
        source=batch.source,
        batch=batch.batch,
        texts=batch.texts,
        model=batch.model,
        prefix=batch.prefix,
        weight=batch.weight,
        space_id=batch.space_id,
        space_fingerprint=batch.space_fingerprint,
    )


def at_once(*work: Callable[[], object]) -> list[object]:
    with ThreadPoolExecutor(len(work)) as threads:
        return list(threads.map(lambda one: one(), work))


def check(meeting: Meeting, embedders: list[tuple[EmbedStep, MeetingEmbedder]], texts: int) -> None:
    """Both held claims at every meeting, and each text was embedded once."""
    assert meeting.claiming == [2] * (texts // SHARD // 2)
    embedded = embedders[0][1].embedded + embedders[1][1].embedded
    assert set(embedded.values()) == {1}
    assert embedded.total() == texts


def test_batches_of_one_source_are_embedded_side_by_side(
    pipeline: Pipeline, meeting: Meeting, embedders: list[tuple[EmbedStep, MeetingEmbedder]]
) -> None:
    one = request_of(prepared(pipeline, range(20), 1))
    other = request_of(prepared(pipeline, range(20, 40), 2))
    (step, _), (second, _) = embedders
    at_once(lambda: step.embed(one), lambda: second.embed(other))
    check(meeting, embedders, 40)


def test_batches_of_two_sources_are_embedded_side_by_side(
    database_url: str,
    tmp_path: Path,
    cleaner: Cleaner,
    pipeline: Pipeline,
    meeting: Meeting,
    embedders: list[tuple[EmbedStep, MeetingEmbedder]],
) -> None:
    one = request_of(prepared(pipeline, range(20), 1))
    with Pipeline(database_url, tmp_path, source="other", cleaner=cleaner) as others:
        other = request_of(prepared(others, range(20, 40), 1))
    (step, _), (second, _) = embedders
    second._store = others.store
    at_once(lambda: step.embed(one), lambda: second.embed(other))
    check(meeting, embedders, 40)


def test_an_embedder_with_nothing_to_do_helps_with_a_batch_of_another_one(
    pipeline: Pipeline, meeting: Meeting, embedders: list[tuple[EmbedStep, MeetingEmbedder]]
) -> None:
    request = request_of(prepared(pipeline, range(40), 1))
    (step, _), (second, _) = embedders
    help_ = replace(request, part=1, parts=2)
    found, helped = at_once(
        lambda: step.embed(request), lambda: second.help_embed(help_, lambda: True)
    )
    assert (found.embedded, found.found, helped.embedded) == (20, 20, 20)
    check(meeting, embedders, 40)


def test_the_parts_are_the_whole_and_none_is_embedded_twice(
    pipeline: Pipeline, database_url: str
) -> None:
    request = request_of(prepared(pipeline, range(23), 1))
    model = HashEmbedder()
    with open_pool(database_url, size=3) as pool:
        step = EmbedStep(
            store=pipeline.store, pool=pool, embedder_of=model.with_fingerprint, shard=SHARD
        )
        embedded = [
            step.help_embed(replace(request, part=part, parts=4), lambda: True).embedded
            for part in range(4)
        ]
        assert sum(embedded) == 23
        assert max(embedded) - min(embedded) <= 1
        assert step.embed(request).embedded == 0
    assert set(model.embedded.values()) == {1}


def test_a_helper_ends_between_two_shards_when_it_is_not_wanted_any_more(
    pipeline: Pipeline, database_url: str
) -> None:
    request = request_of(prepared(pipeline, range(30), 1))
    model = HashEmbedder()
    with open_pool(database_url, size=3) as pool:
        step = EmbedStep(
            store=pipeline.store, pool=pool, embedder_of=model.with_fingerprint, shard=SHARD
        )
        helped = step.help_embed(replace(request, part=0, parts=1), lambda: False)
        assert helped.embedded == SHARD
        assert step.embed(request).embedded == 20


def test_a_helper_leaves_texts_that_were_begun_before_to_the_batch(
    pipeline: Pipeline, database_url: str
) -> None:
    """Else it would end with its process over a text that kills, and nobody would count it."""
    request = request_of(prepared(pipeline, range(10), 1))
    pipeline.connection.execute(
        "INSERT INTO freshet.begun_text (space_fingerprint, text_sha256)"
        " SELECT %s, sha256(convert_to(%s, 'UTF8'))",
        (request.space_fingerprint, "Text number 3 about weirs."),
    )
    model = HashEmbedder()
    with open_pool(database_url, size=3) as pool:
        step = EmbedStep(
            store=pipeline.store, pool=pool, embedder_of=model.with_fingerprint, shard=SHARD
        )
        helped = step.help_embed(replace(request, part=0, parts=1), lambda: True)
        assert helped.embedded == 9
        assert step.embed(request).embedded == 1


class Clock:
    """A second passes for each text in the model, and else none."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


class ClockedEmbedder(HashEmbedder):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def embed_tokens(self, token_ids: Sequence[Sequence[int]]) -> Vectors:
        self._clock.seconds += len(token_ids)
        return super().embed_tokens(token_ids)


def test_a_source_of_weight_4_gets_four_times_the_texts_while_both_are_behind(
    database_url: str, tmp_path: Path, cleaner: Cleaner, pipeline: Pipeline
) -> None:
    """From the specification to the model, with one batch of each source."""
    pipeline.spec = replace(pipeline.spec, weight=4.0)
    pipeline.configure()
    important = request_of(prepared(pipeline, range(160), 1))
    with Pipeline(database_url, tmp_path, source="other", cleaner=cleaner) as others:
        other = request_of(prepared(others, range(200, 360), 1))
    assert (important.weight, other.weight) == (4.0, 1.0)
    clock, served = Clock(), list[str]()
    model = ClockedEmbedder(clock)
    with open_pool(database_url, size=6) as pool, patch("corpus.limits.fair_queue.time", clock):
        step = EmbedStep(
            store=pipeline.store,
            pool=pool,
            embedder_of=model.with_fingerprint,
            shard=SHARD,
            count_shard=lambda source, _texts, _seconds: served.append(source),
        )
        queue = step._model_queue

        def both_wait() -> bool:
            return len(queue._waiting) == 2

        with ThreadPoolExecutor(2) as threads:
            with queue.acquire(QueuedBatch("holder", 1, 1)):
                work = [threads.submit(step.embed, request) for request in (important, other)]
                wait_until(both_wait, seconds=20)
            assert [one.result().embedded for one in work] == [160, 160]
    # Until the important source has no more: 16 of its shards beside 4 of the other.
    behind = served[: len(served) - served[::-1].index(important.source)]
    assert behind.count(important.source) == 16
    assert 3 <= behind.count(other.source) <= 5
