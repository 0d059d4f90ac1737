"""Texts of which a model makes no vector that can be stored: a component is infinite, or no number.

They are remembered per space; the documents that hold them become dead letters when their batch is prepared again.
"""

from collections.abc import Sequence

from psycopg.rows import scalar_row

from corpus.database import Connection, fetch_all
from corpus.sql import query


def refused_texts(connection: Connection, fingerprint: str) -> frozenset[bytes]:
    """Hashes of the texts that have no vector in a space."""
    values = {"space_fingerprint": fingerprint}
    return frozenset(fetch_all(connection, scalar_row, "refused_texts", values))


def remember(connection: Connection, fingerprint: str, hashes: Sequence[bytes]) -> None:
    """Keep what the model refused, for the next preparation."""
    values = {"space_fingerprint": fingerprint, "hashes": list(hashes)}
    connection.execute(query("remember_refused_texts"), values)
