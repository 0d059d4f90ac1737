"""Which error is whose: the caller's, a service's, or ours."""

import errno
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from psycopg import errors

from corpus.errors import ConfigurationError, DependencyError
from workers.cli.console import CommandError, ExitCode, judge
from workers.cli.main import require_text
from workers.cli.names import require_source


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (CommandError("no"), ExitCode.USAGE, "no"),
        (CommandError("late", ExitCode.UNAVAILABLE), ExitCode.UNAVAILABLE, "late"),
        (CommandError(""), ExitCode.USAGE, ""),
        (ConfigurationError("a\nb"), ExitCode.USAGE, "a b"),
        (DependencyError("away"), ExitCode.UNAVAILABLE, "away"),
        (
            psycopg.OperationalError("the connection is closed"),
            ExitCode.UNAVAILABLE,
            "the connection is closed",
        ),
        (
            psycopg.InterfaceError("the connection is closed"),
            ExitCode.UNAVAILABLE,
            "the connection is closed",
        ),
        (errors.AdminShutdown("shutting down"), ExitCode.UNAVAILABLE, "shutting down"),
        (
            errors.NumericValueOutOfRange("bigint out of range"),
            ExitCode.USAGE,
            "bigint out of range",
        ),
        (
            errors.UndefinedTable("no relation"),
            ExitCode.USAGE,
            "run `freshet migrate` (no relation)",
        ),
        (errors.InsufficientPrivilege("denied"), ExitCode.USAGE, "give it the right"),
        (errors.SyntaxError("near SELECT"), ExitCode.INTERNAL_ERROR, "near SELECT"),
        (
            OSError(errno.ENOSPC, "No space left on device", "x.json"),
            ExitCode.UNAVAILABLE,
            "x.json: No space left on device",
        ),
        (KeyError("x"), ExitCode.INTERNAL_ERROR, "'x'"),
    ],
)
def test_whose_error(error: Exception, code: ExitCode, told: str) -> None:
    found, said = judge(error)
    assert found == code
    assert said.endswith(told) or told in said


def test_bytes_that_are_no_text_are_refused() -> None:
    require_text(["search", "grüße ²", "🐟"])
    with pytest.raises(CommandError, match=r"argument 'a\\xff' is not UTF-8"):
        require_text(["search", "a\udcff"])


def test_a_source_that_is_not_there_is_an_error() -> None:
    def database(row: Any) -> Any:
        return SimpleNamespace(execute=lambda *_: SimpleNamespace(fetchone=lambda: row))

    require_source(database(None), None)
    require_source(database(({},)), "peps")
    with pytest.raises(
        CommandError, match="there is no source 'nope'; `freshet sources` lists them"
    ):
        require_source(database(None), "nope")
