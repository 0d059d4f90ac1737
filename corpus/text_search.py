"""What text search needs of the database: its character type, and search texts that are made as they are today."""

from dataclasses import dataclass

from psycopg.rows import class_row, scalar_row

from corpus.database import (
    MAINTENANCE_LIMITS,
    connect,
    database_errors_translated,
    fetch_one,
)
from corpus.disclosure.secret import Secret
from corpus.sql import query

_APPLICATION = "freshet-text-search"
# Chunks per transaction: publishing waits for a chunk for as long as one takes.
_SLICE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchTexts:
    """What `rebuild_search_texts` did.

    Attributes:
        rebuilt: chunks that have another search text now.
        warning: why text search misses words that are there; empty: it does not.
    """

    rebuilt: int
    warning: str


@dataclass(frozen=True, slots=True)
class _Slice:
    """A row of query `rebuild_search_texts`."""

    looked_at: int
    rebuilt: int


def is_ascii_only(character_type: str) -> bool:
    """Whether every character outside ASCII counts as a small letter, quotes and dashes included."""
    return character_type in ("C", "POSIX")


def set_character_type(url: str, database: str, character_type: str) -> None:
    """Give a database whose character type is C another one; do nothing to any other.

    Args:
        url: another database of the same server; the user is a superuser.
        database: name of the database.
        character_type: name of a locale that the server's system has.

    Raises:
        DependencyError: PostgreSQL does not answer.
    """
    values = {"database": database, "character_type": character_type}
    with connect(url, application=_APPLICATION) as connection:
        connection.execute(query("set_character_type"), values)


def rebuild_search_texts(url: str | Secret) -> SearchTexts:
    """Rebuild the search texts that an older version, or another character type, made; in small transactions.

    What is rebuilt stays rebuilt when this is interrupted. Later calls look only at chunks that came since.

    Raises:
        DependencyError: PostgreSQL does not answer.
    """
    rebuilt = 0
    with (
        database_errors_translated(),
        connect(url, application=_APPLICATION, limits=MAINTENANCE_LIMITS) as connection,
    ):
        character_type = fetch_one(connection, scalar_row, "character_type")
        connection.execute(query("restart_search_texts"))
        values = {"limit": _SLICE}
        looked_at = _SLICE
        while looked_at == _SLICE:
            done = fetch_one(
                connection, class_row(_Slice), "rebuild_search_texts", values
            )
            assert done is not None
            looked_at = done.looked_at
            rebuilt += done.rebuilt
    warning = ""
    if is_ascii_only(str(character_type)):
        warning = (
            f"the database's character type is {character_type}: text search does not find words beside quotes and "
            "dashes, nor capitals outside ASCII; `freshet doctor` says what to do"
        )
    return SearchTexts(rebuilt=rebuilt, warning=warning)
