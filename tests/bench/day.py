"""A day of many small sources in fast motion: nothing may grow with the hours but what is stored.

100 sources have 100 documents each. Then come 24 "hours" of the same size: three quarters of their events are
documents sent again without a change, a fifth changes, the rest is deleted and comes again. An hour is produced, then
drained; after it, the memory of each process, the longest workflow history, and the size of each table are looked at.
The time per batch that is judged is that of the processors, in all parts: that of the clock is told beside it, but is
longer wherever something else runs on the machine.
"""

import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Iterator
from typing import Any

from confluent_kafka import Producer
from psycopg.rows import namedtuple_row

from corpus.source import source_workflow_id
from tests.bench.light_stack import LightStack
from tests.support.pipeline import make_event
from workers.config import settings
from workers.temporal.client import temporal

SOURCES = 100
DOCUMENTS = 100  # per source
HOURS = 24
EVENTS = int(os.environ.get("FRESHET_BENCH_EVENTS", "1000000"))
DRAIN_SECONDS = 3600.0
SEED = 20261126
ROLES = ("consumer", "orchestrator", "preparer", "storer", "embedder")
PARTS = ("postgres", "kafka", "temporal", *ROLES)
# Bounds of what must hold, between the mean of the first hours and that of the last ones.
HOURS_COMPARED = 3
MAX_SLOWER = 1.1
MAX_MEMORY = 1.1
MAX_HISTORY_EVENTS = 10_000


def run() -> dict[str, Any]:
    """Measure."""
    rng = random.Random(SEED)
    with LightStack() as stack:
        stack.apply("".join(_source(number) for number in range(SOURCES)))
        day = _Day(stack, rng)
        day.begin()
        hours = [day.hour(number) for number in range(1, HOURS + 1)]
        return {"events": EVENTS, "sources": SOURCES, **_judged(hours), "hours": hours}


def _source(number: int) -> str:
    return f"""
[source.s{number}]
topics = ["t{number}"]
partitions = 1
model = "all-MiniLM-L6-v2"
"""


class _Day:
    def __init__(self, stack: LightStack, rng: random.Random) -> None:
        self._stack = stack
        self._rng = rng
        self._producer = Producer({**stack.kafka_client(), "linger.ms": 50})
        self._versions = [[1] * DOCUMENTS for _ in range(SOURCES)]
        self._deleted: set[tuple[int, int]] = set()

    def begin(self) -> None:
        """Every document once."""
        for source in range(SOURCES):
            for document in range(DOCUMENTS):
                self._send(source, document)
        self._producer.flush()
        self._drain()

    def hour(self, number: int) -> dict[str, Any]:
        """Produce and drain an hour; what it took and left."""
        before = self._batches()
        cpu_before = self._cpu_seconds()
        started = time.monotonic()
        for source, document in self._events(EVENTS // HOURS):
            self._send(source, document)
        self._producer.flush()
        self._drain()
        seconds = time.monotonic() - started
        batches = self._batches() - before
        cpu = self._cpu_seconds()
        spent = {part: cpu[part] - cpu_before[part] for part in PARTS}
        seen = {
            "hour": number,
            "seconds": round(seconds, 1),
            "batches": batches,
            "seconds per batch": round(seconds / batches, 4),
            "CPU seconds per batch": round(sum(spent.values()) / batches, 4),
            "CPU seconds": {part: round(seconds, 1) for part, seconds in spent.items()},
            "events per second": round(EVENTS / HOURS / seconds),
            "megabytes": {role: round(self._stack.memory(role) / 1e6) for role in ROLES},
            "longest history": asyncio.run(self._longest_history()),
            "staged files": len(list((self._stack.home / "staging").rglob("*.parquet"))),
            "table megabytes": self._tables(),
        }
        sys.stderr.write(f"{seen}\n")
        return seen

    def _events(self, count: int) -> Iterator[tuple[int, int]]:
        """(source, document) of each event; the document's state says what it is by then."""
        for _ in range(count):
            place = self._rng.randrange(SOURCES), self._rng.randrange(DOCUMENTS)
            drawn = self._rng.random()
            if place in self._deleted:
                self._deleted.discard(place)
                self._versions[place[0]][place[1]] += 1
            elif drawn < 0.2:
                self._versions[place[0]][place[1]] += 1
            elif drawn < 0.25:
                self._versions[place[0]][place[1]] += 1
                self._deleted.add(place)
            yield place

    def _send(self, source: int, document: int) -> None:
        version = self._versions[source][document]
        name = f"d{document}"
        if (source, document) in self._deleted:
            event = make_event(name, version, op="delete")
        else:
            event = make_event(name, version, f"Document {document} of {source}, state {version}.")
        while True:
            try:
                self._producer.produce(f"t{source}", key=name, value=json.dumps(event))
                return
            except BufferError:
                self._producer.poll(0.1)

    def _drain(self) -> None:
        drained = self._stack.drain(DRAIN_SECONDS)
        assert drained["drained"], drained

    def _cpu_seconds(self) -> dict[str, float]:
        return {part: self._stack.cpu_seconds(part) for part in PARTS}

    def _batches(self) -> int:
        with self._stack.connect() as connection:
            row = connection.execute("SELECT count(*) FROM freshet.batch").fetchone()
        assert row is not None
        return row[0]

    def _tables(self) -> dict[str, float]:
        with self._stack.connect() as connection:
            cursor = connection.cursor(row_factory=namedtuple_row)
            rows = cursor.execute("""
                SELECT relname, pg_total_relation_size(oid) AS bytes FROM pg_class
                 WHERE relnamespace = 'freshet'::regnamespace AND relkind = 'r' ORDER BY 2 DESC LIMIT 12
                """).fetchall()
        return {row.relname: round(row.bytes / 1e6, 1) for row in rows}

    async def _longest_history(self) -> int:
        os.environ["FRESHET_HOME"] = str(self._stack.home)
        client = await temporal(settings.load())
        lengths = [
            (await client.get_workflow_handle(source_workflow_id(f"s{number}")).describe())
            for number in range(SOURCES)
        ]
        return max(described.history_length for described in lengths)


def _judged(hours: list[dict[str, Any]]) -> dict[str, Any]:
    """The last hours against the first ones."""
    first, last = hours[:HOURS_COMPARED], hours[-HOURS_COMPARED:]
    slower = {
        name: round(_mean(last, name) / _mean(first, name), 3)
        for name in ("CPU seconds per batch", "seconds per batch")
    }
    memory = {
        role: round(_memory(last, role) / max(1.0, _memory(first, role)), 3) for role in ROLES
    }
    longest = max(hour["longest history"] for hour in hours)
    return {
        "holds": slower["CPU seconds per batch"] <= MAX_SLOWER
        and max(memory.values()) <= MAX_MEMORY
        and longest <= MAX_HISTORY_EVENTS,
        "last hours / first hours": slower,
        "memory, last hours / first hours": memory,
        "longest history of a source, events": longest,
    }


def _mean(hours: list[dict[str, Any]], name: str) -> float:
    return sum(hour[name] for hour in hours) / len(hours)


def _memory(hours: list[dict[str, Any]], role: str) -> float:
    return sum(hour["megabytes"][role] for hour in hours) / len(hours)
