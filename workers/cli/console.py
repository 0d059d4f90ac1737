"""What every command has in common: output for people and for programs, one clear error, exit codes.

Exit codes. 0: done. 1: check failed (stale, not drained, unhealthy). 2: wrong usage or bad input.
3: a service is down. 4: internal error. 130: interrupted.
"""

import contextlib
import errno
import logging
import os
import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NoReturn

from workers.shown import export_cell, json_text, one_line, shown, shown_line

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

MAX_ROWS = 10_000_000  # that one command may be asked for
MAX_WAIT_SECONDS = 10_000_000
MAX_BIGINT = 2**63 - 1  # of a batch, a chunk, a dead letter: PostgreSQL's bigint
_MAX_DIGITS = (
    1_000  # no number of ours is longer, and Python refuses to read much longer ones
)
PIPE_COLUMNS = 200  # width of a table that is not written to a terminal

logger = logging.getLogger(__name__)


class ExitCode(IntEnum):
    """Documented exit codes."""

    OK = 0
    CHECK_FAILED = 1
    USAGE = 2
    UNAVAILABLE = 3
    INTERNAL_ERROR = 4
    INTERRUPTED = 130


class CommandError(Exception):
    """Ends a command with one clear message and an exit code. An empty message: all was shown already."""

    def __init__(self, message: str, code: ExitCode = ExitCode.USAGE) -> None:
        super().__init__(message)
        self.code = code


def whole_number(text: str) -> int | None:
    """A whole number in ASCII digits, or None. `isdigit` alone takes a superscript two."""
    if text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS:
        return int(text)
    return None


# ── output ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def write_message(text: str) -> None:
    """Write a line for people to standard error, so that standard output has nothing but data."""
    sys.stderr.write(shown(text) + "\n")
    sys.stderr.flush()


@contextmanager
def standard_output() -> Generator[None]:
    """A full disk under standard output is one clear line; a reader that has closed it (`head`) is no error."""
    try:
        yield
    except BrokenPipeError:
        os._exit(ExitCode.OK)
    except OSError as error:
        raise CommandError(
            f"standard output: {error.strerror}", ExitCode.UNAVAILABLE
        ) from error


def write(text: str) -> None:
    """Write a line of data to standard output."""
    _write(shown_line(text))


def write_text(text: str) -> None:
    """Write data of several lines to standard output."""
    _write(shown(text))


def write_cells(values: Iterable[Any]) -> None:
    """Write a line of tab-separated values."""
    cells = map(export_cell, values)
    _write("\t".join(cells))


def _write(text: str) -> None:
    with standard_output():
        sys.stdout.write(text + "\n")


def write_bytes(data: bytes) -> None:
    """Write data as it is to standard output."""
    with standard_output():
        sys.stdout.buffer.write(data)


def write_json(value: Any) -> None:
    """Write data as indented JSON, with times in ISO 8601 and bytes in hexadecimal."""
    _write(json_text(value, indent=2, default=_json_value))


def write_json_line(value: Any) -> None:
    """Write data as one line of JSON, at once: a program may wait for it."""
    _write(json_text(value, default=_json_value))
    with standard_output():
        sys.stdout.flush()


def _json_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    return str(value)


def write_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str = "no rows"
) -> None:
    """Write a plain table with numbers to the right; `empty` is the message where there is no row."""
    from rich.console import Console

    all_rows = [list(row) for row in rows]
    if not all_rows:
        write_message(empty)
        return
    table = table_of(columns, all_rows)
    width = None if sys.stdout.isatty() else PIPE_COLUMNS
    with standard_output():
        Console(width=width).print(table)


