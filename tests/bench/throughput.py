"""First ingest against raw `encode()` of exactly the same texts; the same corpus again.

One run, one machine, one after the other: the whole stack ingests, then, with the stack down, the same texts go
through the library's `encode()` in the same backend and precision, through its fp32, which is what others use, and,
stricter than either, through Freshet's own embedder with nothing around it (`bare`).
"""

import json
import os
import time
from typing import Any

from corpus.embed.embedder import SentenceTransformerEmbedder
from corpus.embed.tokenizer import load_tokenizer
from tests.bench import data
from tests.bench.stack import PARTS, Stack

MODEL = "all-MiniLM-L6-v2"
TOML = f"""
[source.peps]
topics = ["peps"]
partitions = 3
model = "{MODEL}"
"""
# What Freshet costs beside the model; the tokens of a text are made where it is split.
_OUTSIDE = frozenset(PARTS) - {"embedder"}
DOCUMENTS = 120  # of the base, in its order: a minute of embedding
AGAIN = 50  # times the unchanged documents are sent again, in one go
LIBRARY_TEXTS = (
    500  # fp32 is slow; its rate comes from about this many, every nth of the same texts
)

# Texts that have a vector: in the embedding store, or in a chunk.
_VECTORS = b"""SELECT count(*) FROM (SELECT space_id, text_sha256 FROM freshet.embedding
                                     UNION SELECT space_id, text_sha256 FROM freshet.chunk) vectors"""


def run() -> dict[str, Any]:
    """Measure."""
    with Stack() as stack:
        stack.apply(TOML)
        wanted = [
            event
            for event, _ in zip(
                data.events("streams/peps.base.jsonl.zst"), range(DOCUMENTS), strict=False
            )
        ]
        file = data.write_events(stack.home / "base.jsonl", wanted)
        _settle(stack)
        before = _processor_seconds(stack)
        first = _ingest(stack, file)
        spent = {part: now - before[part] for part, now in _processor_seconds(stack).items()}
        with stack.connect() as connection:
            texts = [
                row[0]
                for row in connection.execute(
                    b"SELECT text FROM freshet.chunk WHERE visible_to IS NULL ORDER BY chunk_id"
                ).fetchall()
            ]
            embedded = connection.execute(_VECTORS).fetchone()
            texts = list(dict.fromkeys(texts))
        everything = data.write_events(stack.home / "again.jsonl", wanted * AGAIN)
        busy = _embedding_seconds(stack)
        again = _ingest(stack, everything)
        again_rates = [len(wanted) * AGAIN / again]
        again_rates.extend(len(wanted) * AGAIN / _ingest(stack, everything) for _ in range(2))
        with stack.connect() as connection:
            after = connection.execute(_VECTORS).fetchone()
    bare, precision = _bare(texts)
    raw = _library(texts, bfloat16=precision == "bf16")
    library = _library(texts, bfloat16=False)
    assert embedded is not None
    assert after is not None
    return {
        "documents": len(wanted),
        "texts": len(texts),
        "first ingest seconds": round(first, 2),
        "first ingest texts/s": round(embedded[0] / first, 1),
        "raw encode() texts/s, same backend and precision": round(raw, 1),
        "bare embedder texts/s": round(bare, 1),
        "precision": precision,
        "seconds in the model during first ingest": round(busy, 2),
        "raw fp32 encode() texts/s": round(library, 1),
        "ratio to raw encode()": round(embedded[0] / first / raw, 3),
        "ratio to bare embedder": round(embedded[0] / first / bare, 3),
        "CPU seconds during first ingest": {part: round(one, 2) for part, one in spent.items()},
        "share of the machine outside the model": round(
            sum(one for part, one in spent.items() if part in _OUTSIDE)
            / (first * len(os.sched_getaffinity(0))),
            3,
        ),
        "ratio to raw fp32": round(embedded[0] / first / library, 2),
        "again documents/s": [round(rate) for rate in again_rates],
        "again texts embedded": after[0] - embedded[0],
    }


def _processor_seconds(stack: Stack) -> dict[str, float]:
    """Of each part; `this bench` is the commands that it runs, which wait for the corpus and produce."""
    own = os.times()
    return {part: stack.cpu_seconds(part) for part in PARTS} | {
        "this bench": sum((own.user, own.system, own.children_user, own.children_system))
    }


def _settle(stack: Stack) -> None:
    """Wait until the gateway has loaded its model too: a start is not what is measured here."""
    log = stack.home / "logs" / "gateway.log"
    deadline = time.monotonic() + 120
    while "model_loaded" not in log.read_text(encoding="utf-8") and time.monotonic() < deadline:
        time.sleep(0.5)


def _ingest(stack: Stack, file: Any) -> float:
    """Seconds from the first record's arrival in Kafka to the last publication, by clocks of this machine."""
    started = time.time()
    stack.produce("peps", file)
    drained = stack.drain(900)
    assert drained["drained"], drained
    with stack.connect() as connection:
        row = connection.execute(
            b"SELECT extract(epoch FROM max(published_at)) FROM freshet.batch"
        ).fetchone()
        first = connection.execute(
            b"SELECT min(extract(epoch FROM staged_at)) FROM freshet.batch WHERE staged_at >= to_timestamp(%s)",
            (started,),
        ).fetchone()
    assert row is not None
    assert first is not None
    return float(row[0]) - float(first[0])


def _embedding_seconds(stack: Stack) -> float:
    """Wall seconds of all shards, from the embedder's log."""
    lines = (stack.home / "logs" / "embedder.log").read_text(encoding="utf-8").splitlines()
    return sum(json.loads(line)["seconds"] for line in lines if '"shard_embedded"' in line)


def _bare(texts: list[str]) -> tuple[float, str]:
    embedder = SentenceTransformerEmbedder(MODEL)
    tokenizer = load_tokenizer(MODEL)
    tokens = [
        tokenizer.encode(text)[0][: tokenizer.limit - tokenizer.special_tokens] for text in texts
    ]
    embedder.embed_tokens(tokens[:64])
    started = time.perf_counter()
    embedder.embed_tokens(tokens)
    return len(texts) / (time.perf_counter() - started), embedder.precision


def _library(texts: list[str], *, bfloat16: bool) -> float:
    import torch
    from sentence_transformers import SentenceTransformer

    from corpus.embed.model_files import model_folder

    torch.set_num_threads(
        os.cpu_count() or 1
    )  # its own default; Freshet's embedder has set another in this process
    some = texts[:: max(1, len(texts) // LIBRARY_TEXTS)]
    model = SentenceTransformer(str(model_folder(MODEL)), device="cpu")
    if bfloat16:
        model.bfloat16()
    model.encode(some[:64])
    started = time.perf_counter()
    model.encode(some)
    return len(some) / (time.perf_counter() - started)
