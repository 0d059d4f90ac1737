"""`freshet apply`, `config`, `sources`, `source`, `produce`."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli.console import (
    MAX_BIGINT,
    CommandError,
    ExitCode,
    say,
    write,
    write_json,
    write_table,
)

if TYPE_CHECKING:
    from ingest.produce import Produced, ProduceProgress
    from workers.apply.change import Change
    from workers.config.settings import Settings

from workers.config.values import MAX_PARTITIONS

Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
ConfigPath = Annotated[Path, typer.Argument(help="The configuration file.", show_default=True)]
Source = Annotated[str, typer.Argument(help="Name of the source.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(apply)
    app.command()(sources)
    app.command()(produce)
    source = typer.Typer(help="Pause and resume one source.", no_args_is_help=True)
    source.command("pause")(source_pause)
    source.command("resume")(source_resume)
    app.add_typer(source, name="source")
    config = typer.Typer(help="The configuration file.", no_args_is_help=True)
    config.command("check")(config_check)
    config.command("schema")(config_schema)
    app.add_typer(config, name="config")


# ── configuration ───────────────────────────────────────────────────────────────────────────────────────────────────


def apply(
    file: ConfigPath = Path("freshet.toml"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan and change nothing.")
    ] = False,
    prune: Annotated[
        bool,
        typer.Option(
            "--prune",
            help="Retire sources and end subscriptions that are not in the file; documents stay.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Make sources, topics, schedules and subscriptions what the file says."""
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
        asyncio.run(apply_changes(resolved, desired, report=report, prune=prune, dry_run=dry_run))
    finally:  # also where a change failed: these were made before it
        if as_json and done:
            changes = [change.to_json() for change in done]
            write_json({"dry_run": dry_run, "changes": changes})
    if any(change.action == "unlisted" for change in done):
        say(
            "unlisted: in the database, but not in the file; they continue. "
            "--prune retires such sources and ends such subscriptions."
        )
    if dry_run:
        say("nothing was changed (--dry-run)")


def _write_change(change: "Change[Any]") -> None:
    write(f"{change.action:<10} {change.kind} {change.name}")
    for path, before, after in change.fields:
        write(f"             {path}: {before} -> {after}")


def config_check(file: ConfigPath = Path("freshet.toml"), as_json: Json = False) -> None:
    """Validate a file; needs no service."""
    from workers.config import file as config

    wanted = config.load(file)
    if as_json:
        write_json(
            {
                "sources": [spec.to_json() for spec in wanted.sources],
                "subscribers": [spec.subscriber for spec in wanted.subscribers],
            }
        )
        return
    write(f"{file} is valid: {len(wanted.sources)} sources, {len(wanted.subscribers)} subscribers")


def config_schema() -> None:
    """Print the JSON Schema of the configuration file, for editors."""
    from workers.config import file as config

    write_json(config.schema())


# ── sources ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def sources(as_json: Json = False) -> None:
    """Every source: state, documents, lag, and what became of every record."""
    from corpus.database import connect, database_errors_translated
    from ingest.overview import overview
    from workers.config import settings

    resolved = settings.load()
    with (
        connect(resolved.database_url, application="freshet-sources") as connection,
        database_errors_translated(),
    ):
        rows = overview(connection, _cluster(resolved))
    if as_json:
        write_json(rows)
        return
    names = (
        "documents",
        "chunks",
        "lag",
        "batches",
        "records",
        "applied",
        "unchanged",
        "superseded",
        "dead_lettered",
        "ignored",
    )
    table = [
        [row["source"], row["state"], *(row[name] for name in names), row["last_published_at"]]
        for row in rows
    ]
    write_table(
        ["source", "state", *(name.replace("_", "-") for name in names), "last published"],
        table,
        empty="no source; `freshet apply FILE` makes some",
    )
    for row in rows:
        if row["state_reason"]:
            say(f"{row['source']} is {row['state']}: {row['state_reason']}")
        for topic in row["topics"]:
            if topic["missing"]:
                say(
                    f"{row['source']}: topic {topic['topic']} is missing; `freshet apply` creates it"
                )
    if rows and rows[0]["kafka"]:
        say(f"lag is not known: {rows[0]['kafka']}")


def source_pause(
    name: Source,
    reason: Annotated[
        str, typer.Option(help="Why; shown in `freshet sources`.")
    ] = "paused by an operator",
) -> None:
    """Stop reading a source; what was handed over is still published."""
    from corpus.database import connect, database_errors_translated
    from ingest import operate as control
    from workers.config import settings

    resolved = settings.load()
    with (
        connect(resolved.database_url, application="freshet-source") as connection,
        database_errors_translated(),
    ):
        control.pause(connection, name, reason)
    say(f"{name} is paused; `freshet source resume {name}` goes on")


