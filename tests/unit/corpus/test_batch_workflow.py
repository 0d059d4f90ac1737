"""The decisions of BatchWorkflow, without a server."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from temporalio.exceptions import ActivityError, CancelledError

from corpus.batch import (
    BatchInput,
    BatchKind,
    BatchReport,
    BatchState,
    EmbeddedBatch,
    EmbedRequest,
    Ingest,
    Order,
    PreparedBatch,
    StagedFile,
)
from corpus.workflows import HELP_TEXTS, MAX_PARTS, BatchWorkflow
from tests.support.fake_temporal import (
    FakeWorkflowModule,
    activity_error,
    application_error,
    settle,
)
from tests.support.orders import make_expiry, make_ref

INGEST = Ingest(refs=(make_ref(0, 10),))
EXPIRE = make_expiry()


def staged_file(rows: int) -> StagedFile:
    return StagedFile(url="u", sha256="", rows=rows, file_bytes=1)


def prepared_batch(texts: int) -> PreparedBatch:
    return PreparedBatch(
        source="s",
        batch=3,
        events=staged_file(1),
        documents=staged_file(1),
        chunks=staged_file(1),
        texts=staged_file(texts),
        model="m",
        prefix="",
        space_id=1,
        space_fingerprint="f",
        pipeline="p",
    )


class Steps:
    """The activities of one batch: each gives the next of its prepared results, or raises it."""

    def __init__(self, **results: list[Any]) -> None:
        report = BatchReport(
            source="s", batch=3, kind=BatchKind.INGEST, state=BatchState.PUBLISHED, subscribers=()
        )
        defaults = {
            "prepare": prepared_batch(texts=5),
            "embed": EmbeddedBatch(embedded=5, found=0),
            "help_embed": EmbeddedBatch(embedded=5, found=0),
            "publish": report,
            "wake": None,
        }
        self.results = {name: [*results.get(name, []), last] for name, last in defaults.items()}
        self.calls: list[tuple[str, str]] = []  # activity, state of the batch when it was called
        self.arguments: dict[str, Any] = {}
        self.module = FakeWorkflowModule(self._run)
        self.workflow: BatchWorkflow | None = None

    async def _run(self, name: str, argument: Any) -> Any:
        assert self.workflow is not None
        self.calls.append((name, self.workflow.state()))
        self.arguments[name] = argument
        results = self.results[name]
        result = results.pop(0) if len(results) > 1 else results[0]
        if isinstance(result, BaseException):
            raise result
        return result

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.calls]

    @contextmanager
    def start(self, order: Order, *, first_in_line: bool = True) -> Iterator[asyncio.Task[Any]]:
        batch = BatchInput.of(order, source="s", batch=3, first_in_line=first_in_line)
        self.workflow = BatchWorkflow(batch)
        with patch("corpus.workflows.workflow", self.module):
            task = asyncio.create_task(self.workflow.run(batch))
            try:
                yield task
            finally:
                task.cancel()

    async def run(self, order: Order) -> BatchReport:
        with self.start(order) as task:
            return await task

    @property
    def state(self) -> str:
        assert self.workflow is not None
        return self.workflow.state()


class HelpedSteps(Steps):
    """Keeps what other embedders are offered; a result "never" is one that no embedder takes."""

    def __init__(self, **results: list[Any]) -> None:
        super().__init__(**results)
        self.offered: list[EmbedRequest] = []
        self.cancelled = 0

    async def _run(self, name: str, argument: Any) -> Any:
        if name == "help_embed":
            self.offered.append(argument)
        elif name == "embed":
            await settle()
        result = await super()._run(name, argument)
        if result == "never":
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        return result


async def test_an_ingest_is_prepared_embedded_and_published() -> None:
    steps = Steps()
    report = await steps.run(INGEST)
    assert steps.calls == [("prepare", "staged"), ("embed", "prepared"), ("publish", "embedded")]
    assert steps.state == "published"
    assert report.state is BatchState.PUBLISHED
    assert steps.arguments["prepare"].refs == INGEST.refs
    assert steps.arguments["publish"].prepared == prepared_batch(texts=5)
    assert steps.arguments["publish"].batch.order == INGEST


async def test_without_new_texts_nothing_is_embedded() -> None:
    steps = Steps(prepare=[prepared_batch(texts=0)])
    await steps.run(INGEST)
    assert steps.calls == [("prepare", "staged"), ("publish", "embedded")]


@pytest.mark.parametrize(
    ("texts", "parts"),
    [
        (2 * HELP_TEXTS - 1, 1),
        (2 * HELP_TEXTS, 2),
        (5 * HELP_TEXTS, 5),
        (99 * HELP_TEXTS, MAX_PARTS),
    ],
)
async def test_other_embedders_are_offered_all_parts_of_a_large_batch_but_the_first(
    texts: int, parts: int
) -> None:
    steps = HelpedSteps(prepare=[prepared_batch(texts)])
    await steps.run(INGEST)
    offered = [(one.part, one.parts) for one in steps.offered]
    assert offered == [(part, parts) for part in range(1, parts)]
    assert {replace(one, part=0, parts=1) for one in steps.offered} <= {steps.arguments["embed"]}


async def test_help_that_does_not_come_or_fails_changes_nothing() -> None:
    steps = HelpedSteps(
        prepare=[prepared_batch(4 * HELP_TEXTS)],
        help_embed=[activity_error(application_error("DependencyError")), "never"],
    )
    assert (await steps.run(INGEST)).state is BatchState.PUBLISHED
    assert [step for step in steps.names if step != "help_embed"] == ["prepare", "embed", "publish"]
    assert steps.cancelled == 1, "what nobody took would wait in its queue for ever"


async def test_an_embed_step_that_fails_ends_its_helpers() -> None:
    failure = activity_error(application_error("SpaceMismatchError"))
    steps = HelpedSteps(
        prepare=[prepared_batch(2 * HELP_TEXTS)], embed=[failure], help_embed=["never"]
    )
    with pytest.raises(ActivityError):
        await steps.run(INGEST)
    assert steps.state == "rejected"
    assert steps.cancelled == 1


async def test_an_expiry_is_published_only() -> None:
    steps = Steps()
    await steps.run(EXPIRE)
    assert steps.calls == [("publish", "embedded")]
    assert steps.arguments["publish"].prepared is None
    assert steps.arguments["publish"].batch.order == EXPIRE
    assert steps.state == "published"


@pytest.mark.parametrize("order", [INGEST, EXPIRE], ids=["ingest", "expire"])
async def test_a_batch_behind_others_waits_for_permission(order: Order) -> None:
    steps = Steps()
    with steps.start(order, first_in_line=False) as task:
        await settle()
        assert "publish" not in steps.names
        assert steps.state == "embedded"
        assert steps.workflow is not None
        steps.workflow.allow_publishing()
        steps.workflow.allow_publishing()  # a repeated signal
        await task
    assert steps.names.count("publish") == 1


async def test_permission_that_comes_early_is_kept() -> None:
    steps = Steps()
    with steps.start(INGEST, first_in_line=False) as task:
        assert steps.workflow is not None
        steps.workflow.allow_publishing()
        await task
    assert steps.state == "published"


@pytest.mark.parametrize("name", ["StalePreparationError", "MissingVectorError"])
async def test_a_batch_that_is_outdated_is_prepared_and_embedded_again(name: str) -> None:
    outdated = activity_error(application_error(name))
    steps = Steps(publish=[outdated, outdated])
    await steps.run(INGEST)
    once = [("prepare", "staged"), ("embed", "prepared"), ("publish", "embedded")]
    assert steps.calls == once * 3
    assert len(steps.module.pauses) == 2  # so that a wrong diagnosis does not spin
    assert steps.state == "published"


async def test_what_is_prepared_again_is_what_is_published() -> None:
    outdated = activity_error(application_error("StalePreparationError"))
    steps = Steps(prepare=[prepared_batch(texts=5), prepared_batch(texts=0)], publish=[outdated])
    await steps.run(INGEST)
    assert steps.names == ["prepare", "embed", "publish", "prepare", "publish"]
    assert steps.arguments["publish"].prepared == prepared_batch(texts=0)


async def test_an_order_without_texts_is_not_prepared_again() -> None:
    steps = Steps(publish=[activity_error(application_error("StalePreparationError"))])
    with pytest.raises(ActivityError):
        await steps.run(EXPIRE)
    assert steps.names == ["publish"]
    assert steps.state == "rejected"


@pytest.mark.parametrize(
    ("step", "calls"),
    [
        ("prepare", ["prepare"]),
        ("embed", ["prepare", "embed"]),
        ("publish", ["prepare", "embed", "publish"]),
    ],
)
async def test_a_permanent_error_rejects_the_batch(step: str, calls: list[str]) -> None:
    steps = Steps(**{step: [activity_error(application_error("StagedFileError"))]})
    with pytest.raises(ActivityError):
        await steps.run(INGEST)
    assert steps.names == calls
    assert steps.state == "rejected"


async def test_an_error_while_it_is_prepared_again_rejects_the_batch() -> None:
    outdated = activity_error(application_error("StalePreparationError"))
    gone = activity_error(application_error("StagedFileError"))
    steps = Steps(prepare=[prepared_batch(texts=5), gone], publish=[outdated])
    with pytest.raises(ActivityError):
        await steps.run(INGEST)
    assert steps.state == "rejected"


async def test_a_batch_that_is_cancelled_while_it_waits_publishes_nothing() -> None:
    steps = Steps()
    with steps.start(INGEST, first_in_line=False) as task:
        await settle()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert "publish" not in steps.names
    assert steps.state == "embedded"


async def test_a_cancelled_step_does_not_claim_that_nothing_is_visible() -> None:
    """The transaction may have committed; the ledger knows."""
    steps = Steps(publish=[activity_error(CancelledError())])
    with pytest.raises(ActivityError):
        await steps.run(INGEST)
    assert steps.state == "embedded"


def published_report(**fields: Any) -> BatchReport:
    return BatchReport(
        source="s", batch=3, kind=BatchKind.INGEST, state=BatchState.PUBLISHED, **fields
    )


async def test_a_batch_wakes_no_delivery() -> None:
    """Its turn would last until Temporal has accepted the signals; the entity does it beside the batches."""
    steps = Steps(publish=[published_report(notified=2)])
    report = await steps.run(INGEST)
    assert steps.names == ["prepare", "embed", "publish"]
    assert report.notified == 2


async def test_a_batch_wakes_the_subscribers_that_a_storer_of_the_version_before_names() -> None:
    steps = Steps(publish=[published_report(subscribers=("a", "b"))])
    await steps.run(INGEST)
    assert steps.calls[-1] == ("wake", "published")
    wake = steps.arguments["wake"]
    assert (wake.source, wake.batch, wake.subscribers) == ("s", 3, ("a", "b"))


async def test_a_published_batch_ends_when_no_delivery_can_be_woken() -> None:
    refused = activity_error(application_error("PermanentError"))
    steps = Steps(publish=[published_report(subscribers=("a",))], wake=[refused])
    await steps.run(INGEST)
    assert steps.state == "published"


async def test_the_state_of_the_report_goes_through_the_diagram() -> None:
    """A publisher that reports a state which cannot follow is a mistake of the program, not a batch that is done."""
    report = BatchReport(source="s", batch=3, kind=BatchKind.INGEST, state=BatchState.PREPARED)
    steps = Steps(publish=[report])
    with pytest.raises(ValueError, match="cannot go from embedded to prepared"):
        await steps.run(INGEST)
