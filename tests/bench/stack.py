"""A whole stack of its own for a measurement, driven as a user drives it."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from corpus.database import Connection, connect

ROOT = Path(__file__).resolve().parents[2]
PARTS = (
    "postgres",
    "kafka",
    "temporal",
    "consumer",
    "orchestrator",
    "preparer",
    "embedder",
    "storer",
)


class Stack:
    """Use it in a `with` statement: up on entry, down and gone on exit."""

    def __init__(self, *, keep: bool = False, **environment: str) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="freshet-bench-"))
        self.environment = {
            **os.environ,
            "HF_HUB_OFFLINE": "1",
            "FRESHET_HOME": str(self.home),
            **environment,
        }
        self._keep = keep

    def __enter__(self) -> "Stack":
        self.cli("up", "--detach")
        return self

    def __exit__(self, *_: object) -> None:
        self.cli("down", check=False)
        if not self._keep:
            shutil.rmtree(self.home, ignore_errors=True)

    def cli(self, *arguments: str, check: bool = True, stdin: str | None = None) -> str:
        """Run a `freshet` command; returns its standard output."""
        command = [sys.executable, "-m", "workers", *arguments]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            input=stdin,
            check=False,
        )
        if check and done.returncode:
            raise RuntimeError(
                f"freshet {' '.join(arguments)} ended with {done.returncode}: {done.stderr[-2000:]}"
            )
        return done.stdout

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start a command in the background."""
        return subprocess.Popen(
            [sys.executable, "-m", "workers", *arguments],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.DEVNULL,
        )

    def described(self) -> dict[str, Any]:
        """stack.json."""
        return json.loads((self.home / "stack.json").read_text(encoding="utf-8"))

    def connect(self) -> Connection:
        """A connection to the database."""
        return connect(self.described()["addresses"]["database_url"])

    def apply(self, toml: str) -> None:
        """Apply a configuration."""
        path = self.home / "freshet.toml"
        path.write_text(toml, encoding="utf-8")
        self.cli("apply", str(path))

    def produce(
        self, topic: str, *files: Path | str, options: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Produce files; returns the summary."""
        return json.loads(
            self.cli("produce", "--topic", topic, "--json", *options, *map(str, files))
        )

    def drain(self, timeout: float, source: str | None = None) -> dict[str, Any]:
        """Wait until all is in the corpus."""
        only = ["--source", source] if source else []
        return json.loads(
            self.cli("drain", "--timeout", str(timeout), "--json", *only, check=False)
            or '{"drained": false, "why": "drain failed"}'
        )

    def pid(self, part: str) -> int | None:
        """Process of a part, if it runs."""
        return self.described()["parts"].get(part, {}).get("pid")

    def kill(self, part: str) -> bool:
        """kill -9, its whole process group as the kernel would on a lost machine."""
        pid = self.pid(part)
        if pid is None:
            return False
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(os.getpgid(pid), signal.SIGKILL)
            return True
        return False

    def memory(self, part: str) -> int:
        """Resident bytes of a part and its children."""
        pid = self.pid(part)
        if pid is None:
            return 0
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            return process.memory_info().rss + sum(
                child.memory_info().rss for child in process.children(recursive=True)
            )
        return 0

    @contextlib.contextmanager
    def watching_memory(self) -> Iterator[dict[str, int]]:
        """Greatest resident bytes of each part while the body runs."""
        peaks: dict[str, int] = {}
        ended = threading.Event()

        def look() -> None:
            while not ended.wait(0.1):
                for part in PARTS:
                    peaks[part] = max(peaks.get(part, 0), self.memory(part))

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield peaks
        finally:
            ended.set()
            thread.join()


class Reader(threading.Thread):
    """Promise 2, watched: looks all the time and counts what must never be seen."""

    def __init__(self, stack: Stack, pause: float = 0.02) -> None:
        super().__init__(daemon=True)
        self._stack = stack
        self._pause = pause
        self._ended = threading.Event()
        self.looks = 0
        self.refused = 0  # looks while PostgreSQL was away
        self.seen: dict[str, int] = {
            "documents without chunks": 0,
            "mixed versions": 0,
            "half batches": 0,
            "two versions": 0,
        }

    def run(self) -> None:
        connection: Connection | None = None
        while not self._ended.wait(self._pause):
            try:
                connection = connection or self._stack.connect()
                row = connection.execute(_LOOK.encode()).fetchone()
                for name, count in zip(self.seen, row or (), strict=True):
                    self.seen[name] += count
                self.looks += 1
            except Exception:
                self.refused += 1
                if connection is not None:
                    connection.close()
                connection = None
                self._ended.wait(0.2)
        if connection is not None:
            connection.close()

    def stop(self) -> dict[str, int]:
        self._ended.set()
        self.join()
        return {"looks": self.looks, "looks while the database was away": self.refused, **self.seen}


# One statement, one snapshot, as a search is: every visible document's chunks against the visible chunks.
_LOOK = """
WITH listed AS (
    SELECT d.source, d.document_id, d.batch, d.content_bytes, cardinality(d.chunk_ids) AS named, t.chunk_id
    FROM freshet.document d LEFT JOIN LATERAL (SELECT DISTINCT unnest(d.chunk_ids) AS chunk_id) t ON true
    WHERE d.visible_to IS NULL
), joined AS (
    SELECT l.*, c.chunk_id AS open FROM listed l
    LEFT JOIN freshet.chunk c ON c.chunk_id = l.chunk_id AND c.visible_to IS NULL AND c.document_id = l.document_id
)
SELECT (SELECT count(*) FROM (SELECT document_id FROM joined GROUP BY source, document_id, content_bytes
                              HAVING count(open) = 0 AND content_bytes > 20) x),
       (SELECT count(*) FROM joined WHERE chunk_id IS NOT NULL AND open IS NULL)
         + (SELECT count(*) FROM freshet.chunk c WHERE c.visible_to IS NULL
            AND NOT EXISTS (SELECT FROM listed l WHERE l.chunk_id = c.chunk_id)),
       (SELECT count(*) FROM freshet.batch b WHERE b.kind = 'ingest' AND b.documents_written <>
            (SELECT count(*) FROM freshet.document d
             WHERE d.source = b.source AND d.batch = b.batch AND d.kind = 'document')),
       (SELECT count(*) FROM (SELECT document_id FROM freshet.document WHERE visible_to IS NULL
                              GROUP BY source, document_id HAVING count(*) > 1) x)
"""


def chaos(
    stack: Stack,
    stop: threading.Event,
    *,
    order: Sequence[str],
    rng: random.Random,
    pause: tuple[float, float],
    log: list[str],
) -> threading.Thread:
    """Kill the parts of `order` one after the other; the supervisor starts them again.

    `pause`: least and most seconds between two kills.
    """

    def run() -> None:
        started = time.monotonic()
        for part in order:
            while not stop.wait(rng.uniform(*pause)):
                if stack.kill(part):
                    log.append(f"{time.monotonic() - started:.1f} s kill -9 {part}")
                    break  # else it is not back yet from the last time: it gets its turn

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread
