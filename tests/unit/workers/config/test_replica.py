"""A process reaches the replica by its own login, at the server that the setting names."""

from types import SimpleNamespace
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from corpus.disclosure.secret import Secret
from corpus.errors import ConfigurationError
from workers.config import ways
from workers.config.replica import replica_server, replica_url
from workers.config.settings import SETTINGS

SETTING = next(setting for setting in SETTINGS if setting.name == "FRESHET_READ_REPLICA")


def settings(server: str) -> Any:
    return SimpleNamespace(read_replica=server)


def replica_of(primary: str, server: str) -> dict[str, Any]:
    url = replica_url(settings(server), Secret.of(primary))
    assert url is not None
    return {name: value for name, value in conninfo_to_dict(url.reveal()).items() if value}


@pytest.mark.parametrize(
    "primary",
    [
        "postgresql://gw:pw@one:5433/corpus?sslmode=verify-full",
        "host=one,two port=5433,5434 hostaddr=10.0.0.1,10.0.0.2 target_session_attrs=primary "
        "user=gw password=pw dbname=corpus sslmode=verify-full",
    ],
)
def test_the_login_is_the_primarys_and_the_server_is_not(primary: str) -> None:
    login = {"user": "gw", "password": "pw", "dbname": "corpus", "sslmode": "verify-full"}
    assert replica_of(primary, "host=replica") == login | {"host": "replica", "port": "5432"}
    assert replica_of(primary, "postgresql://replica:6000/") == login | {
        "host": "replica",
        "port": "6000",
    }
    strict = replica_of(primary, "host=replica sslrootcert=/ca.pem")
    assert strict["sslrootcert"] == "/ca.pem"


def test_a_password_that_is_rotated_is_used() -> None:
    passwords = ["first", "second"]
    primary = Secret(lambda: f"host=one password={passwords[0]}")
    url = replica_url(settings("host=replica"), primary)
    assert url is not None
    assert "first" in url.reveal()
    passwords.pop(0)
    assert "second" in url.reveal()


def test_without_a_replica_there_is_no_address() -> None:
    assert replica_url(settings(""), Secret.of("host=one")) is None
    assert replica_server("") == ""


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("host=a,b", "does not name one host"),
        ("port=5432", "does not name one host"),
        ("postgresql://u:geheim@replica/", "names a login or a database"),
        ("host=replica dbname=other", "names a login or a database"),
        ("host=replica geheim", "is no connection string"),
    ],
)
def test_what_names_no_single_server_is_refused_without_showing_a_password(
    value: str, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message) as refused:
        SETTING.parse(value)
    assert "geheim" not in str(refused.value)


def test_the_way_to_the_replica_is_encrypted_too() -> None:
    others = {"writer_database_url": Secret.of(""), "gateway_database_url": Secret.of("")}
    local = SimpleNamespace(
        database_url=Secret.of("host=127.0.0.1"), read_replica="host=replica", **others
    )
    [problem] = ways._of_databases(local)  # type: ignore[arg-type]
    assert problem.startswith("PostgreSQL at replica is reached without encryption")
    local.read_replica = "host=replica sslmode=verify-full"
    assert ways._of_databases(local) == []  # type: ignore[arg-type]
