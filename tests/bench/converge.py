"""Issue figure 1, 2: the whole PEP stream converges to the final state, whatever is done to it, while a reader looks on.

`plain`: base, then changes. `twice`: all of it produced twice. `chaos`: 10 % of the events repeated late, order kept a partition only,
and processes killed (-9) at random on the way.
"""

import json
import random
import re
import threading
import time
from pathlib import Path
from typing import Any

from tests.bench import data
from tests.bench.stack import Reader, Stack, chaos

TOML = """
[source.peps]
topics = ["peps"]
partitions = 4
model = "all-MiniLM-L6-v2"
"""
KILLS = 10
SEED = 20261121


def run(case: str = "plain") -> dict[str, Any]:
    """One case; the result says what differs (nothing should)."""
    with Stack() as stack:
        stack.apply(TOML)
        files = [data.write_events(stack.home / "base.jsonl", data.events("streams/peps.base.jsonl.zst"))]
        changes = list(data.events("streams/peps.changes.jsonl.zst"))
        if case == "chaos":
            changes = _late_duplicates(changes, random.Random(SEED))
        files.append(data.write_events(stack.home / "changes.jsonl", changes))
        reader = Reader(stack)
        reader.start()
        log: list[str] = []
        stop = threading.Event()
        started = time.monotonic()
        killing = chaos(stack, stop, seed=SEED, kills=KILLS, pause=(8.0, 20.0), log=log) if case == "chaos" else None
        for turn in range(2 if case == "twice" else 1):
            for file in files:
                produce_patiently(stack, file, topic="peps", again=turn > 0)
        if killing is not None:
            killing.join()
        drained = drain_patiently(stack, timeout=1500)
        seconds = time.monotonic() - started
        seen = reader.stop()
        differ = data.differences(stack.cli("export", "--source", "peps"), "streams/peps.final.tsv")
        return {
            "case": case,
            "drained": drained,
            "seconds": round(seconds, 1),
            "documents differing from peps.final.tsv": len(differ),
            "differing": differ[:10],
            "reader": seen,
            "kills": log,
            **accounts(stack),
        }


def _late_duplicates(changes: list[dict[str, Any]], rng: random.Random) -> list[dict[str, Any]]:
    """Repeat 10 % of the events, each 1 to 400 places later."""
    placed = [(float(place), event) for place, event in enumerate(changes)]
    placed += [(place + rng.uniform(1, 400), event) for place, event in enumerate(changes) if rng.random() < 0.1]
    return [event for _, event in sorted(placed, key=lambda pair: pair[0])]


def produce_patiently(stack: Stack, file: Path, *, topic: str, again: bool = False) -> None:
    """Produce; if the broker was killed, go on from where it stopped."""
    for attempt in range(30):
        try:
            stack.produce(topic, file, options=() if again and attempt == 0 else ("--resume",))
            return
        except RuntimeError:
            time.sleep(1)
    raise RuntimeError(f"{file} could not be produced")


def drain_patiently(stack: Stack, *, timeout: float) -> bool:
    """Drain; while parts are killed a look may fail, and is repeated."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if stack.drain(60).get("drained", False):
            return True
        time.sleep(1)
    return False


def accounts(stack: Stack) -> dict[str, Any]:
    """Every offset once; every text once; counted apart from the ledger by the embedder's own log."""
    with stack.connect() as connection:
        row = connection.execute(b"""
            SELECT (SELECT count(*) FROM freshet.embedding),
                   (SELECT coalesce(sum(texts_embedded), 0)::bigint FROM freshet.batch),
                   (SELECT coalesce(sum(records), 0)::bigint FROM freshet.batch WHERE kind = 'ingest'),
                   (SELECT sum(next_offset)::bigint FROM freshet.source_position),
                   (SELECT coalesce(sum(next_offset - first_offset), 0)::bigint FROM freshet.batch_range),
                   (SELECT count(*) FROM freshet.chunk WHERE visible_to IS NULL),
                   (SELECT count(*) FROM freshet.batch)
            """).fetchone()
    assert row is not None
    sent = 0
    for log in sorted((stack.home / "logs").glob("embedder.log*")):
        for match in re.finditer(r"\{.*\"action\": \"shard_embedded\".*\}", log.read_text(encoding="utf-8")):
            sent += json.loads(match[0])["texts"]
    return {
        "texts with a vector": row[0],
        "texts sent through the model": sent,
        "texts sent more than once": sent - row[0],
        "texts by the ledger": row[1],
        "records by the ledger": row[2],
        "offsets by the positions": row[3],
        "offsets by the ranges": row[4],
        "visible chunks": row[5],
        "batches": row[6],
    }
