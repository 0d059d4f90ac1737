"""`freshet up`, `down`, `status`, `logs`, `doctor`: the local stack."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workers.cli.console import (
    MAX_ROWS,
    MAX_WAIT_SECONDS,
    CommandError,
    ExitCode,
    say,
    write,
    write_json,
    write_table,
)

if TYPE_CHECKING:
    from rich.table import Table

    from compose.local.commands import UpResult
    from compose.local.parts.part import PartStatus

Home = Annotated[
    str, typer.Option("--home", help="State directory (FRESHET_HOME).", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]


def up(
    detach: Annotated[
        bool,
        typer.Option(
            "--detach", "-d", help="Leave a supervisor behind and return when all is ready."
        ),
    ] = False,
    no_workers: Annotated[
        bool, typer.Option("--no-workers", help="Only PostgreSQL, Kafka and Temporal.")
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only", help="Only this part and what it needs; may be repeated.", show_default=False
        ),
    ] = None,
    postgres_port: Annotated[
        int, typer.Option(help="Port of PostgreSQL; 0: a free one, kept.")
    ] = 0,
    kafka_port: Annotated[int, typer.Option(help="Port of Kafka.")] = 0,
    kafka_controller_port: Annotated[int, typer.Option(help="Port of Kafka's controller.")] = 0,
    temporal_port: Annotated[int, typer.Option(help="Port of Temporal.")] = 0,
    temporal_ui_port: Annotated[int, typer.Option(help="Port of Temporal's web UI.")] = 0,
    timeout: Annotated[
        float,
        typer.Option(
            min=0,
            max=MAX_WAIT_SECONDS,
            help="Seconds to wait until all is ready (the first start may download).",
        ),
    ] = 1800.0,
    home: Home = "",
) -> int:
    """Start the whole stack; what runs already is left alone. Ctrl-C ends it, unless --detach."""
    from compose.local import commands as local

    where = _home(home)
    names = local.select_parts(workers=not no_workers, only=only or ())
    given = {
        "postgres": postgres_port,
        "kafka": kafka_port,
        "kafka-controller": kafka_controller_port,
        "temporal": temporal_port,
        "temporal-ui": temporal_ui_port,
    }
    local.prepare_home(where, {name: port for name, port in given.items() if port})
    running = local.read_supervisor(where) is not None
    with _progress(names) as on_change:
        if detach or running:
            result = local.up_detached(where, names, on_change=on_change, timeout=timeout)
        else:
            result = local.up_attached(
                where,
                names,
                on_change=on_change,
                on_ready=lambda ready: _attached_ready(ready, where),
                timeout=timeout,
            )
            return ExitCode.OK if result.ready or not result.failures else ExitCode.UNAVAILABLE
    if not result.ready:
        raise CommandError(_failure(result), ExitCode.UNAVAILABLE)
    if result.already:
        say(f"all of it runs already in {where}")
    _tell_addresses(result)
    return ExitCode.OK


def down(home: Home = "") -> int:
    """End everything that `freshet up` started; the state stays."""
    from compose.local import commands as local

    where = _home(home)
    ran = local.down(where, on_stop=lambda name: say(f"stopping {name}"))
    say("stopped; the state stays in " + str(where) if ran else f"nothing runs in {where}")
    return ExitCode.OK


def status(json: Json = False, home: Home = "") -> int:
    """The parts: state, process, restarts, address. Exit code 1 if one is not usable, 3 if nothing runs."""
    from compose.local import commands as local

    where = _home(home)
    stack = local.read_stack(where)
    supervisor = local.read_supervisor(where)
    rows = [_row(part) for part in local.read_statuses(where).values()]
    if json:
        write_json(
            {
                "home": str(where),
                "supervisor": supervisor.pid if supervisor else None,
                "addresses": stack.addresses,
                "parts": rows,
            }
        )
    elif rows:
        columns = ("part", "state", "pid", "uptime_s", "restarts", "address", "version", "error")
        write_table(columns, [[row[name] for name in columns] for row in rows])
    if not rows:
        if not json:
            say(f"nothing runs in {where}; start it with `freshet up`")
        return ExitCode.UNAVAILABLE
    if supervisor is None:
        say(
            "the supervisor does not run: a part that dies is not started again. `freshet up --detach` takes over what runs."
        )
    return ExitCode.OK if all(row["usable"] for row in rows) else ExitCode.CHECK_FAILED


def logs(
    part: Annotated[
        str,
        typer.Argument(
            help="A part, or `supervisor`; all of them if left out.", show_default=False
        ),
    ] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as they grow.")] = False,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=0, max=MAX_ROWS, help="How many of the last lines.")
    ] = 50,
    home: Home = "",
) -> int:
    """What the parts wrote."""
    from compose.local.machine.process import last_lines

    folder = _home(home) / "logs"
    found = sorted(path for path in folder.glob("*.log") if not part or path.stem == part)
    if not found:
        known = ", ".join(sorted(path.stem for path in folder.glob("*.log"))) or "none yet"
        raise CommandError(f"no log of {part or 'any part'} in {folder}; logs there: {known}")
    ends = {path: path.stat().st_size for path in found}
    for path in found:
        for line in last_lines(path, lines):
            write(_labelled(line, path, alone=bool(part)))
    while follow:
        sys.stdout.flush()
        time.sleep(0.2)
        for path in found:
            ends[path] = _write_new(path, ends[path], alone=bool(part))
    return ExitCode.OK


def doctor(json: Json = False, home: Home = "") -> int:
    """Check the machine and the stack; each check says what is wrong and what to do. Exit code 1 if one fails."""
    from compose.local.doctor import run_checks

    checks = run_checks(_home(home))
    if json:
        write_json(
            [{"check": c.name, "ok": c.ok, "found": c.observed, "remedy": c.remedy} for c in checks]
        )
    else:
        write_table(
            ("check", "", "found", "what to do"),
            [
                (c.name, "ok" if c.ok else "FAILED", c.observed, "" if c.ok else c.remedy)
                for c in checks
            ],
        )
    return ExitCode.OK if all(check.ok for check in checks) else ExitCode.CHECK_FAILED


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (up, down, status, logs, doctor):
        app.command()(command)


def _home(given: str) -> Path:
    import os

    from workers.config.addresses import default_home

    if given:
        os.environ["FRESHET_HOME"] = given
    return default_home()


# ── what is shown ───────────────────────────────────────────────────────────────────────────────────────────────────


class _Plain:
    """A line a change, for logs and pipes."""

    def __enter__(self) -> "Callable[[PartStatus], None]":
        self._began = time.monotonic()
        self._last: dict[str, str] = {}
        return self._show

    def __exit__(self, *_: object) -> None:
        pass

    def _show(self, part: "PartStatus") -> None:
        text = _words(part)
        if self._last.get(part.name) != text:
            self._last[part.name] = text
            say(f"{time.monotonic() - self._began:6.1f} s  {part.name:<13} {text}")


class _Live:
    """A table that is drawn anew, for a terminal."""

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def __enter__(self) -> "Callable[[PartStatus], None]":
        from rich.console import Console
        from rich.live import Live

        self._parts: dict[str, PartStatus] = {}
        self._live = Live(self._table(), console=Console(stderr=True), refresh_per_second=8)
        self._live.start()
        return self._show

    def __exit__(self, *_: object) -> None:
        self._live.update(self._table())
        self._live.stop()

    def _show(self, part: "PartStatus") -> None:
        self._parts[part.name] = part
        self._live.update(self._table())

    def _table(self) -> "Table":
        from rich.spinner import Spinner
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        for name in self._names:
            part = self._parts.get(name)
            if part is None:
                table.add_row(Text("·"), name, Text("waiting", style="dim"))
                continue
            sign = (
                Text("✔", style="green")
                if part.state.usable
                else Text("✘", style="red")
                if part.error
                else Spinner("dots")
            )
            table.add_row(
                sign, name, Text(_words(part), style="" if part.state.usable else "yellow")
            )
        return table


def _progress(names: list[str]) -> "_Live | _Plain":
    return _Live(names) if sys.stderr.isatty() else _Plain()


def _words(part: "PartStatus") -> str:
    if part.state.usable:
        took = f"({part.took_seconds:.1f} s)" if part.took_seconds is not None else ""
        return "  ".join(
            word for word in (str(part.state), part.address, part.version, part.note, took) if word
        )
    return "  ".join(word for word in (part.note or str(part.state), part.error) if word)


def _row(part: "PartStatus") -> dict[str, object]:
    from compose.local.commands import uptime_seconds

    process = part.process
    alive = process is None or process.alive()
    uptime = uptime_seconds(process)
    return {
        "part": part.name,
        "state": str(part.state) if alive else "dead",
        "usable": part.state.usable and alive,
        "pid": part.pid,
        "uptime_s": None if uptime is None else round(uptime),
        "restarts": part.restarts,
        "address": part.address,
        "version": part.version,
        "error": part.error,
        "log": part.log,
    }


def _failure(result: "UpResult") -> str:
    if not result.failures:
        return "the supervisor ended before all was ready; see `freshet logs supervisor`"
    told = "; ".join(
        f"{part.name}: {part.error or part.note or part.state}" for part in result.failures
    )
    if any(part.state == "failed" for part in result.failures):
        return f"not everything started: {told}. What runs goes on; put this right and say `freshet up` again."
    return f"not everything started: {told}. See `freshet logs {result.failures[0].name}`; it is tried again until `freshet down`."


def _attached_ready(result: "UpResult", home: Path) -> None:
    if result.ready:
        _tell_addresses(result)
        say(f"ready; state in {home}. Ctrl-C ends it.")
    else:
        say("freshet: " + _failure(result))


def _tell_addresses(result: "UpResult") -> None:
    for name, address in result.addresses.items():
        if address:
            say(f"  {name.replace('_', ' '):<18} {_hide_password(address)}")


def _hide_password(address: str) -> str:
    import re

    return re.sub(
        r"(://[^:/@]+:)[^@]+@", r"\1***@", re.sub(r"password=\S+", "password=***", address)
    )


def _labelled(line: str, path: Path, *, alone: bool) -> str:
    return line if alone else f"{path.stem:<13} {line}"


def _write_new(path: Path, end: int, *, alone: bool) -> int:
    """Write the whole lines after `end`; return where the next ones begin."""
    try:
        size = path.stat().st_size
        with path.open("rb") as source:
            source.seek(end if size >= end else 0)  # smaller: it was moved aside
            grown = source.read()
    except OSError:
        return 0
    whole = grown[: grown.rfind(b"\n") + 1]
    for line in whole.decode("utf-8", errors="replace").splitlines():
        write(_labelled(line, path, alone=alone))
    return (end if size >= end else 0) + len(whole)
