"""Which stage a batch is in: what Temporal says of it, and how that is told."""

from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.polling import wait_until
from workers import stages
from workers.stages import BatchStage, SourceStages, StageWatcher, stage_of


@pytest.mark.parametrize(
    ("known", "text"),
    [
        (SourceStages(), ""),
        (SourceStages(is_known=True), "waiting for the consumer"),
        (SourceStages(is_known=True, staged=12), "12 records staged"),
        (
            SourceStages(is_known=True, halted="DatabaseRefusalError: no permission"),
            "the workflow holds still: DatabaseRefusalError: no permission",
        ),
        (
            SourceStages(is_known=True, is_rewinding=True),
            "a batch failed, its records are read again",
        ),
    ],
)
def test_a_source_without_batches(known: SourceStages, text: str) -> None:
    assert str(known) == text


@pytest.mark.parametrize(
    ("stage", "text"),
    [
        (BatchStage(batch=1, stage="cleaning"), "batch 1: cleaning"),
        (
            BatchStage(batch=1, stage="embedding", texts=2_000, embedded=1_280),
            "batch 1: embedding 1,280 of 2,000 texts",
        ),
        (  # texts of a failed attempt are counted, too
            BatchStage(batch=1, stage="embedding", texts=5, embedded=9),
            "batch 1: embedding 5 of 5 texts",
        ),
        (
            BatchStage(batch=1, stage="embedding", waits_for="embedder"),
            "batch 1: embedding (no embedder has taken it yet)",
        ),
        (
            BatchStage(batch=1, stage="publishing", problem="attempt 3: lost"),
            "batch 1: publishing (attempt 3: lost)",
        ),
    ],
)
def test_what_a_batch_does(stage: BatchStage, text: str) -> None:
    assert str(stage) == text


def test_a_line_stays_short_with_many_batches() -> None:
    many = tuple(BatchStage(batch=number, stage="cleaning") for number in range(1, 9))
    text = str(SourceStages(is_known=True, batches=many))
    assert text == "batch 1: cleaning, batch 2: cleaning, batch 3: cleaning, 5 more batches"


# ── Temporal ────────────────────────────────────────────────────────────────────────────────────────────────────────


def activity(name: str, *, started: bool = True, attempt: int = 1, failure: str = "") -> Any:
    states = stages.PendingActivityState
    state = (
        states.PENDING_ACTIVITY_STATE_STARTED
        if started
        else states.PENDING_ACTIVITY_STATE_SCHEDULED
    )
    info = stages.PendingActivityInfo(attempt=attempt, state=state)
    info.activity_type.name = name
    if failure:
        info.last_failure.message = failure
    return info


def described(*activities: Any) -> Any:
    raw = SimpleNamespace(pending_activities=list(activities))
    return SimpleNamespace(id="batch:s:with:colons:17", raw_description=raw)


@pytest.mark.parametrize(
    ("activities", "text"),
    [
        ([], "batch 17: waiting for its turn"),
        ([activity("corpus.prepare")], "batch 17: cleaning"),
        ([activity("corpus.publish")], "batch 17: publishing"),
        ([activity("corpus.wake_deliveries")], "batch 17: waiting for its turn"),
        (
            [activity("corpus.embed", started=False)],
            "batch 17: embedding (no embedder has taken it yet)",
        ),
        (
            [activity("corpus.publish", started=False, attempt=3, failure="lost\n it")],
            "batch 17: publishing (attempt 3: lost it)",
        ),
    ],
)
def test_the_stage_is_the_activity_that_a_batch_waits_for(activities: list[Any], text: str) -> None:
    assert str(stage_of(described(*activities))) == text


def test_a_used_slice_of_time_is_progress_and_no_problem() -> None:
    done = "3 of about 9 documents are prepared; the batch continues"
    used = activity("corpus.prepare", attempt=2, failure=done)
    used.last_failure.application_failure_info.type = "TimeSliceUsedError"
    stage = stage_of(described(used))
    assert str(stage) == f"batch 17: cleaning ({done})"
    assert SourceStages(batches=(stage,), is_known=True).is_working


def test_a_long_failure_is_cut() -> None:
    stage = stage_of(described(activity("corpus.embed", attempt=2, failure="x" * 1_000)))
    assert len(stage.problem) == 240


def test_a_temporal_that_does_not_answer_leaves_the_stages_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries: list[int] = []

    async def refuse(settings: Any) -> Any:
        tries.append(1)
        raise OSError("no route")

    monkeypatch.setattr(stages, "temporal", refuse)
    monkeypatch.setattr(stages, "_LOOK_SECONDS", 0.01)
    nowhere: Any = None
    with StageWatcher(nowhere) as watcher:
        wait_until(lambda: len(tries) > 2, 10)
        assert watcher.stages({"s": 1}) == {}
