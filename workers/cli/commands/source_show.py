"""`freshet source show`: one source, as the database, Kafka and its workflow know it."""

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli.console import CommandError, one_line, write, write_json

if TYPE_CHECKING:
    from ingest.source_state import SourceState
    from workers.config.settings import Settings

_ANSWER = timedelta(seconds=5)
_ROW = (
    *(
        "state",
        "state_reason",
        "condition",
        "why",
        "documents",
        "prepared_otherwise",
        "chunks",
        "lag",
        "dead_letters",
        "waiting_documents",
    ),
    *("records", "applied", "unchanged", "superseded", "dead_lettered", "ignored"),
    *("documents_deleted", "deletes_without_document", "last_batch"),
    *("last_published_at", "history_from", "last_audit", "last_purge"),
    "newest_backfill",
)

Name = Annotated[str, typer.Argument(help="Name of the source.")]
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]


def show_source(name: Name, as_json: Json = False) -> None:
    """One source: its row, its lag, and what its workflow holds, has dropped and waits for."""
    from workers.config import settings

    resolved = settings.load()
    row = _row_of(resolved, name)
    row["last_audit"] = _last_audit(resolved, name)
    row["last_purge"] = _last_purge(resolved, name)
    row["newest_backfill"] = _backfill_of(row)
    row["workflow"] = asyncio.run(_workflow(resolved, name))
    if as_json:
        write_json(row)
        return
    for column in _ROW:
        write(f"{column:<26} {one_line(str(row[column]))}")
    for outcome, records in row["backfilled"].items():
        label = f"backfilled {outcome}"
        write(f"{label:<26} {records}")
    others = filter(None, [row["deletes_in_vain"], row["origins_awaited"]])
    problems = (*row["problems"], *row["deletes_lost"], *others)
    for line in (*row["held_up_by"], *problems):
        write(f"{'problem':<26} {one_line(line)}")
    for field, value in row["workflow"].items():
        label = f"workflow {field}"
        write(f"{label:<26} {one_line(str(value))}")


def _row_of(settings: "Settings", name: str) -> dict[str, Any]:
    from workers.cli.names import source_rows

    for row in source_rows(settings):
        if row["source"] == name:
            return row
    raise CommandError(f"there is no source {name!r}; `freshet sources` lists them")


def _last_audit(settings: "Settings", name: str) -> str:
    """What the newest audit with a result found, in words."""
    from corpus.audit.standing import standings
    from corpus.database import connect, database_errors_translated

    with connect(settings.database_url) as connection, database_errors_translated():
        rows = standings(connection, name)
    return ", ".join(map(str, rows)) or "never"


def _last_purge(settings: "Settings", name: str) -> str:
    """What the purges of the source removed, in words."""
    from corpus.database import connect, database_errors_translated
    from corpus.purge.store import standings

    with connect(settings.database_url) as connection, database_errors_translated():
        rows = standings(connection, name)
    return ", ".join(map(str, rows)) or "never"


def _backfill_of(row: dict[str, Any]) -> str:
    """The one that has not ended, or has failed, in words."""
    backfill = row["backfill"]
    if backfill is None:
        return "none runs"
    return backfill["sentence"]


async def _workflow(settings: "Settings", name: str) -> dict[str, Any]:
    """What the source's workflow answers; where it does not, why."""
    from temporalio.client import WorkflowQueryFailedError
    from temporalio.service import RPCError

    from corpus.source import source_workflow_id
    from ingest.entity import state_of
    from workers.temporal.client import temporal

    client = await temporal(settings)
    entity = client.get_workflow_handle(source_workflow_id(name))
    try:
        state = await state_of(entity, _ANSWER)
    except (RPCError, WorkflowQueryFailedError) as error:
        return {"problem": f"it does not answer: {error}"}
    return status_of(state)


def status_of(state: "SourceState") -> dict[str, Any]:
    """What a person asks of a workflow's state."""
    waiting = [*state.pending, *state.undecided]
    return {
        "epoch": state.epoch,
        "paused": state.paused,
        "halted": state.halted or "no",
        "next batch": state.next_batch,
        "records that wait": sum(ref.records for ref in waiting),
        "records in flight": sum(ref.records for ref in state.in_flight),
        "rewinds": state.rewinds,
        "failed partitions": sorted(state.stuck),
        "references repeated": state.repeated,
        "references outdated": state.outdated,
        "references early": state.early,
        "references forged": _forged(state),
        "references undecided": len(state.undecided),
        "wake-ups refused": state.wake_ups_refused,
    }


def _forged(state: "SourceState") -> str:
    if not state.forged:
        return "0"
    return f"{state.forged}; the newest: {state.forged_reason}"
