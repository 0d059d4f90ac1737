"""How long publishing takes beside so many chunks, what ingest takes in all, and the VACUUM afterwards."""

import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.bench.scale.made import Made
from tests.bench.scale.revision import Revision

CHUNKS_OF_DOCUMENT = 5
_BATCHES = {1: 30, 20: 10}  # documents of a batch -> batches
_WARM_UP = 2  # batches, before times count
_SEED = 29


def publishing(made: Made, revisions: Sequence[Revision]) -> dict[str, Any]:
    """Publish the same new documents in each database in turn; then an edit of each, and the VACUUM of what it left.

    The vectors come from the tests' embedder, which needs no model, so ingest is what Freshet itself does.
    """
    chance = np.random.default_rng([made.seed, _SEED])
    by_size: dict[str, dict[str, Any]] = {}
    documents: dict[str, str] = {}
    for size, batches in _BATCHES.items():
        seconds: dict[str, list[dict[str, float]]] = {one.name: [] for one in revisions}
        for batch in range(-_WARM_UP, batches):
            texts = {f"new-{size}-{batch}-{n}": _text(chance, made) for n in range(size)}
            documents |= texts
            for revision in revisions:
                taken = revision.do("ingest", documents=texts, version=1)
                if batch >= 0:
                    seconds[revision.name].append(taken)
        by_size[f"{size} document{'s' if size > 1 else ''}"] = {
            name: _figures(taken, size) for name, taken in seconds.items()
        }
    edited = {name: f"{text} Edited." for name, text in documents.items()}
    edits = {one.name: _edit(one, edited) for one in revisions}
    return {
        "publishing": by_size,
        "edits": edits,
        "vacuum of chunks, seconds": {one.name: _vacuum(one) for one in revisions},
    }


def _text(chance: np.random.Generator, made: Made) -> str:
    """Paragraphs of the made corpus, in an order that it does not have."""
    chunks = chance.choice(made.chunks, CHUNKS_OF_DOCUMENT, replace=False)
    return "\n\n".join(made.text(chunk) for chunk in chunks.tolist())


def _figures(taken: list[dict[str, float]], size: int) -> dict[str, Any]:
    ordered = sorted(one["publish"] * 1000 for one in taken)
    return {
        "batches": len(taken),
        "texts per document": round(sum(one["embedded"] for one in taken) / size / len(taken), 1),
        "p50 ms": round(statistics.median(ordered), 1),
        "p99 ms": round(ordered[int(len(ordered) * 0.99 - 1e-9)], 1),
        "ingest, documents per second": round(
            size * len(taken) / sum(one["all"] for one in taken), 1
        ),
    }


def _edit(revision: Revision, documents: dict[str, str]) -> dict[str, Any]:
    """A word is added at the end of each document."""
    taken = revision.do("ingest", documents=documents, version=2)
    return {
        "documents": len(documents),
        "texts embedded": taken["embedded"],
        "documents per second": round(len(documents) / taken["all"], 1),
    }


def _vacuum(revision: Revision) -> float:
    began = time.monotonic()
    revision.connection.execute("VACUUM freshet.chunk")
    return round(time.monotonic() - began, 1)
