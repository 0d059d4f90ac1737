"""Which stage the batches of a source are in, for people who wait: read from Temporal, which may not answer."""

import asyncio
import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from temporalio.api.enums.v1 import EventType, PendingActivityState
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowHandle,
    WorkflowQueryFailedError,
)
from temporalio.service import RPCError, RPCStatusCode

from corpus import search_attributes
from corpus.activities import SILENT_SECONDS
from corpus.batch import PreparedBatch
from corpus.database import Connection
from corpus.source import source_workflow_id
from corpus.sql import query
from ingest import condition
from ingest.entity import state_of
from workers.failing_tasks import task_failure
from workers.last_attempts import problem_of, progress_of
from workers.temporal.client import temporal

if TYPE_CHECKING:
    from ingest.source_state import SourceState
    from workers.config.settings import Settings

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
_ANSWER = timedelta(
    seconds=3
)  # of one call; a query waits for a worker, which may not run
_STOP_SECONDS = 5.0
_MAX_BATCHES = 3  # shown on one line

# Activity of a batch -> what it does, and the role that runs it.
_STAGES = {
    "corpus.prepare": ("cleaning", "preparer"),
    "corpus.embed": ("embedding", "embedder"),
    "corpus.publish": ("publishing", "storer"),
}
_WORK = frozenset(stage for stage, _ in _STAGES.values())
_PREPARE = "corpus.prepare"
_EMBED = "corpus.embed"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStage:
    """What a batch that is not published does."""

    batch: int
    stage: str  # "cleaning", "embedding", "publishing", "waiting for its turn"
    texts: int | None = None  # to embed; None: not known
    embedded: int = 0  # of them
    waits_for: str = ""  # the role that no process of has taken the work
    problem: str = ""  # of the last attempt
    progress: str = ""  # of a batch that is worked on in slices of time
    silent_seconds: int = 0  # since the model last finished something

    @property
    def is_worked_on(self) -> bool:
        """Whether a process works on it, and neither failed nor stopped to finish anything."""
        is_taken = self.stage in _WORK and not self.waits_for
        return is_taken and not self.problem and not self._is_silent

    @property
    def _is_silent(self) -> bool:
        return self.silent_seconds > condition.STANDSTILL_SECONDS

    def __str__(self) -> str:
        what = self.stage
        if self.waits_for:
            what += f" (no {self.waits_for} has taken it yet)"
        elif self.stage == "embedding":
            what += f" {self._counts()}"
        if self._is_silent:
            what += f" (the model has not answered for {self.silent_seconds} s)"
        for note in (self.progress, self.problem):
            if note:
                what += f" ({note})"
        return f"batch {self.batch}: {what}"

    def _counts(self) -> str:
        if self.texts is None:
            return f"{self.embedded:,} texts"
        return f"{min(self.embedded, self.texts):,} of {self.texts:,} texts"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStages:
    """What is on its way in a source. Empty: nothing is known."""

    batches: tuple[BatchStage, ...] = ()  # oldest first
    staged: int = 0  # records that wait for a batch
    is_rewinding: bool = False  # a batch failed, and its records are read again
    # Why the workflow holds still; the row says so too, unless the database has refused it.
    halted: str = ""
    is_known: bool = False  # Temporal answered
    problem: str = ""  # why the source's workflow cannot continue

    def with_counts(self, embedded: Mapping[int, int]) -> "SourceStages":
        """With the texts that the database has by now; they are all that is known where Temporal does not answer."""
        if not self.is_known:
            stages = [
                BatchStage(batch=batch, stage="embedding", embedded=texts)
                for batch, texts in sorted(embedded.items())
            ]
            return replace(self, batches=tuple(stages))
        counted = [
            replace(stage, embedded=embedded.get(stage.batch, 0))
            for stage in self.batches
        ]
        return replace(self, batches=tuple(counted))

    @property
    def is_working(self) -> bool:
        """Whether a process works on a batch, and it has not failed yet."""
        return not self.problem and any(stage.is_worked_on for stage in self.batches)

    def __str__(self) -> str:
        parts = [f"the source's workflow: {self.problem}"] if self.problem else []
        parts += [str(stage) for stage in self.batches[:_MAX_BATCHES]]
        if len(self.batches) > _MAX_BATCHES:
            parts.append(f"{len(self.batches) - _MAX_BATCHES} more batches")
        if self.halted:
            parts.append(f"the workflow holds still: {self.halted}")
        if self.is_rewinding:
            parts.append("a batch failed, its records are read again")
        if self.staged:
            parts.append(f"{self.staged:,} records staged")
        if not parts and self.is_known:
            parts.append("waiting for the consumer")
        return ", ".join(parts)


