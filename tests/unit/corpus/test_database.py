"""Which of PostgreSQL's errors pass by themselves."""

import psycopg
import pytest
from psycopg import errors

from corpus.database import database_errors_translated
from corpus.errors import DatabaseRefusalError, DependencyError


@pytest.mark.parametrize(
    "error",
    [
        psycopg.OperationalError("connection refused"),
        errors.AdminShutdown("terminating connection"),
        errors.DiskFull("no space left"),
        errors.DeadlockDetected("deadlock detected"),
        errors.LockNotAvailable("lock timeout"),
        errors.ReadOnlySqlTransaction("cannot execute UPDATE in a read-only transaction"),
        errors.InvalidPassword("password authentication failed"),
    ],
)
def test_an_outage_is_waited_for(error: psycopg.Error) -> None:
    with pytest.raises(DependencyError, match="does not answer"), database_errors_translated():
        raise error


@pytest.mark.parametrize(
    "error",
    [
        errors.ProgramLimitExceeded("string is too long for tsvector"),
        errors.UndefinedObject("text search configuration does not exist"),
        errors.NumericValueOutOfRange("bigint out of range"),
        errors.CheckViolation("violates check constraint"),
        psycopg.ProgrammingError("the query has 2 placeholders but 1 parameters were passed"),
    ],
)
def test_a_refusal_is_not(error: psycopg.Error) -> None:
    with pytest.raises(DatabaseRefusalError, match="refuses"), database_errors_translated():
        raise error
