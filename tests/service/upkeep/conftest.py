"""A corpus with its vector index for the tests of upkeep; each has a copy of it."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from compose.local.parts.postgres import DATABASE, Postgres
from corpus.database import Connection, connect
from corpus.embed.space_indexes import build_missing
from tests.support.commands import CommandLine
from tests.support.fix_postgres import separate_copy
from tests.support.withdrawing import fill

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def filled(postgres_server: Postgres, postgres_url: str) -> Iterator[str]:
    """A database with a corpus and its vector index, of which each test has a copy; there is no session in it."""
    assert postgres_url, "the template is migrated"
    name = "upkeep_filled"
    postgres_server.create_database(name, template=DATABASE)
    url = postgres_server.url_of(name)
    with connect(url) as connection:
        fill(connection)
    build_missing(url)
    yield name
    postgres_server.drop_database(name)


@pytest.fixture
def database_url(postgres_server: Postgres, filled: str) -> Iterator[str]:
    """A copy of it; counts are not copied, so it is analysed."""
    name = f"upkeep_{next(_NUMBERS)}"
    postgres_server.create_database(name, template=filled)
    url = postgres_server.url_of(name)
    separate_copy(url)
    with connect(url) as connection:
        connection.execute("ANALYZE freshet.chunk")
    yield url
    postgres_server.drop_database(name)


@pytest.fixture
def corpus(database_url: str) -> Iterator[Connection]:
    """A session beside it."""
    with connect(database_url) as connection:
        yield connection


@pytest.fixture
def freshet(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    database_url: str,
) -> CommandLine:
    monkeypatch.setenv("FRESHET_DATABASE_URL", database_url)
    monkeypatch.setenv("FRESHET_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    return CommandLine(tmp_path, monkeypatch, capsys)
