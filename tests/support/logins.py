"""Logins of a database: members of the roles that `freshet migrate` makes, with nothing else."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from corpus.access.reader import Reader, reading_as
from corpus.database import Connection, connect
from corpus.sql import query


@contextmanager
def login(url: str, *roles: str, options: str = "") -> Iterator[str]:
    """The connection string of a new login that is a member of these roles; it is removed afterwards.

    Args:
        url: of the database, as a superuser.
        roles: that it is a member of.
        options: of `CREATE ROLE`.
    """
    name = f"login_{secrets.token_hex(4)}"
    password = secrets.token_hex(8)
    user = sql.Identifier(name)
    with psycopg.connect(url, autocommit=True) as admin:
        words = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} " + options)  # type: ignore[arg-type]
        admin.execute(words.format(user, sql.Literal(password)))
        try:
            for role in roles:
                admin.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), user))
            yield make_conninfo(url, user=name, password=password)
        finally:
            admin.execute(sql.SQL("DROP OWNED BY {}").format(user))
            admin.execute(sql.SQL("DROP ROLE {}").format(user))


@contextmanager
def session(url: str, *roles: str) -> Iterator[Connection]:
    """A session of a new login."""
    with login(url, *roles) as of_login, connect(of_login) as connection:
        yield connection


def grant(url: str, connection: Connection, *, sources: list[str], groups: list[str]) -> None:
    """Let the login of a session read, as an administrator does."""
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(
            query("grant_reader"),
            {"login": connection.info.user, "sources": sources, "groups": groups},
        )


def reader(*groups: str, sources: tuple[str, ...] = ("s",)) -> Reader:
    """A reader that a team or a token stands for."""
    return Reader(name="team:test", sources=frozenset(sources), groups=groups)


def seen(connection: Connection, who: Reader) -> set[str]:
    """The documents that a reader sees, by reading the table."""
    with reading_as(connection, who):
        rows = connection.execute(
            "SELECT document_id FROM freshet.document WHERE visible_to IS NULL"
        )
        return {row[0] for row in rows}
