"""`freshet installation show|move|separate`: which installation the database belongs to, and what it uses."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli.console import (
    CommandError,
    check_exit_code,
    one_line,
    write_json,
    write_message,
    write_table,
)

if TYPE_CHECKING:
    from corpus.installation.identity import Installation

_COLUMNS = (
    *("kafka_cluster", "kafka_group", "temporal_namespace", "staging_url"),
    *("server", "database_oid"),
)

Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
Reason = Annotated[str, typer.Option(help="Why; kept with the row as it was before.")]
Name = Annotated[
    str,
    typer.Option(help="Name of the installation from now on.", show_default=False),
]
TakeOver = Annotated[
    bool,
    typer.Option(
        "--take-over",
        help="Replace the marks of another installation, which no longer exists, in the namespace, the staging store "
        "and the consumer group.",
    ),
]


def show(as_json: Json = False) -> int:
    """The id, what it uses, what was changed, and what does not fit the settings. Exit code 1 if something does not."""
    from psycopg.rows import dict_row

    from corpus.database import connect, database_errors_translated, fetch_all
    from corpus.installation.identity import read_installation
    from workers.config import settings
    from workers.installation import problems

    resolved = settings.load()
    with (
        connect(resolved.database_url, application="freshet-installation") as opened,
        database_errors_translated(),
    ):
        installation = read_installation(opened)
        changes = fetch_all(opened, dict_row, "installation_changes")
    wrong = asyncio.run(problems(resolved))
    row = _row(installation)
    if as_json:
        write_json({**row, "problems": wrong, "changes": changes})
        return check_exit_code(passed=not wrong)
    write_table(("", "installation"), row.items())
    for change in changes:
        write_message(
            one_line(f"{change['changed_at']}: {change['change']}: {change['reason']}")
        )
    for problem in wrong:
        write_message(problem)
    return check_exit_code(passed=not wrong)


def _row(installation: "Installation") -> dict[str, Any]:
    used = {name: getattr(installation, name) for name in _COLUMNS}
    return {
        "installation_id": str(installation.installation_id),
        "name": installation.name,
        "database": installation.current_name,
        "created_at": installation.created_at,
        **used,
    }


def move(reason: Reason, name: Name = "", take_over: TakeOver = False) -> None:
    """Record that the installation uses what the settings name now: database, Kafka, Temporal, staging store.

    End its processes first.
    """
    from workers.config import settings
    from workers.installation import move_here

    _require_text(reason)
    moved = asyncio.run(
        move_here(
            settings.load(), reason=reason, name=name or None, take_over=take_over
        )
    )
    write_message(
        f"installation {moved.describe()} uses database {moved.current_name!r}, consumer group "
        f"{moved.kafka_group!r}, namespace {moved.temporal_namespace!r}, staging store {moved.staging_url}"
    )


def separate(reason: Reason, name: Name = "") -> None:
    """Give a copy of a database an identity of its own; what it uses is recorded by its first processes.

    Its settings must name another consumer group, namespace and staging store than those of the original.
    """
    from corpus.database import connect, database_errors_translated
    from corpus.installation import identity
    from workers.config import settings

    _require_text(reason)
    with (
        connect(
            settings.load().database_url, application="freshet-installation"
        ) as opened,
        database_errors_translated(),
    ):
        separated = identity.separate(opened, reason=reason, name=name or None)
    write_message(
        f"database {separated.current_name!r} belongs to installation {separated.describe()}"
    )


def _require_text(reason: str) -> None:
    if not reason.strip():
        raise CommandError("--reason is blank; say why")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        help="The installation that the database belongs to.", no_args_is_help=True
    )
    group.command("show")(show)
    group.command("move")(move)
    group.command("separate")(separate)
    app.add_typer(group, name="installation")
