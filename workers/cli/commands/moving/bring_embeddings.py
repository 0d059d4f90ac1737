"""`freshet bring-embeddings`: take over embeddings that exist already."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli.console import (
    CommandError,
    ExitCode,
    check_exit_code,
    write,
    write_json,
    write_message,
)
from workers.cli.progress import progress_line

if TYPE_CHECKING:
    from corpus.database import Connection
    from corpus.embed.bring.bringing import Brought, SampleResult
    from corpus.embed.bring.file import EmbeddingsFile, FileCounts
    from corpus.embed.spec import EmbeddingSpec
    from corpus.source import SourceSpec
    from workers.config.settings import Settings

_MAX_SAMPLE = 100_000

File = Annotated[
    Path,
    typer.Argument(
        help="Parquet: text, text_sha256 or both, and vector (a list of numbers); where the source embeds headings "
        "above a text, also context (what the model read above it, or null)."
    ),
]
Space = Annotated[
    str,
    typer.Option(
        "--space", help="A model's name, or the beginning of a space's fingerprint."
    ),
]
SampleSize = Annotated[
    int,
    typer.Option(
        "--sample", min=1, max=_MAX_SAMPLE, help="Texts that are embedded to compare."
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check the file and the sample; keep nothing.")
]
Json = Annotated[bool, typer.Option("--json", help="As JSON, without progress.")]


def bring_embeddings(
    file: File,
    space: Space,
    sample: SampleSize = 100,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> int:
    """Take over embeddings, after a sample of their texts was embedded again. Exit code 1 if any was refused.

    A text that has a vector already keeps it. May be ended and run again at any time.
    """
    from corpus.database import connect, database_errors_translated
    from corpus.embed.bring.file import EmbeddingsFile
    from corpus.preparation import NO_CONTEXT
    from workers.config import settings

    if not file.is_file():
        raise CommandError(f"there is no file {file}")
    resolved = settings.load()
    with (
        connect(resolved.database_url, application="freshet-bring") as connection,
        database_errors_translated(),
    ):
        source, spec = _space(connection, space)
        opened = EmbeddingsFile(
            file,
            dimensions=spec.dimensions,
            normalised=spec.normalised,
            has_context=spec.context != NO_CONTEXT,
        )
        counts = opened.check()
        tried = _try(connection, resolved, opened, source, counts, sample)
        brought = None
        if tried.passed and not dry_run:
            brought = _keep(connection, opened, source, spec, silent=as_json)
    _show(spec, counts, tried, brought, as_json=as_json)
    if not tried.passed:
        raise CommandError(
            f"{file} is not of space {spec.fingerprint()} ({spec.model}), nothing was kept: {tried.sentence()}",
            ExitCode.CHECK_FAILED,
        )
    if dry_run:
        write_message("nothing was kept (--dry-run)")
    return check_exit_code(passed=not counts.refused)


def _space(connection: "Connection", wanted: str) -> "tuple[SourceSpec, EmbeddingSpec]":
    """The space of this name, and a source that it is of."""
    spaces = _configured_spaces(connection)
    found = {
        fingerprint: pair
        for fingerprint, pair in spaces.items()
        if fingerprint.startswith(wanted) or pair[1].model == wanted
    }
    if len(found) != 1:
        names = [f"{key} ({spec.model})" for key, (_, spec) in spaces.items()]
        shown = ", ".join(names)
        raise CommandError(
            f"--space {wanted!r} names {len(found)} spaces; those of the configured sources are {shown}"
        )
    [(source, spec)] = found.values()
    return source, spec


def _configured_spaces(
    connection: "Connection",
) -> "dict[str, tuple[SourceSpec, EmbeddingSpec]]":
    """By fingerprint, the spaces of the configured sources, each with one of them."""
    from psycopg.rows import namedtuple_row

    from corpus.embed.model_files import read_embedding_spec
    from corpus.source import read_specs
    from corpus.sql import query

    with connection.cursor(row_factory=namedtuple_row) as cursor:
        rows: list[Any] = cursor.execute(query("sources_configured")).fetchall()
    active = [(row.source, row.spec) for row in rows if row.state != "retired"]
    spaces: dict[str, tuple[SourceSpec, EmbeddingSpec]] = {}
    for source in read_specs(active).specs.values():
        spec = read_embedding_spec(source.model, source.prefix, source.context)
        spaces.setdefault(spec.fingerprint(), (source, spec))
    if not spaces:
        raise CommandError("no source is configured; `freshet apply` configures one")
    return spaces


def _try(
    connection: "Connection",
    settings: "Settings",
    file: "EmbeddingsFile",
    source: "SourceSpec",
    counts: "FileCounts",
    size: int,
) -> "SampleResult":
    from corpus.embed.bring.bringing import SampleResult, try_sample
    from corpus.embed.tokenizer import load_tokenizer
    from workers.roles.models import LoadedModels

    if not counts.usable:
        return SampleResult(wanted=0, tried=0, too_long=0, unknown=0)
    return try_sample(
        connection,
        file,
        LoadedModels(settings).of(source.model, source.prefix),
        load_tokenizer(source.model, source.prefix),
        size=size,
        rows=counts.usable,
    )


def _keep(
    connection: "Connection",
    file: "EmbeddingsFile",
    source: "SourceSpec",
    spec: "EmbeddingSpec",
    *,
    silent: bool,
) -> "Brought":
    from corpus.embed.bring.bringing import keep
    from corpus.embed.spaces import register
    from workers.operations import note_operation

    fingerprint = spec.fingerprint()
    note_operation(connection, "bring-embeddings", source.source, space=fingerprint)
    space_id = register(connection, spec)
    line = progress_line(silent=silent)
    with line:
        return keep(
            connection,
            file,
            space_id=space_id,
            source=source.source,
            progress=lambda rows: line.show(f"{rows:,} rows are done"),
        )


def _show(
    spec: "EmbeddingSpec",
    counts: "FileCounts",
    tried: "SampleResult",
    brought: "Brought | None",
    *,
    as_json: bool,
) -> None:
    from dataclasses import asdict

    kept = None if brought is None else asdict(brought)
    if as_json:
        write_json(
            {
                "space": spec.fingerprint(),
                "model": spec.model,
                "file": {**asdict(counts), "refused": counts.refused},
                "sample": {**asdict(tried), "passed": tried.passed},
                "brought": kept,
            }
        )
        return
    write(
        f"{counts.rows:,} rows: {counts.usable:,} usable ({counts.scaled:,} of them brought to length 1), "
        f"{counts.repeated:,} repeated; refused: {counts.no_text:,} without text or hash, {counts.wrong_hash:,} with a "
        f"wrong hash, {counts.wrong_dimensions:,} of other dimensions than {spec.dimensions:,}, "
        f"{counts.not_finite:,} without a direction, {counts.contradicting:,} of texts with two vectors"
    )
    write(tried.sentence())
    if brought is not None:
        write(
            f"{brought.kept:,} vectors are kept in space {spec.fingerprint()}; {brought.present:,} texts have one "
            f"already, {brought.claimed:,} are being embedded"
        )


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("bring-embeddings")(bring_embeddings)
