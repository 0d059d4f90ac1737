"""A standby beside the tests' server, whose replay a test holds up; and a clock that a test moves on."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from compose.local.machine.ports import free_port
from compose.local.parts.postgres import Postgres
from compose.local.run import running
from corpus.answer.search import search
from corpus.database import Connection, connect
from corpus.replica.standing import position_of, standing_of
from corpus.service import SearchRequest
from corpus.sessions.server import EVERY_REPLICA_SESSION
from tests.support.pipeline import Pipeline
from tests.support.polling import wait_until
from tests.support.servers import Standby

TEAM = "readers"


@dataclass
class HandClock:
    """Monotonic seconds, as a test sets them."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Replica:
    """A standby of the tests' server."""

    standby: Standby
    admin: psycopg.Connection = field(repr=False)

    @property
    def setting(self) -> str:
        """As FRESHET_READ_REPLICA names it."""
        return f"host=127.0.0.1 port={self.standby.port}"

    def url(self, primary_url: str) -> str:
        """A connection string of the primary, for the same database here."""
        return make_conninfo(primary_url, port=self.standby.port)

    def connect(self, primary_url: str) -> Connection:
        """A session of Freshet."""
        return connect(self.url(primary_url), rules=EVERY_REPLICA_SESSION)

    def has_all(self, primary: Connection) -> bool:
        """Whether it has replayed all that the primary has written until now."""
        wanted = position_of(primary).position
        with self.connect(_url_of(primary)) as copy:
            return standing_of(copy).position >= wanted

    def catch_up(self, primary: Connection) -> None:
        """Wait until it has."""
        wait_until(lambda: self.has_all(primary), 30, "the standby has replayed all")

    @contextmanager
    def held_up(self) -> Iterator[None]:
        """It replays nothing inside the block."""
        self.admin.execute("SELECT pg_wal_replay_pause()")
        wait_until(lambda: self._state() == "paused", 10, "replay is paused")
        try:
            yield
        finally:
            self.admin.execute("SELECT pg_wal_replay_resume()")

    def _state(self) -> str:
        row = self.admin.execute("SELECT pg_get_wal_replay_pause_state()").fetchone()
        assert row is not None
        return str(row[0])


@contextmanager
def standby_of(primary: Postgres, folder: Path) -> Iterator[Replica]:
    """A standby that streams from a server."""
    standby = Standby(home=folder, port=free_port(), fsync=False, primary=primary)
    with (
        running(standby),
        psycopg.connect(standby.url_of("postgres"), autocommit=True) as admin,
    ):
        yield Replica(standby, admin)


def _url_of(connection: Connection) -> str:
    info = connection.info
    return make_conninfo(info.dsn, password=info.password)


def found(
    connection: Any, corpus: Pipeline, text: str, who: Any = None, **request: Any
) -> set[str]:
    asked = SearchRequest(query=text, **request)
    hits = search(connection, asked, corpus.embedder.of, reader=who, max_seconds=5).hits
    return {hit.document_id for hit in hits}
