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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from compose.local.machine.process import marked
from corpus.database import Connection, connect
from workers.config import readers
from workers.config.addresses import LocalStack

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
        self._up()
        return self

    def _up(self, *options: str) -> None:
        """Start it; one that does not start completely is ended."""
        try:
            self.cli("up", "--detach", *options)
        except RuntimeError:
            self.cli("down", check=False)
            raise

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
        return connect(LocalStack.read(self.home).database_url())

    def kafka_client(self) -> dict[str, str]:
        """Properties of a client of Kafka."""
        addresses = self.described()["addresses"]
        login = readers.properties(addresses.get("kafka_properties", ""))
        return {"bootstrap.servers": addresses["kafka_bootstrap"], **login}

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

    def freeze(self, part: str) -> list[psutil.Process]:
        """SIGSTOP every process of a part; returns them, for `thaw`."""
        return freeze(f"{self.home}|{part}")

    def memory(self, part: str) -> int:
        """Resident bytes of a part and its children."""
        return int(self._sum(part, lambda process: process.memory_info().rss))

    def cpu_seconds(self, part: str) -> float:
        """What a part and its children have computed, those that have ended included."""
        return self._sum(part, lambda process: sum(process.cpu_times()[:4]))

    def _sum(self, part: str, measure: Callable[[psutil.Process], float]) -> float:
        """Over a part and its children; 0 where it does not run, or ends meanwhile."""
        pid = self.pid(part)
        if pid is None:
            return 0.0
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            return sum(map(measure, [process, *process.children(recursive=True)]))
        return 0.0

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


def freeze(mark: str) -> list[psutil.Process]:
    """SIGSTOP every process that carries a mark; returns them."""
    frozen: dict[int, psutil.Process] = {}
    # A process that is just being started by another one is seen at the next look.
    while new := [process for process in marked(mark) if process.pid not in frozen]:
        for process in new:
            frozen[process.pid] = process
            with contextlib.suppress(psutil.Error):
                process.suspend()
    return list(frozen.values())


def thaw(frozen: Sequence[psutil.Process]) -> None:
    """SIGCONT to what `freeze` returned."""
    for process in frozen:
        with contextlib.suppress(psutil.Error):
            process.resume()
