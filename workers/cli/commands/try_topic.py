"""`freshet try`: some records of a topic, a source that would read it, and what would become of each record."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from workers.cli.console import (
    MAX_BIGINT,
    CommandError,
    ExitCode,
    check_exit_code,
    whole_number,
    write,
    write_json,
    write_message,
    write_table,
    write_text,
)

if TYPE_CHECKING:
    from corpus.source import SourceSpec
    from ingest.trial.sample import TopicSample, Wanted
    from ingest.trial.topic import Recognised
    from workers.trial import Trial, Tried

_MAX_RECORDS = 1_000
_MAX_INT4 = 2**31 - 1
_SHOWN = 80  # characters of an id, a title or a detail in the table
_COLUMNS = (
    *("partition", "offset", "outcome", "document", "version"),
    *("title", "chunks", "why"),
)

Topic = Annotated[str, typer.Option("--topic", "-t", help="The topic.")]
Count = Annotated[
    int, typer.Option("--count", "-n", min=1, max=_MAX_RECORDS, help="How many.")
]
Offset = Annotated[
    str,
    typer.Option(
        help="From where: end (the newest records), beginning, or an offset in each partition."
    ),
]
Partition = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=_MAX_INT4,
        help="Only this partition; default: all, evenly.",
        show_default=False,
    ),
]
Source = Annotated[
    str,
    typer.Option(
        "--source",
        "-s",
        help="As this source reads it: of --config, else of the database. Default: the one that reads the topic, else "
        "the proposal.",
    ),
]
Config = Annotated[
    Path | None, typer.Option("--config", "-c", help="freshet.toml with the source.")
]
Registry = Annotated[
    str,
    typer.Option(
        help="Address of the schema registry; default: FRESHET_SCHEMA_REGISTRY_URL, else the local stack's.",
        show_default=False,
    ),
]
Toml = Annotated[
    bool, typer.Option("--toml", help="Only the proposed source, for a file.")
]
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]


class _Chosen(NamedTuple):
    """The specification that records are tried with."""

    spec: "SourceSpec | None"  # None: there is none
    source: str  # that is configured; empty: it is the proposal


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("try")(try_topic)


def try_topic(
    topic: Topic,
    count: Count = 20,
    offset: Offset = "end",
    partition: Partition = None,
    source: Source = "",
    config: Config = None,
    registry: Registry = "",
    toml: Toml = False,
    as_json: Json = False,
) -> int:
    """Look at some records of a topic: their format, a source that would read them, and what would become of each.

    Only Kafka is needed, and the schema registry where records name schemas. Nothing is written anywhere: no group,
    no offset. Exit code 1: a record would be a dead letter, or would halt the source, or no format of Freshet's fits.
    """
    from ingest.trial.proposal import proposed_toml
    from ingest.trial.topic import recognise

    sample = _sample(topic, _wanted(count, offset, partition))
    has_registry = _use_registry(registry)
    recognised = recognise(sample.records, has_registry=has_registry)
    proposal = proposed_toml(topic, recognised)
    chosen = _chosen(topic, proposal, source, config)
    trial = None
    if chosen.spec is not None:
        trial = _try(sample, chosen.spec)
    if as_json:
        write_json(_as_json(sample, recognised, proposal, chosen, trial))
    elif toml:
        _write_toml(recognised, proposal)
    else:
        _show(sample, recognised, proposal, chosen, trial)
    return check_exit_code(passed=trial is not None and trial.is_good)


# ── what is tried ───────────────────────────────────────────────────────────────────────────────────────────────────


def _wanted(
    count: int,
    offset: str,
    partition: int | None,
) -> "Wanted":
    from ingest.trial.sample import BEGINNING, END, Wanted

    if offset in (BEGINNING, END):
        return Wanted(count, offset, partition)
    number = whole_number(offset)
    if number is None or number > MAX_BIGINT:
        raise CommandError(
            f"--offset {offset!r} is neither beginning, end nor a whole number"
        )
    return Wanted(count, number, partition)


def _sample(topic: str, wanted: "Wanted") -> "TopicSample":
    from ingest.trial.sample import read_sample
    from workers.config import alone

    if not topic:
        raise CommandError("--topic is empty")
    return read_sample(*alone.kafka(), topic, wanted)


def _use_registry(url: str) -> bool:
    """Read by a schema registry from now on; False: none is set."""
    from ingest.decode.registry.schemas import use_registry
    from workers.config import alone

    return use_registry(alone.schema_registry(url)) is not None


def _chosen(
    topic: str,
    proposal: str,
    source: str,
    config: Path | None,
) -> _Chosen:
    """The source that is named, else the one that reads the topic, else the proposal."""
    if config is not None:
        specs = _specs_of_file(config)
        name = f"{config}"
    else:
        specs = _specs_of_database(is_needed=bool(source))
        name = "the database"
    if source:
        if source not in specs:
            known = ", ".join(specs) or "none"
            raise CommandError(f"{name} has no source {source!r}; it has {known}")
        return _Chosen(specs[source], source)
    for spec in specs.values():
        if topic in spec.topics:
            return _Chosen(spec, spec.source)
    if not proposal:
        return _Chosen(None, "")
    return _Chosen(_parsed(proposal), "")


def _specs_of_file(config: Path) -> "dict[str, SourceSpec]":
    from workers.config.file import load

    return {spec.source: spec for spec in load(config).sources}


def _specs_of_database(*, is_needed: bool) -> "dict[str, SourceSpec]":
    """The sources that are configured; none where there is no database, unless one of them is needed."""
    from corpus.database import connect, database_errors_translated
    from corpus.errors import FreshetError
    from corpus.source import SourceStatus, read_specs
    from workers.config import alone

    try:
        url = alone.database_url()
        with (
            database_errors_translated(),
            connect(url, application="freshet-try") as connection,
        ):
            rows = _configured(connection)
    except FreshetError:
        if is_needed:
            raise
        return {}
    states = {row.source: row.state for row in rows}
    stored = read_specs((row.source, row.spec) for row in rows)
    return {
        name: spec
        for name, spec in stored.specs.items()
        if states[name] != SourceStatus.RETIRED
    }


def _configured(connection: Any) -> Any:
    from psycopg.rows import class_row

    from corpus.sql import query
    from ingest.operate import ConfiguredSource

    cursor = connection.cursor(row_factory=class_row(ConfiguredSource))
    return cursor.execute(query("sources_configured")).fetchall()


def _parsed(proposal: str) -> "SourceSpec":
    from workers.config.file import parse

    [spec] = parse(proposal, "the proposal").sources
    return spec


def _try(sample: "TopicSample", spec: "SourceSpec") -> "Trial":
    from workers.trial import try_records

    return try_records(
        sample.records,
        spec,
        topic_id=sample.topic.topic_id,
        now_ms=time.time_ns() // 1_000_000,
    )


# ── output ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _as_json(
    sample: "TopicSample",
    recognised: "Recognised",
    proposal: str,
    chosen: _Chosen,
    trial: "Trial | None",
) -> dict[str, Any]:
    return {
        "topic": sample.topic.topic,
        "partitions": sample.topic.partitions,
        "offsets": sample.offsets,
        "read": len(sample.records),
        "format": recognised.format or None,
        "of_format": recognised.of_format,
        "forms": recognised.forms,
        "schema_ids": recognised.schema_ids,
        "encodings": recognised.encodings,
        "source": chosen.source or None,
        "proposal": proposal or None,
        "guesses": [asdict(guess) for guess in recognised.guesses],
        "records": [] if trial is None else [asdict(each) for each in trial.records],
        "counts": None if trial is None else trial.counts(),
    }


def _write_toml(recognised: "Recognised", proposal: str) -> None:
    if not proposal:
        raise CommandError(
            f"no source is proposed: {recognised.sentence()}", ExitCode.CHECK_FAILED
        )
    write_text(proposal.rstrip("\n"))


def _show(
    sample: "TopicSample",
    recognised: "Recognised",
    proposal: str,
    chosen: _Chosen,
    trial: "Trial | None",
) -> None:
    topic = sample.topic
    write(
        f"topic {topic.topic}: {topic.partitions:,} partitions, {sample.offsets:,} offsets; "
        f"{len(sample.records):,} records were read"
    )
    write(f"format: {recognised.sentence()}")
    if proposal:
        write_text("\n" + proposal)
    if trial is None:
        write_message(
            "no source is proposed, so nothing can be said of the records; see `Formats` in ingest/README.md"
        )
        return
    by = "the proposal"
    if chosen.source:
        by = f"source {chosen.source}, which is configured"
    write(f"what would become of them by {by}:")
    write_table(_COLUMNS, map(_cells, trial.records))
    _show_end(trial)


def _cells(tried: "Tried") -> list[Any]:
    why = ": ".join(filter(None, (tried.reason, tried.detail)))
    return [
        tried.partition,
        tried.offset,
        str(tried.outcome),
        _short(tried.document_id),
        tried.version,
        _short(tried.title),
        tried.chunks,
        why,
    ]


def _short(text: str | None) -> str | None:
    return None if text is None else text[:_SHOWN]


def _show_end(trial: "Trial") -> None:
    counts = [f"{count:,} {name}" for name, count in trial.counts().items() if count]
    write_message(f"{', '.join(counts)}; nothing was written")
    if trial.without_model:
        write_message(f"chunks are not counted: {trial.without_model}")
