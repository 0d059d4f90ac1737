"""The preparation is upgraded under a running stack; an operator then has one of two sources prepared again."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from corpus.source import SourceSpec
from ingest.overview import overview
from tests.support.fleet import Fleet
from tests.support.pipeline import make_event
from tests.support.polling import until
from tests.support.upgrading import upgrade
from workers.cli.commands.source_prepare import prepare_source

pytestmark = [pytest.mark.timeout(180), pytest.mark.usefixtures("commands_find_it")]
DOCUMENTS = 12


def events(version: int) -> list[dict[str, Any]]:
    """Half of the documents have a mark that the newer preparation leaves out."""
    return [
        make_event(f"d{n}", version, f"Document {n} is about {'~' * (n % 2)}sluices.")
        for n in range(DOCUMENTS)
    ]


def prepared_otherwise(live: Fleet) -> dict[str, int]:
    rows = overview(live.connection, live.cluster)
    return {row["source"]: row["prepared_otherwise"] for row in rows}


def marked(live: Fleet, source: str) -> int:
    """Visible chunks that the older preparation made of a text with a mark."""
    [row] = live.rows(
        """SELECT count(*) AS chunks FROM freshet.chunk
           WHERE source = %s AND visible_to IS NULL AND text LIKE '%%~%%'""",
        source,
    )
    return row.chunks


async def test_one_source_after_the_other_when_the_operator_says(
    live: Fleet,
    make_topic: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for source in ("one", "two"):
        topic = make_topic(partitions=2)
        live.add_source(SourceSpec(source=source, topics=(topic,)))
        live.produce(topic, events(1))
    await live.drained()
    embedded = live.embedder.embedded.total()

    upgrade(monkeypatch)
    for row in live.rows("SELECT source, spec FROM freshet.source"):
        live.produce(row.spec["topics"][0], events(2))  # a source that sends everything again
    await live.drained()
    assert live.embedder.embedded.total() == embedded
    assert prepared_otherwise(live) == {"one": DOCUMENTS, "two": DOCUMENTS}

    await asyncio.to_thread(prepare_source, "one", dry_run=True, as_json=True)
    plan = json.loads(capsys.readouterr().out)
    assert (plan["documents"], plan["gone"], plan["of_older_version"]) == (DOCUMENTS, 0, DOCUMENTS)
    assert DOCUMENTS <= plan["records"] <= 2 * DOCUMENTS
    tried = plan["sample"]
    assert (tried["tried"], tried["not_read"], tried["chunks"]) == (DOCUMENTS, 0, DOCUMENTS)
    assert tried["texts_to_embed"] == DOCUMENTS // 2
    assert live.epoch("one") == 0

    await asyncio.to_thread(prepare_source, "one")
    assert "are prepared again" in capsys.readouterr().out
    await until(lambda: prepared_otherwise(live) == {"one": 0, "two": DOCUMENTS}, seconds=60)
    await live.drained()
    assert live.embedder.embedded.total() == embedded + DOCUMENTS // 2
    assert max(live.embedder.embedded.values()) == 1
    assert (marked(live, "one"), marked(live, "two")) == (0, DOCUMENTS // 2)
    assert live.visible("one") == {f"d{n}": 2 for n in range(DOCUMENTS)}
    status = await live.status("one")
    assert (status.halted, status.epoch) == ("", live.epoch("one"))

    await asyncio.to_thread(prepare_source, "one")
    assert "every document is prepared as it would be now" in capsys.readouterr().out
    assert live.epoch("one") == 1
    # Its texts have their vectors already.
    await asyncio.to_thread(prepare_source, "two")
    await until(lambda: prepared_otherwise(live) == {"one": 0, "two": 0}, seconds=60)
    assert live.embedder.embedded.total() == embedded + DOCUMENTS // 2
