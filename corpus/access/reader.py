"""Who reads: an identity that its caller cannot choose, and a transaction in which the database shows its rows only."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg.pq import TransactionStatus

from corpus.errors import ConfigurationError
from corpus.sessions.roles import GATEWAY
from corpus.sessions.rows import Connection
from corpus.sql import query


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """A reader as the server, a login or a token tells it."""

    name: str  # "team:billing", "login:analyst"; is in the audit log
    # Granted to it. A source that is not among them does not exist for this reader.
    sources: frozenset[str] = frozenset()
    # Of the person on whose behalf it reads. Without any: only documents that are open to all readers of their source.
    groups: tuple[str, ...] = ()


@contextmanager
def reading_as(connection: Connection, reader: Reader) -> Generator[None]:
    """A transaction whose statements see what this reader may see; what was set ends with it.

    It takes on the role `freshet_gateway`, so that a user with more rights sees no more either. Statements that
    change rows are refused.

    Raises:
        ConfigurationError: the user of the session may not take on the role.
        RuntimeError: a transaction is open already: its statements would go on with these rights.
    """
    if connection.info.transaction_status != TransactionStatus.IDLE:
        raise RuntimeError("a reader's transaction cannot be a part of another one")
    values = {
        "reader": reader.name,
        "sources": json.dumps(sorted(reader.sources)),
        "groups": json.dumps(sorted(set(reader.groups))),
    }
    with connection.transaction():
        try:
            connection.execute(query("read_as"), values)
        except (
            psycopg.errors.InsufficientPrivilege,
            psycopg.errors.InvalidParameterValue,
        ) as error:
            raise ConfigurationError(
                f"the user {connection.info.user!r} may not read for others: run `freshet migrate`, or let an "
                f'administrator run `GRANT {GATEWAY} TO "{connection.info.user}"`'
            ) from error
        yield
