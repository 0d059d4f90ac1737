"""Why a workflow cannot continue: its code fails at one task again and again, mostly since it is of another version."""

from datetime import timedelta

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryReverseRequest
from temporalio.client import Client, WorkflowExecutionDescription

_NEWEST_EVENTS = 20  # signals may follow the failure
_MAX_MESSAGE = 160  # characters
_ENDS_OF_TASKS = (
    EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT,
)


async def task_failure(
    client: Client, described: WorkflowExecutionDescription, timeout: timedelta
) -> str:
    """How a workflow's code fails; empty where it does not, or nothing runs it.

    The server keeps the first failure of a task in the history, and counts the attempts that follow.

    Raises:
        RPCError: Temporal does not answer in time.
    """
    attempt = described.raw_description.pending_workflow_task.attempt
    if attempt <= 1:
        return ""
    execution = WorkflowExecution(workflow_id=described.id, run_id=described.run_id)
    request = GetWorkflowExecutionHistoryReverseRequest(
        namespace=client.namespace,
        execution=execution,
        maximum_page_size=_NEWEST_EVENTS,
    )
    answer = await client.workflow_service.get_workflow_execution_history_reverse(
        request, timeout=timeout
    )
    ends = [event for event in answer.history.events if _ends_a_task(event)]
    if not ends or not ends[0].HasField("workflow_task_failed_event_attributes"):
        return ""
    message = ends[0].workflow_task_failed_event_attributes.failure.message
    shown = " ".join(message.split())[:_MAX_MESSAGE]
    return f"its code fails, attempt {attempt}: {shown}"


def _ends_a_task(event: HistoryEvent) -> bool:
    return event.event_type in _ENDS_OF_TASKS
