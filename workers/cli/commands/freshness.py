"""`freshet freshness report|check|schedules`: how old each source is, judged by its policy."""

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli.console import (
    MAX_WAIT_SECONDS,
    CommandError,
    ExitCode,
    say,
    write_json,
    write_table,
)

if TYPE_CHECKING:
    from corpus.database import Connection
    from freshness.report import FreshnessReport
    from workers.config.settings import Settings

Json = Annotated[bool, typer.Option("--json", help="As JSON, with dbt's keys (sources.json).")]


def report(
    source: Annotated[
        str | None, typer.Option("--source", "-s", help="Only this source.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> int:
    """Show the newest check of every source, measured anew if it was before the first event. Exit code as dbt's: 0 for pass and warn, 1 for error and runtime error."""
    from corpus.database import connect
    from freshness import scan
    from workers.config import settings

    with connect(settings.load().database_url) as connection:
        reports, now_ms = scan.latest(connection, source)
        reports = [_with_first_event(connection, found) for found in reports]
    if not reports and not as_json:
        say("there is no source; configure one and run `freshet apply freshet.toml`")
    return _show(reports, now_ms, as_json=as_json)


def _with_first_event(connection: "Connection", found: "FreshnessReport") -> "FreshnessReport":
    """A check from before the first event (`apply` starts one) is no news once there are events: measure now, and judge that.

    A check that found an event is left as it is, however old: the schedule says how often a source is judged.
    """
    from dataclasses import replace

    from freshness import scan
    from freshness.policy import FreshnessStatus

    if found.newest_ms is not None or found.status not in (
        FreshnessStatus.WARN,
        FreshnessStatus.ERROR,
    ):
        return found
    now = scan.measure(connection, found.source)
    if now.newest_ms is None:
        return found
    verdict = now.verdict()
    values = {
        name: getattr(now, name)
        for name in ("spec", "snapshotted_at_ms", "newest_ms", "oldest_ms", "documents", "overdue")
    }
    return replace(found, status=verdict.status, error="; ".join(verdict.reasons) or None, **values)


def check(
    source: Annotated[str, typer.Argument(help="Which source.")],
    timeout: Annotated[
        int, typer.Option(min=1, max=MAX_WAIT_SECONDS, help="Seconds to wait for the result.")
    ] = 600,
    as_json: Json = False,
) -> int:
    """Check a source now: measure, expire what is overdue, report. Exit code as of `report`."""
    from corpus.database import connect
    from freshness import scan
    from workers.config import settings

    resolved = settings.load()
    with connect(resolved.database_url) as connection:
        scan.measure(
            connection, source
        )  # a source that does not exist is the caller's mistake, not a failed check
        checked = asyncio.run(_check(resolved, source, timeout))
        _, now_ms = scan.latest(connection, source)
    return _show([checked], now_ms, as_json=as_json)


async def _check(settings: "Settings", source: str, seconds: int) -> "FreshnessReport":
    from temporalio.common import WorkflowIDConflictPolicy

    from corpus import task_queues
    from freshness.schedules import check_workflow_id
    from freshness.workflows import FreshnessCheck, FreshnessWorkflow
    from workers.temporal.client import temporal

    client = await temporal(settings)
    handle = await client.start_workflow(
        FreshnessWorkflow.run,
        FreshnessCheck(source=source),
        id=check_workflow_id(source),
        task_queue=task_queues.WORKFLOWS,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
    )
    try:
        return await asyncio.wait_for(handle.result(), seconds)
    except TimeoutError as error:
        raise CommandError(
            f"the check of {source!r} has no result after {seconds} s; it goes on as workflow {handle.id}. Do the workers run? See `freshet status`.",
            ExitCode.UNAVAILABLE,
        ) from error


def schedules(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Show the schedules: when they ran last, when they run next, whether somebody paused them."""
    from workers.config import settings

    rows = asyncio.run(_schedules(settings.load()))
    if as_json:
        write_json(rows)
        return
    columns = ("schedule", "every", "last", "next", "paused", "missed")
    write_table(
        columns,
        [[row[name] for name in columns] for row in rows],
        empty="there is no schedule; run `freshet apply freshet.toml`",
    )


async def _schedules(settings: "Settings") -> list[dict[str, Any]]:
    from freshness.policy import format_duration
    from workers.temporal.client import temporal

    client = await temporal(settings)
    rows: list[dict[str, Any]] = []
    async for listed in await client.list_schedules():
        if not (listed.id.startswith("freshet/") and listed.id.endswith("/freshness")):
            continue
        described = await client.get_schedule_handle(listed.id).describe()
        info, schedule = described.info, described.schedule
        rows.append(
            {
                "schedule": listed.id,
                "every": ", ".join(
                    format_duration(round(interval.every.total_seconds()))
                    for interval in schedule.spec.intervals
                ),
                "last": info.recent_actions[-1].started_at if info.recent_actions else None,
                "next": info.next_action_times[0]
                if info.next_action_times and not schedule.state.paused
                else None,
                "paused": schedule.state.paused,
                "missed": info.num_actions_missed_catchup_window,
            }
        )
    return sorted(rows, key=lambda row: row["schedule"])


def _show(reports: "list[FreshnessReport]", now_ms: int, *, as_json: bool) -> int:
    from importlib.metadata import version
    from uuid import uuid4

    from freshness.report import exit_code, sources_json

    if as_json:
        write_json(
            sources_json(
                reports, generated_at_ms=now_ms, version=version("freshet"), invocation=str(uuid4())
            )
        )
    elif reports:
        write_table(
            (
                "source",
                "status",
                "newest event",
                "oldest document",
                "documents",
                "overdue",
                "expired",
                "why",
            ),
            map(_row, reports),
        )
    return exit_code(reports)


def _row(shown: "FreshnessReport") -> list[Any]:
    return [
        shown.source,
        str(shown.status),
        _when(shown.newest_ms),
        _when(shown.oldest_ms),
        shown.documents,
        shown.overdue,
        shown.expired,
        shown.error or "",
    ]


def _when(epoch_ms: int | None) -> datetime | None:
    return None if epoch_ms is None else datetime.fromtimestamp(epoch_ms / 1000, UTC)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="How old each source is, judged by its policy.", no_args_is_help=True)
    group.command()(report)
    group.command()(check)
    group.command()(schedules)
    app.add_typer(group, name="freshness")
