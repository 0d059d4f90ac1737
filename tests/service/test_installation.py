"""Two installations that meet: refused by name where they would mix, side by side where that is meant."""

import asyncio
import json
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from compose.local.parts.postgres import Postgres
from corpus.errors import InstallationError
from corpus.installation.identity import MOVE, SEPARATE
from freshness.schedules import schedule_id
from ingest.consume.client import ConsumerClient
from ingest.consume.group import ConsumerGroup, marked_properties
from ingest.kafka import PartitionKey
from tests.support.fix_installation import Place
from tests.support.meeting import check, file_with
from tests.support.polling import until, wait_until
from workers.roles import start
from workers.temporal.client import temporal
from workers.temporal.namespace_mark import SCHEDULE_ID

pytestmark = [pytest.mark.service, pytest.mark.timeout(120)]


# ── beside one another ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_installations_on_the_same_servers_work_beside_one_another(
    make_place: Callable[..., Place],
) -> None:
    """Other databases, groups, namespaces and folders of one PostgreSQL, Kafka, Temporal and disk."""
    one, two = make_place(), make_place()
    for place in (one, two, one):
        for role in ("consumer", "orchestrator", "storer"):
            installation = await check(place, role)
            assert str(installation.installation_id) == place.id
    assert one.id != two.id
    row = one.row()
    assert row.kafka_group == one.settings["FRESHET_KAFKA_GROUP"]
    assert row.temporal_namespace == one.namespace
    assert row.staging_url == one.settings["FRESHET_STAGING_URL"]
    assert row.kafka_cluster == two.row().kafka_cluster


# ── refused by name ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_namespace_of_another_installation_is_refused(
    make_place: Callable[..., Place], tmp_path: Path
) -> None:
    one = make_place()
    two = make_place().using(one, "FRESHET_TEMPORAL_NAMESPACE")
    await check(one)
    with pytest.raises(InstallationError, match=f"namespace '{one.namespace}' belongs to") as no:
        await check(two)
    assert one.id in str(no.value)
    assert "FRESHET_TEMPORAL_NAMESPACE" in str(no.value)
    for words in (["apply"], ["apply", "--dry-run"]):
        refused = await asyncio.to_thread(two.freshet, *words, file_with(tmp_path, "a"))
        assert refused.code == 2
        assert f"Temporal namespace '{one.namespace}' belongs to installation" in refused.stderr
    await check(one)


async def test_a_store_of_another_installation_is_refused(
    make_place: Callable[..., Place],
) -> None:
    """Its sweep would remove the other's files. One store under two names is one store."""
    one, two = make_place(), make_place()
    await check(one)
    with pytest.raises(InstallationError, match=f"staging store .* belongs to .*{one.id}"):
        await check(two.using(one, "FRESHET_STAGING_URL"))
    other_name = one.settings["FRESHET_STAGING_URL"].replace("file://", "file:///.")
    await check(one.with_settings(FRESHET_STAGING_URL=other_name))
    elsewhere = one.settings["FRESHET_STAGING_URL"] + "-2"
    with pytest.raises(InstallationError, match=r"uses staging store .*FRESHET_STAGING_URL leads"):
        await check(one.with_settings(FRESHET_STAGING_URL=elsewhere))


class Member:
    """A consumer of an installation in its group, in a thread that polls."""

    def __init__(self, place: Place, topic: str, mark: str) -> None:
        group = {
            "bootstrap.servers": place.settings["FRESHET_KAFKA_BOOTSTRAP"],
            "group.id": place.settings["FRESHET_KAFKA_GROUP"],
        }
        self.client = ConsumerClient(marked_properties(group, mark) if mark else group)
        self.keys: set[PartitionKey] = set()
        self._end = threading.Event()
        self._wanted: SimpleQueue[dict[PartitionKey, int]] = SimpleQueue()
        self._committed = threading.Event()
        self.client.subscribe([topic], self)
        self._thread = threading.Thread(target=self._poll)
        self._thread.start()

    def _poll(self) -> None:
        while not self._end.is_set():
            self.client.poll(0.1)
            if not self._wanted.empty():
                self.client.commit(self._wanted.get(), wait=True)
                self._committed.set()

    def commit(self, topic: str, offset: int) -> None:
        """As the polling thread does."""
        self._wanted.put({PartitionKey(topic, 0): offset})
        assert self._committed.wait(20)

    def on_assigned(self, keys: Any) -> None:
        self.keys.update(keys)

    def on_revoked(self, keys: Any) -> None:
        self.keys.difference_update(keys)

    on_lost = on_revoked

    def __enter__(self) -> "Member":
        wait_until(lambda: self.keys, 20)
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self.client.close()