def texts_embedded_after(
    connection: Connection, batches: Mapping[str, int]
) -> dict[str, dict[int, int]]:
    """Texts embedded for batches that are not published: source -> batch -> texts.

    Args:
        connection: to PostgreSQL.
        batches: the newest published batch of each source.
    """
    embedded: dict[str, dict[int, int]] = {}
    for source, batch in batches.items():
        values = {"source": source, "batch": batch}
        cursor = connection.execute(query("texts_embedded_after"), values)
        embedded[source] = dict(cursor.fetchall())
    return embedded


def counted(
    stages: Mapping[str, SourceStages], embedded: Mapping[str, Mapping[int, int]]
) -> dict[str, SourceStages]:
    """The stages of these sources, with the texts that the database has by now."""
    found: dict[str, SourceStages] = {}
    for source, texts in embedded.items():
        known = stages.get(source, SourceStages())
        found[source] = known.with_counts(texts)
    return found


def progress_sentence(
    *, done: int, total: int, sources: Mapping[str, SourceStages], more: int = 0
) -> str:
    """One line about sources that are not finished; `more` of them are not described."""
    parts = [f"{done:,} of {total:,} records are in the corpus"]
    for source, stages in sources.items():
        text = str(stages)
        if text and len(sources) > 1:
            text = f"{source}: {text}"
        if text:
            parts.append(text)
    if more:
        parts.append(f"{more:,} more are behind")
    return "; ".join(parts)


# ── Temporal ────────────────────────────────────────────────────────────────────────────────────────────────────────


class StageWatcher:
    """Looks about once per second, in a thread of its own: whoever waits is never held up by it.

    It describes workflows, which the server answers also while no worker runs, and asks the entity one query.
    """

    def __init__(self, settings: "Settings") -> None:
        self._settings = settings
        self._wanted: dict[str, int] = {}  # source -> newest batch that is published
        self._stages: dict[str, SourceStages] = {}
        self._texts: dict[str, int] = {}  # workflow run -> texts to embed
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stages", daemon=True)

    def __enter__(self) -> "StageWatcher":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(_STOP_SECONDS)

    def stages(self, unfinished: Mapping[str, int]) -> dict[str, SourceStages]:
        """The newest answers about these sources.

        Args:
            unfinished: the newest published batch of each source; stages of older batches are left out.
        """
        self._wanted = dict(unfinished)
        return {
            source: _after(self._stages[source], batch)
            for source, batch in unfinished.items()
            if source in self._stages
        }

    async def look(self, sources: Sequence[str]) -> dict[str, SourceStages]:
        """Look once, without the thread.

        Raises:
            DependencyError: Temporal does not answer.
            RPCError: it does not answer in time.
        """
        client = await temporal(self._settings)
        return await self._stages_of(client, sources)

    def _run(self) -> None:
        asyncio.run(self._watch())

    async def _watch(self) -> None:
        client: Client | None = None
        while not self._stopped.is_set():
            try:
                if client is None:
                    client = await temporal(self._settings)
                await self._look(client)
            except Exception:  # a display must not end what it shows
                self._stages = {}
                logger.debug(
                    "stages are not known", exc_info=True, extra={"action": "stages"}
                )
            await asyncio.to_thread(self._stopped.wait, _LOOK_SECONDS)

    async def _look(self, client: Client) -> None:
        self._stages = await self._stages_of(client, list(self._wanted))

    async def _stages_of(
        self, client: Client, sources: Sequence[str]
    ) -> dict[str, SourceStages]:
        answers = await asyncio.gather(
            *(self._source_stages(client, name) for name in sources)
        )
        return dict(zip(sources, answers, strict=True))

    async def _source_stages(self, client: Client, source: str) -> SourceStages:
        entity = client.get_workflow_handle(source_workflow_id(source))
        try:
            described = await entity.describe(rpc_timeout=_ANSWER)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return SourceStages(is_known=True)  # nothing was staged yet
            raise
        children = described.raw_description.pending_children
        batches = await asyncio.gather(
            *(
                self._batch_stage(client, child.workflow_id, child.run_id)
                for child in children
            )
        )
        status = described.typed_search_attributes.get(search_attributes.STATE)
        problem = await task_failure(client, described, _ANSWER)
        state = await _state(entity)
        pending = state.pending if state is not None else ()
        return SourceStages(
            batches=tuple(sorted(batches, key=lambda stage: stage.batch)),
            staged=sum(ref.records for ref in pending),
            is_rewinding=status == "rewinding",
            halted=state.halted if state is not None else "",
            is_known=True,
            problem=problem,
        )

    async def _batch_stage(
        self, client: Client, workflow_id: str, run_id: str
    ) -> BatchStage:
        handle = client.get_workflow_handle(workflow_id, run_id=run_id)
        described = await handle.describe(rpc_timeout=_ANSWER)
        stage = stage_of(described)
        if stage.stage == "embedding":
            if run_id not in self._texts:
                self._texts[run_id] = await _texts_to_embed(client, handle)
            silent = await _silent_seconds(client, described)
            texts = self._texts[run_id]
            stage = replace(stage, texts=texts, silent_seconds=silent)
        if failure := await task_failure(client, described, _ANSWER):
            stage = replace(stage, problem=failure)
        return stage


