"""The command line. Commands live in `workers.commands`, an area a file; heavy libraries are imported when one runs."""

import os
import sys

import typer

from workers.console import run_command

AREAS = ("stack", "ingest", "corpus", "freshness", "subscriptions", "roles")


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
        home: str = typer.Option("", "--home", help="State directory of the local stack (FRESHET_HOME)."),
        debug: bool = typer.Option(False, "--debug", help="Show traces of errors."),
    ) -> None:
        if home:
            os.environ["FRESHET_HOME"] = home

    for area in AREAS:
        import_module(f"workers.commands.{area}").register(app)
    return app


def main() -> None:
    """Console script `freshet`."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    debug = "--debug" in sys.argv

    def command() -> int:
        try:
            result = build()(standalone_mode=False)
        except typer.Exit as leaving:
            return leaving.exit_code
        except typer.Abort:
            return 130
        except Exception as error:
            if hasattr(error, "format_message") and hasattr(error, "show"):  # a usage error of the command-line library
                error.show()
                return 2
            raise
        return result if isinstance(result, int) else 0

    run_command(command, debug=debug)
