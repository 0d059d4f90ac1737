"""Installations that meet: each is a database and the settings of its processes."""

import asyncio
import itertools
import os
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from compose.local.parts.postgres import Postgres
from tests.support.fix_temporal import TemporalEnv

if TYPE_CHECKING:
    from corpus.installation.identity import Installation
    from tests.support.commands import CommandLine, Done
    from workers.config.settings import Settings

_NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class Place:
    """One installation: the settings of its processes, by name, and the command line with them."""

    settings: dict[str, str]
    command: "CommandLine"
    monkeypatch: pytest.MonkeyPatch

    def with_settings(self, **changed: str) -> "Place":
        """The same database with other settings."""
        return replace(self, settings=self.settings | changed)

    def using(self, other: "Place", *names: str) -> "Place":
        """This database with some settings of another installation."""
        return self.with_settings(**{name: other.settings[name] for name in names})

    def freshet(self, *words: str) -> "Done":
        """Run a command in this process."""
        return self.command(*words, **self.settings)

    def process(self, *words: str) -> "Done":
        """Run a command in a process of its own; several at once do no harm."""
        return self.command.process(*words, **self.settings)

    def load(self) -> "Settings":
        """Its settings, resolved."""
        from workers.config.settings import load

        with self.monkeypatch.context() as patch:
            for name, value in self.settings.items():
                patch.setenv(name, value)
            return load()

    def row(self) -> "Installation":
        """Its row, and its database."""
        from corpus.database import connect
        from corpus.installation.identity import read_installation

        with connect(self.settings["FRESHET_DATABASE_URL"]) as connection:
            return read_installation(connection)

    @property
    def id(self) -> str:
        return str(self.row().installation_id)

    @property
    def namespace(self) -> str:
        return self.settings["FRESHET_TEMPORAL_NAMESPACE"]


def new_place(
    command: "CommandLine",
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    servers: dict[str, str],
    **settings: str,
) -> Place:
    """An installation with a group, a namespace, a store and an endpoint that no other has."""
    name = f"place-{os.getpid()}-{next(_NUMBERS)}"
    own = {
        "FRESHET_KAFKA_GROUP": name,
        "FRESHET_TEMPORAL_NAMESPACE": name,
        "FRESHET_STAGING_URL": (folder / name).as_uri(),
        "FRESHET_NEXUS_ENDPOINT": name,
    }
    return Place(servers | own | settings, command, monkeypatch)


@pytest.fixture
def make_place(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    postgres_server: Postgres,
    kafka_bootstrap: str,
    temporal_env: TemporalEnv,
) -> Generator[Callable[..., Place]]:
    """`make_place(**settings)`: a migrated database, a namespace, and settings that no other installation has."""
    from corpus.database import migrate
    from tests.support.commands import CommandLine

    command = CommandLine(tmp_path, monkeypatch, capsys)
    servers = {
        "FRESHET_KAFKA_BOOTSTRAP": kafka_bootstrap,
        "TEMPORAL_ADDRESS": temporal_env.address,
    }
    made: list[str] = []

    def make(**settings: str) -> Place:
        database = f"place_{next(_NUMBERS)}"
        postgres_server.create_database(database)
        made.append(database)
        url = postgres_server.url_of(database)
        migrate(url)
        given: dict[str, Any] = {"FRESHET_DATABASE_URL": url} | settings
        place = new_place(command, monkeypatch, tmp_path, servers, **given)
        # In a thread: the test may have an event loop of its own.
        making = threading.Thread(target=_create_namespace, args=(place,))
        making.start()
        making.join()
        return place

    yield make
    for database in made:
        postgres_server.drop_database(database)


def _create_namespace(place: Place) -> None:
    from compose.local.parts.temporal_namespace import create_namespace

    address = place.settings["TEMPORAL_ADDRESS"]
    asyncio.run(create_namespace(address, place.namespace))
