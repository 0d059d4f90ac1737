"""`freshet up`, `down`, `status`, `logs`, `doctor`: the local stack."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workers.cli.commands.status import Home, Json, state_directory, status
from workers.cli.console import (
    MAX_ROWS,
    MAX_WAIT_SECONDS,
    CommandError,
    ExitCode,
    check_exit_code,
    write,
    write_json,
    write_message,
    write_table,
)
from workers.cli.parts_display import part_display

if TYPE_CHECKING:
    from compose.local.commands import UpResult
    from compose.local.doctor import CheckResult

_FOLLOW_SECONDS = 0.2

Detach = Annotated[
    bool,
    typer.Option(
        "--detach", "-d", help="Leave a supervisor behind and return when all is ready."
    ),
]
NoWorkers = Annotated[
    bool, typer.Option("--no-workers", help="Only PostgreSQL, Kafka and Temporal.")
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        help="Only this part and what it needs; may be repeated.",
        show_default=False,
    ),
]
PostgresPort = Annotated[
    int, typer.Option(help="Port of PostgreSQL; 0: a free one, which is kept.")
]
KafkaPort = Annotated[int, typer.Option(help="Port of Kafka.")]
KafkaControllerPort = Annotated[int, typer.Option(help="Port of Kafka's controller.")]
TemporalPort = Annotated[int, typer.Option(help="Port of Temporal.")]
TemporalUiPort = Annotated[int, typer.Option(help="Port of Temporal's web UI.")]
Timeout = Annotated[
    float,
    typer.Option(
        min=0,
        max=MAX_WAIT_SECONDS,
        help="Seconds to wait until all is ready (the first start may download).",
    ),
]
SingleUser = Annotated[
    bool,
    typer.Option(
        "--single-user", help="Only you use this machine: no warning of other users."
    ),
]
Part = Annotated[
    str,
    typer.Argument(
        help="A part, or `supervisor`; all of them if left out.", show_default=False
    ),
]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Continue as they grow.")]
Lines = Annotated[
    int,
    typer.Option(
        "--lines", "-n", min=0, max=MAX_ROWS, help="How many of the last lines."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (up, down, status, logs, doctor):
        app.command()(command)


# ── up and down ─────────────────────────────────────────────────────────────────────────────────────────────────────


def up(
    detach: Detach = False,
    no_workers: NoWorkers = False,
    only: Only = None,
    postgres_port: PostgresPort = 0,
    kafka_port: KafkaPort = 0,
    kafka_controller_port: KafkaControllerPort = 0,
    temporal_port: TemporalPort = 0,
    temporal_ui_port: TemporalUiPort = 0,
    timeout: Timeout = 1800.0,
    single_user: SingleUser = False,
    home: Home = "",
) -> int:
    """Start the whole stack; what runs already is left alone. Ctrl-C ends it, unless --detach."""
    from compose.local import commands as local

    where = state_directory(home)
    names = local.select_parts(workers=not no_workers, only=only or ())
    ports = {
        "postgres": postgres_port,
        "kafka": kafka_port,
        "kafka-controller": kafka_controller_port,
        "temporal": temporal_port,
        "temporal-ui": temporal_ui_port,
    }
    local.prepare_home(where, {name: port for name, port in ports.items() if port})
    if not single_user:
        _warn_of_other_users()
    if detach or local.read_supervisor(where) is not None:
        return _up_detached(where, names, timeout)
    return _up_attached(where, names, timeout)


def _warn_of_other_users() -> None:
    from compose.local.machine.users import shared_machine_warning

    if warning := shared_machine_warning():
        write_message(f"{warning}. --single-user: only you use this machine.")


def _up_detached(home: Path, names: list[str], timeout: float) -> int:
    from compose.local import commands as local

    with part_display(names) as display:
        result = local.up_detached(home, names, on_change=display.show, timeout=timeout)
    if not result.ready:
        raise CommandError(_failure(result), ExitCode.UNAVAILABLE)
    if result.already:
        write_message(f"everything runs already in {home}")
    _show_addresses(result)
    return ExitCode.OK


def _up_attached(home: Path, names: list[str], timeout: float) -> int:
    from compose.local import commands as local

    with part_display(names) as display:
        result = local.up_attached(
            home,
            names,
            on_change=display.show,
            on_ready=lambda ready: _show_attached(ready, home),
            timeout=timeout,
        )
    if result.ready or not result.failures:
        return ExitCode.OK
    return ExitCode.UNAVAILABLE


def _show_attached(result: "UpResult", home: Path) -> None:
    if not result.ready:
        write_message("freshet: " + _failure(result))
        return
    _show_addresses(result)
    write_message(f"ready; the state is in {home}. Ctrl-C ends it.")


def _show_addresses(result: "UpResult") -> None:
    from corpus.disclosure.secret import without_password

    for name, address in result.addresses.items():
        if address and not name.endswith("_file"):
            write_message(f"  {name.replace('_', ' '):<18} {without_password(address)}")


def _failure(result: "UpResult") -> str:
    if not result.failures:
        return "the supervisor ended before everything was ready; see `freshet logs supervisor`"
    parts = [
        f"{part.name}: {part.error or part.note or part.state}"
        for part in result.failures
    ]
    failure = f"not everything started: {'; '.join(parts)}"
    if any(part.state == "failed" for part in result.failures):
        return f"{failure}. The other parts continue; correct this and run `freshet up` again."
    first = result.failures[0].name
    return f"{failure}. See `freshet logs {first}`; it is tried again until `freshet down`."


def down(home: Home = "") -> int:
    """End everything that `freshet up` started; the state stays."""
    from compose.local import commands as local

    where = state_directory(home)
    ran = local.down(where, on_stop=lambda name: write_message(f"stopping {name}"))
    if ran:
        write_message(f"stopped; the state stays in {where}")
    else:
        write_message(f"nothing runs in {where}")
    return ExitCode.OK


# ── doctor ───────────────────────────────────────────────────────────────────────────────────────────────


def doctor(json: Json = False, home: Home = "") -> int:
    """Check the machine and the stack; each check says what is wrong and what to do. Exit code 1 if one fails."""
    from compose.local.doctor import run_checks

    checks = run_checks(state_directory(home))
    if json:
        write_json(
            [
                {"check": c.name, "ok": c.ok, "found": c.observed, "remedy": c.remedy}
                for c in checks
            ]
        )
    else:
        write_table(("check", "", "found", "what to do"), map(_check_cells, checks))
    return check_exit_code(passed=all(check.ok for check in checks))


def _check_cells(check: "CheckResult") -> list[str]:
    if check.ok:
        return [check.name, "ok", check.observed, ""]
    return [check.name, "FAILED", check.observed, check.remedy]


# ── logs ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def logs(
    part: Part = "", follow: Follow = False, lines: Lines = 50, home: Home = ""
) -> int:
    """What the parts wrote."""
    from compose.local.machine.process import last_lines

    paths = _log_files(state_directory(home) / "logs", part)
    ends = {path: path.stat().st_size for path in paths}
    for path in paths:
        for line in last_lines(path, lines):
            write(_labelled(line, path, alone=bool(part)))
    while follow:
        sys.stdout.flush()
        time.sleep(_FOLLOW_SECONDS)
        for path in paths:
            ends[path] = write_new_lines(path, ends[path], alone=bool(part))
    return ExitCode.OK


def _log_files(folder: Path, part: str) -> Sequence[Path]:
    everything = sorted(folder.glob("*.log"))
    paths = [path for path in everything if not part or path.stem == part]
    if not paths:
        known = ", ".join(path.stem for path in everything) or "none yet"
        raise CommandError(
            f"no log of {part or 'any part'} in {folder}; logs there: {known}"
        )
    return paths


def _labelled(line: str, path: Path, *, alone: bool) -> str:
    if alone:
        return line
    return f"{path.stem:<13} {line}"


def write_new_lines(path: Path, end: int, *, alone: bool) -> int:
    """Write the whole lines that a log has after `end`; returns where the next ones begin.

    A log that is smaller than `end` was rotated, and is read from its beginning.
    """
    try:
        with path.open("rb") as log:
            size = path.stat().st_size
            begin = end
            if size < end:
                begin = 0
            log.seek(begin)
            grown = log.read()
    except OSError:
        return 0
    length = grown.rfind(b"\n") + 1
    whole = grown[:length]
    text = whole.decode("utf-8", errors="replace")
    for line in text.splitlines():
        labelled = _labelled(line, path, alone=alone)
        write(labelled)
    return begin + len(whole)
