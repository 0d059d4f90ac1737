"""`python -m tests.bench [name ...]`: run measurements, write `build/bench/NAME.json`, print them."""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.bench import (
    access,
    audit,
    backlog,
    context,
    converge,
    day,
    decode,
    edits,
    embedders,
    everything,
    fairness,
    files,
    latency,
    maintain,
    many_sources,
    memory,
    partitions,
    plans,
    purge,
    retrieval,
    revocation,
    searches,
    storage,
    throughput,
)
from tests.bench.gold import bench as gold
from tests.bench.peers import bench as peers
from tests.bench.scale import report as scale
from tests.bench.scale.bench import Options as ScaleOptions
from tests.bench.stack import ROOT

BENCHES: dict[str, Callable[[], dict[str, Any]]] = {
    "throughput": throughput.run,
    "latency": latency.run,
    "backlog": backlog.run,
    "fairness": fairness.run,
    "embedders": embedders.run,
    "edits": edits.run,
    "retrieval": retrieval.run,
    "converge-plain": partial(converge.run, "plain"),
    "converge-twice": partial(converge.run, "twice"),
    "converge-chaos": partial(converge.run, "chaos"),
    "everything": everything.run,
    "day": day.run,
    "decode": decode.run,
    "files": files.run,
    "memory": memory.run,
    "audit": audit.run,
    "access": access.run,
    "purge": purge.run,
    "maintain": maintain.run,
    "plans": plans.run,
    "revocation": revocation.run,
    "searches": searches.run,
    "storage": storage.run,
    "scale": partial(scale.measure, ScaleOptions()),
    "scale-million": partial(scale.measure, ScaleOptions(chunks=1_000_000, queries=60)),
    "peers": peers.run,
    "many-sources": many_sources.run,
    "partitions": partitions.run,
    "gold": gold.run,
    "context-scifact": context.run_scifact,
    "context-peps": context.run_peps,
    "headings": context.run_text,
}
# Only where they are named: one takes an hour and more, one installs another program, two need quiet cores, one looks
# at a schema that is not served.
BY_NAME = frozenset({"scale-million", "peers", "embedders", "many-sources", "partitions"})


def main() -> int:
    """Run what was asked for, or all; 1 where one shows that a promise does not hold."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="name", help="of a measurement; all, if left out"
    )
    parser.add_argument(
        "--chunks", type=int, help="of the corpus of `plans` (FRESHET_BENCH_CHUNKS)"
    )
    given = parser.parse_args()
    if given.chunks is not None:
        os.environ["FRESHET_BENCH_CHUNKS"] = str(given.chunks)
    wanted: list[str] = given.names or [name for name in BENCHES if name not in BY_NAME]
    if unknown := [name for name in wanted if name not in BENCHES]:
        sys.stderr.write(
            f"there is no measurement {unknown[0]!r}; there are {', '.join(BENCHES)}\n"
        )
        return 2
    folder = ROOT / "build" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    broken = False
    for name in wanted:
        load = os.getloadavg()[0]
        started = time.monotonic()
        result = BENCHES[name]()
        about = {
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "load before": round(load, 2),
            "took seconds": round(time.monotonic() - started),
        }
        text = json.dumps({"name": name, **result, "machine": about}, indent=2, ensure_ascii=False)
        (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
        broken |= not result.get("holds", True)
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
