"""`freshet freshness report|check|schedules`: how old each source is, judged by its policy."""

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli.console import (
    MAX_WAIT_SECONDS,
    CommandError,
    ExitCode,
    one_line,
    write_json,
    write_message,
    write_table,
)

if TYPE_CHECKING:
    from temporalio.client import ScheduleDescription

    from corpus.database import Connection
    from freshness.report import FreshnessReport
    from workers.config.settings import Settings

_WORST_DOCUMENTS = 3  # of a source that are named
_SCHEDULE_COLUMNS = ("schedule", "every", "last", "next", "paused", "missed")
_REPORT_COLUMNS = (
    *("source", "status", "newest event", "oldest document"),
    *(
        "documents",
        "empty",
        "lossy",
        "unknown",
        "overdue",
        "asked again",
        "expired",
        "why",
    ),
)

Json = Annotated[
    bool, typer.Option("--json", help="As JSON, with dbt's keys (sources.json).")
]
PlainJson = Annotated[bool, typer.Option("--json", help="As JSON.")]
OneSource = Annotated[
    str | None,
    typer.Option("--source", "-s", help="Only this source.", show_default=False),
]
Timeout = Annotated[
    int,
    typer.Option(min=1, max=MAX_WAIT_SECONDS, help="Seconds to wait for the result."),
]


def report(source: OneSource = None, as_json: Json = False) -> int:
    """Show the newest check of every source. One from before the first event is measured again.

    Exit code as dbt's: 0 for pass and warn, 1 for error and runtime error.
    """
    from corpus.database import connect
    from freshness import scan
    from workers.config import settings

    with connect(settings.load().database_url) as connection:
        reports, now_ms = scan.latest(connection, source)
        reports = [_with_first_event(connection, each) for each in reports]
    if not reports and not as_json:
        write_message(
            "there is no source; configure one and run `freshet apply freshet.toml`"
        )
    if not as_json:
        for each in reports:
            _show_least_known(each)
    return _show(reports, now_ms, as_json=as_json)


def _show_least_known(checked: "FreshnessReport") -> None:
    """Name the worst of the documents of which the model knows too little."""
    from workers.cli.commands.corpus import least_known

    if not checked.unknown:
        return
    documents = least_known(checked.source, limit=_WORST_DOCUMENTS)
    shares = [
        f"{each['document_id']} ({each['unknown_ratio']:.0%})" for each in documents
    ]
    names = one_line(", ".join(shares))
    write_message(
        f"{checked.source}: its model has no word for much of {checked.unknown:,} documents, most of {names}; "
        f"`freshet documents -s {checked.source} --unknown` lists them"
    )


def _with_first_event(
    connection: "Connection", checked: "FreshnessReport"
) -> "FreshnessReport":
    """A check from before the first event (`apply` starts one) is outdated once there are events: measure again.

    A check that saw an event is left as it is, however old: the schedule says how often a source is judged.
    """
    from dataclasses import replace

    from freshness import scan
    from freshness.policy import FreshnessStatus

    is_late = checked.status in (FreshnessStatus.WARN, FreshnessStatus.ERROR)
    if checked.newest_ms is not None or not is_late:
        return checked
    now = scan.measure(connection, checked.source)
    if now.newest_ms is None:
        return checked
    verdict = now.verdict()
    return replace(
        checked,
        status=verdict.status,
        error="; ".join(verdict.reasons) or None,
        spec=now.spec,
        snapshotted_at_ms=now.snapshotted_at_ms,
        newest_ms=now.newest_ms,
        oldest_ms=now.oldest_ms,
        documents=now.documents,
        overdue=now.overdue,
        empty=now.empty,
        lossy=now.lossy,
        unknown=now.unknown,
        unknown_ratio=now.unknown_ratio,
    )


