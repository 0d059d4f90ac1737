"""`freshet dead-letters list|show|redrive|discard`: events that could not be used."""

import base64
from typing import Annotated, Any

import typer

from workers.cli.console import (
    MAX_BIGINT,
    MAX_ROWS,
    CommandError,
    ExitCode,
    say,
    write,
    write_bytes,
    write_json,
    write_table,
)

Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
Numbers = Annotated[
    list[int] | None, typer.Argument(help="Numbers of dead letters.", show_default=False)
]
BySource = Annotated[
    str | None, typer.Option("--source", "-s", help="Only of this source.", show_default=False)
]
ByReason = Annotated[
    str | None, typer.Option("--reason", help="Only with this reason.", show_default=False)
]
All = Annotated[bool, typer.Option("--all", help="Every open one that the filters leave.")]


def list_(
    source: BySource = None,
    reason: ByReason = None,
    state: Annotated[str, typer.Option(help="open, redriven, discarded, or any.")] = "open",
    most: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=MAX_ROWS, help="Rows at most.")
    ] = 100,
    as_json: Json = False,
) -> None:
    """Newest first."""
    from ingest.dead_letters.redrive import Selection, find
    from workers.cli.names import require_source

    _known_filters(reason, state)
    selection = Selection(
        source=source, reason=reason, state=None if state == "any" else state, most=most
    )
    with _database() as connection:
        require_source(connection, source)
        rows = find(connection, selection)
    if as_json:
        write_json(rows)
        return
    table = [
        [
            r["dead_letter"],
            r["source"],
            f"{r['topic']}/{r['partition']}/{r['record_offset']}",
            r["document_id"],
            r["reason"],
            r["detail"],
            r["state"],
        ]
        for r in rows
    ]
    write_table(
        ["dead letter", "source", "position", "document", "reason", "detail", "state"],
        table,
        empty="no dead letters",
    )


def show_(
    number: Annotated[int, typer.Argument(help="Number of the dead letter.")],
    as_json: Json = False,
    value: Annotated[
        bool, typer.Option("--value", help="Write the original bytes of the value, nothing else.")
    ] = False,
) -> None:
    """One, with its reason and its original bytes."""
    from ingest.dead_letters.redrive import show

    if abs(number) > MAX_BIGINT:
        raise CommandError(
            f"there is no dead letter {number}; see `freshet dead-letters list --state any`"
        )
    with _database() as connection:
        row = show(connection, number)
    if value:
        write_bytes(row["value"] or b"")
        return
    if as_json:
        write_json(
            {
                name: base64.b64encode(item).decode() if isinstance(item, bytes) else item
                for name, item in row.items()
            }
        )
        return
    for name, item in row.items():
        text = (
            f"{len(item):,} bytes, beginning {item[:200]!r}"
            if isinstance(item, bytes)
            else "-"
            if item is None
            else str(item)
        )
        write(f"{name:<14} {text}")


def redrive_(
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

    _known_choice(numbers, reason, everything)
    resolved = settings.load()
    with _database() as connection:
        chosen = _chosen(connection, numbers, source, reason)
        done = redrive(
            connection, properties(resolved.kafka_bootstrap, resolved.kafka_properties), chosen
        )
    _tell_settled("redriven", done, len(chosen), as_json)


def discard_(
    numbers: Numbers = None,
    source: BySource = None,
    reason: ByReason = None,
    everything: All = False,
    as_json: Json = False,
) -> None:
    """Put them aside: they stay, and are no longer open."""
    from ingest.dead_letters.redrive import settle

    _known_choice(numbers, reason, everything)
    with _database() as connection:
        chosen = _chosen(connection, numbers, source, reason)
        done = settle(connection, chosen, "discarded")
    _tell_settled("discarded", done, len(chosen), as_json)


def _chosen(
    connection: Any, numbers: list[int] | None, source: str | None, reason: str | None
) -> list[int]:
    from ingest.dead_letters.redrive import Selection, find
    from workers.cli.names import require_source

    require_source(connection, source)
    rows = find(
        connection,
        Selection(
            source=source,
            reason=reason,
            state="open",
            dead_letters=_possible(numbers),
            most=1_000_000,
        ),
    )
    missing = sorted(set(numbers or ()) - {row["dead_letter"] for row in rows})
    if missing:
        raise CommandError(f"not open, or not there: {', '.join(map(str, missing))}")
    return [row["dead_letter"] for row in rows]


def _possible(numbers: list[int] | None) -> list[int] | None:
    """Without those beyond any number of the database, which it would refuse as such; they are told as missing."""
    return [number for number in numbers if abs(number) <= MAX_BIGINT] if numbers else None


def _known_choice(numbers: list[int] | None, reason: str | None, everything: bool) -> None:
    _known_filters(reason, "open")
    if bool(numbers) == everything:
        raise CommandError("say which: numbers, or --all with the filters you like (not both)")


def _known_filters(reason: str | None, state: str) -> None:
    from corpus.dead_letter import DeadLetterReason

    if reason is not None and reason not in set(DeadLetterReason):
        raise CommandError(f"--reason {reason!r} is not one of {', '.join(DeadLetterReason)}")
    if state not in ("open", "redriven", "discarded", "any"):
        raise CommandError(f"--state {state!r} is not one of open, redriven, discarded, any")


def _tell_settled(what: str, done: list[int], asked: int, as_json: bool) -> None:
    if as_json:
        write_json({what: done})
    else:
        say(f"{len(done)} of {asked} dead letters {what}")
    if len(done) < asked:
        raise CommandError(
            f"{asked - len(done)} of them were not {what}: Kafka refused them, or somebody was faster",
            ExitCode.CHECK_FAILED,
        )


def _database() -> Any:
    from corpus.database import connect
    from workers.config import settings

    return connect(settings.load().database_url, application="freshet-dead-letters")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Events that could not be used.", no_args_is_help=True)
    group.command("list")(list_)
    group.command("show")(show_)
    group.command("redrive")(redrive_)
    group.command("discard")(discard_)
    app.add_typer(group, name="dead-letters")
