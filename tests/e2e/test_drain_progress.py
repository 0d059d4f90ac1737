"""`freshet drain` on real parts: the line names the stage while an embedder is slow, and while Temporal is away."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from corpus.source import SourceSpec
from tests.support.fix_temporal import TemporalEnv
from tests.support.fleet import Fleet
from tests.support.pipeline import make_event
from tests.support.polling import until
from workers.config import settings as settings_module
from workers.drain import drain

DOCUMENTS = (
    150  # two shards of 64 texts, which are written while the third is held back, and the third
)


@dataclass
class Drain:
    """A drain in a thread, with the lines that it showed."""

    settings: Any
    lines: list[str] = field(default_factory=list)

    async def run(self) -> dict[str, Any]:
        return await asyncio.to_thread(
            drain, self.settings, source="slow", timeout=60, on_progress=self.lines.append
        )

    def shows(self, *words: str) -> bool:
        return any(all(word in line for word in words) for line in list(self.lines))


def settings_of(live: Fleet, temporal_address: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("FRESHET_DATABASE_URL", live.database_url)
    monkeypatch.setenv("FRESHET_KAFKA_BOOTSTRAP", live.bootstrap)
    monkeypatch.setenv("TEMPORAL_ADDRESS", temporal_address)
    monkeypatch.setenv("TEMPORAL_NAMESPACE", live.client.namespace)
    return settings_module.load()


def hold_back(live: Fleet, monkeypatch: pytest.MonkeyPatch, shards: int) -> threading.Event:
    """Let the embedder finish so many shards, then wait for the event."""
    released = threading.Event()
    embed = live.embedder.embed_tokens
    calls: list[int] = []

    def slow(token_ids: Any) -> Any:
        calls.append(1)
        if len(calls) > shards:
            assert released.wait(60)
        return embed(token_ids)

    monkeypatch.setattr(live.embedder, "embed_tokens", slow)
    return released


async def test_the_line_names_the_stage_and_the_texts(
    live: Fleet,
    make_topic: Callable[..., str],
    temporal_env: TemporalEnv,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    topic = make_topic()
    released = hold_back(live, monkeypatch, shards=2)
    live.add_source(SourceSpec(source="slow", topics=(topic,)))
    live.produce(topic, [make_event(f"d{n}", 1, f"Document number {n}.") for n in range(DOCUMENTS)])
    waiting = Drain(settings_of(live, temporal_env.address, monkeypatch))
    running = asyncio.create_task(waiting.run())
    try:
        await until(lambda: waiting.shows("batch 1: embedding 128 of ", " texts"), seconds=60)
    finally:
        released.set()
    result = await running
    assert (result["drained"], result["lag"]) == (True, 0)
    assert all(line.startswith("0 of 150 records are in the corpus") for line in waiting.lines[:3])


async def test_without_temporal_the_line_has_the_texts_of_the_database(
    live: Fleet, make_topic: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = make_topic()
    released = hold_back(live, monkeypatch, shards=2)
    live.add_source(SourceSpec(source="slow", topics=(topic,)))
    live.produce(
        topic, [make_event(f"d{n}", 1, f"Another document {n}.") for n in range(DOCUMENTS)]
    )
    waiting = Drain(settings_of(live, "127.0.0.1:1", monkeypatch))
    running = asyncio.create_task(waiting.run())
    try:
        await until(lambda: waiting.shows("batch 1: embedding 128 texts"), seconds=60)
    finally:
        released.set()
    assert (await running)["drained"]
