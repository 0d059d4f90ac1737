"""Secrets are put into all that Freshet is given, every known way to fail is taken, and no place outside holds one."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer
from temporalio.client import Client

from compose.local.parts.postgres import Postgres
from compose.local.state import StackFile, write_stack
from corpus.clean.cleaner import Cleaner
from corpus.database import open_pool
from corpus.deliver.notices import acknowledge, next_notice
from corpus.deliver.subscription import Acknowledgement, DeliveryInput
from corpus.preparation import PreparationSpec
from corpus.source import SourceSpec
from ingest.dead_letters.outbox import Outbox
from ingest.kafka import properties
from tests.support import fleet as fleet_module
from tests.support.canary import (
    PREFIX,
    Place,
    canary,
    hits,
    in_commands,
    in_logs_of_servers,
    in_metrics,
    in_temporal,
    kept_logs,
    reading_calls,
)
from tests.support.commands import CommandLine
from tests.support.fleet import Fleet, fleet
from tests.support.pipeline import Pipeline, make_event
from tests.support.polling import until

pytestmark = pytest.mark.timeout(300)

MISTAKE = canary("mistake")
REFUSED = canary("refused-row")
UNEMBEDDED = canary("embedder")
# Records that cannot be used, by what is wrong with them.
POISON: list[dict[str, Any] | bytes] = [
    f'{{"id": "{canary("no-json")}", '.encode(),
    f"plain {canary('plain')}".encode(),
    f'["{canary("no-object")}"]'.encode(),
    make_event("version", 1, "Weir.") | {"version": canary("version")},
    make_event("metadata", 1, "Weir.") | {"metadata": canary("metadata")},
    make_event("acl", 1, "Weir.") | {"acl": {canary("acl"): 1}},
    make_event("op", 1, "Weir.") | {"op": canary("op")},
    make_event("expires", 1, "Weir.") | {"expires_at": canary("expires")},
    make_event("type", 1, "Weir.", content_type=f"image/{canary('type')}"),
    make_event("content", 1, "Weir.") | {"content": [canary("content")]},
    make_event(f"id \n{canary('id')}", 1, "Weir."),
]
_TOO_LITTLE_MB = 60  # for a parser of HTML
_REFUSE_REMOVAL = """
CREATE FUNCTION freshet.refuse_removal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'cannot remove %', OLD USING DETAIL = OLD::text, HINT = OLD::text;
END $$;
CREATE TRIGGER refuses_removal BEFORE DELETE ON freshet.chunk
    FOR EACH ROW EXECUTE FUNCTION freshet.refuse_removal()"""
GOOD = make_event(
    "good",
    1,
    f"The sluice {canary('text')} opens.",
    title=canary("title"),
    uri=f"https://wiki/{canary('uri')}",
    metadata={"owner": canary("owner")},
)


@pytest.fixture
async def failing(
    temporal_client: Client,
    database_url: str,
    kafka_bootstrap: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Fleet]:
    """A fleet whose preparer and embedder raise errors that quote a document."""
    real = fleet_module.content_of

    def content_of(record: Any, *arguments: Any) -> Any:
        found = real(record, *arguments)
        if MISTAKE in str(found):
            raise ValueError(f"cannot read {found}")
        return found

    monkeypatch.setattr(fleet_module, "content_of", content_of)
    async with fleet(
        temporal_client, database_url, kafka_bootstrap, tmp_path / "staging"
    ) as running:
        raise_once(running, monkeypatch)
        yield running


def raise_once(running: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedder fails over its first texts, in the words of a library that quotes them."""
    embed = running.embedder.embed_tokens
    raised: list[str] = []

    def embed_tokens(token_ids: Any) -> Any:
        if not raised:
            raised.append(UNEMBEDDED)
            raise RuntimeError(f"tensor of {UNEMBEDDED}")
        return embed(token_ids)

    monkeypatch.setattr(running.embedder, "embed_tokens", embed_tokens)


