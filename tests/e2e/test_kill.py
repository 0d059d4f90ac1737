"""kill -9 of every part of a running stack, one after the other, while real changes stream through it.

The seed and the kills are in the failure message; the supervisor starts what was killed. What must hold at the end is
promises 1, 2, 4, 5 and 6; nothing is said of how long it takes.
"""

import json
import random
import threading
from pathlib import Path
from typing import Any

import pytest
from backports import zstd

from tests.bench.converge import accounts, drain_patiently, produce_patiently
from tests.bench.stack import PARTS, ROOT, Reader, Stack, chaos

EXAMPLE = ROOT / "examples" / "peps"
SEED = 703


def _events(path: Path) -> list[dict[str, Any]]:
    with zstd.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _folded(events: list[dict[str, Any]]) -> dict[str, int]:
    """The model: per document the greatest version."""
    greatest: dict[str, dict[str, Any]] = {}
    for event in events:
        if event["version"] > greatest.get(event["id"], {"version": -1})["version"]:
            greatest[event["id"]] = event
    return {
        document: event["version"]
        for document, event in greatest.items()
        if event["op"] == "upsert"
    }


@pytest.mark.slow
def test_every_part_may_be_killed(tmp_path: Path) -> None:
    files = [EXAMPLE / "peps.base.jsonl.zst", EXAMPLE / "peps.changes.jsonl.zst"]
    log: list[str] = []
    stop = threading.Event()
    rng = random.Random(SEED)
    with Stack() as stack:
        stack.apply((EXAMPLE / "freshet.toml").read_text(encoding="utf-8").split("# A team")[0])
        reader = Reader(stack)
        reader.start()
        killing = chaos(
            stack, stop, order=rng.sample(PARTS, len(PARTS)), rng=rng, pause=(2.0, 6.0), log=log
        )
        try:
            for file in files:
                produce_patiently(stack, file, topic="peps")
            killing.join(180)
            assert drain_patiently(stack, timeout=420), (
                SEED,
                log,
                stack.cli("sources", check=False),
            )
        finally:
            stop.set()
        seen = reader.stop()
        exported = stack.cli("export", "--source", "peps")
        counted = accounts(stack)
    have = {row[0]: int(row[1]) for row in (line.split("\t") for line in exported.splitlines()[1:])}
    assert have == _folded([event for file in files for event in _events(file)]), (SEED, log)
    assert len(log) >= len(PARTS) - 1, log
    wrong = {name: count for name, count in seen.items() if not name.startswith("looks") and count}
    assert not wrong, (SEED, log, seen)
    assert seen["looks"] > 50
    assert (
        counted["offsets by the positions"]
        == counted["offsets by the ranges"]
        == counted["records by the ledger"]
    )
    # What a killed embedder or database can cost: the shards under way, two (one computes, one is written) of each of two batches.
    kills = sum("embedder" in line or "postgres" in line for line in log)
    assert counted["texts sent more than once"] <= kills * 4 * 128, (SEED, log, counted)
