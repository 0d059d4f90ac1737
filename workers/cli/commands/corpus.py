"""`freshet search | batches | documents | lineage | drain | export`: what is in the corpus, and why."""

from typing import Annotated, Any

import typer

from workers.cli.console import (
    MAX_BIGINT,
    MAX_ROWS,
    MAX_WAIT_SECONDS,
    CommandError,
    ExitCode,
    say,
    write,
    write_json,
    write_table,
)

Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
OneSource = Annotated[
    str | None, typer.Option("--source", "-s", help="Only this source.", show_default=False)
]


def search(
    text: Annotated[str, typer.Argument(help="What to look for.")],
    k: Annotated[int, typer.Option("--k", "-k", min=1, max=100, help="Hits.")] = 5,
    mode: Annotated[str, typer.Option("--mode", "-m", help="vector, text or hybrid.")] = "hybrid",
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--source", "-s", help="Only this source; may be repeated.", show_default=False
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            "-w",
            help="name=value that the document's metadata holds; may be repeated.",
            show_default=False,
        ),
    ] = None,
    as_of: Annotated[
        str,
        typer.Option(
            "--as-of", help="An instant (ISO 8601) or SOURCE:BATCH: what was visible then."
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """Search the corpus: now, or as it was."""
    from dataclasses import asdict, replace

    from corpus.answer.requests import search_problem
    from corpus.answer.search import search as search_corpus
    from corpus.database import connect
    from corpus.service import SearchRequest
    from workers.cli.names import require_source
    from workers.config.settings import load
    from workers.roles.models import LoadedModels

    batch = _named_batch(as_of)
    instant = None if batch else _instant(as_of)
    request = SearchRequest(
        query=text,
        k=k,
        mode=mode,
        sources=tuple(source or ()),
        metadata=_metadata(where or []),
        as_of_ms=instant,
    )
    if problem := search_problem(request):
        raise CommandError(problem)
    settings = load()
    with connect(settings.database_url) as connection:
        for name in request.sources:
            require_source(connection, name)
        if batch:
            request = replace(request, as_of_ms=_published(connection, *batch))
        hits = search_corpus(connection, request, LoadedModels(settings).of).hits
    if as_json:
        write_json([asdict(hit) for hit in hits])
        return
    for number, hit in enumerate(hits, 1):
        write(
            f"{number}. {hit.title or hit.document_id}  [{hit.source}:{hit.document_id} v{hit.version}, score {hit.score:.4f}]"
        )
        write(f"   {hit.uri or '-'}{'  > ' + hit.heading if hit.heading else ''}")
        write(f"   {' '.join(hit.text.split())[:300]}")
        write(
            f"   batch {hit.batch}, {hit.topic}/{hit.partition}@{hit.offset}, observed {_iso(hit.observed_at_ms)}\n"
        )
    if not hits:
        say("nothing found")


def batches(
    source: OneSource = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=MAX_ROWS, help="How many, newest first.")
    ] = 20,
    as_json: Json = False,
) -> None:
    """The ledger: what each batch did."""
    rows = _rows("list_batches", {"source": source, "limit": limit}, of=source)
    if as_json:
        write_json(rows)
        return
    columns = (
        "source",
        "batch",
        "kind",
        "records",
        "applied",
        "unchanged",
        "superseded",
        "dead_lettered",
        "ignored",
    )
    chunks = ("chunks_opened", "chunks_closed", "chunks_reused", "texts_embedded", "published_at")
    names = (*columns, *chunks)
    heads = [
        name.replace("dead_lettered", "dead").replace("chunks_", "").replace("texts_", "")
        for name in names
    ]
    write_table(
        heads, [[row[name] for name in names] for row in rows], empty="no batch was published yet"
    )


