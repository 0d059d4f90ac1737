"""`freshet document correct | corrections | parts`: repair a version that was a mistake; what is attached to mails."""

import asyncio
import time
from typing import TYPE_CHECKING, Annotated

import typer

from workers.cli.console import (
    MAX_ROWS,
    CommandError,
    ExitCode,
    write,
    write_json,
    write_message,
    write_table,
)

if TYPE_CHECKING:
    from corpus.batch import Correct
    from corpus.database import Connection
    from corpus.source import SourceSpec
    from corpus.versions.correction import CorrectionPlan

_LOOK_EVERY_SECONDS = 0.2
_MAX_REASON = 1_000  # characters
_COLUMNS = (
    *("source", "document_id", "old_version", "new_version", "batch"),
    *("reason", "requested_by", "corrected_at"),
)

_PART_COLUMNS = (
    *("source", "document_id", "version", "number", "name", "within"),
    *("media_type", "content_bytes"),
)

Source = Annotated[str, typer.Option("--source", "-s", help="Source of the document.")]
Id = Annotated[str, typer.Option("--id", help="The document.")]
Reason = Annotated[str, typer.Option(help="Why; kept with the correction.")]
Version = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="The version that it gets; default: the highest that it had before and that is far below, else 0.",
        show_default=False,
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show the plan and change nothing.")
]
Timeout = Annotated[
    float, typer.Option(min=0, help="Seconds to wait until it is carried out.")
]
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
OneSource = Annotated[
    str | None,
    typer.Option("--source", "-s", help="Only this source.", show_default=False),
]
Limit = Annotated[
    int,
    typer.Option("--limit", "-n", min=1, max=MAX_ROWS, help="How many, newest first."),
]
PartLimit = Annotated[
    int, typer.Option("--limit", "-n", min=1, max=MAX_ROWS, help="At most.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    document = typer.Typer(
        help="Repair a document whose version was a mistake; list what is attached to e-mails.",
        no_args_is_help=True,
    )
    document.command("correct")(correct_document)
    document.command("corrections")(list_corrections)
    document.command("parts")(list_parts)
    app.add_typer(document, name="document", rich_help_panel="Corpus")


def correct_document(
    source: Source,
    document: Id,
    reason: Reason,
    version: Version = None,
    dry_run: DryRun = False,
    timeout: Timeout = 60.0,
    as_json: Json = False,
) -> None:
    """Give a document a lower version in place of one that was a mistake; its content stays.

    Later versions count again, and the mistaken one is refused, also when the topic is read again.
    """
    from dataclasses import asdict

    from corpus.database import connect, database_errors_translated
    from corpus.versions.correction import plan_correction
    from workers.config import settings
    from workers.operations import note_operation, requested_by

    check_reason(reason)
    resolved = settings.load()
    with (
        connect(resolved.database_url, application="freshet-document") as connection,
        database_errors_translated(),
    ):
        plan, spec = plan_correction(connection, source, document, version)
        batch = None
        if not dry_run:
            order = plan.order(reason, requested_by())
            # Without the document, and without the reason, which may name it: these rows outlive its erasure, which
            # removes what `freshet document corrections` lists.
            versions = f"{plan.old_version} to {plan.new_version}"
            note_operation(connection, "document correct", source, versions=versions)
            asyncio.run(_send(spec, order))
            batch = _wait(connection, plan, timeout)
    if as_json:
        write_json({"dry_run": dry_run, "batch": batch, **asdict(plan)})
    else:
        for line in plan.lines():
            write(line)
    if dry_run:
        write_message("nothing was changed (--dry-run)")
    else:
        write_message(f"corrected in batch {batch}")


def check_reason(reason: str) -> None:
    """Refuse a reason that cannot be shown on one line."""
    is_long = len(reason) > _MAX_REASON
    is_blank = not reason.strip()
    if is_long or is_blank or not reason.isprintable():
        raise CommandError(
            f"--reason is a text of 1 to {_MAX_REASON:,} characters on one line"
        )


async def _send(spec: "SourceSpec", order: "Correct") -> None:
    from ingest.hand_over import send_order
    from workers.config import settings
    from workers.temporal.client import temporal

    client = await temporal(settings.load())
    await send_order(client, spec, "correct", order)


def _wait(connection: "Connection", plan: "CorrectionPlan", seconds: float) -> int:
    """The batch that carried the correction out."""
    from psycopg.rows import scalar_row

    from corpus.database import fetch_one

    values = {
        "source": plan.source,
        "document_id": plan.document_id,
        "old_version": plan.old_version,
        "new_version": plan.new_version,
    }
    until = time.monotonic() + seconds
    while True:
        batch: int | None = fetch_one(connection, scalar_row, "correction_of", values)
        if batch is not None:
            return batch
        if time.monotonic() > until:
            raise CommandError(
                f"source {plan.source!r} has the order, and has not carried it out in {seconds:g} s; `freshet sources` "
                "shows what it does, `freshet document corrections` whether it has",
                ExitCode.UNAVAILABLE,
            )
        time.sleep(_LOOK_EVERY_SECONDS)


def list_corrections(
    source: OneSource = None, limit: Limit = 20, as_json: Json = False
) -> None:
    """The versions that were corrected: by whom, when and why."""
    from workers.cli.names import query_rows

    values = {"source": source, "limit": limit}
    rows = query_rows("list_corrections", values, source=source)
    if as_json:
        write_json(rows)
        return
    write_table(
        _COLUMNS,
        ([row[name] for name in _COLUMNS] for row in rows),
        empty="no version was corrected yet",
    )


def list_parts(
    source: OneSource = None,
    document: Annotated[
        str | None, typer.Option("--id", help="Only this document.", show_default=False)
    ] = None,
    unread: Annotated[
        bool, typer.Option("--unread", help="Those that are not read, and why.")
    ] = False,
    limit: PartLimit = 100,
    as_json: Json = False,
) -> None:
    """What is attached to the visible e-mails: what it is, and how much of it was kept, or why it is not read."""
    from workers.cli.attachments import part_account
    from workers.cli.texts import parts_of

    values = {"document_id": document, "unread": unread, "limit": limit}
    rows = parts_of(source, values)
    count = rows[0]["parts"] if rows else 0
    parts = [{name: row[name] for name in row if name != "parts"} for row in rows]
    if as_json:
        write_json(parts)
        return
    write_table(
        (*_PART_COLUMNS, "text"),
        ([*(row[name] for name in _PART_COLUMNS), part_account(row)] for row in parts),
        empty="there is no such attachment",
    )
    if count > len(parts):
        write_message(f"{len(parts):,} of {count:,} are shown; --limit shows more")
