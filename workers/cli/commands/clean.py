"""`freshet clean`: what Freshet makes of a file, without any service."""

import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from workers.cli.console import (
    CommandError,
    ExitCode,
    one_line,
    write,
    write_json,
    write_message,
    write_table,
    write_text,
)

if TYPE_CHECKING:
    from corpus.chunk import Chunk
    from corpus.clean.blocks import CleanedDocument
    from corpus.embed.tokenizer import ChunkTokenizer
    from corpus.source import SourceSpec
    from corpus.split.unknown import UnknownText

_SAMPLE_CHARACTERS = 100  # of a block, a chunk or a dropped piece that are shown
File = Annotated[str, typer.Argument(help="Which file; - is standard input.")]
ContentType = Annotated[
    str,
    typer.Option(
        "--content-type",
        "-t",
        help="Media type; default: by the file's suffix, or what it is by its content.",
    ),
]
Html = Annotated[
    Literal["main", "all"] | None,
    typer.Option("--html", help="HTML: the main text, or every visible text."),
]
Config = Annotated[
    Path | None, typer.Option("--config", "-c", help="freshet.toml, with --source.")
]
Source = Annotated[
    str, typer.Option("--source", "-s", help="As this source of --config does it.")
]
Title = Annotated[
    str,
    typer.Option("--title", help="Its title; counts where the source has a context."),
]
Explain = Annotated[
    bool, typer.Option("--explain", help="Also every block and every dropped piece.")
]
Text = Annotated[bool, typer.Option("--text", help="Only the cleaned text.")]
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A file as a source would have it."""

    content_type: str
    document: "CleanedDocument"
    chunks: "list[Chunk]"
    tokenizer: "ChunkTokenizer"
    unknown: "UnknownText"


def clean(
    file: File,
    content_type: ContentType = "",
    html: Html = None,
    config: Config = None,
    source: Source = "",
    title: Title = "",
    explain: Explain = False,
    text: Text = False,
    as_json: Json = False,
) -> int:
    """Show what Freshet makes of a file: what is kept, what is dropped by which rule, and the chunks.

    Exit code 1: the document would be a dead letter.
    """
    spec = _spec(config, source)
    if html is not None:
        spec = replace(spec, pipeline=replace(spec.pipeline, html=html))
    stated = content_type or _content_type_of(file)
    prepared = _prepare(_read(file), stated, spec, title)
    if as_json:
        write_json(_as_json(file, prepared))
    elif text:
        write_text(prepared.document.text)
    else:
        _show(file, prepared, explain=explain)
    is_emptied = prepared.document.account.is_emptied
    if is_emptied and spec.pipeline.on_empty == "dead_letter":
        write_message(
            "nothing is left of its readable text: as an event, it would be a dead letter (no_text_left)"
        )
        return ExitCode.CHECK_FAILED
    return ExitCode.OK


def _spec(config: Path | None, source: str) -> "SourceSpec":
    from corpus.source import SourceSpec
    from workers.config.file import load

    if config is None and not source:
        return SourceSpec(source="file", topics=("file",))
    if config is None or not source:
        raise CommandError("--config and --source belong together; give both")
    specs = {each.source: each for each in load(config).sources}
    if source not in specs:
        known = ", ".join(specs) or "none"
        raise CommandError(f"{config} has no source {source!r}; it has {known}")
    return specs[source]


def _content_type_of(file: str) -> str:
    from corpus.clean.names import type_by_name

    return type_by_name(Path(file).name) or "text/plain"


def _read(file: str) -> bytes:
    if file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from error


def _prepare(
    value: bytes, content_type: str, spec: "SourceSpec", title: str
) -> _Prepared:
    """Decode, clean and split as the workers do it.

    Raises:
        CommandError: as an event, it would be a dead letter.
        ConfigurationError: the model is not available.
    """
    from corpus.clean.blocks import CleaningFailure
    from corpus.clean.cleaner import Cleaner, RawDocument
    from corpus.embed.tokenizer import load_tokenizer
    from corpus.split.splitter import TooManyChunks, split
    from corpus.split.unknown import unknown_text

    content = _decoded(value, content_type, spec)
    with Cleaner() as cleaner:
        raw = RawDocument(content, content_type)
        (cleaned,) = cleaner.clean([raw], spec.pipeline)
    if isinstance(cleaned, CleaningFailure):
        raise _dead_letter(cleaned.reason, cleaned.detail)
    tokenizer = load_tokenizer(spec.model, spec.prefix)
    try:
        chunks = split(
            cleaned, tokenizer, spec.pipeline, context=spec.context, title=title
        )
    except TooManyChunks as error:
        raise _dead_letter("too_many_chunks", str(error)) from error
    return _Prepared(
        content_type,
        cleaned,
        chunks,
        tokenizer,
        unknown_text(chunks, tokenizer),
    )


def _decoded(value: bytes, content_type: str, spec: "SourceSpec") -> str | bytes:
    from ingest.decode.body import document_body
    from ingest.decode.fields import FieldError

    try:
        configured = spec.pipeline.content_type or ""
        stated = [configured, content_type]
        return document_body(value, stated, detect=spec.detect_charset)
    except FieldError as error:
        raise _dead_letter(error.reason, error.detail) from error


def _dead_letter(reason: str, detail: str) -> CommandError:
    return CommandError(
        f"as an event, it would be a dead letter: {reason}: {detail}",
        ExitCode.CHECK_FAILED,
    )


# ── output ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _as_json(file: str, prepared: _Prepared) -> dict[str, Any]:
    document = prepared.document
    account = document.account
    return {
        "file": file,
        "content_type": prepared.content_type,
        "received_characters": account.received,
        "kept_characters": account.kept,
        "dropped": {str(rule): length for rule, length in account.dropped},
        "dropped_pieces": [asdict(piece) for piece in account.pieces],
        "notes": account.notes.stated(),
        **asdict(prepared.unknown),
        "text": document.text,
        "blocks": [asdict(block) for block in document.blocks],
        "chunks": [_chunk_row(prepared, chunk) for chunk in prepared.chunks],
    }


def _chunk_row(prepared: _Prepared, chunk: "Chunk") -> dict[str, Any]:
    from corpus.split.unknown import unknown_text

    unknown = unknown_text([chunk], prepared.tokenizer)
    return {
        "start": chunk.start,
        "tokens": len(chunk.model_ids) + prepared.tokenizer.special_tokens,
        "unknown_tokens": unknown.unknown_tokens,
        "unknown_characters": unknown.unknown_characters,
        "heading": chunk.heading,
        "context": chunk.context,
        "text": chunk.text,
    }


def _show(file: str, prepared: _Prepared, *, explain: bool) -> None:
    document = prepared.document
    account = document.account
    write(
        f"{one_line(file)} ({prepared.content_type}): {account.kept:,} of {account.received:,} characters kept, "
        f"{len(document.blocks)} blocks, {len(prepared.chunks)} chunks; white space is not counted"
    )
    write(_tokens(prepared))
    for name, value in account.notes.stated().items():
        write(f"{name.replace('_', ' ')}: {value}")
    if account.dropped:
        rules = [(str(rule), length) for rule, length in account.dropped]
        write_table(("dropped by rule", "characters"), rules)
    if explain:
        _show_pieces(prepared)
    rows = [_chunk_row(prepared, chunk) for chunk in prepared.chunks]
    columns = ("start", "tokens", "unknown_characters", "heading", "text")
    write_table(
        ("chunk at", "tokens", "unknown characters", "heading", "text"),
        ([_sample(row[name]) for name in columns] for row in rows),
        empty="there is no chunk",
    )


def _tokens(prepared: _Prepared) -> str:
    """How the model reads the text."""
    unknown = prepared.unknown
    characters = max(prepared.document.account.kept, 1)
    per_character = unknown.tokens / characters
    read = f"{unknown.tokens:,} tokens, {per_character:.2f} per character"
    if not unknown.unknown_tokens:
        return f"{read}; the model knows all of them"
    share = unknown.unknown_characters / characters
    return (
        f"{read}; {unknown.unknown_tokens:,} are unknown to the model, and stand for "
        f"{unknown.unknown_characters:,} characters ({share:.1%})"
    )


def _show_pieces(prepared: _Prepared) -> None:
    document = prepared.document
    pieces = [
        (str(piece.rule), piece.characters, _sample(piece.sample))
        for piece in document.account.pieces
    ]
    write_table(
        ("dropped by", "characters", "what"), pieces, empty="nothing was dropped"
    )
    blocks = [
        (
            block.start,
            str(block.kind),
            block.level,
            _sample(document.text[block.start : block.end]),
        )
        for block in document.blocks
    ]
    write_table(
        ("block at", "kind", "level", "text"), blocks, empty="there is no block"
    )


def _sample(value: Any) -> Any:
    if isinstance(value, str):
        return one_line(value)[:_SAMPLE_CHARACTERS]
    return value


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel="Corpus")(clean)
