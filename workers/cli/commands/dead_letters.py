"""`freshet dead-letters list|show|redrive|discard`: events that could not be used."""

import base64
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli.console import (
    MAX_BIGINT,
    MAX_ROWS,
    CommandError,
    ExitCode,
    one_line,
    write,
    write_bytes,
    write_json,
    write_message,
    write_table,
)
from workers.cli.texts import with_details

if TYPE_CHECKING:
    from corpus.database import Connection

_STATES = ("open", "redriven", "discarded", "any")
_MAX_CHOSEN = 1_000_000
_BYTES_SHOWN = 200

Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
Numbers = Annotated[
    list[int] | None,
    typer.Argument(help="Numbers of dead letters.", show_default=False),
]
BySource = Annotated[
    str | None,
    typer.Option("--source", "-s", help="Only of this source.", show_default=False),
]
ByReason = Annotated[
    str | None,
    typer.Option("--reason", help="Only with this reason.", show_default=False),
]
All = Annotated[
    bool, typer.Option("--all", help="Every open one that the filters leave.")
]
State = Annotated[str, typer.Option(help="open, redriven, discarded, or any.")]
Limit = Annotated[
    int, typer.Option("--limit", "-n", min=1, max=MAX_ROWS, help="Rows at most.")
]
ValueOnly = Annotated[
    bool,
    typer.Option(
        "--value", help="Write the original bytes of the value, nothing else."
    ),
]


def list_dead_letters(
    source: BySource = None,
    reason: ByReason = None,
    state: State = "open",
    limit: Limit = 100,
    as_json: Json = False,
) -> None:
    """List dead letters, newest first."""
    from ingest.dead_letters.redrive import Selection, find
    from workers.cli.names import require_source

    _require_known_filters(reason, state)
    wanted_state = None if state == "any" else state
    selection = Selection(source=source, reason=reason, state=wanted_state, most=limit)
    with _connect() as connection:
        require_source(connection, source)
        rows = with_details(find(connection, selection))
    if as_json:
        write_json(rows)
        return
    write_table(
        ["dead letter", "source", "position", "document", "reason", "detail", "state"],
        map(_cells, rows),
        empty="there are no dead letters",
    )


def _cells(row: dict[str, Any]) -> list[Any]:
    position = f"{row['topic']}/{row['partition']}/{row['record_offset']}"
    described = [row[name] for name in ("document_id", "reason", "detail", "state")]
    return [row["dead_letter"], row["source"], position, *described]


def show_dead_letter(
    number: Annotated[int, typer.Argument(help="Number of the dead letter.")],
    as_json: Json = False,
    value: ValueOnly = False,
) -> None:
    """Show one dead letter, with its reason and its original bytes."""
    from ingest.dead_letters.redrive import show

    if abs(number) > MAX_BIGINT:
        raise CommandError(
            f"there is no dead letter {number}; see `freshet dead-letters list --state any`"
        )
    with _connect() as connection:
        row = show(connection, number)
    if value:
        write_bytes(row["value"] or b"")
    elif as_json:
        write_json({name: _json_item(item) for name, item in row.items()})
    else:
        for name, item in row.items():
            write(f"{name:<14} {_text_item(item)}")


def _json_item(item: Any) -> Any:
    if isinstance(item, bytes):
        return base64.b64encode(item).decode()
    return item


def _text_item(item: Any) -> str:
    if item is None:
        return "-"
    if isinstance(item, bytes):
        beginning = item[:_BYTES_SHOWN]
        return f"{len(item):,} bytes, beginning {beginning!r}"
    return one_line(str(item))


def redrive_dead_letters(
    numbers: Numbers = None,
    source: BySource = None,
    reason: ByReason = None,
    everything: All = False,
    as_json: Json = False,
) -> None:
    """Send the original bytes to the original topic again."""
    from ingest.dead_letters.redrive import redrive
    from ingest.kafka import properties
    from workers.config import settings
    from workers.operations import note_operation

    _require_one_choice(numbers, reason, everything=everything)
    resolved = settings.load()
    with _connect() as connection:
        chosen = _chosen(connection, numbers, source, reason)
        kafka = properties(resolved.kafka_bootstrap, resolved.kafka_properties)
        note_operation(connection, "dead-letters redrive", source, dead_letters=chosen)
        done = redrive(connection, kafka, chosen)
    _show_settled("redriven", done, len(chosen), as_json=as_json)


def discard_dead_letters(
    numbers: Numbers = None,
    source: BySource = None,
    reason: ByReason = None,
    everything: All = False,
    as_json: Json = False,
) -> None:
    """Close dead letters: they are kept, but are no longer open."""
    from ingest.dead_letters.redrive import settle
    from workers.operations import note_operation

    _require_one_choice(numbers, reason, everything=everything)
    with _connect() as connection:
        chosen = _chosen(connection, numbers, source, reason)
        note_operation(connection, "dead-letters discard", source, dead_letters=chosen)
        done = settle(connection, chosen, "discarded")
    _show_settled("discarded", done, len(chosen), as_json=as_json)


def _chosen(
    connection: "Connection",
    numbers: list[int] | None,
    source: str | None,
    reason: str | None,
) -> list[int]:
    """The open dead letters that the arguments name."""
    from ingest.dead_letters.redrive import Selection, find
    from workers.cli.names import require_source

    require_source(connection, source)
    selection = Selection(
        source=source,
        reason=reason,
        state="open",
        dead_letters=_possible(numbers),
        most=_MAX_CHOSEN,
    )
    chosen = [row["dead_letter"] for row in find(connection, selection)]
    missing = sorted(set(numbers or ()) - set(chosen))
    if missing:
        listed = ", ".join(map(str, missing))
        raise CommandError(
            f"no open dead letter has the number {listed}; `freshet dead-letters list` lists them"
        )
    return chosen


def _possible(numbers: list[int] | None) -> list[int] | None:
    """Without numbers that no bigint holds, which PostgreSQL would refuse; they are reported as missing."""
    if not numbers:
        return None
    return [number for number in numbers if abs(number) <= MAX_BIGINT]


def _require_one_choice(
    numbers: list[int] | None, reason: str | None, *, everything: bool
) -> None:
    _require_known_filters(reason, "open")
    if bool(numbers) == everything:
        raise CommandError(
            "name the dead letters: either their numbers, or --all with any filters, not both"
        )


def _require_known_filters(reason: str | None, state: str) -> None:
    from corpus.dead_letter import DeadLetterReason

    if reason is not None and reason not in set(DeadLetterReason):
        raise CommandError(
            f"--reason {reason!r} is not one of {', '.join(DeadLetterReason)}"
        )
    if state not in _STATES:
        raise CommandError(f"--state {state!r} is not one of {', '.join(_STATES)}")


def _show_settled(what: str, done: list[int], chosen: int, *, as_json: bool) -> None:
    if as_json:
        write_json({what: done})
    else:
        write_message(f"{len(done)} of {chosen} dead letters {what}")
    if len(done) < chosen:
        raise CommandError(
            f"{chosen - len(done)} of them were not {what}: Kafka refused them, "
            "or another command settled them first",
            ExitCode.CHECK_FAILED,
        )


def _connect() -> "Connection":
    from corpus.database import connect
    from workers.config import settings

    return connect(settings.load().database_url, application="freshet-dead-letters")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Events that could not be used.", no_args_is_help=True)
    group.command("list")(list_dead_letters)
    group.command("show")(show_dead_letter)
    group.command("redrive")(redrive_dead_letters)
    group.command("discard")(discard_dead_letters)
    app.add_typer(group, name="dead-letters")
