"""The team's worker: `python -m examples.team.worker [--log notices.jsonl] [--stack .../stack.json]`."""

import argparse
import asyncio
import os
import signal
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from nexusrpc.handler import StartOperationContext, service_handler, sync_operation
from temporalio import nexus
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.worker import Interceptor, Worker

from corpus.service import BatchNotice, BatchSubscriberService, NoticeAck
from examples.team.connect import TASK_QUEUE, connect, identity
from examples.team.log import NoticeLog
from examples.team.workflows import AskWorkflow, InboxState, InboxWorkflow


@service_handler(service=BatchSubscriberService)
class Subscriber:
    """Acknowledges a notice only when the inbox workflow has it, so nothing is lost when this process dies."""

    @sync_operation
    async def batch_published(
        self, _context: StartOperationContext, notice: BatchNotice
    ) -> NoticeAck:
        """Hand the notice to the inbox of its source, which drops repetitions."""
        await nexus.client().start_workflow(
            InboxWorkflow.run,
            InboxState(source=notice.source),
            id=f"inbox:{notice.source}",
            task_queue=TASK_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            start_signal="notice",
            start_signal_args=[notice],
        )
        return NoticeAck(notice_id=notice.notice_id)


def build(
    client: Client, log: str | None, interceptors: Sequence[Interceptor] = ()
) -> Worker:
    """The one worker of this small team: workflows, activities and the Nexus handler."""
    return Worker(
        client,
        task_queue=TASK_QUEUE,
        workflows=[InboxWorkflow, AskWorkflow],
        activities=[NoticeLog(log).write],
        activity_executor=ThreadPoolExecutor(1),  # one writer to the file
        max_concurrent_activities=1,
        nexus_service_handlers=[Subscriber()],
        interceptors=interceptors,
    )


async def main() -> None:
    """Run until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--log", help="append notices to this file; default: standard output"
    )
    parser.add_argument(
        "--stack", help="stack.json of a local stack; default: FRESHET_HOME/stack.json"
    )
    arguments = parser.parse_args()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    client = await connect(arguments.stack)
    async with build(client, arguments.log, identity()):
        if ready := os.environ.get("FRESHET_READY_FILE"):
            process = str(os.getpid())
            await asyncio.to_thread(Path(ready).write_text, process, encoding="utf-8")
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main())
    # The client library may crash while the interpreter shuts down (temporalio/sdk-python#300).
    os._exit(0)