def documents(
    source: OneSource = None,
    document: Annotated[
        str | None, typer.Option("--id", help="Only this document.", show_default=False)
    ] = None,
    gone: Annotated[bool, typer.Option("--gone", help="Also deleted and expired ones.")] = False,
    history: Annotated[bool, typer.Option("--history", help="Every version.")] = False,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=MAX_ROWS, help="At most.")
    ] = 100,
    as_json: Json = False,
) -> None:
    """Documents, as they are or every version."""
    values = {
        "source": source,
        "document_id": document,
        "gone": gone or history,
        "history": history,
        "limit": limit,
    }
    rows = _rows("list_documents", values, of=source)
    if as_json:
        write_json(rows)
        return
    names = (
        "source",
        "document_id",
        "version",
        "state",
        "title",
        "chunks",
        "content_bytes",
        "visible_from",
        "observed_at",
        "batch",
    )
    write_table(names, [[row[name] for name in names] for row in rows], empty="no such document")


def lineage(
    document: Annotated[
        str, typer.Argument(help="A document's id, or chunk:ID for a chunk of a search hit.")
    ],
    source: OneSource = None,
    as_json: Json = False,
) -> None:
    """Where a document's text comes from: versions, batches, Kafka positions, workflow runs, chunks, who was told."""
    if document.startswith("chunk:"):
        number = _number(document[6:])
        if number is None:
            raise CommandError(
                f"{document!r}: a chunk's id is a number, as `freshet search --json` shows it"
            )
        found = _rows("chunk_document", {"chunk_id": number}) if number <= MAX_BIGINT else []
        if not found:
            raise CommandError(f"there is no chunk {document[6:]}")
        source, document = found[0]["source"], found[0]["document_id"]
    versions = _rows("lineage_versions", {"document_id": document, "source": source}, of=source)
    if not versions:
        raise CommandError(
            f"document {document!r} was never seen{f' in source {source!r}' if source else ''}; `freshet documents` lists some"
        )
    for version in versions:
        version["told"] = _rows(
            "lineage_told", {"source": version["source"], "batch": version["batch"]}
        )
        version["chunks"] = _rows("lineage_chunks", {"chunk_ids": version.pop("chunk_ids")})
    if as_json:
        write_json(versions)
        return
    for version in versions:
        _show_version(version)


def _show_version(version: dict[str, Any]) -> None:
    end = (
        f"until {version['visible_to'].isoformat()} ({version['end_reason']})"
        if version["visible_to"]
        else "visible"
    )
    write(
        f"{version['source']}:{version['document_id']} v{version['version']} ({version['kind']}), from {version['visible_from'].isoformat()}, {end}"
    )
    write(
        f"  record    {version['topic']}/{version['partition']}@{version['record_offset']}, raw sha256 {(version['raw_sha256'] or '-')[:16]}"
    )
    write(
        f"  batch     {version['batch']} ({version['batch_kind']}), workflow {version['workflow_id']}, run {version['run_id']}"
    )
    write(
        f"  made by   pipeline {version['pipeline'] or '-'}, embedding space {version['embedding_space'] or '-'} ({version['model'] or '-'})"
    )
    told = ", ".join(
        f"{row['subscriber']} at {row['acknowledged_at'].isoformat()}" for row in version["told"]
    )
    write(f"  told      {told or 'nobody'}")
    chunks = version["chunks"]
    own = [chunk for chunk in chunks if chunk["opened_by_batch"] == version["batch"]]
    write(
        f"  chunks    {len(chunks)}, of them {len(own)} new in this version, {len(chunks) - len(own)} kept from older ones"
    )
    for chunk in own[:5]:
        write(
            f"            #{chunk['position']} chunk {chunk['chunk_id']}: {' '.join(chunk['beginning'].split())}"
        )


def export(
    source: Annotated[str, typer.Option("--source", "-s", help="Which source.")],
    as_json: Json = False,
) -> None:
    """Every visible document of a source: id, version, SHA-256 of its content as received, visible chunks. TSV, sorted by id."""
    rows = _rows("export_source", {"source": source}, of=source)
    names = ("id", "version", "content_sha256", "chunks")
    if as_json:
        write_json([dict(zip(names, row.values(), strict=True)) for row in rows])
        return
    write("\t".join(names))
    for row in rows:
        write("\t".join(str(value) for value in row.values()))


