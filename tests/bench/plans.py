"""Rows that every query reads in a synthetic corpus of half the size and of all of it, and whether they grow with it.

The corpus is that of `tests.support.large_corpus`: two thirds of the chunks are visible in one source, the others are
closed; vectors are of three dimensions and in no index. A test compares the same in little (`tests/service`), where the
planner must take an index wherever there is one; here it is as free as in service. FRESHET_BENCH_CHUNKS, or
`--chunks`, sets the visible chunks.
"""

import os
import tempfile
import time
from pathlib import Path
from typing import Any

from compose.local.machine.ports import free_port
from compose.local.parts.postgres import Postgres
from compose.local.run import running
from corpus.database import Connection, connect, migrate
from tests.support.large_corpus import Shape, grow
from tests.support.query_plans import GROWS, Reading, grows, read_all

_SHAPE = Shape(chunks=10, batches=5, versions=5, small_sources=500)
_SHOWN = 15  # slowest queries
_FEW = 0.01  # rows per chunk: of what grows with the corpus, more are read; less is another index for the same few


def run() -> dict[str, Any]:
    """Fill half, read; fill the rest, read again."""
    chunks = int(os.environ.get("FRESHET_BENCH_CHUNKS", "300000"))
    documents = chunks // _SHAPE.chunks
    with tempfile.TemporaryDirectory() as folder:
        server = Postgres(home=Path(folder), port=free_port(), fsync=False)
        with running(server):
            migrate(server.url)
            with connect(server.url) as connection:
                half, _ = _filled(connection, 0, documents // 2)
                full, seconds = _filled(connection, documents // 2, documents)
    few = round(_FEW * chunks)
    return {"visible chunks": chunks, "seconds to fill the second half": seconds} | judged(
        half, full, few
    )


def _filled(connection: Connection, first: int, upto: int) -> tuple[dict[str, Reading], int]:
    began = time.monotonic()
    grow(connection, _SHAPE, first, upto)
    seconds = round(time.monotonic() - began)
    return read_all(connection), seconds


def judged(half: dict[str, Reading], full: dict[str, Reading], few: int) -> dict[str, Any]:
    """What grows, with and without a reason; `queries` has all of them, the most rows first.

    Args:
        half: what was read of half of the corpus.
        full: of all of it.
        few: rows that are no growth, whatever was read before.
    """
    growing = [name for name in full if full[name].rows > few and grows(half[name], full[name])]
    slowest = sorted(full, key=lambda name: -full[name].milliseconds)[:_SHOWN]
    by_rows = sorted(full, key=lambda name: -full[name].rows)
    unexpected = [name for name in growing if name not in GROWS]
    return {
        "grow without a reason": {name: full[name].plan.splitlines() for name in unexpected},
        "grow": {name: GROWS[name] for name in growing if name in GROWS},
        "slowest, ms": {name: round(full[name].milliseconds, 1) for name in slowest},
        "queries": {
            name: {
                "rows at half": half[name].rows,
                "rows": full[name].rows,
                "answer": full[name].answer,
                "ms at half": round(half[name].milliseconds, 1),
                "ms": round(full[name].milliseconds, 1),
            }
            for name in by_rows
        },
        "holds": not unexpected,
    }
