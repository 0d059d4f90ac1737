"""What ends its worker, or meets a mistake of ours, again and again is given up; what it came with goes through."""

import asyncio
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.common import RetryPolicy
from temporalio.exceptions import CancelledError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from corpus.activities import Past, heartbeats
from corpus.batch import BatchRef, EmbedRequest, PreparedBatch, PrepareRequest, StagedFile
from corpus.clean.cleaner import Cleaner
from corpus.embed.embedder import Vectors
from corpus.errors import (
    MAX_KILLS,
    MAX_MISTAKES,
    DependencyError,
    FreshetError,
    TimeSliceUsedError,
    VectorRefusedError,
)
from corpus.prepare import preparer as preparer_module
from corpus.prepare.candidates import BatchState, Candidate
from corpus.prepare.time_slice import Prepared
from corpus.prepare.tries import MAX_TRIES
from corpus.source import SourceSpec
from ingest.decode.staged_content import content_of
from tests.support.fakes import HashEmbedder
from tests.support.pipeline import Pipeline, make_event
from workers.roles.run import WORKER_OPTIONS

pytestmark = pytest.mark.service

EVENTS = [make_event(f"d{n}", 1, f"text number {n}") for n in range(6)]


class KilledError(BaseException):
    """Stands for the end of the process: no code of ours runs after it."""


def attempts(step: Callable[[int], Any]) -> Iterator[BaseException | Any]:
    """What each attempt came to, as Temporal would make them, until one returns; the step gets the bad ends before."""
    bad_ends = 0
    for _ in range(MAX_KILLS):
        try:
            result = step(bad_ends)
        except (Exception, KilledError) as error:
            bad_ends += not isinstance(error, FreshetError)
            yield error
        else:
            yield result
            return


def prepare_again_and_again(pipeline: Pipeline, ref: BatchRef) -> list[Any]:
    def prepare(bad_ends: int) -> PreparedBatch:
        request = PrepareRequest(source="s", batch=1, refs=(ref,), bad_ends=bad_ends)
        return pipeline.preparer.prepare(request)

    return list(attempts(prepare))


def letters(pipeline: Pipeline) -> list[tuple[str, str]]:
    return pipeline.connection.execute(
        "SELECT document_id, reason FROM freshet.dead_letter ORDER BY document_id"
    ).fetchall()


def notes(pipeline: Pipeline) -> int:
    row = pipeline.connection.execute(
        "SELECT (SELECT count(*) FROM freshet.begun_event) + (SELECT count(*) FROM freshet.begun_text)"
    ).fetchone()
    assert row is not None
    return row[0]


def fail_on(
    monkeypatch: pytest.MonkeyPatch, pipeline: Pipeline, error: BaseException, *documents: str
) -> None:
    """Reading the records of some documents raises; their cleaning is in a process that may end."""

    def failing(spec: SourceSpec, key: bytes, *record: Any) -> str:
        if key.decode() in documents:
            raise error
        return content_of(spec, key, *record)

    monkeypatch.setattr(pipeline.preparer, "_content_of", failing)


def fail_after(
    monkeypatch: pytest.MonkeyPatch, _: Pipeline, error: BaseException, *documents: str
) -> None:
    """Taking the results of some documents raises."""
    add = preparer_module.add_prepared

    def failing(batch: BatchState, candidate: Candidate, result: Prepared) -> bool:
        if candidate.document_id in documents:
            raise error
        return add(batch, candidate, result)

    monkeypatch.setattr(preparer_module, "add_prepared", failing)


