"""`freshet purge` on real servers: counted first, removed, listed; a search as of before is refused by name."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from corpus.retention.spec import RetentionSpec
from corpus.source import SourceSpec
from tests.support.commands import CommandLine, Done
from tests.support.fleet import Fleet
from tests.support.pipeline import make_event
from tests.support.polling import until

pytestmark = pytest.mark.usefixtures("commands_find_it", "looks_often")


@pytest.mark.timeout(120)
async def test_a_purge_removes_what_it_said_and_is_listed(
    live: Fleet,
    make_topic: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command_line = CommandLine(tmp_path, monkeypatch, capsys)

    async def freshet(*words: str) -> Done:
        return await asyncio.to_thread(command_line, *words)

    topic = make_topic(1)
    # A second of history: what ended before is beyond it at once.
    live.add_source(
        SourceSpec(source="s", topics=(topic,), retention=RetentionSpec(history_seconds=1))
    )
    for version in (1, 2, 3):
        live.produce(topic, [make_event("a", version, f"Gauge: {version}.")])
        await live.drained()
    ended = "SELECT FROM freshet.chunk WHERE visible_to < now() - interval '1 second'"
    await until(lambda: len(live.rows(ended)) == 2)
    planned = json.loads((await freshet("purge", "--source", "s", "--dry-run", "--json")).stdout)
    wanted = {kind: count for kind, count in planned["removed"].items() if count}
    assert wanted == {"chunks": 2, "versions": 2}

    done = await freshet("purge", "--source", "s", "--json")
    assert done.code == 0, done.stderr
    removed = json.loads(done.stdout)
    assert (removed["state"], removed["removed"]) == ("done", wanted)
    listed = json.loads((await freshet("purge", "list", "--json")).stdout)
    assert [one["removed"] for one in listed] == [wanted]
    assert "removed nothing" in (await freshet("purge", "--source", "s")).stdout

    past = await freshet("search", "gauge", "--mode", "text", "--as-of", "s:1")
    assert past.code == 2
    assert "lies before the history of source s, which goes back to" in past.stderr
    assert (await freshet("search", "gauge", "--mode", "text")).code == 0
    shown = await freshet("purge", "--source", "nowhere")
    assert (shown.code, "nowhere" in shown.stderr) == (2, True)
