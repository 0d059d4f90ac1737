"""Event to searchable, one small document at a time, live stack, linger 0."""

import itertools
import json
import statistics
import time
from typing import Any

from confluent_kafka import Producer

from corpus.embed.embedder import SentenceTransformerEmbedder
from corpus.embed.tokenizer import load_tokenizer
from tests.bench.stack import Stack

TOML = """
[source.notes]
topics = ["notes"]
partitions = 1
model = "all-MiniLM-L6-v2"
"""
EVENTS = 120
PAUSE_SECONDS = 0.5
WARM_UP = 10


def run() -> dict[str, Any]:
    """Measure: produce, then look until a search by text finds it."""
    with Stack() as stack:
        stack.apply(TOML)
        producer = Producer({**stack.kafka_client(), "linger.ms": 0})
        took: list[float] = []
        with stack.connect() as connection:
            for number in range(EVENTS + WARM_UP):
                word = f"zq{number}x{time.time_ns()}"
                event = {
                    "id": f"note-{number}",
                    "version": 1,
                    "content": f"Note {number}: the gauging station {word} reported a level of {number} cm.",
                }
                started = time.perf_counter()
                producer.produce("notes", json.dumps(event).encode(), key=event["id"].encode())
                producer.flush(10)
                for _ in itertools.count():
                    found = connection.execute(
                        "SELECT 1 FROM freshet.search(NULL, %s, 1, 'text', NULL, ARRAY['notes'])",
                        (word,),
                    ).fetchone()
                    if found or time.perf_counter() - started > 60:
                        break
                    time.sleep(0.002)
                if number >= WARM_UP:
                    took.append(time.perf_counter() - started)
                time.sleep(PAUSE_SECONDS)
    took.sort()
    encode = _encode()
    return {
        "events": len(took),
        "p50 seconds": round(statistics.median(took), 3),
        "p99 seconds": round(took[int(len(took) * 0.99) - 1], 3),
        "greatest": round(took[-1], 3),
        "encode of one such text, seconds p50": round(encode, 4),
        "p50 beyond encode": round(statistics.median(took) - encode, 3),
    }


def _encode() -> float:
    embedder = SentenceTransformerEmbedder("all-MiniLM-L6-v2")
    tokens = load_tokenizer("all-MiniLM-L6-v2").encode(
        "Note 1: the gauging station zq1x1 reported a level of 1 cm."
    )[0]
    seconds = []
    for _ in range(30):
        started = time.perf_counter()
        embedder.embed_tokens([tokens])
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)