async def test_a_group_of_another_installation_is_refused(
    make_place: Callable[..., Place], make_topic: Callable[..., str]
) -> None:
    """While its consumer runs, and afterwards by the offsets that it has committed."""
    one = make_place()
    two = make_place().using(one, "FRESHET_KAFKA_GROUP")
    await check(one, "consumer")
    topic = make_topic()
    with Member(one, topic, one.row().mark) as member:
        with pytest.raises(InstallationError, match=f"group .* is used by .*{one.id}") as no:
            await check(two, "consumer")
        assert "FRESHET_KAFKA_GROUP" in str(no.value)
        await check(one, "consumer")
        member.commit(topic, 0)
    with pytest.raises(InstallationError, match="no consumer of it runs now"):
        await check(two, "consumer")
    refused = await asyncio.to_thread(two.process, "worker", "consumer")
    assert refused.code == 2
    assert f"is used by another installation: {one.id}" in refused.stderr
    await check(one, "consumer")


async def test_of_two_that_start_at_the_same_moment_exactly_one_ends(
    make_place: Callable[..., Place],
    make_topic: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(start, "GROUP_SECONDS", 0.2)
    one = make_place()
    two = make_place().using(one, "FRESHET_KAFKA_GROUP")
    topic = make_topic(partitions=2)
    settings = one.load()
    group = ConsumerGroup(settings.kafka_bootstrap, {}, settings.kafka_group)
    with Member(one, topic, one.row().mark), Member(two, topic, two.row().mark):
        await until(lambda: len(group.state().members) == 2)
        watches = {place.id: start.watch_group(group, place.row()) for place in (one, two)}
        tasks = {name: asyncio.create_task(watch) for name, watch in watches.items()}
        done, running = await asyncio.wait(
            tasks.values(), timeout=10, return_when="FIRST_COMPLETED"
        )
        assert done == {tasks[max(tasks)]}
        with pytest.raises(InstallationError, match=f"another installation: {min(tasks)}"):
            await tasks[max(tasks)]
        for task in running:
            task.cancel()


async def test_a_member_without_a_mark_is_named_and_refuses_nobody(
    make_place: Callable[..., Place], make_topic: Callable[..., str]
) -> None:
    """An older Freshet while it is updated, or another program that takes half of the records."""
    one = make_place()
    with Member(one, make_topic(), ""):
        await check(one, "consumer")
        shown = await asyncio.to_thread(one.freshet, "installation", "show", "--json")
        assert shown.code == 1
        [problem] = json.loads(shown.stdout)["problems"]
        assert "members without the mark of an installation: client 'rdkafka'" in problem


def test_other_settings_than_before_are_refused_until_a_move(
    make_place: Callable[..., Place], tmp_path: Path
) -> None:
    one = make_place()
    assert one.freshet("apply", file_with(tmp_path, "a")).code == 0
    elsewhere = one.using(make_place(), "FRESHET_TEMPORAL_NAMESPACE", "FRESHET_KAFKA_GROUP")
    refused = elsewhere.freshet("apply", file_with(tmp_path, "a"))
    assert refused.code == 2
    assert f"uses Temporal namespace '{one.namespace}', and FRESHET_TEMPORAL" in refused.stderr
    assert MOVE in refused.stderr
    moved = elsewhere.freshet(
        "installation", "move", "--reason", "a larger server", "--name", "prod"
    )
    assert moved.code == 0, moved.stderr
    assert elsewhere.freshet("apply", file_with(tmp_path, "a")).code == 0
    shown = json.loads(elsewhere.freshet("installation", "show", "--json").stdout)
    assert (shown["name"], shown["installation_id"]) == ("prod", elsewhere.id)
    [change] = shown["changes"]
    assert (change["change"], change["reason"]) == ("move", "a larger server")
    assert change["before"]["temporal_namespace"] == one.namespace
    assert one.freshet("apply", file_with(tmp_path, "a")).code == 2


# ── copies ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def copied(
    make_place: Callable[..., Place], postgres_server: Postgres
) -> Generator[tuple[Place, Place]]:
    """An installation, and a copy of its database with settings of its own."""
    one = make_place()
    postgres_server.create_database("a_copy", template=one.row().current_name)
    url = postgres_server.url_of("a_copy")
    yield one, make_place().with_settings(FRESHET_DATABASE_URL=url)
    postgres_server.drop_database("a_copy")


async def test_a_copy_is_refused_until_it_has_an_identity(copied: tuple[Place, Place]) -> None:
    one, copy = copied
    await check(one)
    assert copy.id == one.id
    with pytest.raises(InstallationError, match=r"'a_copy' is a copy: .* made in database") as no:
        await check(copy)
    assert SEPARATE in str(no.value)
    done = await asyncio.to_thread(
        copy.freshet, "installation", "separate", "--reason", "for staging"
    )
    assert done.code == 0, done.stderr
    assert copy.id != one.id
    assert copy.row().temporal_namespace is None
    await check(copy)
    with pytest.raises(InstallationError, match="belongs to installation"):
        await check(copy.using(one, "FRESHET_STAGING_URL"))


