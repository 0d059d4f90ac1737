"""A large backlog: how long until its first document is searchable, with the real model; a new source, and a storm.

Each time 2,000 new documents come at once: to a source that has none, and to one that is up to date and whose batches
have grown as far as they may, by many documents that did not change. The clock begins with the first record that is
produced, so the producer's work on the same cores is in it. Beside the seconds it says how much was in the first batch
and for how long the model had it, which does not depend on what else the machine does.
"""

import itertools
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

from confluent_kafka import Producer

from tests.bench import data
from tests.bench.stack import Stack
from tests.bench.throughput import MODEL

SOURCE = "peps"
TOML = f"""
[source.{SOURCE}]
topics = ["{SOURCE}"]
partitions = 3
model = "{MODEL}"
"""
DOCUMENTS = 2_000
WARM_UP = 30  # documents
AGAIN = 40  # times they are sent
WORD = "zqbacklogx"  # in the documents of a backlog only
_LOOK_SECONDS = 0.05  # a look is a search, which takes milliseconds of the same cores
_GIVE_UP_SECONDS = 900
_PARTS = ("consumer", "orchestrator", "preparer", "embedder", "storer")

_FOUND = b"SELECT 1 FROM freshet.search(NULL, %s, 1, 'text', NULL, ARRAY[%s])"
_FIRST_BATCH = b"""SELECT batch, records, texts_embedded
                    FROM freshet.batch
                   WHERE source = %s AND staged_at >= to_timestamp(%s)
                   ORDER BY batch
                   LIMIT 1"""


class _Stack(Stack):
    """Without a gateway, which would load the model a second time."""

    def __enter__(self) -> "_Stack":
        self._up(*(word for part in _PARTS for word in ("--only", part)))
        return self


def run() -> dict[str, Any]:
    """Measure."""
    events = list(data.events("streams/peps.base.jsonl.zst"))
    with _Stack() as stack:
        stack.apply(TOML)
        fresh = _backlog(stack, events)
    with _Stack() as stack:
        stack.apply(TOML)
        warm = data.write_events(stack.home / "warm.jsonl", events[-WARM_UP:] * AGAIN)
        stack.produce(SOURCE, warm)
        drained = stack.drain(_GIVE_UP_SECONDS)
        assert drained["drained"], drained
        storm = _backlog(stack, events[-WARM_UP - 1 :: -1])
    return {"documents": DOCUMENTS, "new source": fresh, "storm": storm}


def _backlog(stack: Stack, events: list[dict[str, Any]]) -> dict[str, Any]:
    """Produce a backlog; wait until something of it is found, and what was in the batch."""
    producer = Producer({**stack.kafka_client(), "linger.ms": 5})
    began = time.time()
    started = time.perf_counter()

    def produce() -> None:
        for event in itertools.islice(_documents(events), DOCUMENTS):
            producer.produce(SOURCE, json.dumps(event).encode(), key=event["id"].encode())
            producer.poll(0)
        producer.flush(60)

    producing = threading.Thread(target=produce)
    producing.start()
    with stack.connect() as connection:
        while not connection.execute(_FOUND, (WORD, SOURCE)).fetchone():
            assert time.perf_counter() - started < _GIVE_UP_SECONDS, "nothing is searchable"
            time.sleep(_LOOK_SECONDS)
        seconds = time.perf_counter() - started
        producing.join()
        first = connection.execute(_FIRST_BATCH, (SOURCE, began)).fetchone()
    assert first is not None
    batch, documents, texts = first
    return {
        "seconds until the first is searchable": round(seconds, 2),
        "events of the first batch": documents,
        "texts of the first batch": texts,
        "seconds of the model for them": round(_in_the_model(stack, batch), 2),
    }


def _documents(events: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Documents without end: the events again and again, under other names."""
    for number, event in enumerate(itertools.cycle(events)):
        content = f"{WORD} {number}. {event['content']}"
        yield {**event, "id": f"{WORD}-{number}", "version": 1, "content": content}


def _in_the_model(stack: Stack, batch: int) -> float:
    lines = (stack.home / "logs" / "embedder.log").read_text(encoding="utf-8").splitlines()
    shards = [json.loads(line) for line in lines if '"shard_embedded"' in line]
    return sum(one["seconds"] for one in shards if one["batch"] == batch)
