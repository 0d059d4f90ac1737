"""`freshet produce`: put events from files on a topic."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli.console import MAX_BIGINT, CommandError, write_json, write_message
from workers.cli.progress import progress_line

if TYPE_CHECKING:
    from ingest.produce import Produced, ProduceProgress
    from workers.config.settings import Settings

_MAX_RATE = 1e9


def _known_partitions(partitions: int) -> int:
    from workers.config.values import MAX_PARTITIONS

    if partitions > MAX_PARTITIONS:
        raise typer.BadParameter(
            f"{partitions} is not in the range 1<=x<={MAX_PARTITIONS}."
        )
    return partitions


Files = Annotated[
    list[str],
    typer.Argument(
        help="JSON Lines, one event per line; .zst too; - is standard input."
    ),
]
Topic = Annotated[str, typer.Option("--topic", "-t", help="The topic.")]
Rate = Annotated[
    float,
    typer.Option(
        min=0, max=_MAX_RATE, help="Records per second at most; 0: as fast as possible."
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=MAX_BIGINT,
        help="The largest number of records to send.",
        show_default=False,
    ),
]
Raw = Annotated[
    bool,
    typer.Option(
        "--raw", help="Send lines as they are, without reading them and without a key."
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Continue after the last line that an earlier run with --resume had acknowledged.",
    ),
]
CreateTopic = Annotated[
    bool, typer.Option("--create-topic", help="Create the topic where it is missing.")
]
Partitions = Annotated[
    int,
    typer.Option(min=1, callback=_known_partitions, help="Of a topic that is created."),
]
Json = Annotated[bool, typer.Option("--json", help="As JSON, without progress.")]


def produce(
    files: Files,
    topic: Topic,
    rate: Rate = 0,
    limit: Limit = None,
    raw: Raw = False,
    resume: Resume = False,
    create_topic: CreateTopic = False,
    partitions: Partitions = 3,
    as_json: Json = False,
) -> None:
    """Put events from files on a topic, keyed by their id."""
    from ingest.kafka import properties
    from ingest.produce import FileProducer
    from workers.config import settings

    _require_files(files)
    _require_topic_name(topic)
    resolved = settings.load()
    _require_topic(resolved, topic, partitions if create_topic else 0)
    resume_folder = resolved.home / "produced" if resume else None
    line = progress_line(silent=as_json)
    with trace_headers(topic) as headers:
        producer = FileProducer(
            properties(resolved.kafka_bootstrap, resolved.kafka_properties),
            topic,
            raw=raw,
            rate=rate,
            limit=limit,
            progress=lambda progress: line.show(progress_sentence(progress)),
            headers=headers,
        )
        try:
            with line:
                for file in files:
                    producer.send(file, resume_folder=resume_folder)
        finally:
            _show_result(producer.result, as_json=as_json)


@contextmanager
def trace_headers(topic: str) -> Generator[dict[str, str], None, None]:
    """The headers by which records continue the trace of this command; none where no trace is made."""
    from workers.tracing import switch

    switch.start("produce")
    try:
        with switch.producing(topic) as headers:
            yield headers
    finally:
        switch.stop()


def _require_files(files: list[str]) -> None:
    for file in files:
        if file != "-" and not Path(file).is_file():
            raise CommandError(f"there is no file {file}")


def _require_topic_name(topic: str) -> None:
    from workers.config import values

    try:
        values.topic(topic)
    except ValueError as error:
        raise CommandError(f"--topic {topic!r}: {error}") from error


def _require_topic(settings: "Settings", topic: str, partitions: int) -> None:
    """The topic exists, or is created with so many partitions (0: it is not)."""
    from ingest.kafka import MAX_MESSAGE_BYTES, Cluster

    cluster = Cluster(settings.kafka_bootstrap, settings.kafka_properties)
    if partitions:
        cluster.create_topic(
            topic, partitions, {"max.message.bytes": str(MAX_MESSAGE_BYTES)}
        )
    elif topic not in cluster.topics([topic]):
        raise CommandError(
            f"there is no topic {topic}; create it with --create-topic, or with `freshet apply`"
        )


def progress_sentence(progress: "ProduceProgress") -> str:
    """How far a file is, and what is waited for."""
    rate = _per_second(progress.acknowledged, progress.seconds)
    acknowledged = (
        f"{progress.acknowledged:,} records acknowledged, {rate:,.0f} per second"
    )
    unacknowledged = progress.sent - progress.acknowledged
    if progress.is_read and unacknowledged:
        return f"{acknowledged}; waiting for {unacknowledged:,} acknowledgements"
    return f"{acknowledged}; reading {progress.file}"


def _per_second(records: int, seconds: float) -> float:
    if not seconds:
        return 0.0
    return records / seconds


def _summary(result: "Produced") -> str:
    rate = _per_second(result.records, result.seconds)
    megabytes = result.value_bytes / 1e6
    summary = (
        f"{result.records:,} records ({megabytes:,.1f} MB) are on topic {result.topic} "
        f"({result.seconds:.1f} s, {rate:,.0f} per second)"
    )
    if result.skipped:
        summary += f"; {result.skipped:,} were sent by an earlier run"
    return summary


def _show_result(result: "Produced", *, as_json: bool) -> None:
    from dataclasses import asdict

    if not as_json:
        write_message(_summary(result))
        return
    row: dict[str, Any] = asdict(result)
    row["records_per_second"] = None
    if result.seconds:
        rate = result.records / result.seconds
        row["records_per_second"] = round(rate, 1)
    write_json(row)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(produce)
