"""A command that waits for a workflow: it shows how far it is, and may be ended without ending it."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from workers.cli.console import CommandError, ExitCode
from workers.cli.progress import progress_line

if TYPE_CHECKING:
    from temporalio.client import WorkflowHandle

_LOOK_SECONDS = 1.0


async def until_ended(
    handle: "WorkflowHandle[Any, Any]",
    what: str,
    progress: Callable[[], str],
    *,
    timeout: int,
    silent: bool,
) -> "asyncio.Future[Any]":
    """The result of a workflow, which has ended: to be awaited, or its failure.

    Args:
        handle: of the workflow.
        what: it does, as in "the audit of 'peps'".
        progress: how far it is, in a line; runs in a thread, about once per second.
        timeout: seconds to wait at most.
        silent: show nothing.

    Raises:
        CommandError: it has no result in time.
    """
    ending = asyncio.ensure_future(handle.result())
    with progress_line(silent=silent) as line:
        try:
            async with asyncio.timeout(timeout):
                while not ending.done():
                    line.show(await asyncio.to_thread(progress))
                    await asyncio.wait([ending], timeout=_LOOK_SECONDS)
        except TimeoutError as error:
            raise CommandError(
                f"{what} has no result after {timeout} s; it continues as workflow {handle.id}. "
                "Do the workers run? See `freshet status`.",
                ExitCode.UNAVAILABLE,
            ) from error
    return ending
