"""The whole PEP stream converges to its final state, whatever is done to it, while a reader looks on.

`plain`: base, then changes. `twice`: all of it produced twice. `chaos`: 10 % of the events repeated late, the events of
different documents interleaved in another order (each document's own order is kept, so each partition's too), a second
source in between, and every process killed (-9) ten times on the way.
"""

import json
import random
import re
import threading
import time
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.bench import data
from tests.bench.reader import Reader
from tests.bench.stack import PARTS, Stack, chaos

TOML = """
[source.peps]
topics = ["peps"]
partitions = 4
model = "all-MiniLM-L6-v2"
"""
SECOND = """
[source.manual]
topics = ["manual"]
partitions = 2
model = "all-MiniLM-L6-v2"
"""
SECOND_IDS = "httpd/tr/"  # 58 pages of the manual and their changes
KILLS_PER_PART = 10
KILL_PAUSE_SECONDS = (4.0, 12.0)
CHANGES_PER_SECOND = 5.0  # so that the stream lasts as long as the killing
SEED = 20261121

Event = dict[str, Any]


def run(case: str = "plain") -> dict[str, Any]:
    """One case; the result says what differs (nothing should)."""
    rng = random.Random(SEED)
    with Stack() as stack:
        stack.apply(TOML + (SECOND if case == "chaos" else ""))
        base, changes = (
            list(data.events("streams/peps.base.jsonl.zst")),
            list(data.events("streams/peps.changes.jsonl.zst")),
        )
        second: list[Event] = []
        if case == "chaos":
            base, changes = interleaved(base, rng), interleaved(late_duplicates(changes, rng), rng)
            both = [
                *data.events("html/httpd.base.jsonl.zst"),
                *data.events("html/httpd.changes.jsonl.zst"),
            ]
            second = late_duplicates(
                [event for event in both if event["id"].startswith(SECOND_IDS)], rng
            )
        files = [
            data.write_events(stack.home / "base.jsonl", base),
            data.write_events(stack.home / "changes.jsonl", changes),
        ]
        between = data.write_events(stack.home / "manual.jsonl", second)
        produced = len(base) + len(changes) + len(second)
        reader = Reader(stack)
        reader.start()
        log: list[str] = []
        stop = threading.Event()
        started = time.monotonic()
        if case == "chaos":
            order = [part for part in PARTS for _ in range(KILLS_PER_PART)]
            rng.shuffle(order)
            killing = chaos(stack, stop, order=order, rng=rng, pause=KILL_PAUSE_SECONDS, log=log)
            slowly = (f"--rate={CHANGES_PER_SECOND}",)
            other = threading.Thread(
                target=produce_patiently,
                args=(stack, between),
                kwargs={"topic": "manual", "options": ("--rate=1",)},
            )
            other.start()
            produce_patiently(stack, files[0], topic="peps")
            produce_patiently(stack, files[1], topic="peps", options=slowly)
            other.join()
            killing.join()
        else:
            for turn in range(2 if case == "twice" else 1):
                for file in files:
                    produce_patiently(stack, file, topic="peps", again=turn > 0)
        drained = drain_patiently(stack, timeout=1500)
        seconds = time.monotonic() - started
        seen = reader.stop()
        differ = data.differences(
            data.exported(stack.cli("export", "--source", "peps")),
            data.final("streams/peps.final.tsv"),
        )
        if case == "chaos":
            differ += data.differences(
                data.exported(stack.cli("export", "--source", "manual")),
                data.final("html/httpd.final.tsv", SECOND_IDS),
            )
        counts = accounts(stack)
        wrong = [name for name, count in seen.items() if count and not name.startswith("looks")]
        return {
            "case": case,
            "holds": drained
            and not differ
            and not wrong
            and counts["offsets by the positions"] == counts["offsets by the ranges"],
            "drained": drained,
            "seconds": round(seconds, 1),
            "events": produced * (2 if case == "twice" else 1),
            "documents differing": len(differ),
            "differing": differ[:10],
            "reader": seen,
            "kills": {part: sum(line.endswith(" " + part) for line in log) for part in PARTS}
            if log
            else {},
            **counts,
        }


def late_duplicates(events: Sequence[Event], rng: random.Random) -> list[Event]:
    """Repeat 10 % of the events, each 1 to 400 places later."""
    placed = [(float(place), event) for place, event in enumerate(events)]
    placed += [
        (place + rng.uniform(1, 400), event)
        for place, event in enumerate(events)
        if rng.random() < 0.1
    ]
    return [event for _, event in sorted(placed, key=lambda pair: pair[0])]


def interleaved(events: Iterable[Event], rng: random.Random, lanes: int = 16) -> list[Event]:
    """Interleave the events of different documents in bursts; each document keeps its own order."""
    queues: list[list[Event]] = [[] for _ in range(lanes)]
    for event in events:
        queues[zlib.crc32(event["id"].encode()) % lanes].append(event)
    mixed: list[Event] = []
    while queues := [queue for queue in queues if queue]:
        queue, burst = rng.choice(queues), rng.randint(1, 50)
        mixed += queue[:burst]
        del queue[:burst]
    return mixed


def produce_patiently(
    stack: Stack, file: Path, *, topic: str, again: bool = False, options: Sequence[str] = ()
) -> None:
    """Produce; if the broker was killed, continue where it stopped."""
    for attempt in range(200):
        try:
            stack.produce(
                topic, file, options=options if again and attempt == 0 else ("--resume", *options)
            )
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
            SELECT (SELECT count(*) FROM (SELECT space_id, text_sha256 FROM freshet.embedding
                                          UNION SELECT space_id, text_sha256 FROM freshet.chunk) vectors),
                   (SELECT coalesce(sum(texts_embedded), 0)::bigint FROM freshet.batch),
                   (SELECT coalesce(sum(records), 0)::bigint FROM freshet.batch WHERE kind = 'ingest'),
                   (SELECT sum(next_offset)::bigint FROM freshet.source_position),
                   (SELECT coalesce(sum(next_offset - first_offset), 0)::bigint FROM freshet.batch_range),
                   (SELECT count(*) FROM freshet.chunk WHERE visible_to IS NULL),
                   (SELECT count(*) FROM freshet.batch)
            """).fetchone()
    assert row is not None
    sent = 0
    for log in sorted((stack.home / "logs").glob("embedder*.log*")):
        for match in re.finditer(
            r"\{.*\"action\": \"shard_embedded\".*\}", log.read_text(encoding="utf-8")
        ):
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
