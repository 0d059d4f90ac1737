"""`freshet readers list|grant|revoke`: what logins of SQL clients may read."""

from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli.console import CommandError, write_json, write_message, write_table

if TYPE_CHECKING:
    from collections.abc import Generator

    from corpus.access.logins import ReaderLogin
    from corpus.database import Connection

_COLUMNS = ("login", "state", "sources", "groups", "granted_at", "granted_by")

Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
Login = Annotated[
    str,
    typer.Argument(help="A user of the database, a member of the role freshet_reader."),
]
Sources = Annotated[
    list[str],
    typer.Option("--source", "-s", help="It may read this source; may be repeated."),
]
Groups = Annotated[
    list[str] | None,
    typer.Option(
        "--group",
        help="And the documents that this group may read; may be repeated. Without: what all readers may see.",
    ),
]


def show(as_json: Json = False) -> None:
    """Show every login that is granted something, and whether it can use it."""
    from corpus.access.logins import reader_logins

    with _connected() as connection:
        granted = reader_logins(connection)
    _show(granted, as_json=as_json)


def grant(
    login: Login, source: Sources, group: Groups = None, as_json: Json = False
) -> None:
    """Let a login read sources with SQL; what it was granted before is replaced, with its next statement.

    It is noted in the access log. Run it as the user of `freshet migrate`: no process may grant.
    """
    from corpus.access.logins import Grant, grant_reader
    from workers.cli.names import require_source
    from workers.operations import requested_by

    wanted = Grant(
        login=login,
        sources=tuple(dict.fromkeys(source)),
        groups=tuple(dict.fromkeys(group or ())),
    )
    with _connected() as connection:
        for name in wanted.sources:
            require_source(connection, name)
        granted = grant_reader(connection, wanted, requested_by())
    _show([granted], as_json=as_json)
    if granted.state != "reads":
        write_message(_remedy(granted))


def revoke(login: Login, as_json: Json = False) -> None:
    """Let a login read nothing any more, with its next statement; it is noted in the access log."""
    from corpus.access.logins import revoke_reader
    from workers.operations import requested_by

    with _connected() as connection:
        revoked = revoke_reader(connection, login, requested_by())
    if not revoked:
        raise CommandError(
            f"login {login!r} is granted nothing; `freshet readers list` shows which are"
        )
    if as_json:
        write_json({"login": login, "revoked": True})
        return
    write_message(f"login {login!r} reads nothing any more")


@contextmanager
def _connected() -> "Generator[Connection]":
    """A session of the user of `freshet migrate`."""
    from corpus.database import connect, database_errors_translated
    from workers.config import settings

    resolved = settings.load()
    with connect(resolved.database_url) as connection, database_errors_translated():
        yield connection


def _show(granted: "Sequence[ReaderLogin]", *, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        write_json([asdict(row) for row in granted])
        return
    write_table(
        _COLUMNS,
        ([_cell(getattr(row, name)) for name in _COLUMNS] for row in granted),
        empty="no login is granted anything: SQL clients see nothing; see `freshet readers grant --help`",
    )


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        return ", ".join(value) or "none"  # pyright: ignore[reportUnknownArgumentType]
    return value


def _remedy(granted: "ReaderLogin") -> str:
    """What is missing for a login to read."""
    if granted.state == "sees everything":
        return (
            f"login {granted.login!r} is a superuser, or passes over row-level security: it sees everything, whatever "
            "it is granted"
        )
    return (
        f"login {granted.login!r} cannot use this yet ({granted.state}): let an administrator run "
        f'`CREATE ROLE "{granted.login}" LOGIN PASSWORD ...` where it is missing, and '
        f'`GRANT freshet_reader TO "{granted.login}"`'
    )


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        help="What logins of SQL clients may read.", no_args_is_help=True
    )
    group.command("list")(show)
    group.command("grant")(grant)
    group.command("revoke")(revoke)
    app.add_typer(group, name="readers")
