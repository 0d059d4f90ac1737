"""`freshet erasures`, `freshet erase --verify | --lift`: what was erased, the proof, and the end of it."""

from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

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

_ERASED = "erased"
_MAX_RECEIPT_BYTES = 100_000_000
_COLUMNS = (
    *("erasure", "source", "documents", "state", "batch", "reason"),
    *("requested_by", "requested_at", "finished_at", "lifted", "waits_for"),
)

OneSource = Annotated[
    str | None,
    typer.Option("--source", "-s", help="Only this source.", show_default=False),
]
Receipt = Annotated[
    str | None,
    typer.Option(
        "--receipt", help="Write the receipt of this erasure.", show_default=False
    ),
]
Limit = Annotated[
    int,
    typer.Option("--limit", "-n", min=1, max=MAX_ROWS, help="How many, newest first."),
]
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]


def lift(source: str, documents: list[str], reason: str, *, as_json: bool) -> None:
    """Let documents come again, under the lock of publishing, so that a batch sees all of it or nothing."""
    from psycopg.rows import scalar_row

    from corpus.database import connect, database_errors_translated, fetch_all
    from corpus.sql import query
    from workers.cli.names import require_source
    from workers.config import settings
    from workers.operations import note_operation, requested_by

    if not documents:
        raise CommandError("--lift takes documents by --id: their metadata is erased")
    values: dict[str, Any] = {
        "source": source,
        "reason": reason,
        "lifted_by": requested_by(),
    }
    url = settings.load().database_url
    with connect(url) as connection, database_errors_translated():
        require_source(connection, source)
        # Without the documents: these rows stay for ever.
        note_operation(
            connection, "erase lift", source, documents=len(documents), reason=reason
        )
        with connection.transaction():
            connection.execute(query("lock_publishing"), values)
            for document in documents:
                values["document_id"] = document
                lifted = fetch_all(connection, scalar_row, "lift_erasure", values)
                if not any(lifted):
                    raise CommandError(
                        f"document {document!r} of source {source!r} is not erased; nothing was lifted"
                    )
    if as_json:
        write_json({"source": source, "lifted": documents})
        return
    write_message(
        f"{len(documents):,} documents of source {source!r} may come again: with their next events, or when the topic "
        "is read again"
    )


def verify(
    file: Path, source: str | None, documents: list[str], *, as_json: bool
) -> None:
    """Check that a receipt is genuine, and, where documents are named, that it is theirs."""
    from corpus.erase.receipt import check_receipt, read_receipt
    from corpus.errors import ConfigurationError

    try:
        if file.stat().st_size > _MAX_RECEIPT_BYTES:
            raise CommandError(f"{file} is no receipt: it is too large")
        content = file.read_bytes()
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}") from error
    try:
        receipt = read_receipt(content)
        public_key, hashes = _key_and_hashes(source, documents)
        check_receipt(receipt, public_key)
    except ConfigurationError as error:
        raise CommandError(f"{file} is no receipt of this installation: {error}") from (
            error
        )
    missing = [
        name
        for name, digest in hashes.items()
        if digest not in receipt["document_hashes"] or source != receipt["source"]
    ]
    if missing:
        raise CommandError(f"{file} is not of document {missing[0]!r}")
    if as_json:
        write_json({"valid": True, "receipt": receipt})
        return
    write_message(
        f"{file} is genuine: {receipt['documents']:,} documents of source {receipt['source']!r} were erased at "
        f"{receipt['erased_at']} in batch {receipt['batch']}"
    )


def _key_and_hashes(
    source: str | None, documents: list[str]
) -> tuple[str, dict[str, str]]:
    """The installation's public key, and the keyed hashes of documents."""
    from psycopg.rows import scalar_row

    from corpus.database import connect, database_errors_translated, fetch_one
    from corpus.erase.receipt import public_key_of
    from workers.config import settings

    hashes: dict[str, str] = {}
    url = settings.load().database_url
    with connect(url) as connection, database_errors_translated():
        signing_key: Any = fetch_one(connection, scalar_row, "signing_key", {})
        for document in documents:
            values = {"source": source or "", "document_id": document}
            digest: Any = fetch_one(connection, scalar_row, "hash_of_document", values)
            hashes[document] = digest
    return public_key_of(signing_key), hashes


def erasures(
    source: OneSource = None,
    receipt: Receipt = None,
    limit: Limit = 20,
    as_json: Json = False,
) -> None:
    """The erasures: by whom, when, why, and how far they are; or the receipt of one."""
    from workers.cli.names import query_rows

    if receipt is not None and not _is_uuid(receipt):
        raise CommandError(f"--receipt {receipt!r} is no id of an erasure")
    values = {"source": source, "erasure": receipt, "limit": limit}
    rows = query_rows("list_erasures", values, source=source)
    if receipt is not None:
        write_json(_receipt_in(rows, receipt))
        return
    if as_json:
        write_json(rows)
        return
    write_table(
        _COLUMNS,
        ([row[name] for name in _COLUMNS] for row in rows),
        empty="nothing was erased yet",
    )


def or_erased(
    rows: list[dict[str, Any]], document_id: str | None, source: str | None
) -> list[dict[str, Any]]:
    """The rows of documents; where there are none and one was named, its erasures."""
    return rows or _erasures_of(document_id, source)


def _erasures_of(document_id: str | None, source: str | None) -> list[dict[str, Any]]:
    """The erasures of a document, one per source; none where it is not erased, or no document is named."""
    from workers.cli.names import query_rows

    if document_id is None:
        return []
    values = {"document_id": document_id, "source": source}
    rows = query_rows("erased_documents_named", values)
    return [{**row, "document_id": document_id, "state": _ERASED} for row in rows]


def are_erased(rows: list[dict[str, Any]]) -> bool:
    """Whether rows are erasures in place of documents."""
    return any(row["state"] == _ERASED for row in rows)


def shows_erased(document_id: str, source: str | None, *, as_json: bool) -> bool:
    """Say that a document was erased; False: it was not."""
    return _shown(_erasures_of(document_id, source), as_json=as_json)


def shows_erased_chunk(chunk_id: int, *, as_json: bool) -> bool:
    """Say that a chunk was erased, of which document is not known any more; False: it was not."""
    from workers.cli.names import query_rows

    rows = query_rows("erased_chunk_of", {"chunk_id": chunk_id})
    erased = [{**row, "document_id": None, "state": _ERASED} for row in rows]
    return _shown(erased, as_json=as_json)


def _shown(erased: list[dict[str, Any]], *, as_json: bool) -> bool:
    if not erased:
        return False
    if as_json:
        write_json(erased)
    else:
        show_erased(erased)
    return True


def show_erased(erased: list[dict[str, Any]]) -> None:
    """Say that something was erased, and nothing of what it was."""
    for row in erased:
        batch = f" in batch {row['batch']}" if row["batch"] else ""
        write(
            f"erased from source {row['source']!r} at {row['erased_at'].isoformat()}{batch} "
            f"(erasure {row['erasure']}): {row['reason']}; nothing of it is kept"
        )


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def _receipt_in(rows: list[dict[str, Any]], erasure: str) -> dict[str, Any]:
    if not rows:
        raise CommandError(
            f"there is no erasure {erasure}; `freshet erasures` lists them"
        )
    [row] = rows
    if row["receipt"] is None:
        raise CommandError(
            f"erasure {erasure} has no receipt yet: it waits for {row['waits_for']}",
            ExitCode.UNAVAILABLE,
        )
    return row["receipt"]