def drain(
    timeout: Annotated[
        float, typer.Option("--timeout", min=0, max=MAX_WAIT_SECONDS, help="Seconds to wait.")
    ] = 60.0,
    source: OneSource = None,
    as_json: Json = False,
) -> int:
    """Wait until everything that is in the topics now is in the corpus. Exit code 1 if it is not in time, or a source is halted."""
    from workers.config.settings import load
    from workers.drain import drain as wait

    result = wait(load(), source=source, timeout=timeout, on_progress=None if as_json else say)
    if as_json:
        write_json(result)
    elif result["drained"]:
        say(f"drained: {result['records']} records behind nothing, {result['seconds']:.1f} s")
    else:
        say(f"not drained: {result['why']}")
    return ExitCode.OK if result["drained"] else ExitCode.CHECK_FAILED


def _rows(name: str, values: dict[str, Any], *, of: str | None = None) -> list[dict[str, Any]]:
    """What a query answers; `of` is a source that must be there."""
    from psycopg.rows import dict_row

    from corpus.database import connect, database_errors_translated
    from corpus.sql import query
    from workers.cli.names import require_source
    from workers.config.settings import load

    with (
        database_errors_translated(),
        connect(load().database_url) as connection,
        connection.cursor(row_factory=dict_row) as cursor,
    ):
        require_source(connection, of)
        return cursor.execute(query(name), values).fetchall()


def _metadata(pairs: list[str]) -> str:
    import json

    wanted: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise CommandError(f"--where {pair!r} is not name=value")
        try:
            wanted[name] = json.loads(value)  # numbers, booleans, lists; anything else is text
        except ValueError:
            wanted[name] = value
        except RecursionError as error:
            raise CommandError(f"--where {pair[:40]!r}... is nested too deeply") from error
        if problem := _not_stored(wanted[name]):
            raise CommandError(f"--where {pair!r}: metadata never holds {problem}")
    return json.dumps(wanted) if wanted else ""


def _not_stored(value: Any) -> str:
    """What PostgreSQL's JSON cannot hold, and so no document either."""
    import json

    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except UnicodeEncodeError:
        return "half of a character (a lone surrogate)"
    except ValueError:
        return "NaN or Infinity; for the text, write it in double quotes"
    return "the character U+0000" if "\\u0000" in text.replace("\\\\", "") else ""


def _number(text: str) -> int | None:
    """A whole number in ASCII digits; `isdigit` alone takes a superscript two. Longer ones than any of ours are no number either."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 1_000 else None


def _named_batch(as_of: str) -> tuple[str, int] | None:
    """SOURCE:BATCH; None for an instant, whose year is a number."""
    name, _, text = as_of.rpartition(":")
    number = _number(text)
    return (name, number) if number is not None and name and not name[0].isdigit() else None


def _published(connection: Any, source: str, batch: int) -> int:
    from corpus.sql import query

    known = batch <= MAX_BIGINT
    row = (
        connection.execute(
            query("batch_published_at"), {"source": source, "batch": batch}
        ).fetchone()
        if known
        else None
    )
    if row is None:
        raise CommandError(
            f"--as-of {source}:{batch}: source {source!r} has no batch {batch}; `freshet batches` lists them"
        )
    return _ceil_ms(row[0])


def _instant(text: str) -> int | None:
    from datetime import datetime

    if not text:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise CommandError(
            f"--as-of {text!r} is neither an ISO 8601 instant nor SOURCE:BATCH"
        ) from error
    try:
        return _ceil_ms(instant if instant.tzinfo else instant.astimezone())
    except (ValueError, OverflowError, OSError) as error:  # the year 1 has no local time
        raise CommandError(
            f"--as-of {text!r} is out of range; give an instant since 1970"
        ) from error


def _ceil_ms(instant: Any) -> int:
    import math

    return math.ceil(instant.timestamp() * 1000)


def _iso(epoch_ms: int | None) -> str:
    from datetime import UTC, datetime

    return (
        "-"
        if epoch_ms is None
        else datetime.fromtimestamp(epoch_ms / 1000, UTC).isoformat(timespec="seconds")
    )


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (search, batches, documents, lineage, drain, export):
        app.command(rich_help_panel="Corpus")(command)
