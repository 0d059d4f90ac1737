"""`freshet search`: ask the corpus, now or as it was."""

import json
import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli.console import (
    MAX_BIGINT,
    CommandError,
    one_line,
    whole_number,
    write,
    write_json,
    write_message,
)

if TYPE_CHECKING:
    from corpus.database import Connection
    from corpus.service import SearchHit, SearchRequest, SearchResponse
    from workers.config.settings import Settings
    from workers.roles.models import LoadedModels

_HIT_CHARACTERS = 300  # of a hit's text that are shown

Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
Sources = Annotated[
    list[str] | None,
    typer.Option(
        "--source", "-s", help="Only this source; may be repeated.", show_default=False
    ),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        "-w",
        help="name=value that the document's metadata holds; may be repeated.",
        show_default=False,
    ),
]
AsOf = Annotated[
    str,
    typer.Option(
        "--as-of", help="An instant (ISO 8601) or SOURCE:BATCH: what was visible then."
    ),
]
Hits = Annotated[int, typer.Option("--k", "-k", min=1, max=100, help="Hits.")]
Rerank = Annotated[
    bool,
    typer.Option(
        "--rerank", help="Let the model of FRESHET_RERANK_MODEL put the hits in order."
    ),
]
Mode = Annotated[str, typer.Option("--mode", "-m", help="vector, text or hybrid.")]


def search(
    text: Annotated[str, typer.Argument(help="What to look for.")],
    k: Hits = 5,
    mode: Mode = "hybrid",
    source: Sources = None,
    where: Where = None,
    as_of: AsOf = "",
    rerank: Rerank = False,
    as_json: Json = False,
) -> None:
    """Search the corpus: now, or as it was."""
    from dataclasses import asdict

    from corpus.service import SearchRequest

    batch = _named_batch(as_of)
    request = SearchRequest(
        query=text,
        k=k,
        mode=mode,
        sources=tuple(source or ()),
        metadata=metadata_filter(where or []),
        as_of_ms=None if batch else _instant_ms(as_of),
        rerank="model" if rerank else "",
    )
    hits = _find(request, batch)
    if as_json:
        write_json([asdict(hit) for hit in hits])
        return
    for number, hit in enumerate(hits, 1):
        _show_hit(number, hit)
    if not hits:
        write_message("no document matches")


def _find(
    request: "SearchRequest", as_of_batch: tuple[str, int] | None
) -> "list[SearchHit]":
    from dataclasses import replace

    from corpus.answer.requests import search_problem
    from corpus.database import connect
    from workers.calls.asked import asked
    from workers.cli.names import require_source
    from workers.config.settings import load
    from workers.operations import note_operation

    if problem := search_problem(request):
        raise CommandError(problem)
    settings = load()
    with connect(settings.database_url) as connection:
        for name in request.sources:
            require_source(connection, name)
        if as_of_batch is not None:
            request = replace(request, as_of_us=_published_us(connection, *as_of_batch))
        for name in request.sources or (None,):
            note_operation(connection, "search", name, **asked(request))
        return _hits(settings, connection, request)


def _hits(
    settings: "Settings", primary: "Connection", request: "SearchRequest"
) -> "list[SearchHit]":
    """The hits, in the order of the reranking model where the request asks for that."""
    from functools import partial

    from corpus.answer.rerank import reranked
    from workers.roles.models import LoadedModels

    models = LoadedModels(settings)
    find = partial(_found, settings, primary, models)
    return list(reranked(request, find, models.reranker).hits)


def _found(
    settings: "Settings",
    primary: "Connection",
    models: "LoadedModels",
    request: "SearchRequest",
) -> "SearchResponse":
    """The answer of the replica, where there is one and it may answer; else of the primary, and a line says why."""
    from corpus.answer.requests import is_as_of
    from corpus.answer.search import search as search_corpus
    from corpus.errors import FreshetError
    from workers.calls.one_search import fresh_replica

    if settings.read_replica and not is_as_of(request):
        try:
            with fresh_replica(settings, primary) as replica:
                return search_corpus(replica, request, models.of)
        except FreshetError as error:
            write_message(f"the primary answers for the replica: {error}")
    return search_corpus(primary, request, models.of)


