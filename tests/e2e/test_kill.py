"""kill -9 of every part of a running stack, one after the other, while real changes stream through it.

The failure message names the seed and the kills; the supervisor starts what was killed. Promises 1, 2, 4, 5 and 6 must
hold at the end, however long it takes.
"""

import json
import random
import threading
from pathlib import Path
from typing import Any

import pytest

from ingest.event_file import zstd
from tests.bench import data
from tests.bench.converge import accounts, drain_patiently, produce_patiently
from tests.bench.reader import Reader
from tests.bench.stack import PARTS, ROOT, Stack, chaos

EXAMPLE = ROOT / "examples" / "peps"
SEED = 703


def _events(path: Path) -> list[dict[str, Any]]:
    with zstd.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _check_reader(seen: dict[str, int], failure: object) -> None:
    """The reader beside the stack looked often, and saw nothing that must not be visible."""
    wrong = {name: count for name, count in seen.items() if not name.startswith("looks")}
    assert not any(wrong.values()), (failure, seen)
    assert seen["looks"] > 50


def _check_accounts(counted: dict[str, int], log: list[str]) -> None:
    """Every offset is accounted for, and a kill costs no more than the shards in progress."""
    assert counted["offsets by the positions"] == counted["offsets by the ranges"]
    assert counted["offsets by the positions"] == counted["records by the ledger"]
    # A killed embedder or database costs two shards (one is computed, one is written) per batch, of two batches.
    kills = sum("embedder" in line or "postgres" in line for line in log)
    assert counted["texts sent more than once"] <= kills * 4 * 128, (SEED, log, counted)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_part_may_be_killed(tmp_path: Path) -> None:
    files = [EXAMPLE / "peps.base.jsonl.zst", EXAMPLE / "peps.changes.jsonl.zst"]
    expected = data.folded(event for file in files for event in _events(file))
    log: list[str] = []
    failure = (SEED, log)
    stop = threading.Event()
    rng = random.Random(SEED)
    order = rng.sample(PARTS, len(PARTS))
    with Stack() as stack:
        stack.apply((EXAMPLE / "freshet.toml").read_text(encoding="utf-8").split("# A team")[0])
        reader = Reader(stack)
        reader.start()
        killing = chaos(stack, stop, order=order, rng=rng, pause=(2.0, 6.0), log=log)
        try:
            for file in files:
                produce_patiently(stack, file, topic="peps")
            killing.join(180)
            drained = drain_patiently(stack, timeout=420)
            assert drained, (failure, stack.cli("sources", check=False))
        finally:
            stop.set()
        seen = reader.stop()
        exported = data.exported(stack.cli("export", "--source", "peps"))
        counted = accounts(stack)
    assert exported == expected, failure
    assert len(log) >= len(PARTS) - 1, log
    _check_reader(seen, failure)
    _check_accounts(counted, log)
