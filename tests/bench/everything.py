"""All that operators report, in one run: in the end the corpus equals the fold, and the audit finds nothing.

The PEP stream comes with 10 % of its events repeated late and its documents interleaved. Meanwhile every process is
killed twice, the broker among them; Temporal's database is replaced by an empty one; PostgreSQL goes back to a copy of
its files from earlier in the stream; and a second installation, with a database and a consumer group of its own, reads
the same topic. A consumer of the second that is given the group of the first must be refused.
"""

import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.bench import data
from tests.bench.converge import (
    accounts,
    drain_patiently,
    interleaved,
    late_duplicates,
    produce_patiently,
)
from tests.bench.light_stack import LightStack
from tests.bench.reader import Reader
from tests.bench.stack import PARTS, ROOT, thaw
from tests.support.polling import wait_until

TOML = """
[source.peps]
topics = ["peps"]
partitions = 4
model = "all-MiniLM-L6-v2"
"""
KILLS_PER_PART = 2
PAUSE_SECONDS = (3.0, 8.0)
CHANGES_PER_SECOND = 12.0
DRAIN_SECONDS = 900.0
REFUSED_SECONDS = 60.0


def run(seed: int | None = None) -> dict[str, Any]:
    """One run; `holds` says whether nothing differs."""
    if seed is None:
        seed = random.SystemRandom().randrange(10**6)
    sys.stderr.write(f"seed {seed}\n")
    rng = random.Random(seed)
    with LightStack() as first:
        first.apply(TOML)
        addresses = first.described()["addresses"]
        shared = {
            "FRESHET_KAFKA_BOOTSTRAP": addresses["kafka_bootstrap"],
            "FRESHET_KAFKA_PROPERTIES": addresses["kafka_properties"],
        }
        with LightStack(**shared, FRESHET_KAFKA_GROUP="second") as second:
            second.apply(TOML)
            return {"seed": seed, **_run(first, second, rng)}


def _run(first: LightStack, second: LightStack, rng: random.Random) -> dict[str, Any]:
    base = list(data.events("streams/peps.base.jsonl.zst"))
    changes = list(data.events("streams/peps.changes.jsonl.zst"))
    changes = interleaved(late_duplicates(changes, rng), rng)
    files = [
        data.write_events(first.home / "base.jsonl", base),
        data.write_events(first.home / "changes.jsonl", changes),
    ]
    reader = Reader(second)
    reader.start()
    started = time.monotonic()
    stream = threading.Thread(target=_produce, args=(first, files))
    stream.start()
    log = _disasters(first, second, rng, started)
    stream.join()
    drained = [drain_patiently(stack, timeout=DRAIN_SECONDS) for stack in (first, second)]
    seen = reader.stop()
    wanted = data.final("streams/peps.final.tsv")
    differ = [
        data.differences(data.exported(stack.cli("export", "--source", "peps")), wanted)
        for stack in (first, second)
    ]
    audits = [_audit(stack) for stack in (first, second)]
    refusal = _refusal(first, second)
    wrong = [name for name, count in seen.items() if count and not name.startswith("looks")]
    counts = accounts(second)
    return {
        "holds": all(drained)
        and not any(differ)
        and not wrong
        and all(audit["code"] == 0 for audit in audits)
        and refusal["code"] != 0
        and counts["offsets by the positions"] == counts["offsets by the ranges"],
        "events": len(base) + len(changes),
        "seconds": round(time.monotonic() - started),
        "drained": drained,
        "documents differing": [len(one) for one in differ],
        "differing": [one[:10] for one in differ],
        "audits": audits,
        "a consumer of the second in the group of the first": refusal,
        "reader of the second": seen,
        "disasters": log,
        **counts,
    }


def _produce(stack: LightStack, files: list[Path]) -> None:
    produce_patiently(stack, files[0], topic="peps")
    rate = (f"--rate={CHANGES_PER_SECOND}",)
    produce_patiently(stack, files[1], topic="peps", options=rate)


# ── disasters ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _disasters(
    first: LightStack, second: LightStack, rng: random.Random, started: float
) -> list[str]:
    """All of them, one after the other, in the order of the seed; returns when each one was."""
    stacks = (first, second)
    todo: list[tuple[str, Callable[[], Any]]] = [
        (f"kill -9 {part}", lambda part=part: _kill(rng.choice(stacks), part))
        for part in PARTS
        for _ in range(KILLS_PER_PART)
    ]
    rng.shuffle(todo)
    third = len(todo) // 3
    backup = first.home / "backup"
    todo.insert(third, ("copy the files of PostgreSQL", lambda: _copy_database(first, backup)))
    todo.insert(third * 2, ("go back to the copy", lambda: _restore_database(first, backup)))
    todo.insert(third * 2 + 3, ("empty Temporal", lambda: _empty_temporal(first)))
    log: list[str] = []
    for name, cause in todo:
        time.sleep(rng.uniform(*PAUSE_SECONDS))
        cause()
        log.append(f"{time.monotonic() - started:.1f} s {name}")
        sys.stderr.write(log[-1] + "\n")
    return log


def _kill(stack: LightStack, part: str) -> None:
    """Wait until it is there; the second installation has no broker of its own."""
    if part == "kafka" and "FRESHET_KAFKA_BOOTSTRAP" in stack.environment:
        return
    wait_until(lambda: stack.kill(part), 120, f"kill {part}")


def _copy_database(stack: LightStack, backup: Path) -> None:
    """What a snapshot of the disk has: the files at one moment."""
    frozen = stack.freeze("postgres")
    try:
        shutil.copytree(stack.home / "postgres" / "data", backup, symlinks=True)
    finally:
        thaw(frozen)


def _restore_database(stack: LightStack, backup: Path) -> None:
    folder = stack.home / "postgres" / "data"
    with suppress(FileNotFoundError):
        (backup / "postmaster.pid").unlink()
    folder.rename(stack.home / "postgres" / "lost")
    backup.rename(folder)
    _kill(stack, "postgres")
    _apply_patiently(stack)


def _empty_temporal(stack: LightStack) -> None:
    """The server's file is gone when it starts again; `apply` makes the schedules again."""
    for file in (stack.home / "temporal").glob("temporal.db*"):
        file.unlink()
    _kill(stack, "temporal")
    _apply_patiently(stack)


def _apply_patiently(stack: LightStack) -> None:
    def applied() -> bool:
        with suppress(RuntimeError):
            stack.apply(TOML)
            return True
        return False

    wait_until(applied, 180, "apply")


# ── what must hold ──────────────────────────────────────────────────────────────────────────────────────────────────


def _audit(stack: LightStack) -> dict[str, Any]:
    """`freshet audit --full`."""
    command = [sys.executable, "-m", "workers", "audit", "--source", "peps", "--full", "--json"]
    done = subprocess.run(
        command, cwd=ROOT, env=stack.environment, capture_output=True, text=True, check=False
    )
    return {"code": done.returncode, "said": (done.stdout + done.stderr)[-2000:]}


def _refusal(first: LightStack, second: LightStack) -> dict[str, Any]:
    """A consumer with the second's database and the first's group; it must end, and name the reason."""
    group = first.environment.get("FRESHET_KAFKA_GROUP", "freshet")
    environment = second.environment | {"FRESHET_KAFKA_GROUP": group}
    command = [sys.executable, "-m", "workers", "worker", "consumer"]
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=REFUSED_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return {"code": 0, "said": f"it still ran after {REFUSED_SECONDS:.0f} s"}
    return {"code": done.returncode, "said": done.stderr[-500:]}
