"""Which of PostgreSQL's errors are transient, and how a database's history is compared with the code."""

import hashlib

import psycopg
import pytest
from psycopg import errors

from corpus import database
from corpus.database import connect, database_errors_translated, migrations
from corpus.errors import ConfigurationError, DatabaseRefusalError, DependencyError


@pytest.mark.parametrize(
    "error",
    [
        psycopg.OperationalError("connection refused"),
        errors.ConnectionFailure("server closed the connection"),
        errors.AdminShutdown("terminating connection"),
        errors.DiskFull("no space left"),
        errors.TooManyConnections("too many clients already"),
        errors.DeadlockDetected("deadlock detected"),
        errors.SerializationFailure("could not serialize access"),
        errors.LockNotAvailable("lock timeout"),
        errors.QueryCanceled("canceling statement due to statement timeout"),
        errors.ReadOnlySqlTransaction("cannot execute UPDATE in a read-only transaction"),
        errors.InvalidPassword("password authentication failed"),
        errors.InvalidCatalogName("database does not exist"),
        errors.IoError("could not read block"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_outage_is_transient(error: psycopg.Error) -> None:
    with pytest.raises(DependencyError, match="does not answer"), database_errors_translated():
        raise error


@pytest.mark.parametrize(
    "error",
    [
        errors.ProgramLimitExceeded("string is too long for tsvector"),
        errors.UndefinedObject("text search configuration does not exist"),
        errors.NumericValueOutOfRange("bigint out of range"),
        errors.CheckViolation("violates check constraint"),
        errors.InvalidTransactionState("a transaction is in progress"),
        psycopg.ProgrammingError("the query has 2 placeholders but 1 parameters were passed"),
        psycopg.InterfaceError("the cursor is closed"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_refusal_is_permanent(error: psycopg.Error) -> None:
    with pytest.raises(DatabaseRefusalError, match="refuses"), database_errors_translated():
        raise error


def test_the_message_is_one_line_and_names_its_cause() -> None:
    with pytest.raises(DatabaseRefusalError) as caught, database_errors_translated():
        raise errors.CheckViolation("new row violates\n  check constraint\n\tDETAIL: x")
    assert str(caught.value).endswith("new row violates check constraint DETAIL: x")
    assert isinstance(caught.value.__cause__, errors.CheckViolation)


def test_an_error_that_is_not_of_the_database_is_not_translated() -> None:
    with pytest.raises(ZeroDivisionError), database_errors_translated():
        raise ZeroDivisionError


def test_no_server_is_a_dependency_error_that_says_where_to_look() -> None:
    with pytest.raises(DependencyError, match=r"does not answer: .*`freshet status`"):
        connect("host=127.0.0.1 port=1 connect_timeout=2")


def checksums() -> dict[str, str]:
    return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in migrations()}


def test_a_database_of_this_code_has_a_known_history() -> None:
    database._check_history(checksums(), dict(migrations()))
    database._check_history({}, dict(migrations()))


def test_a_migration_that_is_unknown_or_changed_is_refused() -> None:
    known = dict(migrations())
    first = min(known)
    with pytest.raises(ConfigurationError, match=r"has migration 9999_x\.sql, this code does not"):
        database._check_history({"9999_x.sql": "0" * 64}, known)
    with pytest.raises(ConfigurationError, match=f"{first} was changed after it was applied"):
        database._check_history(checksums() | {first: "0" * 64}, known)
