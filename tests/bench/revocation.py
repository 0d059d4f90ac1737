"""How long a revoked document stays readable: from its record to the first look that does not find it, under load.

Live stack with the fake embedder. A team that is in one group looks at the documents whose access lists narrow, one
after another, under the version that they have. Beside them, new documents of the same source and of another one
arrive.
"""

import json
import statistics
import threading
import time
from collections.abc import Generator
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
REVOCATIONS = 150
PAUSE_SECONDS = 0.8  # from one to the next, whatever became of those before
LOOK_SECONDS = 0.05
LOAD_PER_SECOND = 60  # new documents, in both sources together
DEADLINE_SECONDS = 120.0
BOUND_SECONDS = 10.0
STAFF = Reader(name="team:staff", sources=frozenset({"papers"}), groups=("staff",))
BOARD = Reader(name="team:board", sources=frozenset({"papers"}), groups=("board",))
_FIND = "SELECT document_id FROM freshet.search(NULL, %(word)s, 1, 'text', NULL, ARRAY['papers'])"
# What a search of this reader may return.
_READABLE = """SELECT document_id FROM freshet.chunk
               WHERE source = 'papers' AND visible_to IS NULL AND document_id = ANY(%(names)s)"""


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
        with stack.connect() as connection:
            found_before = _found(connection, STAFF)
            with _load(client) as sent:
                took = sorted(_revoke_all(producer, connection))
            found_after = _found(connection, STAFF)
            found_by_board = _found(connection, BOARD)
    p99 = took[int(len(took) * 0.99) - 1]
    was_right = (found_before, found_after, found_by_board) == (REVOCATIONS, 0, REVOCATIONS)
    return {
        "revocations": len(took),
        "found before": found_before,
        "found afterwards": found_after,
        "found afterwards by the group that stays": found_by_board,
        "documents that arrived meanwhile": sent[0],
        "p50 seconds": round(statistics.median(took), 3),
        "p99 seconds": round(p99, 3),
        "greatest": round(took[-1], 3),
        "bound": BOUND_SECONDS,
        "holds": was_right and p99 < BOUND_SECONDS,
    }


def _word(number: int) -> str:
    return f"zq{number}paper"


def _send(producer: Producer, number: int, acl: list[str]) -> None:
    name = f"paper-{number}"
    content = f"Paper {number}, {_word(number)}, on the gauging station."
    event = {"id": name, "version": 1, "content": content, "acl": acl}
    producer.produce("papers", json.dumps(event).encode(), key=name.encode())


def _found(connection: Connection, who: Reader) -> int:
    """How many of the documents a search finds."""
    count = 0
    for number in range(REVOCATIONS):
        with reading_as(connection, who):
            count += connection.execute(_FIND, {"word": _word(number)}).fetchone() is not None
    return count


def _revoke_all(producer: Producer, connection: Connection) -> list[float]:
    """Seconds of each, from the broker's acknowledgement to the first look that does not see the document."""
    took: list[float] = []
    sent_at: dict[str, float] = {}
    number = 0
    started = time.perf_counter()
    end = started + REVOCATIONS * PAUSE_SECONDS + DEADLINE_SECONDS
    while (number < REVOCATIONS or sent_at) and time.perf_counter() < end:
        if number < REVOCATIONS and time.perf_counter() >= started + number * PAUSE_SECONDS:
            _send(producer, number, ["board"])
            producer.flush(10)
            sent_at[f"paper-{number}"] = time.perf_counter()
            number += 1
        seen = _readable(connection, list(sent_at))
        now = time.perf_counter()
        took += [now - sent_at.pop(name) for name in list(sent_at) if name not in seen]
        time.sleep(LOOK_SECONDS)
    return took + [time.perf_counter() - at for at in sent_at.values()]


def _readable(connection: Connection, names: list[str]) -> set[str]:
    with reading_as(connection, STAFF):
        return {name for (name,) in connection.execute(_READABLE, {"names": names}).fetchall()}


@contextmanager
def _load(client: dict[str, Any]) -> Generator[list[int]]:
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
