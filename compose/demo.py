"""`make demo`: the whole of Freshet, on real servers and real changes, in about two minutes.

1. start the stack and apply the example's configuration
2. start an application team in its own namespace
3. stream 60 documents and 308 later changes, and show what happens meanwhile
4. ask three questions that only the changes answer, and show the lineage of one document
5. let a document expire
6. show what to try next

The stack keeps running afterwards. The demo can be run again, also after it was killed: what exists is used, and
nothing is done twice.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from psycopg.rows import class_row, scalar_row

from compose.local.state import read_stack
from corpus.access.keys import key_file
from corpus.database import Connection, connect
from corpus.sql import query
from workers.cli.console import write_message
from workers.config.addresses import default_home
from workers.config.settings import load
from workers.shown import shown_line

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "peps"
SOURCE = "peps"
TEAM = "team-search"
FRESHET = [sys.executable, "-m", "workers"]
# Each is answered by a text that came with a change, after the first version of its document.
QUESTIONS = (
    "how does a class namespace resolve names",
    "type parameter defaults",
    "extensible JSON serialization",
)
LINEAGE_OF = "pep-0840"
_DRAIN_SECONDS = 600.0
# Temporal's circuit breaker tries an endpoint that did not answer once per minute.
_NOTICE_SECONDS = 90.0
_EXPIRY_SECONDS = 12
_CHANGES_PER_SECOND = 40
# Seconds between two lines about the progress, where the output is not a terminal.
_LINE_SECONDS = 3.0
_POLL_SECONDS = 0.25
_CLEAR_LINE = "\r\033[K"


class DemoError(Exception):
    """A step failed; the output of the step says why."""


def main() -> int:
    """Run the demo; return the exit code."""
    try:
        _run()
    except DemoError as error:
        _print(f"\nThe demo stopped: {error}")
        return 1
    except KeyboardInterrupt:
        _print(
            "\nYou stopped the demo. `make demo` continues it; `make down` ends the stack."
        )
        return 130
    return 0


def _run() -> None:
    _print_title(
        "1. The stack starts: PostgreSQL with pgvector, Kafka, Temporal and six workers."
    )
    _freshet("up", "--detach")
    _freshet("apply", str(EXAMPLE / "freshet.toml"))
    if not key_file(load().team_keys, TEAM).exists():
        _freshet("teams", "key", TEAM)
    notices = Path(tempfile.mkdtemp(prefix="freshet-demo-")) / "notices.jsonl"
    with _team(notices), connect(load().database_url) as connection:
        _print_title(
            "2. An application team waits for news in its own Temporal namespace."
        )
        _print(f"   Its code is in examples/team. It writes every notice to {notices}.")
        _print_title("3. Sixty documents arrive, then every change since 2024-01-01.")
        count = _count_lines(notices)
        _stream(connection)
        _show_notice(notices, count)
        _print_title(
            "4. Three questions. A text that changed on the way answers each of them."
        )
        for question in QUESTIONS:
            _freshet("search", question, "-k", "1")
        _print_title(f"   Where {LINEAGE_OF} comes from, and who was notified of it:")
        _freshet("lineage", LINEAGE_OF)
        _print_title("5. A document expires, at a time that its own event names.")
        _expire(connection)
    _print_title("6. What was done, and what runs:")
    _freshet("batches", "--limit", "6")
    _freshet("status")
    _print_next_steps()


# ── 3 ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Sums:
    """What was done with the records of the source, summed over its batches; a row of `ledger_sums`."""

    batches: int
    records: int
    applied: int
    unchanged: int
    superseded: int
    dead_lettered: int
    texts_embedded: int
    chunks_reused: int

    def since(self, earlier: "Sums") -> "Sums":
        """Return what was done since earlier sums."""
        differences = {
            field.name: getattr(self, field.name) - getattr(earlier, field.name)
            for field in fields(Sums)
        }
        return Sums(**differences)


class _Display:
    """The progress of a stream: one line that changes on a terminal, elsewhere a line every few seconds."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._before = read_sums(connection)
        self._began = time.monotonic()
        self._printed = 0.0

    def follow(self, process: "subprocess.Popen[Any]") -> None:
        """Show the progress until a process ends."""
        while process.poll() is None:
            self._show()
            time.sleep(_POLL_SECONDS)

    def finish(self) -> None:
        """Print the result."""
        if sys.stderr.isatty():
            sys.stderr.write(_CLEAR_LINE)
        _print(self._text())

    def _show(self) -> None:
        now = time.monotonic()
        if sys.stderr.isatty():
            text = shown_line(self._text())
            sys.stderr.write(f"{_CLEAR_LINE}{text}")
            sys.stderr.flush()
        elif now - self._printed > _LINE_SECONDS:
            self._printed = now
            _print(self._text())

    def _text(self) -> str:
        seconds = time.monotonic() - self._began
        sums = read_sums(self._connection)
        return describe_progress(sums.since(self._before), seconds)