@pytest.mark.parametrize("fail", [fail_on, fail_after])
@pytest.mark.parametrize(
    "error", [KilledError(), KeyError("text number 3")], ids=["ends its process", "a mistake"]
)
def test_a_document_that_is_always_fatal_becomes_a_dead_letter_alone(
    error: BaseException,
    fail: Callable[..., None],
    pipeline: Pipeline,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fail(monkeypatch, pipeline, error, "d3")
    ref = pipeline.stage(pipeline.records(EVENTS))
    *failed, prepared = prepare_again_and_again(pipeline, ref)
    assert len(failed) == MAX_TRIES + 1 < min(MAX_KILLS, MAX_MISTAKES)
    pipeline.embed(prepared)
    report = pipeline.publish([ref], prepared, 1)
    assert (report.applied, report.dead_lettered) == (5, 1)
    assert letters(pipeline) == [("d3", "cleaning_failed")]
    detail = pipeline.connection.execute("SELECT detail FROM freshet.dead_letter").fetchone()
    assert detail is not None
    assert detail[0].startswith(f"it was begun {MAX_TRIES} times and never finished: ")
    assert "number 3" not in detail[0]
    assert notes(pipeline) == 0


def test_its_next_version_is_tried_again(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        fail_on(patched, pipeline, KilledError(), "d3")
        ref = pipeline.stage(pipeline.records(EVENTS))
        *_, prepared = prepare_again_and_again(pipeline, ref)
        pipeline.embed(prepared)
        assert pipeline.publish([ref], prepared, pipeline.number()).batch == 1
    assert pipeline.ingest(make_event("d3", 2, "text number 3, mended")).applied == 1


def test_several_that_raise_cost_no_more_attempts_than_one(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_on(monkeypatch, pipeline, IndexError(), "d1", "d3", "d4")
    ref = pipeline.stage(pipeline.records(EVENTS))
    *failed, _ = prepare_again_and_again(pipeline, ref)
    assert len(failed) == MAX_TRIES + 1


def test_a_mistake_that_meets_every_document_is_no_document(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A faulty release must not turn a corpus into dead letters: the source halts with the reason."""
    events = [make_event(f"d{n}", 1, f"text number {n}") for n in range(30)]
    fail_on(monkeypatch, pipeline, KeyError(), *(event["id"] for event in events))
    ref = pipeline.stage(pipeline.records(events))
    failed = prepare_again_and_again(pipeline, ref)
    assert [type(error) for error in failed] == [KeyError] * MAX_KILLS
    assert notes(pipeline) == 0


@pytest.mark.parametrize(
    "error", [DependencyError("no answer"), CancelledError("the worker is to stop")], ids=repr
)
def test_an_outage_or_a_shutdown_in_the_middle_is_no_try(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    fail_on(monkeypatch, pipeline, error, "d3")
    ref = pipeline.stage(pipeline.records(EVENTS))
    failed = prepare_again_and_again(pipeline, ref)
    assert {type(error) for error in failed} == {type(error)}
    assert notes(pipeline) == 0


@pytest.mark.parametrize("fail", [fail_on, fail_after])
def test_tries_are_noted_across_slices_of_time(
    fail: Callable[..., None], pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attempt takes one slice of a single document; the fatal one is found, and the others are cleaned once."""
    monkeypatch.setattr(preparer_module, "SLICE_SECONDS", 0)
    fail(monkeypatch, pipeline, KeyError(), "d3")
    ref = pipeline.stage(pipeline.records(EVENTS))
    request = PrepareRequest(source="s", batch=1, refs=(ref,))
    ends: list[str] = []
    prepared: PreparedBatch | None = None
    while prepared is None:
        try:
            prepared = pipeline.preparer.prepare(request)
        except TimeSliceUsedError as error:
            ends.append("slice")
            (progress,) = error.details
            assert isinstance(progress, StagedFile)
            request = replace(request, progress=progress)
        except KeyError:
            ends.append("mistake")
            request = replace(request, bad_ends=request.bad_ends + 1)
    assert ends.count("mistake") < MAX_MISTAKES
    assert ends.count("slice") >= 4
    assert len(ends) < 15
    pipeline.embed(prepared)
    report = pipeline.publish([ref], prepared, 1)
    assert (report.applied, report.dead_lettered) == (5, 1)
    assert letters(pipeline) == [("d3", "cleaning_failed")]
    assert notes(pipeline) == 0


class FatalEmbedder(HashEmbedder):
    """Raises over texts of one length."""

    def __init__(self, tokens: int, error: BaseException) -> None:
        super().__init__()
        self.tokens = tokens
        self.error = error

    def embed_tokens(self, token_ids: Sequence[Sequence[int]]) -> Vectors:
        if any(len(ids) == self.tokens for ids in token_ids):
            raise self.error
        return super().embed_tokens(token_ids)


@pytest.mark.parametrize(
    "error", [KilledError(), RuntimeError("a text")], ids=["ends its process", "a mistake"]
)
def test_a_text_that_is_always_fatal_stops_its_document_only(
    error: BaseException, database_url: str, tmp_path: Path, cleaner: Cleaner
) -> None:
    embedder = FatalEmbedder(tokens=4, error=error)
    events = [make_event("fatal", 1, "one two three four")]
    events += [make_event(f"d{n}", 1, "five " * n) for n in (1, 2, 3, 5, 6)]
    with Pipeline(database_url, tmp_path, cleaner=cleaner, embedder=embedder) as pipeline:
        ref = pipeline.stage(pipeline.records(events))
        prepared = pipeline.prepare([ref], 1)

        def embed(bad_ends: int) -> Any:
            request = EmbedRequest(
                source="s",
                batch=1,
                texts=prepared.texts,
                model=prepared.model,
                prefix=prepared.prefix,
                space_id=prepared.space_id,
                space_fingerprint=prepared.space_fingerprint,
                bad_ends=bad_ends,
            )
            return pipeline.embed_step.embed(request)

        failed = []
        for outcome in attempts(embed):
            failed.append(type(outcome))
            if isinstance(outcome, VectorRefusedError):
                break
        assert failed == [type(error)] * (MAX_TRIES + 1) + [VectorRefusedError]
        assert len(failed) <= min(MAX_MISTAKES, MAX_KILLS)
        assert notes(pipeline) == 0
        report = pipeline.run(ref)
        assert (report.applied, report.dead_lettered) == (5, 1)
        assert letters(pipeline) == [("fatal", "not_embeddable")]


# ── attempts, by a real server ──────────────────────────────────────────────────────────────────────────────────────

OUTAGE_ATTEMPTS = MAX_KILLS + 2


@workflow.defn(name="OneStep")
class OneStepWorkflow:
    """One activity, tried again at once."""

    @workflow.run
    async def run(self) -> str:
        return await workflow.execute_activity(
            "one_step",
            result_type=str,
            start_to_close_timeout=timedelta(seconds=30),
            heartbeat_timeout=timedelta(seconds=10),
            retry_policy=RetryPolicy(
                initial_interval=timedelta(milliseconds=1), backoff_coefficient=1
            ),
        )


async def run_one_step(client: Client, one_step: Callable[[], str]) -> None:
    queue = f"one-step-{uuid.uuid4().hex}"
    async with Worker(
        client,
        task_queue=queue,
        workflows=[OneStepWorkflow],
        activities=[one_step],
        activity_executor=ThreadPoolExecutor(2),
        workflow_runner=UnsandboxedWorkflowRunner(),
        **WORKER_OPTIONS,
    ):
        running = client.execute_workflow(OneStepWorkflow.run, id=queue, task_queue=queue)
        assert await asyncio.wait_for(running, 50) == "done"


async def test_a_long_outage_counts_as_no_bad_end(temporal_client: Client) -> None:
    """The count of an attempt that ends in an error must reach the server with that error."""
    seen: list[Past] = []

    @activity.defn(name="one_step")
    def one_step() -> str:
        with heartbeats() as past:
            seen.append(past)
            if len(seen) <= OUTAGE_ATTEMPTS:
                raise DependencyError("no answer")
        return "done"

    await run_one_step(temporal_client, one_step)
    assert seen == [Past()] * (OUTAGE_ATTEMPTS + 1)


async def test_slices_are_no_bad_ends_and_their_progress_outlives_an_error(
    temporal_client: Client,
) -> None:
    """More slices than errors are allowed, then an error, and again slices."""
    slices = MAX_MISTAKES + 1
    seen: list[Past] = []

    def left(part: int) -> StagedFile:
        return StagedFile(url=f"part-{part}", sha256="", rows=part, file_bytes=1)

    @activity.defn(name="one_step")
    def one_step() -> str:
        with heartbeats() as past:
            seen.append(past)
            attempt = len(seen)
            if attempt == slices + 1:
                raise KeyError
            if attempt <= slices + 3:
                raise TimeSliceUsedError("a part is done", details=(left(attempt),))
        return "done"

    await run_one_step(temporal_client, one_step)
    assert seen == [
        Past(),
        *(Past(progress=left(part)) for part in range(1, slices + 1)),
        Past(progress=left(slices), mistakes=1),
        Past(progress=left(slices + 2), mistakes=1),
        Past(progress=left(slices + 3), mistakes=1),
    ]