async def test_a_database_that_is_restored_in_place_of_its_original_continues(
    make_place: Callable[..., Place], postgres_server: Postgres
) -> None:
    one = make_place()
    await check(one)
    name, before = one.row().current_name, one.id
    postgres_server.create_database("kept", template=name)
    postgres_server.drop_database(name)
    postgres_server.create_database(name, template="kept")
    postgres_server.drop_database("kept")
    installation = await check(one)
    assert str(installation.installation_id) == before
    assert one.row().database_oid == one.row().current_oid


async def test_what_an_installation_that_is_gone_has_left_is_taken_over(
    make_place: Callable[..., Place], make_topic: Callable[..., str], tmp_path: Path
) -> None:
    """PostgreSQL is lost without a backup: a new database gets the old group, namespace and store by one command."""
    one = make_place()
    assert (await asyncio.to_thread(one.freshet, "apply", file_with(tmp_path, "a", "b"))).code == 0
    await check(one, "consumer")
    names = (
        *("FRESHET_KAFKA_GROUP", "FRESHET_TEMPORAL_NAMESPACE"),
        *("FRESHET_STAGING_URL", "FRESHET_NEXUS_ENDPOINT"),
    )
    two = make_place().using(one, *names)
    topic = make_topic()
    with Member(one, topic, one.row().mark) as member:
        member.commit(topic, 0)
    with pytest.raises(InstallationError):
        await check(two, "consumer")
    move = ("installation", "move", "--reason", "its database is lost")
    assert (await asyncio.to_thread(two.freshet, *move)).code == 2
    taken = await asyncio.to_thread(two.freshet, *move, "--take-over")
    assert taken.code == 0, taken.stderr
    await check(two, "consumer")
    applied = await asyncio.to_thread(two.freshet, "apply", file_with(tmp_path, "a"), "--json")
    changes = {each["name"]: each["change"] for each in json.loads(applied.stdout)["changes"]}
    assert changes[schedule_id("a")] == "change"
    assert changes[schedule_id("b")] == "delete"
    with pytest.raises(InstallationError):
        await check(one, "consumer")


# ── marks ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_namespace_that_was_emptied_gets_its_mark_again(
    make_place: Callable[..., Place],
) -> None:
    one = make_place()
    await check(one)
    client = await temporal(one.load())
    await client.get_schedule_handle(SCHEDULE_ID).delete()
    await check(one)
    described = await client.get_schedule_handle(SCHEDULE_ID).describe()
    assert described.schedule.state.paused
    memo: Any = await described.memo()
    assert memo["installation"]["installation_id"] == one.id


def test_a_worker_waits_for_the_migrations_and_then_ends_by_name(
    make_place: Callable[..., Place],
    empty_database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(start, "WAIT_SECONDS", 2.0)
    monkeypatch.setattr(start, "_LOOK_SECONDS", 0.05)
    one = make_place().with_settings(FRESHET_DATABASE_URL=empty_database_url)
    with pytest.raises(Exception, match=r"lacks migrations .*0001_initial.*`freshet migrate`"):
        asyncio.run(start.wait_for_migrations(one.load()))
    assert any("waiting for the database" in record.message for record in caplog.records)
    shown = one.freshet("installation", "show")
    assert shown.code == 2
    assert "run `freshet migrate`" in shown.stderr


def test_doctor_names_what_is_another_installations(make_place: Callable[..., Place]) -> None:
    from compose.local.checks import make_check
    from compose.local.installation_check import INSTALLATION_CHECK

    one = make_place()
    asyncio.run(check(one, "consumer"))
    two = make_place().using(one, "FRESHET_TEMPORAL_NAMESPACE", "FRESHET_STAGING_URL")
    for place, ok in ((one, True), (two, False)):
        with place.monkeypatch.context() as patch:
            for name, value in place.settings.items():
                patch.setenv(name, value)
            result = make_check(INSTALLATION_CHECK, Path("/nowhere"))
        assert result.ok is ok, result
    assert "Temporal namespace" in result.observed
    assert "staging store" in result.observed
    assert two.row().temporal_namespace is None  # looking leaves no mark


def test_a_committed_offset_carries_the_mark(
    make_place: Callable[..., Place], make_topic: Callable[..., str], kafka_bootstrap: str
) -> None:
    one, topic = make_place(), make_topic()
    producer = Producer({"bootstrap.servers": kafka_bootstrap})
    producer.produce(topic, b"x")
    assert producer.flush(10) == 0
    with Member(one, topic, one.row().mark) as member:
        member.commit(topic, 1)
    group = {"bootstrap.servers": kafka_bootstrap, "group.id": one.settings["FRESHET_KAFKA_GROUP"]}
    consumer = Consumer(group)
    [committed] = consumer.committed([TopicPartition(topic, 0)], 10)
    consumer.close()
    assert committed.offset == 1
    assert committed.metadata == f"freshet.{one.row().mark}"
