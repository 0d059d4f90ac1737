"""`make demo`: the whole of Freshet on real parts and real changes, in about two minutes.

1. start the stack and apply the example's configuration
2. start an application team in its own namespace
3. stream 60 documents and 308 later changes, and show what happens live
4. ask three questions that only later changes can answer; show one document's lineage
5. let a document expire
6. say what next; everything goes on running

It can be run again, also after it was killed: what is there is found, what was done is not done twice.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from corpus.database import Connection, connect
from corpus.sql import query
from workers.config.addresses import default_home
from workers.config.settings import load

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "peps"
FRESHET = [sys.executable, "-m", "workers"]
# Each is answered by text that came with a change, after the base version of its document.
QUESTIONS = (
    "how does a class namespace resolve names",
    "type parameter defaults",
    "extensible JSON serialization",
)
LINEAGE_OF = "pep-0840"
_DRAIN_SECONDS = 600.0


class DemoError(Exception):
    """A step failed; its own output says why."""


def main() -> int:
    """Run the demo; returns the exit code."""
    try:
        _run()
    except DemoError as error:
        _say(f"\nThe demo stopped: {error}")
        return 1
    except KeyboardInterrupt:
        _say("\nstopped; `make demo` goes on from here, `make down` ends the stack")
        return 130
    return 0


def _run() -> None:
    _title("1. The stack: PostgreSQL + pgvector, Kafka, Temporal, six worker roles")
    _freshet("up", "--detach")
    _freshet("apply", str(EXAMPLE / "freshet.toml"))
    notices = Path(tempfile.mkdtemp(prefix="freshet-demo-")) / "notices.jsonl"
    with _team(notices), connect(load().database_url) as connection:
        _title("2. An application team listens in its own Temporal namespace (examples/team)")
        _say(f"notices go to {notices}")
        _title("3. Sixty documents, then what changed in them since 2024-01-01")
        told = _count_lines(notices)
        _stream(connection)
        _show_notice(notices, told)
        _title("4. Three questions; every answer comes from a text that changed on the way")
        for question in QUESTIONS:
            _freshet("search", question, "-k", "1")
        _title(f"   Where {LINEAGE_OF} comes from, and who was told")
        _freshet("lineage", LINEAGE_OF)
        _title("5. A document that says when it ends")
        _expire(connection)
    _freshet("batches", "--limit", "6")
    _freshet("status")
    _what_next()


# ── 3 ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _stream(connection: Connection) -> None:
    _produce(connection, "peps.base.jsonl.zst")
    _say(
        "\n  Now the changes, 40 a second: most of each document's text stays, and is not embedded again."
    )
    _produce(connection, "peps.changes.jsonl.zst", "--rate", "40")


def _produce(connection: Connection, file: str, *options: str) -> None:
    """Produce a file in the background, and show what happens until all of it is in the corpus."""
    arguments = ["produce", "--topic", "peps", *options, str(EXAMPLE / file)]
    _say(f"$ freshet {' '.join(arguments)}")
    before = _look(connection)
    started = time.monotonic()
    _show_while(
        subprocess.Popen([*FRESHET, *arguments, "--json"], stdout=subprocess.DEVNULL),
        connection,
        before,
        started,
    )
    drain = subprocess.Popen(
        [*FRESHET, "drain", "--timeout", str(_DRAIN_SECONDS), "--json"],
        stdout=subprocess.PIPE,
        text=True,
    )
    _show_while(drain, connection, before, started)
    result = json.loads(drain.stdout.read() if drain.stdout else "{}")
    if sys.stderr.isatty():
        sys.stderr.write("\r\033[K")
    _say(f"  {_progress(before, _look(connection), time.monotonic() - started)}")
    if not result.get("drained"):
        raise DemoError(result.get("why", "the stream was not drained"))


def _show_while(
    process: "subprocess.Popen[Any]", connection: Connection, before: dict[str, int], started: float
) -> None:
    """One line that changes on a terminal; elsewhere a line every few seconds."""
    said = 0.0
    while process.poll() is None:
        now = time.monotonic()
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\033[K  {_progress(before, _look(connection), now - started)}")
            sys.stderr.flush()
        elif now - said > 3:
            _say(f"  {_progress(before, _look(connection), now - started)}")
            said = now
        time.sleep(0.25)


def _look(connection: Connection) -> dict[str, int]:
    names = ("batches", "records", "applied", "unchanged", "superseded", "embedded", "kept", "dead")
    row = connection.execute(
        query("ledger_sums"), {"since": datetime.fromtimestamp(0, UTC), "source": "peps"}
    ).fetchone()
    return dict(zip(names, row or (0,) * len(names), strict=True))


def _progress(before: dict[str, int], now: dict[str, int], seconds: float) -> str:
    done = {name: now[name] - before[name] for name in now}
    return (
        f"{seconds:5.1f} s  {done['records']} records in {done['batches']} batches ({done['records'] / max(seconds, 0.1):.0f}/s): {done['applied']} applied, "
        f"{done['unchanged']} unchanged, {done['superseded']} superseded, {done['dead']} dead; {done['embedded']} texts embedded, {done['kept']} chunks kept"
    )


def _show_notice(notices: Path, before: int) -> None:
    deadline = time.monotonic() + 90  # a dead endpoint's breaker is probed once a minute
    while _count_lines(notices) <= before:
        if time.monotonic() > deadline:
            raise DemoError(
                "no notice reached the team within 90 s; `freshet subscriptions` says how its delivery stands"
            )
        time.sleep(0.2)
    last = json.loads(notices.read_text(encoding="utf-8").splitlines()[-1])
    _say(f"  a notice arrived: {json.dumps({name: last[name] for name in list(last)[:9]})}")


# ── 5 ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _expire(connection: Connection) -> None:
    now = datetime.now(UTC)
    event = {
        "id": "maintenance-window",
        "version": int(now.timestamp()),
        "title": "Maintenance window",
        "content_type": "text/plain",
        "content": "The package index is read-only tonight while its storage is moved.",
        "expires_at": (now + timedelta(seconds=12)).isoformat(),
    }
    subprocess.run(
        [*FRESHET, "produce", "--topic", "peps", "-"],
        input=json.dumps(event) + "\n",
        text=True,
        check=True,
        cwd=ROOT,
    )
    _freshet("drain", "--timeout", "60", "--source", "peps")
    question = "is the package index read-only"
    _freshet("search", question, "-k", "1", "--mode", "text")
    while _ended(connection, event["expires_at"]) > 0:
        time.sleep(0.2)
    _freshet("freshness", "check", "peps")
    _say("  Withdrawn: the same question now, and as of a moment before.")
    _freshet("search", question, "-k", "1", "--mode", "text")
    _freshet(
        "search",
        question,
        "-k",
        "1",
        "--mode",
        "text",
        "--as-of",
        (now + timedelta(seconds=11)).isoformat(),
    )


def _ended(connection: Connection, expires_at: str) -> float:
    """Seconds until then by the database's clock, the one that decides."""
    row = connection.execute(query("clock")).fetchone()
    assert row is not None
    return (datetime.fromisoformat(expires_at) - row[0]).total_seconds()


