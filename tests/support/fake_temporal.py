"""Run the code of a workflow without a server: what `temporalio.workflow` gives it, done by the event loop of the test.

`with patch("corpus.workflows.workflow", FakeWorkflowModule(...))` lets `corpus.workflows` run in a test. Timers fire
at once, and a condition is evaluated in every pass of the loop. This checks decisions; the replay tests check
determinism.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, NoReturn

from temporalio.exceptions import ActivityError, ApplicationError, ChildWorkflowError

Activity = Callable[[str, Any], Awaitable[Any]]
ChildStart = Callable[[Any], Awaitable[Any]]


class ContinuedAsNew(BaseException):
    """A workflow continued as new; the SDK's exception needs a runtime."""

    def __init__(self, argument: Any) -> None:
        super().__init__()
        self.argument = argument


class FakeWorkflowModule:
    """Stands for the module `temporalio.workflow` inside one workflow module.

    Args:
        run_activity: is called with the activity's method name and argument.
        start_child: is called with a child's input; returns its handle once it is started.
    """

    logger = logging.getLogger("tests.workflow")

    def __init__(self, run_activity: Activity, start_child: ChildStart | None = None) -> None:
        self._run_activity = run_activity
        self._start_child = start_child
        self.new_run()
        self.pauses: list[timedelta] = []
        self.attributes: dict[str, list[Any]] = {}  # search attribute -> values, oldest first
        self.seconds = 0.0  # that have passed

    def new_run(self) -> None:
        self.continue_as_new_suggested = False
        self.events = 0  # in the history

    def pass_time(self, seconds: float) -> None:
        self.seconds += seconds

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    async def wait_condition(self, condition: Callable[[], bool]) -> None:
        while not condition():  # noqa: ASYNC110 (a condition has no event to wait for)
            await asyncio.sleep(0)

    async def sleep(self, duration: timedelta) -> None:
        self.pauses.append(duration)
        await asyncio.sleep(0)

    async def execute_activity_method(self, method: Any, argument: Any, **_policy: Any) -> Any:
        return await self._run_activity(method.__name__, argument)

    def start_activity_method(
        self, method: Any, argument: Any, **_policy: Any
    ) -> "asyncio.Task[Any]":
        return asyncio.ensure_future(self._run_activity(method.__name__, argument))

    async def start_child_workflow(self, _run: Any, argument: Any, **_options: Any) -> Any:
        assert self._start_child is not None
        return await self._start_child(argument)

    def upsert_search_attributes(self, updates: list[Any]) -> None:
        for update in updates:
            self.attributes.setdefault(update.key.name, []).append(update.value)

    def info(self) -> Any:
        return SimpleNamespace(
            workflow_id="workflow",
            run_id="run",
            is_continue_as_new_suggested=lambda: self.continue_as_new_suggested,
            get_current_history_length=lambda: self.events,
        )

    def patched(self, _name: str) -> bool:
        return True

    def all_handlers_finished(self) -> bool:
        return True

    def continue_as_new(self, argument: Any) -> NoReturn:
        raise ContinuedAsNew(argument)


async def settle(passes: int = 25) -> None:
    """Let everything that can run do so, until it waits."""
    for _ in range(passes):
        await asyncio.sleep(0)


def application_error(name: str, message: str = "refused") -> ApplicationError:
    """As an activity raises it for one of Freshet's errors."""
    return ApplicationError(message, type=name, non_retryable=True)


def activity_error(cause: BaseException) -> ActivityError:
    """As workflow code receives it."""
    error = ActivityError(
        "activity failed",
        scheduled_event_id=1,
        started_event_id=2,
        identity="worker",
        activity_type="activity",
        activity_id="1",
        retry_state=None,
    )
    error.__cause__ = cause
    return error


def child_error(cause: BaseException) -> ChildWorkflowError:
    """As workflow code receives the failure of a child."""
    error = ChildWorkflowError(
        "child failed",
        namespace="default",
        workflow_id="child",
        run_id="run",
        workflow_type="BatchWorkflow",
        initiated_event_id=1,
        started_event_id=2,
        retry_state=None,
    )
    error.__cause__ = cause
    return error
