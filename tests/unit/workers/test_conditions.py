"""A source that stands still: what Temporal says of its batches decides whether it is stuck or only slow."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from corpus.disclosure.secret import Secret
from corpus.errors import DependencyError
from ingest.condition import Condition
from ingest.decode.registry.schemas import use_registry
from workers import conditions
from workers.conditions import explain, needing_attention
from workers.stages import BatchStage, SourceStages

STANDS = "records that wait: 7 (in t/0 for more than 60 s); nothing was published in 75 s"
SETTINGS: Any = object()


def row(**columns: Any) -> dict[str, Any]:
    return {"source": "s", "condition": "stuck", "why": STANDS, "stands": STANDS, **columns}


def explained(
    monkeypatch: pytest.MonkeyPatch, answer: SourceStages | Exception, *rows: dict[str, Any]
) -> list[dict[str, Any]]:
    class Watcher:
        def __init__(self, _settings: Any) -> None: ...

        async def look(self, sources: Sequence[str]) -> dict[str, SourceStages]:
            if isinstance(answer, Exception):
                raise answer
            return dict.fromkeys(sources, answer)

    monkeypatch.setattr(conditions, "StageWatcher", Watcher)
    found = list(rows or [row()])
    explain(SETTINGS, found)
    return found


def stages(**batch: Any) -> SourceStages:
    return SourceStages(is_known=True, batches=(BatchStage(batch=7, **batch),))


@pytest.mark.parametrize("stage", ["cleaning", "embedding", "publishing"])
def test_a_batch_that_is_worked_on_is_slow_not_stuck(
    monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    [found] = explained(monkeypatch, stages(stage=stage))
    assert found["condition"] == "behind"
    assert found["why"].startswith(f"batch 7: {stage}")
    assert needing_attention([found]) == []


def test_a_model_that_answers_within_a_minute_is_slow_not_stuck(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    [found] = explained(monkeypatch, stages(stage="embedding", texts=9, silent_seconds=60))
    assert (found["condition"], found["why"]) == ("behind", "batch 7: embedding 0 of 9 texts")


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        (
            stages(stage="embedding", waits_for="embedder"),
            "batch 7: embedding (no embedder has taken it yet)",
        ),
        (
            stages(stage="cleaning", problem="attempt 5: StagedFileError"),
            "batch 7: cleaning (attempt 5: StagedFileError)",
        ),
        (
            stages(stage="embedding", texts=9, silent_seconds=61),
            "batch 7: embedding 0 of 9 texts (the model has not answered for 61 s)",
        ),
        (
            SourceStages(is_known=True, problem="its code fails, attempt 3: other steps"),
            "the source's workflow: its code fails, attempt 3: other steps",
        ),
        (stages(stage="waiting for its turn"), "batch 7: waiting for its turn"),
        (SourceStages(is_known=True), "waiting for the consumer"),
        (SourceStages(is_known=True, staged=9), "9 records staged"),
    ],
)
def test_a_batch_that_nobody_works_on_is_the_reason(
    monkeypatch: pytest.MonkeyPatch, known: SourceStages, reason: str
) -> None:
    [found] = explained(monkeypatch, known)
    assert (found["condition"], found["why"]) == ("stuck", f"{STANDS}; {reason}")
    assert needing_attention([found]) == [f"s is stuck: {STANDS}; {reason}"]


def test_without_temporal_the_source_stays_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    [found] = explained(monkeypatch, DependencyError("Temporal does not answer"))
    assert found["condition"] == "stuck"
    assert found["why"].endswith("what its batches do is not known: Temporal does not answer")


def test_nobody_is_asked_where_nothing_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        row(condition="active", why="", stands=""),
        row(condition="stuck", why="topic t is missing", stands=""),
        row(condition="halted", why="a gap", stands=""),
    ]
    before = [dict(one) for one in rows]
    assert explained(monkeypatch, AssertionError("asked"), *rows) == before
    assert needing_attention(rows) == ["s is stuck: topic t is missing", "s is halted: a gap"]


@pytest.mark.parametrize(("needs", "words"), [(True, "does not answer"), (False, "")])
def test_a_stuck_source_says_what_its_schema_registry_answers(needs: bool, words: str) -> None:
    names = ("login", "token", "ca", "certificate")
    access: dict[str, Any] = {f"schema_registry_{name}": "" for name in names}
    access |= {f"schema_registry_{name}": Secret.of("") for name in names[:2]}
    settings: Any = SimpleNamespace(schema_registry_url="http://127.0.0.1:1", **access)
    row = {"condition": Condition.STUCK, "needs_registry": needs, "why": "nothing is published"}
    conditions._explain_by_registry(settings, [row])
    use_registry(None)
    assert (words in row["why"], row["why"] == "nothing is published") == (True, not needs)
