"""An installation with a team that is notified, for tests: see `tests.support.team_env`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from corpus.database import Connection
    from tests.support.team_env import Env


@pytest.fixture
async def env(database_url: str, temporal_env: Any, tmp_path: Path) -> "Env":
    """A database, a namespace, a team with its endpoint."""
    from tests.support.team_env import make_env

    return await make_env(database_url, temporal_env, tmp_path / "team-keys")


@pytest.fixture
def db(env: "Env") -> "Iterator[Connection]":
    """A connection to its database."""
    from tests.support.team_env import connection_to

    with connection_to(env) as connection:
        yield connection
