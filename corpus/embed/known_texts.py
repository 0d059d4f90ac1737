"""Which texts have a vector already."""

from collections.abc import Iterable

from psycopg.rows import scalar_row

from corpus.sessions.rows import Connection
from corpus.sql import query


def known_texts(
    connection: Connection, space_id: int | None, hashes: Iterable[bytes]
) -> set[bytes]:
    """The texts among these that have a vector in a space, in the embedding store or in a chunk.

    The statement is planned each time. A session keeps the plan of one that it repeats, and one that was made while the
    tables were nearly empty reads all of them once per text, until the server analyses them: a second per batch, and
    more, in the first minute of a corpus.

    Args:
        connection: to PostgreSQL.
        space_id: of the space; None: it has none yet, and no text.
        hashes: SHA-256 of the texts.
    """
    values = {"space_id": space_id, "hashes": list(hashes)}
    with connection.cursor(row_factory=scalar_row) as cursor:
        cursor.execute(query("embedded_texts"), values, prepare=False)
        return set(cursor.fetchall())
