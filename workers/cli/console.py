"""What every command does alike: JSON or a table, one clear error, exit codes.

Exit codes: 0 done; 1 a check failed (stale, lagging, unhealthy); 2 wrong usage or bad input; 3 a service is down;
4 a mistake in Freshet; 130 interrupted.
"""

import contextlib
import errno
import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import IntEnum
from typing import Any, NoReturn

MAX_ROWS = 10_000_000  # that one command may be asked for
MAX_WAIT_SECONDS = 10_000_000  # seconds
MAX_BIGINT = 2**63 - 1  # of a batch, a chunk, a dead letter: PostgreSQL's bigint


class ExitCode(IntEnum):
    """Documented exit codes."""

    OK = 0
    CHECK_FAILED = 1
    USAGE = 2
    UNAVAILABLE = 3
    INTERNAL_ERROR = 4


class CommandError(Exception):
    """Ends a command with one clear message and an exit code."""

    def __init__(self, message: str, code: ExitCode = ExitCode.USAGE) -> None:
        super().__init__(message)
        self.code = code


def say(text: str) -> None:
    """Talk to the person: standard error, so that standard output stays data."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


@contextmanager
def _standard_output() -> Iterator[None]:
    """A full disk under standard output is one clear line; a reader that has left (`head`) is none at all."""
    try:
        yield
    except BrokenPipeError:
        os._exit(0)
    except OSError as error:
        raise CommandError(f"standard output: {error.strerror}", ExitCode.UNAVAILABLE) from error


def write(text: str) -> None:
    """Data: standard output."""
    with _standard_output():
        sys.stdout.write(text + "\n")


def write_bytes(data: bytes) -> None:
    """Data as it is: standard output."""
    with _standard_output():
        sys.stdout.buffer.write(data)


def write_json(value: Any) -> None:
    """Data as JSON, indented, times in ISO 8601."""
    write(json.dumps(value, indent=2, default=_plain, ensure_ascii=False))


def write_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str = "nothing"
) -> None:
    """A plain table; numbers to the right. `empty` is said (to standard error) when there is no row."""
    from rich.console import Console
    from rich.table import Table

    rows = [list(row) for row in rows]
    if not rows:
        say(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, name in enumerate(columns):
        numeric = all(isinstance(row[index], (int, float)) or row[index] is None for row in rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    width = None if sys.stdout.isatty() else 200
    with _standard_output():
        Console(width=width).print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value).replace("[", "\\[")


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    return str(value)


def end(code: int) -> NoReturn:
    """Leave at once: Temporal's client library may crash while the interpreter shuts down (temporalio/sdk-python#300)."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # said already, or there is nobody to say it to
            stream.flush()
    os._exit(code)


def run_command(command: Callable[[], Any], *, debug: bool) -> NoReturn:
    """Run the command line; turn every expected error into one line and an exit code."""
    try:
        code = command()
        with _standard_output():
            sys.stdout.flush()
    except KeyboardInterrupt:
        end(130)
    except BrokenPipeError:
        os._exit(0)
    except Exception as error:
        code, told = judge(error)
        if code == ExitCode.INTERNAL_ERROR:
            _report_internal_error(error, debug)
        else:
            _complain(error, told, debug)
        end(code)
    end(code if isinstance(code, int) else ExitCode.OK)


def judge(error: Exception) -> tuple[ExitCode, str]:
    """Exit code of an error, and what is said."""
    from corpus.errors import DependencyError, FreshetError

    told = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, CommandError):
        return error.code, "" if not str(
            error
        ) else told  # an empty one: the help was shown, nothing is left to say
    if isinstance(error, FreshetError):
        return ExitCode.UNAVAILABLE if isinstance(error, DependencyError) else ExitCode.USAGE, told
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return ExitCode.UNAVAILABLE, f"{error.filename or 'cannot write'}: {error.strerror}"
    home = type(error).__module__
    if home.startswith("psycopg"):
        return _judge_database(error, told)
    if type(error).__name__ == "KafkaException":  # its module is that of the compiled part, "cimpl"
        return _judge_kafka(error)
    return ExitCode.UNAVAILABLE if home.startswith("temporalio") else ExitCode.INTERNAL_ERROR, told


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


def _judge_database(error: Exception, told: str) -> tuple[ExitCode, str]:
    from psycopg import DataError, InterfaceError, OperationalError, errors

    if isinstance(error, (OperationalError, InterfaceError)):
        return ExitCode.UNAVAILABLE, told
    if isinstance(error, (errors.UndefinedTable, errors.UndefinedColumn, errors.InvalidSchemaName)):
        return (
            ExitCode.USAGE,
            f"the database's schema is missing or older than this version; run `freshet migrate` ({told})",
        )
    if isinstance(error, errors.InsufficientPrivilege):
        return (
            ExitCode.USAGE,
            f"the database user may not do this; give it the right, or name another one ({told})",
        )
    return ExitCode.USAGE if isinstance(error, DataError) else ExitCode.INTERNAL_ERROR, told


def _judge_kafka(error: Exception) -> tuple[ExitCode, str]:
    from confluent_kafka import KafkaError

    cause = error.args[0] if error.args else None
    if not isinstance(cause, KafkaError):
        return ExitCode.UNAVAILABLE, f"Kafka: {error}"
    if cause.code() == KafkaError._INVALID_ARG:
        return ExitCode.USAGE, f"FRESHET_KAFKA_PROPERTIES or an argument is wrong: {cause.str()}"
    return ExitCode.UNAVAILABLE, f"Kafka: {cause.str()}"


def _complain(error: BaseException, told: str, debug: bool) -> None:
    if debug:
        import traceback

        traceback.print_exception(error)
    if told:
        say(f"freshet: {told}")


def _report_internal_error(error: Exception, debug: bool) -> None:
    """Nobody expected this error: the trace goes to the log of a process that keeps one; a person is told how to see it."""
    if logging.getLogger().handlers:
        logging.getLogger(__name__).critical(
            "unexpected error", exc_info=error, extra={"action": "unexpected_error"}
        )
        return
    told = " ".join(f"{type(error).__name__}: {error}".split())
    say(
        f"freshet: a mistake in Freshet: {told}"
        + ("" if debug else ". The same command with --debug shows where.")
    )
    if debug:
        import traceback

        traceback.print_exception(error)