def check(
    source: Annotated[str, typer.Argument(help="Which source.")],
    timeout: Timeout = 600,
    as_json: Json = False,
) -> int:
    """Check a source now: measure, expire what is overdue, report. Exit code as of `report`."""
    from corpus.database import connect
    from freshness import scan
    from workers.config import settings

    resolved = settings.load()
    with connect(resolved.database_url) as connection:
        # A source that does not exist is an error here, not a failed check.
        scan.measure(connection, source)
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
            f"the check of {source!r} has no result after {seconds} s; it continues as workflow "
            f"{handle.id}. Do the workers run? See `freshet status`.",
            ExitCode.UNAVAILABLE,
        ) from error


def schedules(as_json: PlainJson = False) -> None:
    """Show the schedules: when they ran last, when they run next, whether they are paused."""
    from workers.config import settings

    rows = asyncio.run(_schedules(settings.load()))
    if as_json:
        write_json(rows)
        return
    write_table(
        _SCHEDULE_COLUMNS,
        ([row[name] for name in _SCHEDULE_COLUMNS] for row in rows),
        empty="there is no schedule; run `freshet apply freshet.toml`",
    )


async def _schedules(settings: "Settings") -> list[dict[str, Any]]:
    from freshness.schedules import is_freshness_schedule
    from workers.temporal.client import temporal

    client = await temporal(settings)
    rows: list[dict[str, Any]] = []
    async for listed in await client.list_schedules():
        if is_freshness_schedule(listed.id):
            described = await client.get_schedule_handle(listed.id).describe()
            rows.append(_schedule_row(described))
    return sorted(rows, key=lambda row: row["schedule"])


def _schedule_row(described: "ScheduleDescription") -> dict[str, Any]:
    from freshness.policy import format_duration

    info, schedule = described.info, described.schedule
    intervals = [round(each.every.total_seconds()) for each in schedule.spec.intervals]
    last = [action.started_at for action in info.recent_actions[-1:]]
    following = list(info.next_action_times[:1])
    return {
        "schedule": described.id,
        "every": ", ".join(map(format_duration, intervals)),
        "last": next(iter(last), None),
        "next": None if schedule.state.paused else next(iter(following), None),
        "paused": schedule.state.paused,
        "missed": info.num_actions_missed_catchup_window,
    }


def _show(reports: "list[FreshnessReport]", now_ms: int, *, as_json: bool) -> int:
    from importlib.metadata import version
    from uuid import uuid4

    from freshness.report import exit_code, sources_json

    if as_json:
        invocation = str(uuid4())
        write_json(
            sources_json(
                reports,
                generated_at_ms=now_ms,
                version=version("freshet"),
                invocation=invocation,
            )
        )
    elif reports:
        write_table(_REPORT_COLUMNS, map(_cells, reports))
    return exit_code(reports)


def _cells(checked: "FreshnessReport") -> list[Any]:
    return [
        checked.source,
        str(checked.status),
        _time(checked.newest_ms),
        _time(checked.oldest_ms),
        checked.documents,
        checked.empty,
        checked.lossy,
        _unknown(checked),
        checked.overdue,
        _asked_again(checked),
        checked.expired,
        checked.error or "",
    ]


def _unknown(checked: "FreshnessReport") -> str:
    """How many documents the model knows too little of, and how much of all the source's text it does not know."""
    if checked.unknown is None or checked.unknown_ratio is None:
        return ""
    return f"{checked.unknown:,} ({checked.unknown_ratio:.1%})"


def _asked_again(checked: "FreshnessReport") -> str:
    """What the origins of documents said that age would withdraw."""
    asked = checked.revalidation
    if asked is None:
        return ""
    counts = {
        "renewed": asked.renewed,
        "changed": asked.changed,
        "gone": asked.gone,
        "changed and lost": asked.lost,
        "without an answer": asked.unanswered - asked.refused,
        "refused": asked.refused,
        "without an address": asked.unaskable,
        "still due": asked.kept,
    }
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)


def _time(epoch_ms: int | None) -> datetime | None:
    if epoch_ms is None:
        return None
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        help="How old each source is, judged by its policy.", no_args_is_help=True
    )
    group.command()(report)
    group.command()(check)
    group.command()(schedules)
    app.add_typer(group, name="freshness")
