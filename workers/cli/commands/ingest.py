"""`freshet apply`, `config`, `sources`, `source`: what is configured, and how each source does."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli.commands.source.truncate import decide_truncation
from workers.cli.commands.source_prepare import prepare_source
from workers.cli.commands.source_show import show_source
from workers.cli.commands.source_skip import skip_records
from workers.cli.console import (
    check_exit_code,
    one_line,
    write,
    write_json,
    write_message,
    write_table,
)
from workers.cli.entity import signal_entity

if TYPE_CHECKING:
    from ingest.kafka import Cluster
    from ingest.operate import SkippedGap
    from workers.apply.change import Change
    from workers.config.settings import Settings

_COUNTS = (
    *("documents", "prepared_otherwise", "chunks", "lag", "batches", "records"),
    *("applied", "unchanged", "superseded", "dead_lettered", "ignored"),
)

Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
ConfigPath = Annotated[
    Path, typer.Argument(help="The configuration file.", show_default=True)
]
Source = Annotated[str, typer.Argument(help="Name of the source.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show the plan and change nothing.")
]
Prune = Annotated[
    bool,
    typer.Option(
        "--prune",
        help="Retire sources, end teams and subscriptions that are not in the file; documents stay.",
    ),
]
Reason = Annotated[str, typer.Option(help="Why; shown in `freshet sources`.")]
SkipGap = Annotated[
    bool,
    typer.Option(
        "--skip-gap",
        help="Accept that records are missing, and continue where the log can be read.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(apply)
    app.command()(sources)
    source = typer.Typer(
        help="Pause, resume, prepare again, look at one source, pass what it cannot read, decide on a truncated table.",
        no_args_is_help=True,
    )
    source.command("pause")(pause_source)
    source.command("resume")(resume_source)
    source.command("show")(show_source)
    source.command("prepare")(prepare_source)
    source.command("skip")(skip_records)
    source.command("truncate")(decide_truncation)
    app.add_typer(source, name="source")
    config = typer.Typer(help="The configuration file.", no_args_is_help=True)
    config.command("check")(check_config)
    config.command("schema")(show_config_schema)
    app.add_typer(config, name="config")


# ── configuration ───────────────────────────────────────────────────────────────────────────────────────────────────


def apply(
    file: ConfigPath = Path("freshet.toml"),
    dry_run: DryRun = False,
    prune: Prune = False,
    as_json: Json = False,
) -> None:
    """Make sources, topics, schedules, teams and subscriptions what the file says."""
    from workers.apply.plan import apply as apply_changes
    from workers.config import file as config
    from workers.config import settings

    done: list[Change[Any]] = []

    def report(change: "Change[Any]") -> None:
        done.append(change)
        if not as_json:
            _write_change(change)

    desired, resolved = config.load(file), settings.load()
    try:
        asyncio.run(
            apply_changes(
                resolved,
                desired,
                report=report,
                prune=prune,
                dry_run=dry_run,
                on_wait=write_message,
            )
        )
    finally:  # also where a change failed: these were made before it
        if as_json and done:
            changes = [change.to_json() for change in done]
            write_json({"dry_run": dry_run, "changes": changes})
    _write_hints(done)
    if dry_run:
        write_message("nothing was changed (--dry-run)")


def _write_hints(done: "list[Change[Any]]") -> None:
    """What a person may want to know about things that the plan leaves alone."""
    if any(change.action == "unlisted" for change in done):
        write_message(
            "unlisted: these are in the database but not in the file, and continue to run. "
            "--prune retires such sources and ends such teams and subscriptions."
        )
    if foreign := sum(change.action == "foreign" for change in done):
        write_message(
            f"foreign: {foreign:,} schedules belong to other installations, and stay as they are"
        )


def _write_change(change: "Change[Any]") -> None:
    write(f"{change.action:<10} {change.kind} {change.name}")
    for path, before, after in change.fields:
        write(f"             {path}: {before} -> {after}")


def check_config(
    file: ConfigPath = Path("freshet.toml"), as_json: Json = False
) -> None:
    """Validate a file; needs no service."""
    from workers.config import file as config

    wanted = config.load(file)
    if as_json:
        sources = [spec.to_json() for spec in wanted.sources]
        subscribers = [spec.subscriber for spec in wanted.subscribers]
        write_json({"sources": sources, "subscribers": subscribers})
        return
    write(
        f"{file} is valid: {len(wanted.sources)} sources, {len(wanted.subscribers)} subscribers"
    )


def show_config_schema() -> None:
    """Print the JSON Schema of the configuration file, for editors."""
    from workers.config import file as config

    write_json(config.schema())


# ── sources ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def sources(as_json: Json = False) -> int:
    """Every source: what it does, documents, lag, what became of every record, and a backfill that has not ended.

    What a backfill reads again is not in the counts: `freshet backfill status` has those, and `backfilled` in JSON.
    Exit code 1 if a source is stuck or halted.
    """
    from workers.cli.names import source_rows
    from workers.conditions import needing_attention
    from workers.config import settings

    rows = source_rows(settings.load())
    passed = not needing_attention(rows)
    if as_json:
        write_json(rows)
        return check_exit_code(passed=passed)
    write_table(
        [
            "source",
            "state",
            *(name.replace("_", "-") for name in _COUNTS),
            "last published",
        ],
        map(_source_cells, rows),
        empty="there is no source; `freshet apply FILE` creates those of a file",
    )
    for row in rows:
        _show_reasons(row)
    return check_exit_code(passed=passed)


def _source_cells(row: dict[str, Any]) -> list[Any]:
    counts = [row[name] for name in _COUNTS]
    return [row["source"], row["condition"], *counts, row["last_published_at"]]


def _show_reasons(row: dict[str, Any]) -> None:
    if row["why"]:
        sentence = f"{row['source']} is {row['condition']}: {row['why']}"
        write_message(one_line(sentence))
    if row["backfill"]:
        write_message(one_line(row["backfill"]["sentence"]))
    if row["prepared_otherwise"]:
        write_message(
            f"{row['source']}: {row['prepared_otherwise']:,} documents were prepared by an older version or with "
            f"other settings; see `freshet source prepare {row['source']} --dry-run`"
        )
    for line in row["deletes_lost"]:
        write_message(one_line(f"{row['source']}: {line}"))
    for line in filter(None, (row["deletes_in_vain"], row["origins_awaited"])):
        write_message(one_line(f"{row['source']}: {line}"))
    for line in row["held_up_by"]:
        write_message(one_line(f"{row['source']} is held up: {line}"))


def pause_source(name: Source, reason: Reason = "paused by an operator") -> None:
    """Stop reading a source; what was handed over is still published."""
    from corpus.database import connect, database_errors_translated
    from ingest import operate
    from workers.config import settings
    from workers.operations import note_operation

    resolved = settings.load()
    with (
        connect(resolved.database_url, application="freshet-source") as connection,
        database_errors_translated(),
    ):
        note_operation(connection, "source pause", name, reason=reason)
        operate.pause(connection, name, reason)
    asyncio.run(signal_entity(resolved, name, "reload", state="paused"))
    write_message(f"{name} is paused; `freshet source resume {name}` continues")


def resume_source(name: Source, skip_gap: SkipGap = False) -> None:
    """Continue from the position in the database, after a pause or a halt."""
    from corpus.database import connect, database_errors_translated
    from ingest import operate
    from workers.config import settings
    from workers.operations import note_operation

    resolved = settings.load()
    with (
        connect(resolved.database_url, application="freshet-source") as connection,
        database_errors_translated(),
    ):
        note_operation(connection, "source resume", name, skip_gap=skip_gap)
        skipped = (
            operate.skip_gaps(connection, _cluster(resolved), name) if skip_gap else []
        )
        operate.resume(connection, name)
    for gap in skipped:
        _show_skipped_gap(gap)
    if skip_gap and not skipped:
        write_message("there is no gap to skip")
    asyncio.run(signal_entity(resolved, name, "resume", state="active"))
    write_message(f"{name} is active")


def _show_skipped_gap(gap: "SkippedGap") -> None:
    reason = gap.reason.split(". Accept")[0]
    write_message(
        f"accepted: {reason}; {gap.topic}/{gap.partition} continues at {gap.is_now}"
    )


def _cluster(settings: "Settings") -> "Cluster":
    from ingest.kafka import Cluster

    return Cluster(settings.kafka_bootstrap, settings.kafka_properties)