async def test_no_secret_is_outside_the_database(
    failing: Fleet,
    commands_find_it: None,
    postgres_server: Postgres,
    service_home: Path,
    make_topic: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    topic, quick = make_topic(), make_topic()
    password = postgres_server.password
    command = CommandLine(tmp_path, monkeypatch, capsys)
    with kept_logs() as logs:
        await _fail_in_every_way(failing, topic, quick)
        headers = _dead_letter_headers(failing, topic)
        await asyncio.to_thread(_crash_parsers, failing, tmp_path / "crash")
        write_stack(tmp_path / "home", StackFile(addresses={"database_url": failing.database_url}))
        places = await asyncio.to_thread(_purge_and_erase_in_vain, failing, command)
        places += await asyncio.to_thread(in_commands, command, reading_calls())
        places += await asyncio.to_thread(_wrong_secrets, command, tmp_path)
        with open_pool(failing.database_url, size=1) as pool:
            places += in_metrics(pool, failing.cluster)
    places += headers + _notices(failing)
    places += [(name, text.getvalue().encode()) for name, text in logs.items()]
    places += in_logs_of_servers(service_home)
    places += await in_temporal(failing.client)
    assert hits(places, (PREFIX, password)) == []
    kinds = [name.partition(" ")[0] for name, _ in places]
    wanted = {"HistoryEvent", "description", "log", "freshet", "header", "metrics", "notice"}
    assert wanted <= set(kinds)
    assert [name for name, content in places if name.startswith("freshet") and not content] == []
    assert "postgres.log" in {Path(name).name for name, _ in places}
    assert "mistake" in logs["log as JSON"].getvalue()


async def _fail_in_every_way(running: Fleet, topic: str, quick: str) -> None:
    """Poison, a row that PostgreSQL refuses, errors of preparer and embedder, a lost database, a timeout."""
    running.connection.execute(
        f"ALTER TABLE freshet.chunk ADD CONSTRAINT refuses CHECK (text NOT LIKE '%{REFUSED}%')".encode()
    )
    running.add_source(SourceSpec(source="s", topics=(topic,)))
    hurried = PreparationSpec(clean_timeout_seconds=0.001)
    running.add_source(SourceSpec(source="quick", topics=(quick,), pipeline=hurried))
    page = f"<p>{canary('timeout')} </p>" * 20_000
    running.produce(quick, [make_event("slow", 1, page, content_type="text/html")])
    running.produce(topic, [GOOD, *POISON])
    running.produce(topic, [make_event("refused", 1, f"A {REFUSED} mill.")])
    running.produce(topic, [make_event("mistake", 1, f"A {MISTAKE} mill.")])
    await until(lambda: running.visible("s") != {}, seconds=60)
    running.connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await running.drained(timeout=90)
    rows = running.rows("SELECT document_id, reason FROM freshet.dead_letter")
    reasons = {(row.document_id, row.reason) for row in rows}
    assert ("refused", "not_storable") in reasons
    assert ("mistake", "cleaning_failed") in reasons
    assert ("slow", "cleaning_timeout") in reasons
    assert len(rows) == len(POISON) + 3


def _dead_letter_headers(running: Fleet, topic: str) -> list[Place]:
    """What the dead-letter topic says beside the event's own bytes."""
    kafka = properties(running.bootstrap, {})
    with fleet_module.open_pool(running.database_url, size=1) as pool:
        outbox = Outbox(pool, running.cluster, kafka)
        count = outbox.produce_some()
    group = {"group.id": f"read-{topic}", "auto.offset.reset": "earliest"}
    reader = Consumer({"bootstrap.servers": running.bootstrap, **group})
    reader.subscribe([f"{topic}.dead-letters"])
    messages = reader.consume(count - 1, timeout=30)  # one is of the other source
    reader.close()
    assert len(messages) == count - 1
    places: list[Place] = []
    for message in messages:
        for name, value in message.headers() or []:
            places.append((f"header {name}", bytes(value or b"")))
    return places


def _crash_parsers(running: Fleet, folder: Path) -> None:
    """Documents whose parser raises, and whose process dies, for want of memory."""
    with (
        Cleaner(processes=1, memory_mb=_TOO_LITTLE_MB) as cleaner,
        Pipeline(running.database_url, folder, source="crash", cleaner=cleaner) as pipeline,
    ):
        title, html = canary("crash-title"), "text/html"
        small, large = (f"<p>{canary('crash')} </p>" * count for count in (100, 20_000))
        pipeline.ingest(
            make_event("small", 1, small, title=title, content_type=html),
            make_event("large", 1, large, title=title, content_type=html),
        )
        rows = pipeline.connection.execute(
            "SELECT reason FROM freshet.dead_letter WHERE source = 'crash'"
        ).fetchall()
        assert rows == [("cleaning_failed",), ("cleaning_failed",)]


def _purge_and_erase_in_vain(running: Fleet, command: CommandLine) -> list[Place]:
    """The database refuses to remove rows, in words that quote them."""
    running.connection.execute(_REFUSE_REMOVAL)
    running.connection.execute(
        """UPDATE freshet.source SET spec = spec || '{"retention": {"history_seconds": 1}}';
           UPDATE freshet.chunk SET document_id = 'gone', visible_to = visible_from + interval '1 ms'
           WHERE source = 's' AND document_id = 'good'"""
    )
    run = in_commands(command, [["purge", "--source", "s", "--timeout", "60"]])
    rows = running.rows("SELECT state, error FROM freshet.purge")
    assert [row.state for row in rows] == ["failed"]
    running.connection.execute(
        "UPDATE freshet.chunk SET document_id = 'good', visible_to = NULL WHERE document_id = 'gone'"
    )
    erase = ["erase", "--source", "s", "--id", "good", "--reason", "request-17", "--timeout", "5"]
    run += in_commands(command, [erase])
    rows = running.rows("SELECT batch, waits_for FROM freshet.erasure")
    assert [(row.batch, row.waits_for) for row in rows] == [(None, "the workflow of its source")]
    return run


def _wrong_secrets(command: CommandLine, folder: Path) -> list[Place]:
    """Connection strings, properties and files of keys with secrets in them, which lead nowhere or are wrong."""
    secret = canary("credential")
    keys = folder / "payload.keys"
    keys.write_text(f"first={secret}\n", encoding="utf-8")
    kafka = folder / "kafka.properties"
    kafka.write_text(
        f"security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.username=u\nsasl.password={secret}\n",
        encoding="utf-8",
    )
    team_keys = folder / "home" / "team-keys"
    team_keys.mkdir(mode=0o700)
    (team_keys / "search.key").write_text(f"first={secret}\n", encoding="utf-8")
    settings = (
        {"FRESHET_DATABASE_URL": f"postgresql://u:{secret}@127.0.0.1:1/d"},
        {"FRESHET_DATABASE_URL": f"host=127.0.0.1 port=1 password={secret} bogus={secret}"},
        {"FRESHET_KAFKA_PROPERTIES": str(kafka)},
        {"FRESHET_PAYLOAD_KEYS": str(keys)},
        {"FRESHET_STAGING_URL": f"s3://key:{secret}@nowhere/bucket"},
        {"TEMPORAL_API_KEY": secret},
    )
    calls = [["status", "--json"], ["sources"]]
    places: list[Place] = []
    together: dict[str, str] = {}
    for one in settings:
        shown = ", ".join(one)
        places += [(f"{name} ({shown})", text) for name, text in in_commands(command, calls, **one)]
        together |= one
    # Once: it loads the model.
    return places + in_commands(command, [["doctor", "--json"]], **together)


def _notices(running: Fleet) -> list[Place]:
    """What a subscriber is sent: all notices of the source."""
    running.connection.execute(
        "INSERT INTO freshet.subscription (subscriber, source, endpoint) VALUES ('t', 's', 'e')"
    )
    places: list[Place] = []
    subscription = DeliveryInput(subscriber="t", source="s")
    while (notice := next_notice(running.connection, subscription).notice) is not None:
        places.append((f"notice {notice.notice_id}", json.dumps(asdict(notice)).encode()))
        done = Acknowledgement(subscriber="t", source="s", batch=notice.batch)
        acknowledge(running.connection, done)
    return places


async def test_a_planted_leak_is_found(
    temporal_client: Client,
    pipeline: Pipeline,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The test above can fail: a secret in each kind of place is a hit."""
    log = tmp_path / "home" / "logs" / "postgres.log"
    log.parent.mkdir(parents=True)
    log.write_text(canary("server"))
    secret = canary("planted")
    await temporal_client.start_workflow("Nobody", secret, id="leaks", task_queue="nobody")
    with kept_logs() as logs:
        logging.getLogger("corpus").warning("a row: %s", secret)
        logging.getLogger("corpus").warning("a row", extra={"detail": secret})
    await until(lambda: _lists(temporal_client))
    places = [(name, text.getvalue().encode()) for name, text in logs.items()]
    places += in_logs_of_servers(tmp_path) + await in_temporal(temporal_client)
    with monkeypatch.context() as patch:
        patch.setenv("FRESHET_DATABASE_URL", pipeline.database_url)
        patch.setenv("FRESHET_KAFKA_BOOTSTRAP", "127.0.0.1:1")
        patch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
        pipeline.ingest(make_event("d", 1, "A mill.", title=secret))
        command = CommandLine(tmp_path, monkeypatch, capsys)
        calls = [["documents"], ["documents", "--json"]]
        places += await asyncio.to_thread(in_commands, command, calls)
    found = hits(places)
    assert {"log as JSON", "log as text", str(log), "freshet documents --json"} <= set(found)
    assert "HistoryEvent 1 of leaks" in found
    assert hits([("a", b"nothing")]) == []


async def _lists(client: Client) -> bool:
    return [one.id async for one in client.list_workflows()] == ["leaks"]
