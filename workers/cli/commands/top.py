"""`freshet top`: all sources, live."""

import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli.console import (
    MAX_ROWS,
    MAX_WAIT_SECONDS,
    ExitCode,
    check_exit_code,
    one_line,
    table_of,
    text_of,
    write_json_line,
)
from workers.cli.live import frames, rounds

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ingest.consume.readable import ReadableRecords
    from ingest.kafka import Cluster
    from workers.config.settings import Settings
    from workers.stages import SourceStages, StageWatcher
    from workers.top import Line

Interval = Annotated[
    float,
    typer.Option(
        "--interval",
        "-i",
        min=0.2,
        max=MAX_WAIT_SECONDS,
        help="Seconds between two looks.",
    ),
]
Count = Annotated[
    int,
    typer.Option("--count", "-c", min=0, max=MAX_ROWS, help="Looks; 0: until Ctrl-C."),
]
Json = Annotated[bool, typer.Option("--json", help="One line of JSON per look.")]

_COLUMNS = (
    *("source", "state", "lag", "records/s", "texts/s", "documents"),
    *("dead letters", "new", "published", "doing"),
)
_MAX_REASONS = 5
_MAX_BACKFILLS = 3
# Lines of a terminal that are not sources: title, header, how many are left out, backfills, reasons.
_OTHER_LINES = 4 + _MAX_BACKFILLS + _MAX_REASONS


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel="Corpus")(top)


def top(interval: Interval = 2.0, count: Count = 0, as_json: Json = False) -> int:
    """Every source, live: its state, lag, rates, dead letters, what its batches do, and its backfill.

    Ctrl-C ends it. Exit code 1 if a source is stuck or halted at the last look, 3 if PostgreSQL did not answer then.
    """
    from workers.config.settings import load

    looks = _looks(load(), interval, count)
    last = Look()
    with suppress(KeyboardInterrupt):
        if as_json:
            for last in looks:
                write_json_line(last.to_json())
        else:
            with frames() as show:
                for last in looks:
                    show(_frame(last))
    if last.problem:
        return ExitCode.UNAVAILABLE
    return check_exit_code(passed=not last.reasons)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """All sources at one moment."""

    lines: "Sequence[Line]" = ()
    reasons: Sequence[str] = ()  # what a person must look at, a sentence per source
    problem: str = ""  # why both are those of an earlier moment

    def to_json(self) -> dict[str, Any]:
        """As `--json` writes it."""
        sources = [line.to_json() for line in self.lines]
        return {"problem": self.problem or None, "sources": sources}


def _looks(settings: "Settings", interval: float, count: int) -> Iterator[Look]:
    """One look after the other; where PostgreSQL does not answer, the sources stay what they were."""
    from corpus.errors import DependencyError
    from ingest.consume.readable import ReadableRecords
    from ingest.kafka import Cluster
    from workers.conditions import needing_attention
    from workers.stages import StageWatcher
    from workers.top import Rates

    cluster = Cluster(settings.kafka_bootstrap, settings.kafka_properties)
    readable = ReadableRecords(cluster)
    rates = Rates()
    look = Look()
    with StageWatcher(settings) as watcher:
        for _ in rounds(interval, count):
            try:
                readable.begin_round()
                rows, stages = _read(settings, watcher, cluster, readable)
            except DependencyError as error:
                yield replace(look, problem=str(error))
                continue
            now = time.monotonic()
            lines = rates.lines(rows, stages, now)
            look = Look(lines=lines, reasons=needing_attention(rows))
            yield look


def _read(
    settings: "Settings",
    watcher: "StageWatcher",
    cluster: "Cluster",
    readable: "ReadableRecords",
) -> tuple[list[dict[str, Any]], dict[str, "SourceStages"]]:
    """Every source, and what the batches of those that are behind do."""
    from corpus.database import connect, database_errors_translated
    from ingest.overview import overview
    from workers.backfilling import add_backfills
    from workers.conditions import explain_by
    from workers.stages import counted, texts_embedded_after

    with (
        connect(settings.database_url, application="freshet-top") as connection,
        database_errors_translated(),
    ):
        rows = overview(connection, cluster, readable)
        add_backfills(connection, rows)
        unfinished = {row["source"]: row["last_batch"] for row in rows if row["lag"]}
        embedded = texts_embedded_after(connection, unfinished)
    stages = counted(watcher.stages(unfinished), embedded)
    explain_by(rows, stages, "what its batches do is not known yet")
    return rows, stages


def _frame(look: Look) -> "RenderableType":
    from rich.console import Group

    shown = look.lines[: _room()]
    title = text_of(_title(look), "bold")
    cells = [_cells(line) for line in shown]
    table = table_of(_COLUMNS, cells)
    group = Group(title, table)
    hidden = len(look.lines) - len(shown)
    if hidden:
        left_out = (
            f"sources that are not shown: {hidden:,}; `freshet sources` lists all"
        )
        group.renderables.append(text_of(left_out))
    backfills = [line.backfill for line in look.lines if line.backfill]
    for sentence in (*backfills[:_MAX_BACKFILLS], *look.reasons[:_MAX_REASONS]):
        note = text_of(sentence)
        group.renderables.append(note)
    return group


def _room() -> int | None:
    """How many sources the terminal has room for; elsewhere all are written."""
    if not sys.stdout.isatty():
        return None
    return max(1, shutil.get_terminal_size().lines - _OTHER_LINES)


def _title(look: Look) -> str:
    """The sums of all sources, or why there are none."""
    if look.problem:
        return one_line(f"not up to date: {look.problem}")
    if not look.lines:
        return "there is no source; `freshet apply FILE` creates those of a file"
    lag = 0
    records = texts = 0.0
    for line in look.lines:
        lag += line.lag or 0
        records += line.records_per_second or 0.0
        texts += line.texts_per_second or 0.0
    sources = len(look.lines)
    attention = len(look.reasons)
    return (
        f"sources: {sources:,}, of which {attention:,} need attention; lag: {lag:,} records; "
        f"{records:,.1f} records/s, {texts:,.1f} texts embedded/s"
    )


def _cells(line: "Line") -> list[Any]:
    return [
        line.source,
        line.condition,
        line.lag,
        line.records_per_second,
        line.texts_per_second,
        line.documents,
        line.open_dead_letters,
        line.new_dead_letters,
        line.last_published_at,
        line.doing,
    ]
