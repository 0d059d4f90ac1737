"""The mark of the installation that a Temporal namespace belongs to.

Workflow ids, schedules and task queues are known in the whole namespace, so two installations in one would signal each
other's sources and take each other's work. The mark is the memo of a schedule that is paused and never starts
anything: to create it is atomic, every server that Freshet runs on has schedules, and an operator sees it in the UI.
A namespace that has lost it with all of Temporal's data gets it again from the next process.
"""

from datetime import timedelta
from typing import Any

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleSpec,
    ScheduleState,
)
from temporalio.converter import DataConverter
from temporalio.service import RPCError, RPCStatusCode

from corpus.disclosure.error_text import public_text
from corpus.errors import DependencyError, InstallationError
from corpus.installation.identity import Mark

SCHEDULE_ID = "freshet-installation"
_NOTE = "The mark of the installation of Freshet that this namespace belongs to. Leave it paused."
_MEMO = "installation"
# No worker polls it: if a person triggers the schedule, the workflow ends by its timeout.
_NO_QUEUE = "freshet-installation"


async def read_mark(client: Client) -> Mark | None:
    """Whose namespace it is; None: no installation has used it, or it does not exist.

    Raises:
        InstallationError: the schedule has no mark.
        DependencyError: Temporal does not answer.
    """
    handle = _plain(client).get_schedule_handle(SCHEDULE_ID)
    try:
        described = await handle.describe()
        stored = await described.memo_value(_MEMO, None)
        return Mark.from_json(stored)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise _unavailable(client, error) from error
    except ValueError as error:
        raise InstallationError(
            f"schedule {SCHEDULE_ID!r} of namespace {client.namespace!r} has no mark ({public_text(error)}); delete it "
            "if no other installation uses this namespace"
        ) from error


async def claim(client: Client, mark: Mark) -> Mark:
    """Leave a mark where there is none; return the mark that the namespace has.

    Raises:
        InstallationError: the schedule has no mark.
        DependencyError: Temporal does not answer, or the namespace does not exist.
    """
    current = await read_mark(client)
    if current is not None:
        return current
    await _create(client, mark)
    # Another process may have been quicker.
    return await read_mark(client) or mark


async def take_over(client: Client, mark: Mark) -> None:
    """Replace the mark of another installation.

    Raises:
        DependencyError: Temporal does not answer, or the namespace does not exist.
    """
    try:
        await client.get_schedule_handle(SCHEDULE_ID).delete()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise _unavailable(client, error) from error
    await _create(client, mark)


async def _create(client: Client, mark: Mark) -> None:
    memo: dict[str, Any] = {_MEMO: mark.to_json()}
    try:
        await _plain(client).create_schedule(SCHEDULE_ID, _schedule(), memo=memo)
    except ScheduleAlreadyRunningError:
        return
    except RPCError as error:
        raise _unavailable(client, error) from error


def _schedule() -> Schedule:
    return Schedule(
        action=ScheduleActionStartWorkflow(
            "FreshetInstallation",
            id=SCHEDULE_ID,
            task_queue=_NO_QUEUE,
            execution_timeout=timedelta(minutes=1),
        ),
        spec=ScheduleSpec(),
        state=ScheduleState(note=_NOTE, paused=True),
    )


def _plain(client: Client) -> Client:
    """The same connection without a payload codec: another installation has other keys, and must read the mark."""
    return Client(
        client.service_client,
        namespace=client.namespace,
        data_converter=DataConverter.default,
    )


def _unavailable(client: Client, error: RPCError) -> DependencyError:
    return DependencyError(
        f"the mark of namespace {client.namespace!r} cannot be read or written: {error.message}"
    )