def _show_hit(number: int, hit: "SearchHit") -> None:
    title = _title(hit)
    document = f"{hit.source}:{hit.document_id} v{hit.version}"
    write(f"{number}. {title}  [{document}, score {hit.score:.4f}]")
    address = one_line(hit.uri or "-")
    if hit.heading:
        address += f"  > {one_line(hit.heading)}"
    write(f"   {address}")
    text = one_line(hit.text)
    write(f"   {text[:_HIT_CHARACTERS]}")
    record = f"{hit.topic}/{hit.partition}@{hit.offset}"
    observed = _iso(hit.observed_at_ms)
    written = f"batch {hit.batch}, {record}, observed {observed}"
    write(f"   {written}, language {hit.language}")
    write("")


def _title(hit: "SearchHit") -> str:
    """That of the document; of an attachment its name, and what it is attached to."""
    if hit.part is None:
        return one_line(hit.title or hit.document_id)
    return f'{one_line(hit.part.name)}, attached to "{one_line(hit.part.within)}"'


def metadata_filter(pairs: list[str]) -> str:
    """The filter as JSON; empty for none."""
    filters: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise CommandError(f"--where {pair!r} is not name=value")
        filters[name] = _json_or_text(pair, value)
        if problem := _unstorable_part(filters[name]):
            raise CommandError(f"--where {pair!r}: metadata never holds {problem}")
    if not filters:
        return ""
    return json.dumps(filters)


def _json_or_text(pair: str, value: str) -> Any:
    """Numbers, booleans and lists as JSON reads them; anything else is text."""
    try:
        return json.loads(value)
    except ValueError:
        return value
    except RecursionError as error:
        raise CommandError(f"--where {pair[:40]!r}... is nested too deeply") from error


def _unstorable_part(value: Any) -> str:
    """What PostgreSQL's JSON cannot hold, and so no document has either; empty if there is nothing."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except UnicodeEncodeError:
        return "half of a character (a lone surrogate)"
    except ValueError:
        return "NaN or Infinity; for the text, write it in double quotes"
    unescaped = text.replace("\\\\", "")
    if "\\u0000" in unescaped:
        return "the character U+0000"
    return ""


# ── a point in time ─────────────────────────────────────────────────────────────────────────────────────────────────


def _named_batch(as_of: str) -> tuple[str, int] | None:
    """SOURCE:BATCH; None for an instant, whose year is a number."""
    name, _, text = as_of.rpartition(":")
    number = whole_number(text)
    if number is None or not name or name[0].isdigit():
        return None
    return name, number


def _published_us(connection: "Connection", source: str, batch: int) -> int:
    """The instant of a batch, in microseconds: that of every batch is its own."""
    from psycopg.rows import scalar_row

    from corpus.sql import query

    published_at: datetime | None = None
    if batch <= MAX_BIGINT:
        with connection.cursor(row_factory=scalar_row) as cursor:
            values = {"source": source, "batch": batch}
            published_at = cursor.execute(
                query("batch_published_at"), values
            ).fetchone()
    if published_at is None:
        raise CommandError(
            f"--as-of {source}:{batch}: source {source!r} has no batch {batch}; "
            "`freshet batches` lists them"
        )
    since_1970 = published_at - datetime(1970, 1, 1, tzinfo=UTC)
    return since_1970 // timedelta(microseconds=1)


def _instant_ms(text: str) -> int | None:
    if not text:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise CommandError(
            f"--as-of {text!r} is neither an ISO 8601 instant nor SOURCE:BATCH"
        ) from error
    try:
        if instant.tzinfo is None:
            instant = instant.astimezone()
        return _ceil_ms(instant)
    except (
        ValueError,
        OverflowError,
        OSError,
    ) as error:  # the year 1 has no local time
        raise CommandError(
            f"--as-of {text!r} is out of range; give an instant since 1970"
        ) from error


def _ceil_ms(instant: datetime) -> int:
    """Epoch milliseconds, rounded up: what became visible within that millisecond is seen."""
    return math.ceil(instant.timestamp() * 1000)


def _iso(epoch_ms: int | None) -> str:
    if epoch_ms is None:
        return "-"
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).isoformat(timespec="seconds")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel="Corpus")(search)
