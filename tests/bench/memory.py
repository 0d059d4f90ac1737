"""Memory of each process with documents of 20 MB, and with a backlog of 100,000 events."""

import random
from typing import Any

from tests.bench import data
from tests.bench.stack import Stack

TOML = """
[source.large]
topics = ["large"]
partitions = 2
model = "all-MiniLM-L6-v2"

[source.many]
topics = ["many"]
partitions = 4
model = "all-MiniLM-L6-v2"
"""
LARGE_DOCUMENTS = 6
LARGE_BYTES = 20_000_000
EVENTS = 100_000
IDS = 2_000


def run() -> dict[str, Any]:
    """Measure."""
    rng = random.Random(3)
    paragraphs = [
        text
        for event, _ in zip(data.events("streams/peps.base.jsonl.zst"), range(60), strict=False)
        for text in event["content"].split("\n\n")
    ]
    with Stack() as stack:
        stack.apply(TOML)
        # A text that repeats: the size is what is measured here, not the model.
        body = "\n\n".join(rng.choice(paragraphs) for _ in range(400))
        large = [
            {
                "id": f"large-{n}",
                "version": 1,
                "content_type": "text/plain",
                "content": (body + f"\n\nnumber {n}\n\n") * (LARGE_BYTES // len(body.encode())),
            }
            for n in range(LARGE_DOCUMENTS)
        ]
        sizes = [len(event["content"].encode()) for event in large]
        many = (
            {
                "id": f"d{n % IDS}",
                "version": n,
                "content": f"Document {n % IDS}. {paragraphs[n % len(paragraphs)]}",
            }
            for n in range(EVENTS)
        )
        result: dict[str, Any] = {
            "large documents": LARGE_DOCUMENTS,
            "bytes each": sizes[0],
            "backlog events": EVENTS,
        }
        for name, events in (("large", large), ("many", many)):
            file = data.write_events(stack.home / f"{name}.jsonl", events)
            stack.kill("consumer")
            stack.produce(name, file)
            with stack.watching_memory() as peaks:
                drained = stack.drain(1500, source=name)
            result[name] = {
                "drained": drained["drained"],
                "seconds": drained["seconds"],
                "greatest MB": {part: round(size / 1e6) for part, size in peaks.items()},
            }
        return result