# ── helpers of the show ─────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _team(notices: Path) -> Iterator[None]:
    """The team's worker, for as long as the demo runs."""
    environment = os.environ | {"FRESHET_HOME": str(default_home())}
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
    _say(f"$ freshet {' '.join(_quoted(arguments))}")
    done = subprocess.run([*FRESHET, *arguments], cwd=ROOT, check=False)
    if done.returncode:
        raise DemoError(
            f"`freshet {' '.join(_quoted(arguments))}` ended with exit code {done.returncode}"
        )


def _quoted(arguments: Sequence[str]) -> list[str]:
    return [f'"{argument}"' if " " in argument else argument for argument in arguments]


def _count_lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0


def _title(text: str) -> None:
    _say(f"\n\033[1m{text}\033[0m" if sys.stderr.isatty() else f"\n{text}")


def _say(text: str) -> None:
    sys.stdout.flush()
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _what_next() -> None:
    addresses: dict[str, Any] = json.loads(
        (default_home() / "stack.json").read_text(encoding="utf-8")
    )["addresses"]
    _say(f"""
Everything goes on running. What next (commands are in .venv/bin):
  freshet search "..."                     ask; --as-of, --where name=value, --mode text, --json
  freshet produce --topic peps FILE        more events; `freshet drain`, `freshet batches`
  freshet sources                          lag and sums; every record is accounted for
  freshet freshness report                 how fresh, with an exit code
  python -m examples.team.worker           the application team again: it is told of what it missed
  {addresses.get("temporal_ui", "")}   workflows, schedules, history
  make down                                end it; the state stays in {default_home()}""")


if __name__ == "__main__":
    sys.exit(main())
