"""Who reads: an identity that its caller cannot choose, and a transaction that the database knows to be its."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from corpus.database import Connection
from corpus.sql import query


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """A reader as the server, a login or a token tells it."""

    name: str  # "team:billing", "login:analyst"; stands in the audit log
    # Granted to it. A source that is not among them does not exist for this reader.
    sources: frozenset[str] = frozenset()
    # Of the person on whose behalf it reads. Without any: only documents that are open to all readers of their source.
    groups: tuple[str, ...] = ()


@contextmanager
def reading_as(connection: Connection, reader: Reader) -> Generator[None]:
    """A transaction that is this reader's in the settings of its session; what was set ends with it."""
    values = {
        "reader": reader.name,
        "sources": json.dumps(sorted(reader.sources)),
        "groups": json.dumps(sorted(set(reader.groups))),
    }
    with connection.transaction():
        connection.execute(query("read_as"), values)
        yield