def table_of(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> "Table":
    """A plain table with numbers to the right."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, name in enumerate(columns):
        values = [row[index] for row in rows]
        justify = "left"
        if all(map(_is_number_or_absent, values)):
            justify = "right"
        title = _cell(name)
        table.add_column(title, justify=justify, overflow="fold")
    for row in rows:
        cells = map(_cell, row)
        table.add_row(*cells)
    return table


def _is_number_or_absent(value: Any) -> bool:
    return value is None or isinstance(value, (int, float))


def _cell(value: Any) -> "Text":
    return text_of(_cell_text(value))


def text_of(text: str, style: str = "") -> "Text":
    """One line for a table or a display: a string would be read as markup, in which "[/b]" is an error."""
    from rich.text import Text

    return Text(one_line(text), style=style)


def _cell_text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return _local_time(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def _local_time(moment: datetime) -> str:
    try:
        return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (
        ValueError,
        OverflowError,
    ):  # the first and the last day of the calendar, in some time zones
        return moment.isoformat(sep=" ", timespec="seconds")


# ── the end of a command ────────────────────────────────────────────────────────────────────────────────────────────


def exit_process(code: int) -> NoReturn:
    """End the process at once.

    Temporal's client library may crash while the interpreter shuts down (temporalio/sdk-python#300).
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # it was reported already, or cannot be
            stream.flush()
    os._exit(code)


def run_command(command: Callable[[], Any], *, debug: bool) -> NoReturn:
    """Run a command, then end the process with its exit code."""
    exit_process(exit_code_of(command, debug=debug))


def exit_code_of(command: Callable[[], Any], *, debug: bool) -> int:
    """Run a command; every expected error becomes one line on standard error.

    Args:
        command: returns an exit code, or anything else for 0.
        debug: write the trace of an error, too.
    """
    try:
        code = command()
        with standard_output():
            sys.stdout.flush()
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        os._exit(ExitCode.OK)
    except Exception as error:
        code, message = exit_code_and_message(error)
        if code == ExitCode.INTERNAL_ERROR:
            _report_internal_error(error, debug=debug)
        else:
            _report_error(error, message, debug=debug)
        return code
    return as_exit_code(code)


def as_exit_code(result: Any) -> int:
    """What a command returned, as an exit code: anything but a number is success."""
    if isinstance(result, int):
        return result
    return ExitCode.OK


def check_exit_code(*, passed: bool) -> ExitCode:
    """The exit code of a check."""
    if passed:
        return ExitCode.OK
    return ExitCode.CHECK_FAILED


def exit_code_and_message(error: Exception) -> tuple[ExitCode, str]:
    """The exit code of an error, and the one line that is written for it."""
    message = " ".join(str(error).split()) or type(error).__name__
    for classify in (
        _own_error,
        _write_error,
        _database_error,
        _kafka_error,
        _temporal_error,
    ):
        classified = classify(error, message)
        if classified is not None:
            return classified
    return ExitCode.INTERNAL_ERROR, message


def _own_error(error: Exception, message: str) -> tuple[ExitCode, str] | None:
    if isinstance(error, CommandError):
        if not str(error):
            return error.code, ""
        return error.code, message
    if (
        "corpus.errors" not in sys.modules
    ):  # it takes half a second to import, and none of it was raised
        return None
    from corpus.errors import DependencyError, FreshetError

    if isinstance(error, DependencyError):
        return ExitCode.UNAVAILABLE, message
    if isinstance(error, FreshetError):
        return ExitCode.USAGE, message
    return None


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


def _write_error(error: Exception, _message: str) -> tuple[ExitCode, str] | None:
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return (
            ExitCode.UNAVAILABLE,
            f"{error.filename or 'cannot write'}: {error.strerror}",
        )
    return None


def _database_error(error: Exception, _message: str) -> tuple[ExitCode, str] | None:
    if not type(error).__module__.startswith("psycopg"):
        return None
    from psycopg import DataError, InterfaceError, OperationalError, errors

    from corpus.disclosure.error_text import public_text

    message = public_text(error)

    if isinstance(error, (OperationalError, InterfaceError)):
        return ExitCode.UNAVAILABLE, message
    if isinstance(
        error, (errors.UndefinedTable, errors.UndefinedColumn, errors.InvalidSchemaName)
    ):
        return (
            ExitCode.USAGE,
            "the database's schema is missing or older than this version; "
            f"run `freshet migrate` ({message})",
        )
    if isinstance(error, errors.InsufficientPrivilege):
        return (
            ExitCode.USAGE,
            f"the database user may not do this; grant it the right, or use another user ({message})",
        )
    if isinstance(error, DataError):
        return ExitCode.USAGE, message
    return None


def _kafka_error(error: Exception, _message: str) -> tuple[ExitCode, str] | None:
    if (
        type(error).__name__ != "KafkaException"
    ):  # its module is the compiled part, "cimpl"
        return None
    from confluent_kafka import KafkaError

    from corpus.disclosure.error_text import public_text

    cause = next(iter(error.args), None)
    if not isinstance(cause, KafkaError):
        return ExitCode.UNAVAILABLE, f"Kafka: {public_text(error)}"
    if cause.code() == KafkaError._INVALID_ARG:
        return (
            ExitCode.USAGE,
            f"FRESHET_KAFKA_PROPERTIES or an argument is wrong: {public_text(error)}",
        )
    return ExitCode.UNAVAILABLE, f"Kafka: {cause.str()}"


def _temporal_error(error: Exception, message: str) -> tuple[ExitCode, str] | None:
    if type(error).__module__.startswith("temporalio"):
        return ExitCode.UNAVAILABLE, message
    return None


def _report_error(error: Exception, message: str, *, debug: bool) -> None:
    if debug:
        _write_trace(error)
    if message:
        write_message(f"freshet: {message}")


def _report_internal_error(error: Exception, *, debug: bool) -> None:
    """An unexpected error: its trace goes to the log of a process that keeps one, else a line says how to see it."""
    if logging.getLogger().handlers:
        logger.critical(
            "unexpected error", exc_info=error, extra={"action": "unexpected_error"}
        )
        return
    from corpus.disclosure.error_text import public_text

    summary = public_text(error)
    if debug:
        write_message(f"freshet: internal error: {summary}")
        _write_trace(error)
        return
    hint = "Run the command again with --debug to see where it happened."
    write_message(f"freshet: internal error: {summary}. {hint}")


def _write_trace(error: Exception) -> None:
    """Where an error happened; a library's message may quote what it was working on, so it is left out."""
    from corpus.disclosure.error_text import public_trace

    write_message(public_trace(error).rstrip())