def read_sums(connection: Connection) -> Sums:
    """Read what was done since the beginning."""
    beginning = datetime.fromtimestamp(0, UTC)
    parameters = {"since": beginning, "source": SOURCE}
    cursor = connection.cursor(row_factory=class_row(Sums))
    row = cursor.execute(query("ledger_sums"), parameters).fetchone()
    if row is None:
        return Sums(0, 0, 0, 0, 0, 0, 0, 0)
    return row


def describe_progress(sums: Sums, seconds: float) -> str:
    """Return one line about what was done in some seconds."""
    rate = sums.records / max(seconds, 0.1)
    return (
        f"   {seconds:5.1f} s: {sums.records} records in {sums.batches} batches ({rate:.0f} per second): "
        f"{sums.applied} applied, {sums.unchanged} unchanged, {sums.superseded} superseded, "
        f"{sums.dead_lettered} dead letters; {sums.texts_embedded} texts embedded, {sums.chunks_reused} chunks reused"
    )


def _stream(connection: Connection) -> None:
    _produce(connection, "peps.base.jsonl.zst")
    _print(
        f"\n   Now the changes, {_CHANGES_PER_SECOND} per second. Most of the text of each document stays the same, "
        "and is not embedded again."
    )
    _produce(connection, "peps.changes.jsonl.zst", "--rate", str(_CHANGES_PER_SECOND))


def _produce(connection: Connection, file: str, *options: str) -> None:
    """Produce a file, and show what happens until all of it is in the corpus."""
    produce = ["produce", "--topic", SOURCE, *options, str(EXAMPLE / file)]
    drain = ["drain", "--timeout", str(_DRAIN_SECONDS)]
    _print_command(produce)
    display = _Display(connection)
    producing = subprocess.Popen(
        [*FRESHET, *produce, "--json"], stdout=subprocess.DEVNULL
    )
    display.follow(producing)
    _require_success(produce, producing.returncode)
    # The command shows the stage that the work is in: cleaning, embedding n of m texts, publishing.
    _print_command(drain)
    drained = subprocess.run([*FRESHET, *drain], check=False)
    _require_success(drain, drained.returncode)
    display.finish()


def _show_notice(notices: Path, before: int) -> None:
    """Wait for a notice after the first `before` ones, and print the newest."""
    deadline = time.monotonic() + _NOTICE_SECONDS
    while _count_lines(notices) <= before:
        if time.monotonic() > deadline:
            raise DemoError(
                f"no notice reached the team within {_NOTICE_SECONDS:.0f} s; "
                "`freshet subscriptions` shows the state of its delivery"
            )
        time.sleep(_POLL_SECONDS)
    lines = notices.read_text(encoding="utf-8").splitlines()
    notice: dict[str, Any] = json.loads(lines[-1])
    beginning = dict(list(notice.items())[:9])
    _print(f"   The team received a notice: {json.dumps(beginning)}")


