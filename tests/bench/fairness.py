"""How long a small document of one source takes beside another source that is slow, or has a backlog; live stack."""

import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from corpus.clean.cleaner import clean_text
from tests.bench.stack import Stack

TOML = """
[source.notes]
topics = ["notes"]
partitions = 1
model = "all-MiniLM-L6-v2"

[source.slow]
topics = ["slow"]
partitions = 3
model = "all-MiniLM-L6-v2"
pipeline.clean_timeout = "4s"

[source.backlog]
topics = ["backlog"]
partitions = 3
model = "all-MiniLM-L6-v2"
"""
NOTES = 45
PAUSE_SECONDS = 1.0
WARM_UP = 5
SLOW_DOCUMENTS = 90
SLOW_SECONDS = 2.0  # of cleaning, per document, when the machine is idle
BACKLOG_DOCUMENTS = 5_000
DEADLINE_SECONDS = 300
# 95 of 100 notes arrive within this, whatever the other sources do.
BOUND_SECONDS = 5.0


def run() -> dict[str, Any]:
    """Measure alone, beside each of the two, and beside both."""
    with Stack() as stack, tempfile.TemporaryDirectory() as folder:
        stack.apply(TOML)
        _notes(stack, "warm", WARM_UP)
        result = {"alone": _notes(stack, "alone", NOTES)}
        slow = _file(Path(folder) / "slow.jsonl", _slow_documents())
        stack.produce("slow", slow)
        time.sleep(3)
        result["beside slow documents"] = _notes(stack, "slow", NOTES)
        result["slow documents left"] = _left(stack, "slow")
        backlog = _file(Path(folder) / "backlog.jsonl", _backlog())
        stack.produce("backlog", backlog)
        time.sleep(3)
        result["beside a backlog, and what was left"] = _notes(stack, "backlog", NOTES)
        result["backlog left"] = _left(stack, "backlog")
    return result | {"bound": BOUND_SECONDS, "holds": _holds(result)}


def _holds(result: dict[str, Any]) -> bool:
    measured = [one for one in result.values() if isinstance(one, dict)]
    return all(one["p95 seconds"] <= BOUND_SECONDS for one in measured)


def _file(path: Path, events: Iterator[dict[str, Any]]) -> Path:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(event) + "\n" for event in events)
    return path


def _slow_markdown(lines: int) -> str:
    """Each line continues a paragraph inside twenty quotes, and each quote looks at it."""
    return ">" * 20 + "a\n" + "a\n" * lines


def _slow_documents() -> Iterator[dict[str, Any]]:
    lines = 20_000
    started = time.process_time()
    clean_text(_slow_markdown(lines), "markdown")
    lines = round(lines * SLOW_SECONDS / (time.process_time() - started))
    text = _slow_markdown(lines)
    for number in range(SLOW_DOCUMENTS):
        content = f"# Document {number}\n\n{text}"
        yield {
            "id": f"slow-{number}",
            "version": 1,
            "content": content,
            "content_type": "text/markdown",
        }


def _backlog() -> Iterator[dict[str, Any]]:
    for number in range(BACKLOG_DOCUMENTS):
        sentences = [
            f"Gauge {number} at weir {part} recorded a level of {number * part % 977} cm."
            for part in range(8)
        ]
        yield {"id": f"doc-{number}", "version": 1, "content": " ".join(sentences)}


def _notes(stack: Stack, label: str, count: int) -> dict[str, Any]:
    """Send a note per second; seconds from sending to the instant at which each is visible."""
    producer = Producer({**stack.kafka_client(), "linger.ms": 0})
    sent: dict[str, float] = {}
    for number in range(count):
        name = f"{label}-{number}"
        event = {"id": name, "version": 1, "content": f"Note {name} of the gauging station."}
        sent[name] = time.time()
        producer.produce("notes", json.dumps(event).encode(), key=name.encode())
        producer.flush(10)
        time.sleep(PAUSE_SECONDS)
    visible = _visible(stack, list(sent))
    took = sorted(visible.get(name, time.time()) - at for name, at in sent.items())
    return {
        "notes": len(took),
        "p50 seconds": round(statistics.median(took), 2),
        "p95 seconds": round(took[int(len(took) * 0.95) - 1], 2),
        "greatest": round(took[-1], 2),
        "never visible": len(sent) - len(visible),
    }


def _visible(stack: Stack, names: list[str]) -> dict[str, float]:
    end = time.monotonic() + DEADLINE_SECONDS
    visible: dict[str, float] = {}
    with stack.connect() as connection:
        while len(visible) < len(names) and time.monotonic() < end:
            rows = connection.execute(
                "SELECT document_id, extract(epoch FROM visible_from)::float8 FROM freshet.document "
                "WHERE source = 'notes' AND document_id = ANY(%s) AND visible_from IS NOT NULL",
                (names,),
            ).fetchall()
            visible = dict(rows)
            time.sleep(0.5)
    return visible


def _left(stack: Stack, source: str) -> int:
    """Records of a source that have no outcome yet: as long as there are some, it is in the way."""
    total = {"slow": SLOW_DOCUMENTS, "backlog": BACKLOG_DOCUMENTS}[source]
    with stack.connect() as connection:
        row = connection.execute(
            "SELECT coalesce(sum(next_offset), 0)::int8 FROM freshet.source_position WHERE source = %s",
            (source,),
        ).fetchone()
    return total - (row[0] if row else 0)
