"""`freshet teams list|key`: who may call over Nexus, what each is granted, and the keys of their calls."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from workers.cli.console import CommandError, write_json, write_message, write_table

if TYPE_CHECKING:
    from corpus.access.teams import TeamRow
    from workers.config.settings import Settings

_COLUMNS = (
    *("team", "state", "endpoint", "namespace", "sources", "groups", "rights"),
    *("calls_per_minute", "max_k", "answers", "keys"),
)

Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
Team = Annotated[str, typer.Argument(help="Name of the team.")]


def show(as_json: Json = False) -> None:
    """Show every team with its grants, and the ids of its keys on this machine. No key is shown."""
    from corpus.access.teams import team_rows
    from corpus.database import connect, database_errors_translated
    from workers.config import settings

    resolved = settings.load()
    with connect(resolved.database_url) as connection, database_errors_translated():
        stored = team_rows(connection)
    rows = [_row(resolved, row) for row in stored]
    if as_json:
        write_json(rows)
        return
    write_table(
        _COLUMNS,
        ([_cell(row[name]) for name in _COLUMNS] for row in rows),
        empty="there is no team: no call over Nexus is answered; add [team.NAME] to freshet.toml",
    )


def add_key(team: Team) -> None:
    """Make a new key for a team, before those that it has. Give the file to the team.

    Gateways read it every two seconds. A key that is replaced stays valid until its line is removed from the file.
    """
    from corpus.access import keys
    from corpus.access.teams import team_rows
    from corpus.database import connect, database_errors_translated
    from workers.config import settings
    from workers.operations import note_operation

    resolved = settings.load()
    with connect(resolved.database_url) as connection, database_errors_translated():
        if not team_rows(connection, team):
            raise CommandError(
                f"there is no team {team!r}; `freshet teams list` lists them, and `freshet apply` makes them"
            )
        note_operation(connection, "teams key", team=team)
    path = keys.key_file(resolved.team_keys, team)
    try:
        key_id = keys.add_key(path)
    except OSError as error:
        raise CommandError(
            f"no key was made: {path} cannot be written: {error.strerror}"
        ) from error
    write_message(f"key {key_id} of team {team!r} is the first in {path}")


def _row(settings: "Settings", row: "TeamRow") -> dict[str, Any]:
    spec = row.read()
    granted: dict[str, Any] = {} if spec is None else spec.to_json()
    shown: dict[str, Any] = {name: granted.get(name, "") for name in _COLUMNS}
    shown |= {"team": row.team, "state": row.state}
    if spec is None and row.state == "active":
        shown["state"] = "unreadable"
    shown["keys"] = _keys(settings, row.team)
    return shown


def _keys(settings: "Settings", team: str) -> list[str]:
    """The ids of a team's keys in the folder of this machine; none where there is no file."""
    from corpus.access import keys
    from corpus.errors import ConfigurationError

    try:
        return list(keys.read_keys(keys.key_file(settings.team_keys, team)))
    except ConfigurationError:
        return []


def _cell(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        parts = cast(Sequence[Any], value)
        return ", ".join(map(str, parts)) or "none"
    return value


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        help="Who may call over Nexus, and what it is granted.", no_args_is_help=True
    )
    group.command("list")(show)
    group.command("key")(add_key)
    app.add_typer(group, name="teams")