# ── 5 ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _expire(connection: Connection) -> None:
    """Publish a document that expires soon; search it before and after."""
    now = datetime.now(UTC)
    expires_at = now + timedelta(seconds=_EXPIRY_SECONDS)
    event = {
        "id": "maintenance-window",
        "version": int(now.timestamp()),
        "title": "Maintenance window",
        "content_type": "text/plain",
        "content": "The package index is read-only tonight while its storage is moved.",
        "expires_at": expires_at.isoformat(),
    }
    _produce_event(event)
    search = ["search", "is the package index read-only", "-k", "1", "--mode", "text"]
    _freshet(*search)
    while _seconds_until(connection, expires_at) > 0:
        time.sleep(_POLL_SECONDS)
    _freshet("freshness", "check", SOURCE)
    _print("   The document is withdrawn: the same question finds it no longer,")
    _freshet(*search)
    _print("   but it is still in the answer as of one second before it expired.")
    _freshet(*search, "--as-of", (expires_at - timedelta(seconds=1)).isoformat())


def _produce_event(event: dict[str, Any]) -> None:
    produce = ["produce", "--topic", SOURCE, "-"]
    _print_command(produce)
    completed = subprocess.run(
        [*FRESHET, *produce],
        input=json.dumps(event) + "\n",
        text=True,
        check=False,
        cwd=ROOT,
    )
    _require_success(produce, completed.returncode)
    _freshet("drain", "--timeout", "60", "--source", SOURCE)


def _seconds_until(connection: Connection, instant: datetime) -> float:
    """Seconds until an instant by the clock of the database, which decides what has expired."""
    cursor = connection.cursor(row_factory=scalar_row)
    now: datetime | None = cursor.execute(query("clock")).fetchone()
    assert now is not None
    return (instant - now).total_seconds()


# ── commands and output ─────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _team(notices: Path) -> Generator[None, None, None]:
    """Run the team's worker for the length of the block."""
    environment = dict(os.environ)
    environment["FRESHET_HOME"] = str(default_home())
    command = [sys.executable, "-m", "examples.team.worker", "--log", str(notices)]
    worker = subprocess.Popen(command, cwd=ROOT, env=environment)
    try:
        yield
    finally:
        worker.terminate()
        with suppress(subprocess.TimeoutExpired):
            worker.wait(15)
        worker.kill()


def _freshet(*arguments: str) -> None:
    """Run a command of Freshet, and show the command and its output."""
    _print_command(arguments)
    completed = subprocess.run([*FRESHET, *arguments], cwd=ROOT, check=False)
    _require_success(arguments, completed.returncode)


def _require_success(arguments: Sequence[str], code: int) -> None:
    if code:
        raise DemoError(f"`freshet {quoted(arguments)}` ended with exit code {code}")


def quoted(arguments: Sequence[str]) -> str:
    """Return a command as a person would type it."""
    words = [f'"{argument}"' if " " in argument else argument for argument in arguments]
    return " ".join(words)


def _count_lines(path: Path) -> int:
    if not path.exists():
        return 0
    return len(path.read_text(encoding="utf-8").splitlines())


def _print_title(text: str) -> None:
    if not sys.stderr.isatty():
        _print(f"\n{text}")
        return
    sys.stderr.write(f"\n\033[1m{shown_line(text)}\033[0m\n")
    sys.stderr.flush()


def _print_command(arguments: Sequence[str]) -> None:
    _print(f"$ freshet {quoted(arguments)}")


def _print(text: str) -> None:
    sys.stdout.flush()
    write_message(text)


def _print_next_steps() -> None:
    home = default_home()
    temporal_ui = read_stack(home).addresses.get("temporal_ui", "")
    _print(f"""
The stack keeps running. You can try these commands; they are in .venv/bin.
  freshet search "..."                     ask a question; see --as-of, --where NAME=VALUE, --mode text, --json
  freshet produce --topic {SOURCE} FILE        send more events; then `freshet drain` and `freshet batches`
  freshet sources                          what was done with every record, and the lag
  freshet freshness report                 how fresh each source is; the exit code says it too
  python -m examples.team.worker           run the application team again: it receives the notices that it missed
  make down                                end the stack; its data stays in {home}""")
    if temporal_ui:
        _print(f"Workflows, schedules and their histories are at {temporal_ui}.")


if __name__ == "__main__":
    sys.exit(main())
