"""`freshet source prepare`: prepare again what an older version or other settings have prepared."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli.console import write, write_json, write_message
from workers.cli.entity import signal_entity

if TYPE_CHECKING:
    from corpus.database import Connection
    from ingest.prepare_again import PreparePlan
    from workers.config.settings import Settings
    from workers.prepare_sample import Sample

_MAX_SAMPLE = 10_000

Name = Annotated[str, typer.Argument(help="Name of the source.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show the plan and change nothing.")
]
SampleSize = Annotated[
    int,
    typer.Option(
        "--sample",
        min=0,
        max=_MAX_SAMPLE,
        help="With --dry-run: so many documents are tried, to estimate the texts to embed.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]


def prepare_source(
    name: Name, dry_run: DryRun = False, sample: SampleSize = 50, as_json: Json = False
) -> None:
    """Prepare again what an older version or other settings have prepared: its records are read once more.

    Texts that stay the same are not embedded again. Documents whose records Kafka has removed stay as they are.
    """
    from corpus.database import connect, database_errors_translated
    from ingest import prepare_again
    from ingest.kafka import Cluster
    from workers.config import settings
    from workers.operations import note_operation

    resolved = settings.load()
    cluster = Cluster(resolved.kafka_bootstrap, resolved.kafka_properties)
    tried = None
    with (
        connect(resolved.database_url, application="freshet-source") as connection,
        database_errors_translated(),
    ):
        plan = prepare_again.plan(connection, cluster, name)
        if dry_run and sample and plan.partitions:
            tried = _try(connection, resolved, plan, sample)
        if plan.documents and not dry_run:
            note_operation(connection, "source prepare", name)
            prepare_again.carry_out(connection, plan)
    if as_json:
        write_json({"dry_run": dry_run, **_as_json(plan, tried)})
    else:
        _show(plan, tried)
    if dry_run:
        write_message("nothing was changed (--dry-run)")
    elif plan.documents:
        signal = signal_entity(resolved, name, "reload", state="to be prepared again")
        asyncio.run(signal)
        write_message(
            f"{name} is prepared again; `freshet sources` shows how far it is"
        )


def _try(
    connection: "Connection", settings: "Settings", plan: "PreparePlan", limit: int
) -> "Sample":
    from ingest.look import record_reader
    from ingest.operate import configured_source
    from workers.prepare_sample import sample
    from workers.schema_registry import use_schema_registry

    use_schema_registry(settings)
    spec = configured_source(connection, plan.source).readable()
    with record_reader(settings.kafka_bootstrap, settings.kafka_properties) as reader:
        return sample(connection, reader.read, spec, plan, limit)


def _as_json(plan: "PreparePlan", tried: "Sample | None") -> dict[str, Any]:
    from dataclasses import asdict

    row = {**asdict(plan), "records": plan.records, "sample": None}
    if tried is not None:
        texts = tried.estimate(plan.reachable)
        row["sample"] = {**asdict(tried), "texts_to_embed": texts}
    return row


def _show(plan: "PreparePlan", tried: "Sample | None") -> None:
    for line in plan.lines():
        write(line)
    if tried is not None:
        write(tried.line(plan.reachable))