def source_resume(
    name: Source,
    skip_gap: Annotated[
        bool,
        typer.Option(
            "--skip-gap",
            help="Accept that records are missing, and go on where the log can be read.",
        ),
    ] = False,
) -> None:
    """Go on from the position in the database, after a pause or a halt."""
    from corpus.database import connect, database_errors_translated
    from ingest import operate as control
    from workers.config import settings

    resolved = settings.load()
    with (
        connect(resolved.database_url, application="freshet-source") as connection,
        database_errors_translated(),
    ):
        skipped = control.skip_gaps(connection, _cluster(resolved), name) if skip_gap else []
        control.resume(connection, name)
    for gap in skipped:
        say(
            f"accepted: {gap.reason.split('. Accept')[0]}; {gap.topic}/{gap.partition} goes on at {gap.is_now}"
        )
    if skip_gap and not skipped:
        say("there is no gap to skip")
    asyncio.run(_tell_entity(resolved, name))
    say(f"{name} is active")


async def _tell_entity(settings: "Settings", source: str) -> None:
    """The entity may have halted itself; one that never ran needs no telling."""
    from temporalio.service import RPCError, RPCStatusCode

    from corpus.source import source_workflow_id
    from workers.temporal.client import temporal

    client = await temporal(settings)
    try:
        await client.get_workflow_handle(source_workflow_id(source)).signal("resume")
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise CommandError(
                f"the source is active in the database, its workflow was not told: {error.message}",
                ExitCode.UNAVAILABLE,
            ) from error


# ── produce ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def produce(
    files: Annotated[
        list[str],
        typer.Argument(help="JSON Lines, one event a line; .zst too; - is standard input."),
    ],
    topic: Annotated[str, typer.Option("--topic", "-t", help="Where to.")],
    rate: Annotated[
        float, typer.Option(min=0, max=1e9, help="Records a second at most; 0: as fast as it goes.")
    ] = 0,
    limit: Annotated[
        int | None,
        typer.Option(min=1, max=MAX_BIGINT, help="Records at most.", show_default=False),
    ] = None,
    raw: Annotated[
        bool,
        typer.Option(
            "--raw", help="Send lines as they are, without looking at them and without a key."
        ),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on after the last line that an earlier run with --resume had acknowledged.",
        ),
    ] = False,
    create_topic: Annotated[
        bool, typer.Option("--create-topic", help="Create the topic where it is missing.")
    ] = False,
    partitions: Annotated[
        int, typer.Option(min=1, max=MAX_PARTITIONS, help="Of a topic that is created.")
    ] = 3,
    as_json: Json = False,
) -> None:
    """Put events from files on a topic, keyed by their id."""
    from dataclasses import asdict

    from ingest.kafka import MAX_MESSAGE_BYTES, properties
    from ingest.produce import FileProducer
    from workers.config import settings

    for file in files:
        if file != "-" and not Path(file).is_file():
            raise CommandError(f"there is no file {file}")
    _known_topic(topic)
    resolved = settings.load()
    cluster = _cluster(resolved)
    if create_topic:
        cluster.create_topic(topic, partitions, {"max.message.bytes": str(MAX_MESSAGE_BYTES)})
    elif topic not in cluster.topics([topic]):
        raise CommandError(
            f"there is no topic {topic}; create it with --create-topic, or with `freshet apply`"
        )
    producer = FileProducer(
        properties(resolved.kafka_bootstrap, resolved.kafka_properties),
        topic,
        raw=raw,
        rate=rate,
        limit=limit,
        progress=_progress(as_json),
    )
    try:
        for file in files:
            producer.send(file, resume_folder=resolved.home / "produced" if resume else None)
    finally:
        result = producer.result
        if as_json:
            write_json(
                {
                    **asdict(result),
                    "records_per_second": round(result.records / result.seconds, 1)
                    if result.seconds
                    else None,
                }
            )
        else:
            say(_summary(result))


def _known_topic(topic: str) -> None:
    from workers.config import values as config_values

    try:
        config_values.topic(topic)
    except ValueError as error:
        raise CommandError(f"--topic {topic!r}: {error}") from error


def _summary(result: "Produced") -> str:
    rate = result.records / result.seconds if result.seconds else 0
    skipped = f", {result.skipped:,} were there before" if result.skipped else ""
    return f"{result.records:,} records ({result.value_bytes / 1e6:,.1f} MB) on topic {result.topic} in {result.seconds:.1f} s, {rate:,.0f}/s{skipped}"


def _progress(as_json: bool) -> "Any":
    import sys

    if as_json or not sys.stderr.isatty():
        return None

    def show(progress: "ProduceProgress") -> None:
        sys.stderr.write(f"\r{progress.acknowledged:>10,} records\x1b[K")
        sys.stderr.flush()

    return show


# ── what they share ─────────────────────────────────────────────────────────────────────────────────────────────────


def _cluster(settings: "Settings") -> Any:
    from ingest.kafka import Cluster

    return Cluster(settings.kafka_bootstrap, settings.kafka_properties)
