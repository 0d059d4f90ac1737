"""`freshet batches | documents | lineage | export | sweeps`: what is in the corpus, and why."""

from typing import Annotated, Any

import typer

from corpus.preparation import PreparationSpec
from workers.cli.attachments import part_lines
from workers.cli.commands.erase import receipts
from workers.cli.console import (
    MAX_BIGINT,
    MAX_ROWS,
    CommandError,
    one_line,
    whole_number,
    write,
    write_cells,
    write_json,
    write_table,
)
from workers.cli.text_account import Noted, dropped_by, text_account, write_noted
from workers.cli.texts import with_chunks, with_texts

_MIN_KEPT_RATIO = PreparationSpec().min_kept_ratio
_MAX_UNKNOWN_RATIO = PreparationSpec().max_unknown_ratio
_NEW_CHUNKS = 5  # of a version that are shown

_BATCH_COLUMNS = {
    **{
        name: name
        for name in ("source", "batch", "kind", "records", "applied", "unchanged")
    },
    **{"superseded": "superseded", "dead_lettered": "dead", "ignored": "ignored"},
    **{"chunks_opened": "opened", "chunks_closed": "closed", "chunks_reused": "reused"},
    **{"documents_deleted": "deleted", "deletes_without_document": "in vain"},
    **{"texts_embedded": "embedded", "documents_empty": "empty"},
    **{"documents_lossy": "lossy", "documents_unknown": "unknown"},
    "published_at": "published_at",
}
_DOCUMENT_COLUMNS = (
    *("source", "document_id", "version", "state", "title", "language", "chunks"),
    *("content_bytes", "visible_from", "observed_at", "batch"),
)
_LOSS_COLUMNS = {
    **{name: name for name in ("source", "document_id", "version", "title", "chunks")},
    **{"received_characters": "received", "kept_characters": "kept"},
    **{"dropped": "dropped by", "batch": "batch"},
}
_UNKNOWN_COLUMNS = {
    **{name: name for name in ("source", "document_id", "version", "title", "chunks")},
    **{"kept_characters": "characters", "unknown_characters": "unknown"},
    **{"share": "share", "tokens": "tokens", "batch": "batch"},
}
_SWEEP_COLUMNS = ("swept_at", "removed", "removed_bytes", "needed", "unknown")
_EXPORT_COLUMNS = ("id", "version", "content_sha256", "chunks")

Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
OneSource = Annotated[
    str | None,
    typer.Option("--source", "-s", help="Only this source.", show_default=False),
]
NewestLimit = Annotated[
    int,
    typer.Option("--limit", "-n", min=1, max=MAX_ROWS, help="How many, newest first."),
]
OneDocument = Annotated[
    str | None, typer.Option("--id", help="Only this document.", show_default=False)
]
Gone = Annotated[bool, typer.Option("--gone", help="Also deleted and expired ones.")]
Lossy = Annotated[
    bool, typer.Option("--lossy", help="Those that cleaning left little of, and why.")
]
Below = Annotated[
    float,
    typer.Option(
        "--below",
        min=0,
        max=1,
        help="With --lossy: those that keep less than this share of their readable text.",
    ),
]
Unknown = Annotated[
    bool,
    typer.Option(
        "--unknown", help="Those that the model has no words for; the worst first."
    ),
]
Above = Annotated[
    float,
    typer.Option(
        "--above",
        min=0,
        max=1,
        help="With --unknown: those with a greater share of unknown characters.",
    ),
]
Limit = Annotated[
    int, typer.Option("--limit", "-n", min=1, max=MAX_ROWS, help="At most.")
]


# ── batches, documents, export ──────────────────────────────────────────────────────────────────────────────────────


def batches(
    source: OneSource = None, limit: NewestLimit = 20, as_json: Json = False
) -> None:
    """The ledger: what each batch did."""
    rows = _query_rows(
        "list_batches", {"source": source, "limit": limit}, source=source
    )
    if as_json:
        write_json(rows)
        return
    write_table(
        tuple(_BATCH_COLUMNS.values()),
        ([row[name] for name in _BATCH_COLUMNS] for row in rows),
        empty="no batch was published yet",
    )


