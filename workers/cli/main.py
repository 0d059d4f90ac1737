"""The command line. `workers.cli.commands` has one file per area; a command imports heavy libraries when it runs."""

import os
import re
import sys
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any

import typer

from workers.cli.console import (
    CommandError,
    ExitCode,
    as_exit_code,
    exit_code_of,
    exit_process,
)

AREAS = (
    *("stack", "ingest", "try_topic", "moving.produce", "moving.import_files"),
    *("moving.backfill", "dead_letters", "search", "corpus", "clean"),
    "moving.bring_embeddings",
    *("document", "drain", "top", "freshness", "audit", "subscriptions"),
    *(
        "access.teams",
        "access.readers",
        "roles",
        "maintain",
        "erase.order",
        "erase.purge",
        "installation",
    ),
)
_NOT_UTF8 = re.compile("[\udc80-\udcff]")


@cache
def build() -> typer.Typer:
    """The whole command tree."""
    app = typer.Typer(
        name="freshet",
        help="A streaming data-prep service that keeps a RAG corpus true. "
        "Start with `freshet up`, then `freshet apply freshet.toml`.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_global_options)
    for area in AREAS:
        import_module(f"workers.cli.commands.{area}").register(app)
    return app


def _global_options(
    home: str = typer.Option(
        "", "--home", help="State directory of the local stack (FRESHET_HOME)."
    ),
    debug: bool = typer.Option(False, "--debug", help="Show traces of errors."),
) -> None:
    if home:
        os.environ["FRESHET_HOME"] = home


def main() -> None:
    """Console script `freshet`."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    for stream in (sys.stdout, sys.stderr):
        # A character that the terminal's encoding lacks is written as an escape; it does not end the command.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    exit_process(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run a command line; returns its exit code."""
    words, debug = take_debug_option(list(arguments))

    def command() -> int:
        require_utf8(words)
        return _invoke(words)

    return exit_code_of(command, debug=debug)


def _invoke(words: list[str]) -> int:
    try:
        result = build()(args=words, prog_name="freshet", standalone_mode=False)
    except typer.Exit as leaving:
        return leaving.exit_code
    except typer.Abort:
        return ExitCode.INTERRUPTED
    except Exception as error:
        if not _is_usage_error(error):
            raise
        raise CommandError(usage_problem(error)) from error
    return as_exit_code(result)


def _is_usage_error(error: Exception) -> bool:
    """Of the command-line library, which has no public name for them."""
    return hasattr(error, "format_message") and hasattr(error, "ctx")


def require_utf8(arguments: list[str]) -> None:
    """Bytes that are not UTF-8 arrive as lone surrogates, which no service takes.

    Raises:
        CommandError: names the argument.
    """
    for argument in arguments:
        if _NOT_UTF8.search(argument):
            received = argument.encode("utf-8", "surrogateescape")
            quoted = repr(received).removeprefix("b")
            raise CommandError(f"argument {quoted} is not UTF-8; give it as UTF-8 text")


def take_debug_option(arguments: list[str]) -> tuple[list[str], bool]:
    """The arguments without `--debug`, and whether it was there.

    It may be anywhere before a `--`, because people add it to the end of the command that failed.
    """
    end = arguments.index("--") if "--" in arguments else len(arguments)
    kept = [argument for argument in arguments[:end] if argument != "--debug"]
    return kept + arguments[end:], len(kept) < end


def usage_problem(error: Any) -> str:
    """One line: what is wrong with the command, and where its help is. Empty where the help was shown already."""
    message = " ".join(error.format_message().split())
    if not message:
        return ""
    path = getattr(error.ctx, "command_path", "freshet")
    problem = message.rstrip(".")
    return f"{problem}. See `{path} --help`."
