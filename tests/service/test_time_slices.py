"""A batch of slow documents: prepared in slices of time, every document once, and nothing of it is lost."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from temporalio import workflow
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from corpus.activities import PrepareActivities
from corpus.batch import PreparedBatch, PrepareRequest, StagedFile
from corpus.clean.cleaner import Cleaner
from corpus.embed import step as step_module
from corpus.errors import ConfigurationError, StagedFileError, TimeSliceUsedError
from corpus.policies import PREPARE
from corpus.prepare import preparer as preparer_module
from corpus.staging.layout import batch_file_name
from tests.support.fix_temporal import TemporalEnv
from tests.support.orders import DIGEST, make_ref
from tests.support.pipeline import LONG_TEXT, Pipeline, make_event

EVENTS = [
    make_event("a", 1, "# Weir\n\nOne gauge."),
    make_event("b", 1, LONG_TEXT),
    make_event("c", 1, "not text", content_type="image/png"),
    make_event("a", 2, "# Weir\n\nTwo gauges."),
    make_event("d", 1, "\u6c34 and a gauge"),
]


def prepared_in_slices(pipeline: Pipeline, request: PrepareRequest) -> tuple[PreparedBatch, int]:
    slices = 1
    while True:
        try:
            return pipeline.preparer.prepare(request), slices
        except TimeSliceUsedError as error:
            (progress,) = error.details
            assert isinstance(progress, StagedFile)
            request = replace(request, progress=progress)
            slices += 1


def test_slices_come_to_what_one_preparation_does(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = pipeline.stage(pipeline.records(EVENTS))
    request = PrepareRequest(source="s", batch=1, refs=(ref,))
    whole = pipeline.preparer.prepare(request)
    monkeypatch.setattr(preparer_module, "SLICE_SECONDS", 0)
    sliced, slices = prepared_in_slices(pipeline, request)
    # Of the four documents, the one that is no text takes no time in the end; each slice prepares one at least.
    assert slices == 4
    assert replace(sliced, prepared_ms=0) == replace(whole, prepared_ms=0)


def test_lost_progress_is_prepared_again(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = pipeline.stage(pipeline.records(EVENTS))
    request = PrepareRequest(source="s", batch=1, refs=(ref,))
    whole = pipeline.preparer.prepare(request)
    monkeypatch.setattr(preparer_module, "SLICE_SECONDS", 0)
    with pytest.raises(TimeSliceUsedError, match=r"^1 of about 4 documents are prepared"):
        pipeline.preparer.prepare(request)
    name = batch_file_name("s", 1, "progress", DIGEST)
    gone = StagedFile(url=name, sha256=DIGEST, rows=1, file_bytes=1)
    monkeypatch.setattr(preparer_module, "SLICE_SECONDS", 60)
    again = pipeline.preparer.prepare(replace(request, progress=gone))
    assert replace(again, prepared_ms=0) == replace(whole, prepared_ms=0)


def test_embedding_continues_behind_what_is_embedded(
    database_url: str, tmp_path: Path, cleaner: Cleaner, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Pipeline(database_url, tmp_path, cleaner=cleaner) as pipeline:
        pipeline.embed_step._shard = pipeline.embed_step._max_shard = 2
        ref = pipeline.stage(pipeline.records(EVENTS))
        prepared = pipeline.preparer.prepare(PrepareRequest(source="s", batch=1, refs=(ref,)))
        monkeypatch.setattr(step_module, "SLICE_SECONDS", 0)
        slices = 0
        embedded = None
        while embedded is None:
            slices += 1
            try:
                embedded = pipeline.embed(prepared)
            except TimeSliceUsedError as error:
                assert "texts are left to embed" in str(error)
        assert slices == (prepared.texts.rows + 1) // 2
        assert pipeline.embedder.embedded.total() == prepared.texts.rows


def test_progress_of_another_batch_is_refused(pipeline: Pipeline) -> None:
    ref = pipeline.stage(pipeline.records(EVENTS))
    name = batch_file_name("s", 2, "progress", DIGEST)
    other = StagedFile(url=name, sha256=DIGEST, rows=1, file_bytes=1)
    request = PrepareRequest(source="s", batch=1, refs=(ref,), progress=other)
    with pytest.raises(StagedFileError, match="no file of the progress of batch 1"):
        pipeline.preparer.prepare(request)


@workflow.defn
class PrepareOnce:
    """Runs the prepare step as a batch does."""

    @workflow.run
    async def run(self, request: PrepareRequest) -> PreparedBatch:
        policy = PREPARE | {"task_queue": "slices"}
        return await workflow.execute_activity_method(PrepareActivities.prepare, request, **policy)


async def test_the_next_attempt_gets_what_the_last_one_left(temporal_env: TemporalEnv) -> None:
    client = await temporal_env.client()
    seen: list[StagedFile | None] = []

    def prepare(request: PrepareRequest) -> PreparedBatch:
        seen.append(request.progress)
        if len(seen) == 4:
            raise ConfigurationError("enough")
        left = StagedFile(url=f"part-{len(seen)}", sha256="", rows=len(seen), file_bytes=1)
        raise TimeSliceUsedError("a part is done", details=(left,))

    worker = Worker(
        client,
        task_queue="slices",
        workflows=[PrepareOnce],
        activities=[PrepareActivities(prepare).prepare],
        activity_executor=ThreadPoolExecutor(2),
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    request = PrepareRequest(source="s", batch=1, refs=(make_ref(0, 10),))
    async with worker:
        run = client.execute_workflow(PrepareOnce.run, request, id="slices", task_queue="slices")
        with pytest.raises(Exception, match="failed") as failed:
            await asyncio.wait_for(run, 30)
    assert isinstance(failed.value.__cause__.__cause__, ApplicationError)
    assert [None if part is None else part.url for part in seen] == [
        None,
        "part-1",
        "part-2",
        "part-3",
    ]
