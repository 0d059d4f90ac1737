"""An audit of 100,000 chunks, of which 1 % are damaged in eight ways: what it finds, what a repair costs.

The real pipeline and the real steps of an audit in one process, on a real PostgreSQL; the embedder is the fake one, and
the log is kept in memory in place of Kafka's. FRESHET_AUDIT_CHUNKS makes it smaller.
"""

import os
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compose.local.machine.ports import free_port
from compose.local.parts.postgres import Postgres
from compose.local.run import running
from corpus.clean.cleaner import Cleaner
from corpus.database import migrate
from tests.support.auditing import Auditor, KeptLog
from tests.support.damage import DAMAGES
from tests.support.pipeline import Event, Pipeline, make_event

CHUNKS = int(os.environ.get("FRESHET_AUDIT_CHUNKS", "100000"))
BATCH = 5_000
# The eight; each has an eighth of 1 %.
CLASSES = (
    *("it was hidden", "a copy", "an older version", "two versions"),
    *("a chunk more", "another text", "a closed chunk", "another vector"),
)
EACH = CHUNKS // 100 // len(CLASSES)
WORDS = ("weir", "gauge", "spillway", "level", "river", "dam", "flood", "snow", "lock", "reach")


def run() -> dict[str, Any]:
    """Fill, damage, audit, repair, audit again."""
    with tempfile.TemporaryDirectory() as folder, Cleaner(processes=2) as cleaner:
        home = Path(folder)
        server = Postgres(home=home, port=free_port(), fsync=False)
        with running(server):
            migrate(server.url)
            with Pipeline(server.url, home / "staging", cleaner=cleaner) as pipeline:
                return _measure(Auditor(pipeline, KeptLog(pipeline)))


def _measure(auditor: Auditor) -> dict[str, Any]:
    pipeline = auditor.pipeline
    began = time.monotonic()
    _fill(pipeline)
    filled = time.monotonic()
    truth = pipeline.visible()
    clean = auditor.run()
    phases = {phase: round(seconds, 1) for phase, seconds in auditor.seconds.items()}
    before = time.monotonic()
    expected = _damage(pipeline)
    damaged = time.monotonic()
    result = auditor.run()
    audited = time.monotonic()
    found = set(auditor.found(result))
    pipeline.embedder.embedded.clear()
    auditor.repair(result)
    repaired = time.monotonic()
    embedded = sum(pipeline.embedder.embedded.values())
    left = auditor.findings(auditor.run())
    is_restored = pipeline.visible() == truth
    return {
        "chunks": result.counts["chunks"],
        "records": result.counts["records"],
        "damaged": len(expected),
        "found": len(found & expected),
        "false alarms": len(found - expected) + sum(clean.findings.values()),
        "left after the repair": len(left),
        "corpus as before": is_restored,
        "texts embedded by the repair": embedded,
        "texts whose vector is not trusted": 2 * EACH,
        "seconds": {
            "fill": round(filled - began),
            "audit, nothing wrong": round(before - filled, 1),
            "audit, 1 % damaged": round(audited - damaged, 1),
            "repair, with reading the log again": round(repaired - audited, 1),
        },
        "seconds of the first audit, by phase": phases,
        "resident MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "holds": found == expected and is_restored and not left and embedded == 2 * EACH,
    }


def _fill(pipeline: Pipeline) -> None:
    numbers = range(CHUNKS)
    for first in range(0, CHUNKS, BATCH):
        pipeline.ingest(*(_event(number, 1) for number in numbers[first : first + BATCH]))
    changed = [number for name in ("an older version", "two versions") for number in _of(name)]
    for first in range(0, len(changed), BATCH):
        pipeline.ingest(*(_event(number, 2) for number in changed[first : first + BATCH]))


def _event(number: int, version: int) -> Event:
    words = " ".join(WORDS[(number // 10**place) % 10] for place in range(5))
    return make_event(f"doc{number}", version, f"Station {number}: {words}, version {version}.")


def _of(name: str) -> Sequence[int]:
    """The documents that are damaged so, spread over all."""
    place = CLASSES.index(name)
    step = CHUNKS // EACH
    return range(place, step * EACH, step)


def _damage(pipeline: Pipeline) -> set[tuple[str, str]]:
    # One that is not damaged lends its vector.
    other = f"doc{len(CLASSES)}"
    return {
        DAMAGES[name].do(pipeline, f"doc{number}", other)
        for name in CLASSES
        for number in _of(name)
    }
