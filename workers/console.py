"""What every command does alike: JSON or a table, one clear error, exit codes.

Exit codes: 0 done; 1 a check failed (stale, lagging, unhealthy); 2 wrong usage or bad input; 3 a service is down;
4 a mistake in Freshet; 130 interrupted.
"""

import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from enum import IntEnum
from typing import Any, NoReturn


class ExitCode(IntEnum):
    """Documented exit codes."""

    OK = 0
    CHECK_FAILED = 1
    USAGE = 2
    UNAVAILABLE = 3
    MISTAKE = 4


class CommandError(Exception):
    """Ends a command with one clear message and an exit code."""

    def __init__(self, message: str, code: ExitCode = ExitCode.USAGE) -> None:
        super().__init__(message)
        self.code = code


def say(text: str) -> None:
    """Talk to the person: standard error, so that standard output stays data."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def write(text: str) -> None:
    """Data: standard output."""
    sys.stdout.write(text + "\n")


def write_json(value: Any) -> None:
    """Data as JSON, indented, times in ISO 8601."""
    write(json.dumps(value, indent=2, default=_plain, ensure_ascii=False))


def write_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str = "nothing") -> None:
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
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def run_command(command: Callable[[], Any], *, debug: bool) -> NoReturn:
    """Run the command line; turn every expected error into one line and an exit code."""
    from corpus.errors import DependencyError, FreshetError

    try:
        code = command()
    except CommandError as error:
        _complain(error, debug)
        end(error.code)
    except DependencyError as error:
        _complain(error, debug)
        end(ExitCode.UNAVAILABLE)
    except FreshetError as error:
        _complain(error, debug)
        end(ExitCode.USAGE)
    except KeyboardInterrupt:
        end(130)
    except BrokenPipeError:
        os._exit(0)
    except Exception as error:
        if type(error).__module__.startswith(("psycopg", "temporalio", "confluent_kafka")):
            _complain(error, debug)
            end(ExitCode.UNAVAILABLE)
        _confess(error, debug)
        end(ExitCode.MISTAKE)
    end(code if isinstance(code, int) else ExitCode.OK)


def _complain(error: BaseException, debug: bool) -> None:
    if debug:
        import traceback

        traceback.print_exception(error)
    first = " ".join(str(error).split()) or type(error).__name__
    if not (isinstance(error, CommandError) and not str(error)):  # an empty one: the help was shown, nothing is left to say
        say(f"freshet: {first}")


def _confess(error: Exception, debug: bool) -> None:
    """Nobody expected this error: the trace goes to the log of a process that keeps one; a person is told how to see it."""
    if logging.getLogger().handlers:
        logging.getLogger(__name__).critical("unexpected error", exc_info=error, extra={"action": "unexpected_error"})
        return
    told = " ".join(f"{type(error).__name__}: {error}".split())
    _complain(CommandError(f"a mistake in Freshet: {told}" + ("" if debug else ". The same command with --debug shows where.")), debug=False)
    if debug:
        import traceback

        traceback.print_exception(error)
