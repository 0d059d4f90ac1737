"""PostgreSQL for tests: one server a session, one migrated template, a clone of it for each test."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from compose.local.machine.ports import free_port
from compose.local.parts.postgres import Postgres
from compose.local.run import running

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def postgres_server(service_home: Path) -> Iterator[Postgres]:
    """The server; `.url_of(name)`, `.create_database(name, template=...)`."""
    server = Postgres(home=service_home, port=free_port(), fsync=False)
    with running(server):
        yield server


@pytest.fixture(scope="session")
def postgres_url(postgres_server: Postgres) -> str:
    """The migrated template database: read it, never write to it, hold no connection to it (clones need it quiet)."""
    from corpus.database import migrate

    migrate(postgres_server.url)
    return postgres_server.url


@pytest.fixture
def database_url(postgres_server: Postgres, postgres_url: str) -> Iterator[str]:
    """A fresh migrated database for one test, with an installation of its own."""
    name = f"test_{next(_NUMBERS)}"
    postgres_server.create_database(name, template="freshet")
    url = postgres_server.url_of(name)
    separate_copy(url)
    yield url
    postgres_server.drop_database(name)


def separate_copy(url: str) -> None:
    """Give a clone of the template an identity, as `freshet installation separate` does."""
    from corpus.database import connect
    from corpus.installation.identity import separate

    with connect(url) as connection:
        separate(connection, reason="a clone of the template")


@pytest.fixture
def empty_database_url(postgres_server: Postgres) -> Iterator[str]:
    """A fresh database without any migration."""
    name = f"empty_{next(_NUMBERS)}"
    postgres_server.create_database(name)
    yield postgres_server.url_of(name)
    postgres_server.drop_database(name)