def documents(
    source: OneSource = None,
    document: OneDocument = None,
    gone: Gone = False,
    history: Annotated[bool, typer.Option("--history", help="Every version.")] = False,
    lossy: Lossy = False,
    below: Below = _MIN_KEPT_RATIO,
    unknown: Unknown = False,
    above: Above = _MAX_UNKNOWN_RATIO,
    noted: Noted = False,
    limit: Limit = 100,
    as_json: Json = False,
) -> None:
    """Documents, as they are or every version."""
    if lossy + unknown + noted > 1:
        raise CommandError("--lossy, --unknown, --noted are lists; ask for one")
    values = {
        "max_kept_ratio": below if lossy else None,
        "min_unknown_ratio": above if unknown else None,
        "noted": noted,
        "source": source,
        "document_id": document,
        "gone": gone or history,
        "history": history,
        "limit": limit,
    }
    rows = with_texts(_query_rows("list_documents", values, source=source))
    rows = receipts.or_erased(rows, document, source)
    if as_json:
        write_json(rows)
    elif receipts.are_erased(rows):
        receipts.show_erased(rows)
    elif lossy:
        _write_losses(rows, below)
    elif unknown:
        _write_unknown(rows, above)
    elif noted:
        write_noted(rows)
    else:
        _write_documents(rows)


def _write_documents(rows: list[dict[str, Any]]) -> None:
    write_table(
        _DOCUMENT_COLUMNS,
        ([row[name] for name in _DOCUMENT_COLUMNS] for row in rows),
        empty="there is no such document",
    )


def _write_losses(rows: list[dict[str, Any]], below: float) -> None:
    write_table(
        tuple(_LOSS_COLUMNS.values()),
        (_loss_cells(row) for row in rows),
        empty=f"no document keeps less than {below:g} of its readable text",
    )


def _loss_cells(row: dict[str, Any]) -> list[Any]:
    cells = {**row, "dropped": dropped_by(row["dropped"])}
    return [cells[name] for name in _LOSS_COLUMNS]


def _write_unknown(rows: list[dict[str, Any]], above: float) -> None:
    shares = [{**row, "share": f"{row['unknown_ratio']:.1%}"} for row in rows]
    write_table(
        tuple(_UNKNOWN_COLUMNS.values()),
        ([row[name] for name in _UNKNOWN_COLUMNS] for row in shares),
        empty=f"of every document the model knows all but {above:g} of the characters or less",
    )


def least_known(source: str, *, limit: int) -> list[dict[str, Any]]:
    """The visible documents of a source with the greatest shares of unknown characters, in that order."""
    values = {
        "max_kept_ratio": None,
        "min_unknown_ratio": 0.0,
        "noted": False,
        "source": source,
        "document_id": None,
        "gone": False,
        "history": False,
        "limit": limit,
    }
    return _query_rows("list_documents", values, source=source)


def export(
    source: Annotated[str, typer.Option("--source", "-s", help="Which source.")],
    as_json: Json = False,
) -> None:
    """Every visible document of a source: id, version, SHA-256 of its content as received, visible chunks.

    TSV, sorted by id. An id that a spreadsheet would compute begins with an apostrophe there; --json has ids exactly.
    """
    rows = _query_rows("export_source", {"source": source}, source=source)
    if as_json:
        write_json(rows)
        return
    write_cells(_EXPORT_COLUMNS)
    for row in rows:
        write_cells(row[name] for name in _EXPORT_COLUMNS)


def sweeps(limit: NewestLimit = 20, as_json: Json = False) -> None:
    """What the storers removed of the staging store, since no batch needed it."""
    rows = _query_rows("list_sweeps", {"limit": limit})
    if as_json:
        write_json(rows)
        return
    write_table(
        _SWEEP_COLUMNS,
        ([row[name] for name in _SWEEP_COLUMNS] for row in rows),
        empty="no storer has swept yet; each does so once per hour",
    )


def _query_rows(
    name: str, values: dict[str, Any], *, source: str | None = None
) -> list[dict[str, Any]]:
    from workers.cli.names import query_rows

    return query_rows(name, values, source=source)


