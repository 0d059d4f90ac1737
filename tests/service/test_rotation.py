"""The database's password is replaced under a running pool: no restart, and no connection is lost for it."""

from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from compose.local.parts.postgres import Postgres
from corpus.database import open_pool
from corpus.disclosure.secret import Secret, SecretFile
from corpus.errors import DependencyError
from tests.support.polling import wait_until
from tests.support.servers import tenant

pytestmark = pytest.mark.service
NEW = "hunter2-canary"


def test_a_pool_uses_a_password_that_was_replaced(
    postgres_server: Postgres, tmp_path: Path
) -> None:
    with tenant(postgres_server) as owner:
        owner.as_admin("CREATE EXTENSION vector")
        stated = conninfo_to_dict(owner.url)
        file = tmp_path / "password"
        file.write_text(str(stated.pop("password")))
        without = make_conninfo(**stated)
        password = Secret(SecretFile(file).read)
        url = password.map(lambda text: make_conninfo(without, password=text))
        with open_pool(url, size=2) as pool:

            def answers() -> bool:
                with pool.connection(1) as connection:
                    return connection.execute("SELECT 1").fetchone() == (1,)

            assert answers()
            statement = sql.SQL("ALTER ROLE {} PASSWORD {}")
            named = statement.format(sql.Identifier(owner.name), sql.Literal(NEW))
            owner.as_admin(
                named.as_string(),
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                f" WHERE usename = '{owner.name}'",
            )
            with pytest.raises((psycopg.Error, DependencyError)) as refused:
                answers()
            assert str(stated.get("password")) not in str(refused.value)
            file.write_text(NEW)
            wait_until(lambda: _succeeds(answers), seconds=20)


def _succeeds(question: object) -> bool:
    assert callable(question)
    try:
        return bool(question())
    except psycopg.Error:
        return False
