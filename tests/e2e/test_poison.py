"""Records that no one can use, beside good ones: each is a dead letter in bounded time and memory, in one batch."""

import gzip
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import psutil
import pytest
from confluent_kafka import Producer

from corpus.source import BatchLimits, SourceSpec
from tests.support.fleet import Fleet, check_that_ranges_meet
from tests.support.pipeline import make_event

pytestmark = pytest.mark.timeout(180)
MAX_SECONDS = 60.0
MAX_BYTES = 67_174_400  # of a record
MAX_GROWTH_BYTES = 1_000_000_000  # of this process and its cleaners, with all roles in it


def html(document_id: str, content: str) -> dict[str, Any]:
    return make_event(document_id, 1, content, content_type="text/html")


POISON: dict[str, tuple[dict[str, Any] | bytes, str]] = {
    "no json": (b'{"id": "x", ', "not_decodable"),
    "no text": (b"\xff\xfe\x00\x01\x80", "not_decodable"),
    "a bomb in the value": (gzip.compress(bytes(50_000_000)), "not_decodable"),
    "60 MB": (make_event("large", 1, "weir " * 12_000_000), "too_large"),
}
# These are read as far as they can be.
REPAIRED = [make_event("nul", 1, "a\x00b weir"), html("deep", "<div>" * 200_000 + "weir")]


async def test_each_poison_is_a_dead_letter_and_its_batch_is_published(
    live: Fleet, make_topic: Callable[..., str]
) -> None:
    topic = make_topic(**{"max.message.bytes": str(MAX_BYTES)})
    live.add_source(SourceSpec(source="s", topics=(topic,)))
    live.producer = Producer({"bootstrap.servers": live.bootstrap, "message.max.bytes": MAX_BYTES})
    for n, (record, _) in enumerate(POISON.values()):
        live.produce(topic, [make_event(f"good-{n}", 1, f"Weir {n}."), record])
    live.produce(topic, REPAIRED)
    with peak_growth() as growth:
        await live.drained(timeout=MAX_SECONDS)
    letters = live.rows("SELECT reason FROM freshet.dead_letter")
    assert set(live.visible("s")) == {f"good-{n}" for n in range(len(POISON))} | {"nul", "deep"}
    assert Counter(row.reason for row in letters) == Counter(r for _, r in POISON.values())
    [sums] = live.rows(
        "SELECT sum(records) AS records, sum(dead_lettered) AS dead, sum(applied) AS applied FROM freshet.batch"
    )
    assert (sums.records, sums.dead, sums.applied) == (10, 4, 6)
    check_that_ranges_meet(live.ranges("s"))
    assert growth["bytes"] < MAX_GROWTH_BYTES


async def test_of_one_batch_the_good_are_published_and_the_others_are_dead_letters(
    live: Fleet, make_topic: Callable[..., str]
) -> None:
    """One transaction and one notice for both."""
    topic = make_topic()
    live.add_source(SourceSpec(source="s", topics=(topic,), limits=BatchLimits(max_records=50)))
    records = [make_event(f"d{n}", 1, f"Weir {n}.") if n % 3 else b"poison" for n in range(30)]
    live.produce(topic, records)
    await live.drained()
    [batch] = live.rows("SELECT records, applied, dead_lettered, ignored FROM freshet.batch")
    assert tuple(batch) == (30, 20, 10, 0)
    assert len(live.visible("s")) == 20
    offsets = live.rows("SELECT record_offset FROM freshet.dead_letter ORDER BY record_offset")
    assert [row.record_offset for row in offsets] == [*range(0, 30, 3)]


async def test_five_thousand_events_at_once(live: Fleet, make_topic: Callable[..., str]) -> None:
    """In many references from four partitions, of which none is lost."""
    topic = make_topic(partitions=4)
    limits = BatchLimits(max_records=250)
    live.add_source(SourceSpec(source="s", topics=(topic,), limits=limits))
    live.produce(topic, [make_event(f"d{n % 500}", n, f"Weir {n % 50}.") for n in range(5_000)])
    await live.drained(timeout=120)
    assert live.visible("s") == {f"d{n}": 4_500 + n for n in range(500)}
    [sums] = live.rows("SELECT sum(records) AS records, count(*) AS batches FROM freshet.batch")
    assert sums.records == 5_000
    check_that_ranges_meet(live.ranges("s"))
    assert max(live.embedder.embedded.values()) == 1


@contextmanager
def peak_growth() -> Any:
    """Bytes by which this process and its children were larger at most than at the beginning."""
    ended = threading.Event()
    began = _resident()
    growth = {"bytes": 0}

    def look() -> None:
        while not ended.wait(0.1):
            growth["bytes"] = max(growth["bytes"], _resident() - began)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield growth
    finally:
        ended.set()
        looking.join()


def _resident() -> int:
    process = psutil.Process()
    total = 0
    for one in (process, *process.children(recursive=True)):
        try:
            if (
                "java" not in one.name()
                and "postgres" not in one.name()
                and "temporal" not in one.name()
            ):
                total += one.memory_info().rss
        except psutil.Error:
            continue
    return total