def _after(stages: SourceStages, batch: int) -> SourceStages:
    return replace(stages, batches=tuple(s for s in stages.batches if s.batch > batch))


def stage_of(described: WorkflowExecutionDescription) -> BatchStage:
    """The stage of a BatchWorkflow, by the activity that it waits for."""
    number = int(described.id.rpartition(":")[2])
    for activity in described.raw_description.pending_activities:
        name = activity.activity_type.name
        if name in _STAGES:
            stage, role = _STAGES[name]
            taken = BatchStage(
                batch=number,
                stage=stage,
                problem=problem_of(activity),
                progress=progress_of(activity),
            )
            if is_untaken(activity):
                return replace(taken, waits_for=role)
            return taken
    return BatchStage(batch=number, stage="waiting for its turn")


def is_untaken(activity: PendingActivityInfo) -> bool:
    """No worker has taken the first attempt."""
    is_scheduled = (
        activity.state == PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
    )
    return is_scheduled and activity.attempt <= 1


async def _state(entity: WorkflowHandle[Any, Any]) -> "SourceState | None":
    """What the entity holds for later batches, and why it holds still; None where no worker answers."""
    try:
        return await state_of(entity, _ANSWER)
    except (RPCError, WorkflowQueryFailedError):
        return None


async def _texts_to_embed(client: Client, handle: WorkflowHandle[Any, Any]) -> int:
    """By the newest result of the prepare step in the batch's history, which has some ten events."""
    texts = 0
    names: dict[int, str] = {}
    async for event in handle.fetch_history_events():
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            scheduled = event.activity_task_scheduled_event_attributes
            names[event.event_id] = scheduled.activity_type.name
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            completed = event.activity_task_completed_event_attributes
            if names.get(completed.scheduled_event_id) == _PREPARE:
                texts = await _texts_of(client, completed.result.payloads)
    return texts


async def _silent_seconds(
    client: Client, described: WorkflowExecutionDescription
) -> int:
    """By the newest heartbeat of the embed step; 0 where there was none, or one of an older version."""
    for activity in described.raw_description.pending_activities:
        if activity.activity_type.name == _EMBED:
            payloads = list(activity.heartbeat_details.payloads)
            details: list[Any] = await client.data_converter.decode(payloads)
            named: list[dict[str, int]] = [
                detail for detail in details if isinstance(detail, dict)
            ]
            silent = [detail.get(SILENT_SECONDS, 0) for detail in named]
            return max(silent, default=0)
    return 0


async def _texts_of(client: Client, payloads: Iterable[Any]) -> int:
    prepared: list[PreparedBatch] = await client.data_converter.decode(
        list(payloads), [PreparedBatch]
    )
    return prepared[0].texts.rows
