"""What logins of SQL clients may read: rows of `freshet.reader_grant`, noted in the access log of each source."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row

from corpus.access import log
from corpus.access.log import OF_NO_SOURCE, Entry
from corpus.database import Connection
from corpus.sql import query


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderLogin:
    """A login with what it may read."""

    login: str
    sources: list[str]
    groups: list[str]
    granted_at: datetime
    granted_by: str  # user of the database
    state: str  # "reads", or what hinders it


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a login is to read from now on."""

    login: str
    sources: tuple[str, ...]
    groups: tuple[str, ...] = ()


def reader_logins(
    connection: Connection, login: str | None = None
) -> list[ReaderLogin]:
    """Every login that is granted something, or the one of a name."""
    with connection.cursor(row_factory=class_row(ReaderLogin)) as cursor:
        return cursor.execute(query("reader_logins"), {"login": login}).fetchall()


def grant_reader(connection: Connection, grant: Grant, by: str) -> ReaderLogin:
    """Replace what a login may read; in effect with its next statement.

    Args:
        connection: of a user that may change the grants: the one of `freshet migrate`.
        grant: takes the place of the one before.
        by: who wants it, for the access log.
    """
    groups = list(grant.groups)
    with connection.transaction():
        before = _sources_of(connection, grant.login)
        values = asdict(grant) | {"sources": list(grant.sources), "groups": groups}
        connection.execute(query("grant_reader"), values)
        detail = {"by": by, "login": grant.login, "groups": groups}
        _note(connection, "readers grant", grant.sources, detail)
        withdrawn = before - set(grant.sources)
        _note(connection, "readers revoke", sorted(withdrawn), detail)
    return reader_logins(connection, grant.login)[0]


def revoke_reader(connection: Connection, login: str, by: str) -> bool:
    """Let a login read nothing any more; false: it was granted nothing.

    Args:
        connection: of a user that may change the grants.
        login: of the SQL client.
        by: who wants it, for the access log.
    """
    with connection.transaction():
        if not reader_logins(connection, login):
            return False
        sources = sorted(_sources_of(connection, login))
        connection.execute(query("revoke_reader"), {"login": login})
        detail = {"by": by, "login": login}
        _note(connection, "readers revoke", sources or [OF_NO_SOURCE], detail)
    return True


def _sources_of(connection: Connection, login: str) -> set[str]:
    granted = reader_logins(connection, login)
    return {source for row in granted for source in row.sources}


def _note(
    connection: Connection, action: str, sources: Sequence[str], detail: dict[str, Any]
) -> None:
    """A row in the chain of each source."""
    actor = f"login:{connection.info.user}"
    entries = [
        Entry(source=source, actor=actor, action=action, detail=detail)
        for source in sources
    ]
    log.append(connection, entries)
