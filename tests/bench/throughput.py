"""Issue figure 5: first ingest against raw `encode()` of exactly the same texts; the same corpus again.

One run, one machine, one after the other: the whole stack ingests, then, with the stack down, the same texts go through the
same model alone (`raw`: same backend, same precision, token-sorted batches of 16) and through the library's own
`encode()` in fp32 (`library`), which is what others use.
"""

import time
from typing import Any

from corpus.embedder import SentenceTransformerEmbedder
from corpus.tokenize import load_tokenizer
from tests.bench import data
from tests.bench.stack import Stack

MODEL = "all-MiniLM-L6-v2"
TOML = f"""
[source.peps]
topics = ["peps"]
partitions = 3
model = "{MODEL}"
"""
DOCUMENTS = 250  # of the base, in its order: two minutes of embedding
LIBRARY_TEXTS = 1200  # fp32 is slow; its rate comes from this many, every nth of the same texts


def run() -> dict[str, Any]:
    """Measure."""
    with Stack() as stack:
        stack.apply(TOML)
        wanted = [event for event, _ in zip(data.events("streams/peps.base.jsonl.zst"), range(DOCUMENTS), strict=False)]
        file = data.write_events(stack.home / "base.jsonl", wanted)
        stack.cli("drain", "--timeout", "30")  # everything is awake
        first = _ingest(stack, file)
        with stack.connect() as connection:
            texts = [row[0] for row in connection.execute(b"SELECT text FROM freshet.chunk WHERE visible_to IS NULL ORDER BY chunk_id").fetchall()]
            embedded = connection.execute(b"SELECT count(*) FROM freshet.embedding").fetchone()
            texts = list(dict.fromkeys(texts))
        everything = data.write_events(stack.home / "again.jsonl", wanted)
        again = _ingest(stack, everything)
        again_rates = [len(wanted) / again]
        for _ in range(2):
            again_rates.append(len(wanted) / _ingest(stack, everything))
        with stack.connect() as connection:
            after = connection.execute(b"SELECT count(*) FROM freshet.embedding").fetchone()
    raw, precision = _raw(texts)
    library = _library(texts)
    assert embedded is not None
    assert after is not None
    return {
        "documents": len(wanted),
        "texts": len(texts),
        "first ingest seconds": round(first, 2),
        "first ingest texts/s": round(embedded[0] / first, 1),
        "raw encode texts/s, same backend and precision": round(raw, 1),
        "precision": precision,
        "library fp32 encode texts/s": round(library, 1),
        "ratio to raw": round(embedded[0] / first / raw, 3),
        "ratio to library fp32": round(embedded[0] / first / library, 2),
        "again documents/s": [round(rate) for rate in again_rates],
        "again texts embedded": after[0] - embedded[0],
    }


def _ingest(stack: Stack, file: Any) -> float:
    """Seconds from the first record's arrival in Kafka to the last batch's publication, both by clocks of this machine."""
    started = time.time()
    stack.produce("peps", file)
    drained = stack.drain(900)
    assert drained["drained"], drained
    with stack.connect() as connection:
        row = connection.execute(b"SELECT extract(epoch FROM max(published_at)) FROM freshet.batch").fetchone()
        first = connection.execute(b"SELECT min(extract(epoch FROM staged_at)) FROM freshet.batch WHERE staged_at >= to_timestamp(%s)", (started,)).fetchone()
    assert row is not None
    assert first is not None
    return float(row[0]) - float(first[0])


def _raw(texts: list[str]) -> tuple[float, str]:
    embedder = SentenceTransformerEmbedder(MODEL)
    tokenizer = load_tokenizer(MODEL)
    tokens = [tokenizer.encode(text)[0][: tokenizer.limit - tokenizer.special_tokens] for text in texts]
    embedder.embed_tokens(tokens[:64])
    started = time.perf_counter()
    embedder.embed_tokens(tokens)
    return len(texts) / (time.perf_counter() - started), embedder.precision


def _library(texts: list[str]) -> float:
    from sentence_transformers import SentenceTransformer

    from corpus.model import model_folder

    some = texts[:: max(1, len(texts) // LIBRARY_TEXTS)]
    model = SentenceTransformer(str(model_folder(MODEL)), device="cpu")
    model.encode(some[:64])
    started = time.perf_counter()
    model.encode(some)
    return len(some) / (time.perf_counter() - started)
