"""`freshet erase` and what other commands say of what is erased, on the whole way through the entity."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corpus.source import SourceSpec
from tests.service.test_erasure import found_in_tables
from tests.support.fix_temporal import TemporalEnv
from tests.support.fleet import fleet
from tests.support.pipeline import make_event
from workers.cli.main import run

CANARY = "canary-4711"
SECRET = "zebrafishery quarrel"


class Freshet:
    """The command line in this process: exit code, standard output, standard error."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    async def __call__(self, *words: str) -> tuple[int, str, str]:
        code = await asyncio.to_thread(run, words)
        written = self._capsys.readouterr()
        return code, written.out, written.err

    async def json(self, *words: str) -> Any:
        code, out, err = await self(*words, "--json")
        assert code == 0, err
        return json.loads(out)


@pytest.mark.timeout(180)
async def test_erasing_goes_through_the_entity_and_is_told_of(
    temporal_env: TemporalEnv,
    database_url: str,
    kafka_bootstrap: str,
    tmp_path: Path,
    make_topic: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    client = await temporal_env.client()
    monkeypatch.setenv("FRESHET_DATABASE_URL", database_url)
    monkeypatch.setenv("FRESHET_KAFKA_BOOTSTRAP", kafka_bootstrap)
    monkeypatch.setenv("TEMPORAL_ADDRESS", client.service_client.config.target_host)
    monkeypatch.setenv("TEMPORAL_NAMESPACE", client.namespace)
    topic = make_topic()
    freshet = Freshet(capsys)
    one = ("--source", "papers", "--id", CANARY, "--reason", "request 17")
    team = ("--source", "papers", "--where", "team=sales", "--reason", "request 18")

    async with fleet(client, database_url, kafka_bootstrap, tmp_path / "staging") as live:
        live.add_source(SourceSpec(source="papers", topics=(topic,)))
        sales = [
            make_event(f"sales-{number}", 1, "text", metadata={"team": "sales"})
            for number in range(3)
        ]
        live.produce(topic, [make_event(CANARY, 1, SECRET), *sales, make_event("other", 1, "text")])
        await live.drained()
        [[chunk]] = live.rows("SELECT chunk_id FROM freshet.chunk WHERE document_id = %s", CANARY)

        plan = await freshet.json("erase", *one, "--dry-run")
        assert (plan["dry_run"], plan["receipt"], plan["visible"], plan["versions"]) == (
            True,
            None,
            1,
            1,
        )
        until = {each["store"]: each["until"] for each in plan["out_of_reach"]}
        assert until[f"Kafka topic '{topic}'"].startswith("20")
        assert live.visible("papers").keys() >= {CANARY}

        code, _, error = await freshet("erase", *team)
        assert (code, "max_expiry_ratio 0.5" in error) == (2, True)
        code, out, _ = await freshet("erase", *team, "--dry-run")
        assert (code, "source 'papers': 3 documents, 3 of the 5" in out) == (0, True)
        code, _, error = await freshet(
            "erase", "--source", "papers", "--where", "a=b", "--reason", "r"
        )
        assert (code, "no document of source 'papers' has" in error) == (2, True)
        code, _, error = await freshet("erase", "--source", "x", "--id", "d", "--reason", "r")
        assert (code, "there is no source 'x'" in error) == (2, True)

        # A source that waits for a person still forgets.
        assert (await freshet("source", "pause", "papers", "--reason", "a look"))[0] == 0
        erased = await freshet.json("erase", *one)
        assert (erased["batch"], erased["receipt"]["documents"]) == (2, 1)
        assert found_in_tables(live.connection, CANARY, SECRET) == {}
        assert (await freshet("source", "resume", "papers"))[0] == 0
        of_team = await freshet.json("erase", *team, "--accept-mass")
        assert of_team["receipt"]["documents"] == 3
        assert live.visible("papers").keys() == {"other"}

        live.produce(topic, [make_event(CANARY, 2, SECRET), make_event("other", 2, "news")])
        await live.drained()
        assert live.visible("papers") == {"other": 2}
        # One batch, or two where the machine is slow.
        newest = await freshet.json("batches", "--limit", "5")
        since = [batch for batch in newest if batch["batch"] > of_team["batch"]]
        counts = [sum(batch[name] for batch in since) for name in ("records", "applied", "ignored")]
        assert counts == [2, 1, 1]

    file = tmp_path / "receipt.json"
    file.write_text(json.dumps(erased["receipt"]), encoding="utf-8")
    assert (await freshet.json("erase", "--verify", str(file)))["valid"]
    of_it = ("erase", "--verify", str(file), "--source", "papers", "--id")
    assert (await freshet(*of_it, CANARY))[0] == 0
    code, _, error = await freshet(*of_it, "other")
    assert (code, "is not of document 'other'" in error) == (2, True)
    file.write_text(json.dumps(erased["receipt"] | {"documents": 0}), encoding="utf-8")
    code, _, error = await freshet("erase", "--verify", str(file))
    assert (code, "it was altered" in error) == (2, True)

    for words in (
        ("lineage", CANARY),
        ("lineage", f"chunk:{chunk}"),
        ("documents", "--id", CANARY),
    ):
        code, out, _ = await freshet(*words)
        assert code == 0
        assert out.startswith("erased from source 'papers' at ")
        assert "request 17; nothing of it is kept" in out
        [row] = await freshet.json(*words)
        assert (row["state"], row["batch"]) == ("erased", 2)
    [second, first] = await freshet.json("erasures")
    assert (first["state"], first["documents"], second["documents"]) == ("done", 1, 3)
    code, out, _ = await freshet("erasures", "--receipt", first["erasure"])
    assert (code, json.loads(out)) == (0, erased["receipt"])

    lift = ("erase", "--lift", "--source", "papers", "--id", CANARY, "--reason", "a mistake")
    assert (await freshet.json(*lift))["lifted"] == [CANARY]
    code, _, error = await freshet(*lift)
    assert (code, "is not erased; nothing was lifted" in error) == (2, True)
    assert [row["lifted"] for row in await freshet.json("erasures")] == [0, 1]