# ── lineage ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def lineage(
    document: Annotated[
        str,
        typer.Argument(
            help="A document's id, or chunk:ID for a chunk of a search hit."
        ),
    ],
    source: OneSource = None,
    as_json: Json = False,
) -> None:
    """Where a text comes from: versions, batches, Kafka positions, workflow runs, chunks, and who was notified."""
    if document.startswith("chunk:"):
        number = _chunk_number(document)
        if receipts.shows_erased_chunk(number, as_json=as_json):
            return
        source, document = _document_of_chunk(number)
    versions = _query_rows(
        "lineage_versions", {"document_id": document, "source": source}, source=source
    )
    if not versions:
        if receipts.shows_erased(document, source, as_json=as_json):
            return
        where = f" in source {source!r}" if source else ""
        raise CommandError(
            f"document {document!r} was never seen{where}; `freshet documents` lists some"
        )
    versions = with_chunks(versions)
    if as_json:
        write_json(versions)
        return
    for version in versions:
        _show_version(version)


def _chunk_number(name: str) -> int:
    """The number of "chunk:ID"."""
    number = whole_number(name.removeprefix("chunk:"))
    if number is None:
        raise CommandError(
            f"{name!r}: a chunk's id is a number, as `freshet search --json` shows it"
        )
    return min(number, MAX_BIGINT)  # there is no chunk of that number


def _document_of_chunk(number: int) -> tuple[str, str]:
    """(source, document id) of a chunk."""
    rows = _query_rows("chunk_document", {"chunk_id": number})
    if not rows:
        raise CommandError(f"there is no chunk {number}")
    return rows[0]["source"], rows[0]["document_id"]


def _show_version(version: dict[str, Any]) -> None:
    name = f"{version['source']}:{version['document_id']} v{version['version']}"
    since = version["visible_from"].isoformat()
    write(f"{name} ({version['kind']}), from {since}, {_visibility_end(version)}")
    for label, text in (
        ("record", _record(version)),
        ("batch", _batch(version)),
        ("made by", _maker(version)),
        ("text", text_account(version)),
        *part_lines(version["parts"] or []),
        ("language", _language(version)),
        ("notified", _notified(version["told"])),
    ):
        write(f"  {label:<9} {text}")
    _show_chunks(version)


def _visibility_end(version: dict[str, Any]) -> str:
    if version["visible_to"] is None:
        return "visible"
    return f"until {version['visible_to'].isoformat()} ({version['end_reason']})"


def _record(version: dict[str, Any]) -> str:
    position = f"{version['topic']}/{version['partition']}@{version['record_offset']}"
    return f"{position}, raw sha256 {(version['raw_sha256'] or '-')[:16]}"


def _batch(version: dict[str, Any]) -> str:
    run = f"workflow {version['workflow_id']}, run {version['run_id']}"
    return f"{version['batch']} ({version['batch_kind']}), {run}"


def _maker(version: dict[str, Any]) -> str:
    space = f"{version['embedding_space'] or '-'} ({version['model'] or '-'})"
    return f"pipeline {version['pipeline'] or '-'}, embedding space {space}"


def _language(version: dict[str, Any]) -> str:
    """The dictionary, and where it is from: "german (event: de-AT)"."""
    if version["language"] is None:
        return "none (a deletion)"
    stated = version["stated_language"]
    reasons = {
        "event": f"event: {stated}",
        "detected": "detected in the text",
        "unknown": f"of the source; the event names {stated!r}, which is no language here",
        "unsure": "of the source; the text is too short, or in several languages",
    }
    reason = version["language_note"] or version["language_from"]
    return f"{version['language']} ({reasons.get(reason, 'of the source')})"


def _notified(notices: list[dict[str, Any]]) -> str:
    acknowledged = [
        f"{notice['subscriber']} at {notice['acknowledged_at'].isoformat()}"
        for notice in notices
    ]
    return ", ".join(acknowledged) or "no subscriber"


def _show_chunks(version: dict[str, Any]) -> None:
    chunks = version["chunks"]
    new = [chunk for chunk in chunks if chunk["opened_by_batch"] == version["batch"]]
    kept = len(chunks) - len(new)
    write(
        f"  chunks    {len(chunks)}: {len(new)} new in this version, {kept} kept from older ones"
    )
    for chunk in new[:_NEW_CHUNKS]:
        name = f"#{chunk['position']} chunk {chunk['chunk_id']}"
        write(f"            {name}: {one_line(chunk['beginning'] or '-')}")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (batches, documents, lineage, export, sweeps):
        app.command(rich_help_panel="Corpus")(command)
