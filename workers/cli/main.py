"""The command line. Commands live in `workers.cli.commands`, an area a file; heavy libraries are imported when one runs."""

import os
import sys
from typing import Any

import typer

from workers.cli.console import CommandError, run_command

AREAS = ("stack", "ingest", "dead_letters", "corpus", "freshness", "subscriptions", "roles")


def build() -> typer.Typer:
    """The whole command tree."""
    from importlib import import_module

    app = typer.Typer(
        name="freshet",
        help="A streaming data-prep service that keeps a RAG corpus true. Start with `freshet up`, then `freshet apply freshet.toml`.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def options(
        home: str = typer.Option(
            "", "--home", help="State directory of the local stack (FRESHET_HOME)."
        ),
        debug: bool = typer.Option(False, "--debug", help="Show traces of errors."),
    ) -> None:
        if home:
            os.environ["FRESHET_HOME"] = home

    for area in AREAS:
        import_module(f"workers.cli.commands.{area}").register(app)
    return app


def main() -> None:
    """Console script `freshet`."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    arguments, debug = without_debug(sys.argv[1:])

    def command() -> int:
        require_text(arguments)
        try:
            result = build()(args=arguments, prog_name="freshet", standalone_mode=False)
        except typer.Exit as leaving:
            return leaving.exit_code
        except typer.Abort:
            return 130
        except Exception as error:
            if hasattr(error, "format_message") and hasattr(
                error, "ctx"
            ):  # a usage error of the command-line library
                raise CommandError(usage_problem(error)) from error
            raise
        return result if isinstance(result, int) else 0

    run_command(command, debug=debug)


def require_text(arguments: list[str]) -> None:
    """Bytes that are not UTF-8 arrive as lone surrogates, which no service takes.

    Raises:
        CommandError: names the argument.
    """
    for argument in arguments:
        if not argument.isascii() and any(
            "\udc80" <= character <= "\udcff" for character in argument
        ):
            shown = argument.encode("utf-8", "surrogateescape")
            raise CommandError(f"argument {str(shown)[1:]} is not UTF-8; give it as UTF-8 text")


def without_debug(arguments: list[str]) -> tuple[list[str], bool]:
    """Take `--debug` out wherever it stands (before a `--`): people add it to the end of the command that failed."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    kept = [argument for argument in arguments[:end] if argument != "--debug"]
    return kept + arguments[end:], len(kept) < end


def usage_problem(error: Any) -> str:
    """One line: what is wrong with the command, and where its help is. Empty where the help was shown already."""
    message = " ".join(error.format_message().split())
    if not message:
        return ""
    path = error.ctx.command_path if error.ctx is not None else "freshet"
    return f"{message.rstrip('.')}. See `{path} --help`."
