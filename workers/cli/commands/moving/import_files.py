"""`freshet import`: the files of a folder or a bucket as events on a source's topic."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli.commands.moving.produce import progress_sentence, trace_headers
from workers.cli.console import (
    MAX_BIGINT,
    CommandError,
    check_exit_code,
    write,
    write_json,
    write_message,
)
from workers.cli.progress import progress_line

if TYPE_CHECKING:
    from corpus.source import SourceSpec
    from ingest.imports.file import Listing, Place
    from ingest.imports.importer import Imported
    from ingest.imports.plan import ImportPlan, ImportRules
    from ingest.produce import FileProducer
    from workers.config.settings import Settings

# Paths that are shown of each kind; --json has all.
_EXAMPLES = 10
# Of the JSON around a file, in bytes.
_AROUND = 65_536
_MAX_RATE = 1e9

Places = Annotated[
    list[str],
    typer.Argument(
        help="A folder, a glob in quotes, a URL (s3, gs, az, file), or files."
    ),
]
Source = Annotated[
    str, typer.Option("--source", "-s", help="The source that the files are of.")
]
Topic = Annotated[
    str | None,
    typer.Option("--topic", "-t", help="Of the source; default: its first one."),
]
Root = Annotated[
    Path | None,
    typer.Option("--root", help="Of files: the folder that ids are relative to."),
]
Name = Annotated[
    str | None,
    typer.Option(
        "--name", help="Name of the root, kept when it moves; default: its address."
    ),
]
Prefix = Annotated[str, typer.Option("--prefix", help="Put before each path as id.")]
Hidden = Annotated[
    bool, typer.Option("--hidden", help="Also names that begin with a dot.")
]
Checksum = Annotated[
    bool,
    typer.Option("--checksum", help="Read every file, whatever its size and time."),
]
MaxBytes = Annotated[
    int | None,
    typer.Option(
        "--max-bytes",
        min=1,
        max=MAX_BIGINT,
        help="A larger file is left out; default: what the source takes.",
        show_default=False,
    ),
]
DeleteMissing = Annotated[
    bool,
    typer.Option(
        "--delete-missing", help="Delete documents of the root whose files are gone."
    ),
]
Rate = Annotated[
    float,
    typer.Option(min=0, max=_MAX_RATE, help="Records per second at most; 0: no limit."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show the plan; read no file, send nothing.")
]
Json = Annotated[bool, typer.Option("--json", help="As JSON, without progress.")]


def import_files(
    places: Places,
    source: Source,
    topic: Topic = None,
    root: Root = None,
    name: Name = None,
    prefix: Prefix = "",
    hidden: Hidden = False,
    checksum: Checksum = False,
    max_bytes: MaxBytes = None,
    delete_missing: DeleteMissing = False,
    rate: Rate = 0,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> int:
    """Send files as events: those that the corpus does not have as they are. Exit code 1 if one was left out.

    The id of a document is the path below the root. May be ended and run again at any time.
    """
    from ingest.imports.places import place_of
    from ingest.imports.plan import ImportRules
    from workers.config import settings

    place = place_of(places, root=root, hidden=hidden)
    resolved = settings.load()
    spec = _source(resolved, source)
    rules = ImportRules(
        source=source,
        root=name or place.address,
        prefix=prefix,
        max_bytes=min(max_bytes or MAX_BIGINT, _most_bytes(spec)),
        checksum=checksum,
        delete_missing=delete_missing,
        max_ratio=spec.freshness.max_expiry_ratio,
    )
    listing = place.list_files()
    plan = _plan(resolved, place, listing, rules, note=not dry_run)
    done = None
    if not dry_run:
        done = _carry_out(resolved, place, plan, _topic(spec, topic), rate, as_json)
    _show(plan, done, as_json=as_json)
    return check_exit_code(passed=_is_whole(plan, done))


def _source(settings: "Settings", source: str) -> "SourceSpec":
    from corpus.database import connect, database_errors_translated
    from ingest.operate import configured_source

    with connect(settings.database_url) as connection, database_errors_translated():
        spec = configured_source(connection, source).readable()
    if spec.format != "native":
        raise CommandError(
            f"source {source!r} reads format {spec.format!r}; import sends events of format 'native', so configure a "
            "source of its own for the files"
        )
    return spec


def _topic(spec: "SourceSpec", topic: str | None) -> str:
    if topic is not None and topic not in spec.topics:
        raise CommandError(
            f"--topic {topic!r} is none of source {spec.source!r}: {', '.join(spec.topics)}"
        )
    return topic or spec.topics[0]


def _most_bytes(spec: "SourceSpec") -> int:
    """Of a file: what becomes of it, in base64, is at most a document of the source."""
    from ingest.kafka import MAX_MESSAGE_BYTES

    most = min(spec.pipeline.max_document_bytes, MAX_MESSAGE_BYTES) - _AROUND
    return max(most, 0) * 3 // 4


def _plan(
    settings: "Settings",
    place: "Place",
    listing: "Listing",
    rules: "ImportRules",
    *,
    note: bool,
) -> "ImportPlan":
    from corpus.database import connect, database_errors_translated
    from ingest.imports.plan import make_plan
    from workers.operations import note_operation

    with (
        connect(settings.database_url, application="freshet-import") as connection,
        database_errors_translated(),
    ):
        plan = make_plan(connection, place, listing, rules)
        if note and (plan.send or plan.delete):
            note_operation(
                connection,
                "import",
                rules.source,
                root=rules.root,
                files=len(plan.send),
                deletes=len(plan.delete),
            )
    return plan


def _carry_out(
    settings: "Settings",
    place: "Place",
    plan: "ImportPlan",
    topic: str,
    rate: float,
    silent: bool,
) -> "Imported":
    from ingest.imports.importer import Importer
    from ingest.kafka import Cluster

    cluster = Cluster(settings.kafka_bootstrap, settings.kafka_properties)
    if topic not in cluster.topics([topic]):
        raise CommandError(f"there is no topic {topic}; `freshet apply` creates it")
    line = progress_line(silent=silent)
    with line, trace_headers(topic) as headers:
        producer = _producer(settings, topic, rate, headers, line.show)
        now_us = time.time_ns() // 1_000
        importer = Importer(place, plan, producer, now_us=now_us)
        importer.run()
    return importer.result


def _producer(
    settings: "Settings",
    topic: str,
    rate: float,
    headers: dict[str, str],
    show: Any,
) -> "FileProducer":
    from ingest.kafka import properties
    from ingest.produce import FileProducer

    kafka = properties(settings.kafka_bootstrap, settings.kafka_properties)
    return FileProducer(
        kafka,
        topic,
        rate=rate,
        progress=lambda progress: show(progress_sentence(progress)),
        headers=headers,
    )


# ── what is shown ───────────────────────────────────────────────────────────────────────────────────────────────────


def _problems(plan: "ImportPlan", done: "Imported | None") -> dict[str, str]:
    problems = {**plan.problems, **({} if done is None else done.problems)}
    for path, size in plan.too_large.items():
        problems[path] = (
            f"{size:,} bytes are more than the {plan.rules.max_bytes:,} that are taken "
            "(--max-bytes, pipeline.max_document_bytes)"
        )
    return problems


def _refused(plan: "ImportPlan", done: "Imported | None") -> list[str]:
    return plan.refused + ([] if done is None else done.refused)


def _is_whole(plan: "ImportPlan", done: "Imported | None") -> bool:
    """Whether every file is in the corpus, or on its way, and no wanted deletion was refused."""
    is_kept = plan.rules.delete_missing and bool(plan.keeps_missing)
    has_listing_left_out = plan.listing.links or plan.listing.special
    left_out = _problems(plan, done) or _refused(plan, done) or has_listing_left_out
    return not (is_kept or left_out)


def _show(plan: "ImportPlan", done: "Imported | None", *, as_json: bool) -> None:
    if as_json:
        write_json(_as_json(plan, done))
        return
    for line in _lines(plan, done):
        write(line)
    for path, reason in list(_problems(plan, done).items())[:_EXAMPLES]:
        write(f"  left out: {path}: {reason}")
    for path in plan.listing.links[:_EXAMPLES]:
        write(f"  left out: {path}: a link to a folder, or out of the root")
    for path in _refused(plan, done)[:_EXAMPLES]:
        write(f"  a dead letter already: {path}; see `freshet dead-letters list`")
    for held in plan.missing[:_EXAMPLES]:
        write(f"  file is gone: {held.document_id}")
    if done is None:
        write_message("nothing was sent (--dry-run)")


def _as_json(plan: "ImportPlan", done: "Imported | None") -> dict[str, Any]:
    listing, rules = plan.listing, plan.rules
    return {
        "source": rules.source,
        "root": rules.root,
        "dry_run": done is None,
        "files": len(listing.files),
        "to_send": [one.file.path for one in plan.send] if done is None else None,
        "new": plan.new if done is None else done.new,
        "changed": len(plan.send) - plan.new if done is None else done.changed,
        "unchanged": plan.unchanged + (0 if done is None else done.touched),
        "refused": _refused(plan, done),
        "left_out": _problems(plan, done),
        "hidden": listing.hidden,
        "links": listing.links,
        "special": listing.special,
        "missing": [held.document_id for held in plan.missing],
        "deleted": len(plan.delete) if done is None else done.deleted,
        "keeps_missing": plan.keeps_missing,
        "in_future": 0 if done is None else done.in_future,
        "went_back": 0 if done is None else done.went_back,
    }


def _lines(plan: "ImportPlan", done: "Imported | None") -> list[str]:
    row = _as_json(plan, done)
    sent = "to send" if done is None else "sent"
    lines = [
        f"{row['files']:,} files: {row['new']:,} new and {row['changed']:,} changed {sent}, "
        f"{row['unchanged']:,} unchanged, {len(row['refused']):,} dead letters already, "
        f"{len(row['left_out']):,} left out; {row['hidden']:,} hidden names, "
        f"{len(row['links']) + len(row['special']):,} links and special files"
    ]
    if plan.missing:
        gone = f"{len(plan.missing):,} documents of {plan.root_documents:,} have no file any more"
        kept = f"kept: {plan.keeps_missing}" if plan.keeps_missing else "deleted"
        lines.append(f"{gone}; they are {kept}")
    if row["in_future"] or row["went_back"]:
        lines.append(
            f"{row['in_future']:,} files are modified in the future, {row['went_back']:,} before the version that the "
            "corpus has; they have versions of their own, so that they count"
        )
    return lines


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import")(import_files)
