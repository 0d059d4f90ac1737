"""`freshet audit` on real servers: clean, damaged, repaired through Kafka and the entity, clean again."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corpus.source import SourceSpec
from tests.support.commands import CommandLine, Done
from tests.support.damage import DAMAGES
from tests.support.fleet import Fleet
from tests.support.pipeline import make_event
from tests.support.polling import until

NAMES = (
    *("its row is gone", "a copy", "an older version", "another content", "a chunk more"),
    *("another text", "another vector"),
)


pytestmark = pytest.mark.usefixtures("commands_find_it", "looks_often")


@pytest.mark.timeout(120)
async def test_from_damage_to_a_corpus_that_equals_its_log(
    live: Fleet,
    make_topic: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command_line = CommandLine(tmp_path, monkeypatch, capsys)

    async def freshet(*words: str) -> Done:
        return await asyncio.to_thread(command_line, *words)

    async def audit(*words: str) -> tuple[int, Any]:
        done = await freshet("audit", "--source", "s", "--rate", "0", "--json", *words)
        return done.code, json.loads(done.stdout)

    topic = make_topic(2)
    live.add_source(SourceSpec(source="s", topics=(topic,)))
    ids = [f"doc{n}" for n in range(len(NAMES))]
    for version in (1, 2):
        names = [*ids, "undamaged"]
        live.produce(topic, [make_event(n, version, f"Gauge {n}: {version}.") for n in names])
        await live.drained()
    code, clean = await audit()
    assert (code, clean["result"], clean["list"]) == (0, "clean", [])
    assert clean["counts"]["records"] == 2 * len(names)
    truth = live.visible("s")

    expected = {DAMAGES[name].do(live, one) for name, one in zip(NAMES, ids, strict=True)}
    code, found = await audit()
    assert code == 1
    assert {(one["kind"], one["document_id"]) for one in found["list"]} == expected
    number = str(found["audit"])
    assert (await freshet("audit", "show", number)).code == 1

    shown = await freshet("audit", "repair", number, "--dry-run", "--json")
    planned = json.loads(shown.stdout)
    assert (shown.code, planned["withdrawn"], planned["dry_run"]) == (1, 1, True)
    live.embedder.embedded.clear()
    done = await freshet("audit", "repair", number, "--yes")
    assert done.code == 0, done.stderr
    await live.drained()
    await until(lambda: live.visible("s") == truth)
    assert (
        sum(live.embedder.embedded.values()) == 2
    )  # of the last two; their vectors are not trusted
    code, left = await audit("--sample", "5")
    assert (code, left["list"]) == (0, [])
    code, left = await audit()
    assert (code, left["list"]) == (0, [])
    listed = json.loads((await freshet("audit", "list", "--json")).stdout)
    assert [one["result"] for one in listed] == [
        *("clean", "clean", f"{len(expected)} findings, repaired", "clean"),
    ]
