"""How long a revoked document stays readable: from its record to the first look that does not find it, under load.

Live stack with the fake embedder. A team that is in one group looks at the documents whose access lists narrow, one
after another, under the version that they have. Beside them, new documents of the same source and of another one
arrive.
"""

import json
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from confluent_kafka import Producer

from corpus.access.reader import Reader, reading_as
from corpus.database import Connection
from tests.bench.light_stack import LightStack

TOML = """
[source.papers]
topics = ["papers"]
partitions = 3

[source.other]
topics = ["other"]
partitions = 3
"""
REVOCATIONS = 200
PAUSE_SECONDS = 0.3
LOOK_SECONDS = 0.02
LOAD_PER_SECOND = 60  # new documents, in both sources together
DEADLINE_SECONDS = 60.0
BOUND_SECONDS = 10.0
WHO = Reader(name="team:bench", sources=frozenset({"papers"}), groups=("staff",))
_FIND = (
    """SELECT document_id FROM freshet.search(NULL, %(word)s, 1, 'text', NULL, ARRAY['papers'])"""
)


def run() -> dict[str, Any]:
    """Publish the documents, then revoke one after another while others arrive."""
    with LightStack() as stack:
        stack.apply(TOML)
        client = stack.kafka_client()
        producer = Producer({**client, "linger.ms": 0})
        for number in range(REVOCATIONS):
            _send(producer, number, ["staff", "board"])
        producer.flush()
        stack.drain(300)
        with stack.connect() as connection, _load(client) as sent:
            found_before = sum(_finds(connection, number) for number in range(REVOCATIONS))
            took = [_revoke(producer, connection, number) for number in range(REVOCATIONS)]
        found_after = _found_as_board(stack)
    took.sort()
    p99 = took[int(len(took) * 0.99) - 1]
    return {
        "revocations": len(took),
        "found before": found_before,
        "still found by the group that stays": found_after,
        "documents that arrived meanwhile": sent[0],
        "p50 seconds": round(statistics.median(took), 3),
        "p99 seconds": round(p99, 3),
        "greatest": round(took[-1], 3),
        "bound": BOUND_SECONDS,
        "holds": found_before == found_after == REVOCATIONS and p99 < BOUND_SECONDS,
    }


def _word(number: int) -> str:
    return f"zq{number}paper"


def _send(producer: Producer, number: int, acl: list[str]) -> None:
    name = f"paper-{number}"
    content = f"Paper {number}, {_word(number)}, on the gauging station."
    event = {"id": name, "version": 1, "content": content, "acl": acl}
    producer.produce("papers", json.dumps(event).encode(), key=name.encode())


def _finds(connection: Connection, number: int, who: Reader = WHO) -> bool:
    with reading_as(connection, who):
        return connection.execute(_FIND, {"word": _word(number)}).fetchone() is not None


def _revoke(producer: Producer, connection: Connection, number: int) -> float:
    """Seconds from the broker's acknowledgement to the first look that does not find the document."""
    _send(producer, number, ["board"])
    producer.flush(10)
    started = time.perf_counter()
    while _finds(connection, number):
        if time.perf_counter() - started > DEADLINE_SECONDS:
            break
        time.sleep(LOOK_SECONDS)
    took = time.perf_counter() - started
    time.sleep(PAUSE_SECONDS)
    return took


def _found_as_board(stack: LightStack) -> int:
    board = Reader(name="team:board", sources=WHO.sources, groups=("board",))
    with stack.connect() as connection:
        return sum(_finds(connection, number, board) for number in range(REVOCATIONS))


@contextmanager
def _load(client: dict[str, Any]) -> Iterator[list[int]]:
    """New documents in both sources until the block ends; gives a list with their number."""
    leaving = threading.Event()
    sent = [0]

    def work() -> None:
        producer = Producer(client)
        while not leaving.wait(1 / LOAD_PER_SECOND):
            sent[0] += 1
            name = f"load-{sent[0]}"
            topic = ("papers", "other")[sent[0] % 2]
            content = f"Level {sent[0]} at the weir, as recorded by its keeper."
            event = {"id": name, "version": 1, "content": content}
            producer.produce(topic, json.dumps(event).encode(), key=name.encode())
            producer.poll(0)
        producer.flush()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield sent
    finally:
        leaving.set()
        thread.join()
