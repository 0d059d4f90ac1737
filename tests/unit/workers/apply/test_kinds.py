"""Each kind against services that answer as a test says: what is written, and what an error says."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from temporalio.service import RPCError, RPCStatusCode

from corpus.deliver.subscription import SubscriberSpec
from corpus.errors import ConfigurationError, DependencyError
from corpus.source import SourceSpec
from tests.support.fake_rows import Database
from workers.apply import settling
from workers.apply.change import Action, Change, StalePlanError
from workers.apply.endpoints import Endpoint, Endpoints
from workers.apply.kind import Services, Target
from workers.apply.namespaces import Namespace, Namespaces, ensure_namespace
from workers.apply.schedules import FreshnessSchedule, Schedules
from workers.apply.sources import ConfiguredSource, Sources
from workers.apply.subscriptions import Subscription, Subscriptions
from workers.apply.topics import Topic, Topics
from workers.config.file import Config, parse

SPEC = SourceSpec(source="a", topics=("a",))


def error(status: RPCStatusCode) -> RPCError:
    return RPCError("the server says why", status, b"")


def services(**given: Any) -> Services:
    fields: dict[str, Any] = {"connection": None, "cluster": None, "client": None}
    return Services(**(fields | given))


def answering(*answers: Any) -> Any:
    """A coroutine function that returns or raises these, one per call; the last for ever. `calls` are its arguments."""
    left = list(answers)
    calls: list[Any] = []

    async def call(*arguments: Any, **named: Any) -> Any:
        calls.append(arguments or named)
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    call.calls = calls  # type: ignore[attr-defined]
    return call


# ── topics ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_topic_that_exists_is_left_as_it_is() -> None:
    there = SimpleNamespace(topics=lambda names: {"a": SimpleNamespace(partitions=9)})
    target = Target(config=parse("[source.a]\n[source.b]"))
    changes = asyncio.run(Topics().compare(services(cluster=there), target))
    assert [(change.name, change.action) for change in changes] == [
        ("a", Action.UNCHANGED),
        ("b", Action.CREATE),
    ]


def test_a_topic_is_created_for_the_largest_record() -> None:
    created: list[Any] = []
    cluster = SimpleNamespace(create_topic=lambda *arguments: created.append(arguments))
    change = Change(kind="topic", name="a", action=Action.CREATE, desired=Topic(7))
    asyncio.run(Topics().write(services(cluster=cluster), change))
    assert created == [("a", 7, {"max.message.bytes": str(67_108_864 + 65_536)})]


# ── sources ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def changed_source() -> Change[ConfiguredSource]:
    state = ConfiguredSource(SPEC)
    return Change(kind="source", name="a", action=Action.CHANGE, current=state, desired=state)


def entity(answer: Any) -> Any:
    signal = answering(answer)
    return SimpleNamespace(get_workflow_handle=lambda _: SimpleNamespace(signal=signal))


def test_a_source_that_has_never_run_needs_no_signal() -> None:
    client = entity(error(RPCStatusCode.NOT_FOUND))
    asyncio.run(Sources().finish(services(client=client), changed_source()))


def test_a_signal_that_fails_names_a_command_that_helps() -> None:
    """`apply` again would find the database as it should be, and notify no workflow."""
    client = entity(error(RPCStatusCode.UNAVAILABLE))
    with pytest.raises(
        DependencyError, match=r"the server says why; `freshet source resume a` notifies"
    ):
        asyncio.run(Sources().finish(services(client=client), changed_source()))


def test_a_source_that_is_new_is_not_signalled() -> None:
    change = Change(kind="source", name="a", action=Action.CREATE, desired=ConfiguredSource(SPEC))
    asyncio.run(Sources().finish(services(), change))


@pytest.mark.parametrize("action", [Action.CHANGE, Action.RETIRE])
def test_the_entity_of_a_source_that_changed_reads_its_row(action: Action) -> None:
    signals: list[str] = []

    async def signal(name: str) -> None:
        signals.append(name)

    client: Any = SimpleNamespace(get_workflow_handle=lambda _: SimpleNamespace(signal=signal))
    change = Change(kind="source", name="a", action=action, desired=ConfiguredSource(SPEC))
    asyncio.run(Sources().finish(services(client=client), change))
    assert signals == ["reload"]


# ── namespaces ──────────────────────────────────────────────────────────────────────────────────────────────────────


def namespaces(describe: Any, register: Any = None) -> Any:
    service = SimpleNamespace(
        describe_namespace=answering(describe), register_namespace=answering(register)
    )
    return SimpleNamespace(workflow_service=service, namespace="freshet")


async def test_a_namespace_is_registered_once() -> None:
    missing = error(RPCStatusCode.NOT_FOUND)
    assert await ensure_namespace(namespaces(missing), "team") is True
    assert await ensure_namespace(namespaces("there"), "team") is False
    meanwhile = namespaces(missing, error(RPCStatusCode.ALREADY_EXISTS))
    assert await ensure_namespace(meanwhile, "team") is False


async def test_a_namespace_that_we_may_not_see_is_taken_to_exist() -> None:
    hidden = namespaces(error(RPCStatusCode.PERMISSION_DENIED))
    assert await ensure_namespace(hidden, "team") is False


async def test_a_server_that_registers_none_says_what_to_do() -> None:
    managed = namespaces(error(RPCStatusCode.NOT_FOUND), error(RPCStatusCode.PERMISSION_DENIED))
    with pytest.raises(DependencyError, match=r"the server says why.*by hand"):
        await ensure_namespace(managed, "team")
    with pytest.raises(DependencyError, match="namespace 'team' cannot be described"):
        await ensure_namespace(namespaces(error(RPCStatusCode.UNAVAILABLE)), "team")


async def test_namespaces_are_ours_and_the_teams() -> None:
    team = SubscriberSpec(
        subscriber="t", sources=("a",), endpoint="t", namespace="team", task_queue="q"
    )
    target = Target(config=Config(sources=(), subscribers=(team,)))
    changes = await Namespaces().compare(services(client=namespaces("there")), target)
    assert [change.name for change in changes] == ["freshet", "team"]
    assert same_action(changes) == {Action.UNCHANGED}


def same_action(changes: list[Change[Any]]) -> set[Action]:
    return {change.action for change in changes}


# ── endpoints ───────────────────────────────────────────────────────────────────────────────────────────────────────


def listed(namespace: str | None, queue: str = "q") -> Any:
    if namespace is None:
        return SimpleNamespace(endpoints=[])
    worker = SimpleNamespace(namespace=namespace, task_queue=queue)
    spec = SimpleNamespace(target=SimpleNamespace(worker=worker))
    return SimpleNamespace(endpoints=[SimpleNamespace(id="i", version=3, spec=spec)])


def operator(*lists: Any, create: Any = None, update: Any = None) -> Any:
    service = SimpleNamespace(
        list_nexus_endpoints=answering(*lists),
        create_nexus_endpoint=create or answering(None),
        update_nexus_endpoint=update or answering(None),
    )
    return SimpleNamespace(operator_service=service, namespace="freshet")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A namespace settles at once, or never."""
    from tenacity import stop_after_attempt, wait_none

    from workers.apply import endpoints

    retrying: Any = endpoints._ensure_endpoint
    monkeypatch.setattr(retrying.retry, "wait", wait_none())
    monkeypatch.setattr(retrying.retry, "stop", stop_after_attempt(3))


def endpoint_change() -> Change[Endpoint]:
    return Change(kind="endpoint", name="e", action=Action.CREATE, desired=Endpoint("n", "q"))


async def test_an_endpoint_is_created_or_moved_or_left() -> None:
    create, update = answering(None), answering(None)
    await Endpoints().write(
        services(client=operator(listed(None), create=create)), endpoint_change()
    )
    await Endpoints().write(
        services(client=operator(listed("other"), update=update)), endpoint_change()
    )
    await Endpoints().write(
        services(client=operator(listed("n"), create=create, update=update)), endpoint_change()
    )
    assert [request.spec.name for (request,) in create.calls] == ["e"]
    assert [(request.id, request.version) for (request,) in update.calls] == [("i", 3)]


@pytest.mark.usefixtures("impatient")
async def test_a_namespace_that_settles_is_waited_for() -> None:
    create = answering(error(RPCStatusCode.NOT_FOUND), error(RPCStatusCode.ABORTED), None)
    client = operator(listed(None), create=create)
    await Endpoints().write(services(client=client), endpoint_change())
    assert len(create.calls) == 3


@pytest.mark.usefixtures("impatient")
async def test_a_namespace_that_never_settles_is_an_error() -> None:
    client = operator(listed(None), create=answering(error(RPCStatusCode.NOT_FOUND)))
    with pytest.raises(DependencyError, match="'e' cannot be read or set up: the server says why"):
        await Endpoints().write(services(client=client), endpoint_change())


@pytest.mark.parametrize("status", [RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNIMPLEMENTED])
async def test_a_server_that_shows_no_endpoints_stops_the_plan_only_there(
    status: RPCStatusCode,
) -> None:
    """All that comes before endpoints is carried out; then the error says what to do."""
    client = operator(error(status))
    assert await Endpoints().current(services(client=client), ["e"]) == {}
    with pytest.raises(DependencyError, match="by hand"):
        await Endpoints().write(services(client=client), endpoint_change())


async def test_another_program_that_creates_it_first_is_no_error() -> None:
    exists = answering(error(RPCStatusCode.ALREADY_EXISTS))
    await Endpoints().write(
        services(client=operator(listed(None), create=exists)), endpoint_change()
    )
    assert len(exists.calls) == 1


@pytest.mark.parametrize("status", list(RPCStatusCode))
def test_only_what_settles_is_tried_again(status: RPCStatusCode) -> None:
    settles = {RPCStatusCode.NOT_FOUND, RPCStatusCode.FAILED_PRECONDITION, RPCStatusCode.ABORTED}
    assert settling._is_unsettled(error(status)) is (status in settles)
    assert not settling._is_unsettled(ValueError())


# ── schedules ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("rows", "built_from"),
    [
        ([], "some"),
        ([{"source": "a", "spec": SPEC.to_json(), "state": "retired"}], "some"),
        ([{"source": "a", "spec": SPEC.to_json(), "state": "active"}], "some"),
        ([{"source": "a", "spec": SPEC.to_json(), "state": "halted"}], None),
    ],
)
async def test_a_schedule_of_a_source_that_changed_meanwhile_is_not_written(
    rows: list[dict[str, Any]], built_from: str | None
) -> None:
    desired = FreshnessSchedule(built_from, SPEC) if built_from else None
    change = Change(
        kind="schedule", name="freshet/a/freshness", action=Action.CHANGE, desired=desired
    )
    connection = Database(sources_named=rows, has_document_with_end=[{"has_end": False}])
    with pytest.raises(StalePlanError, match="its source was changed"):
        await Schedules().write(services(connection=connection), change)


async def test_a_schedule_that_cannot_be_read_is_one_clear_error() -> None:
    describe = answering(error(RPCStatusCode.UNAVAILABLE))
    client = SimpleNamespace(get_schedule_handle=lambda _: SimpleNamespace(describe=describe))
    with pytest.raises(DependencyError, match="Temporal: reading the schedules failed"):
        await Schedules().current(services(client=client), ["freshet/a/freshness"])


# ── subscriptions ───────────────────────────────────────────────────────────────────────────────────────────────────

ROWS = [
    {"subscriber": "team", "source": "a", "endpoint": "old", "state": "active"},
    {"subscriber": "other", "source": "b", "endpoint": "other", "state": "active"},
    {"subscriber": "former", "source": "b", "endpoint": "former", "state": "ended"},
]
TEAM = """
[source.a]
[source.b]
[subscriber.team]
sources = ["a"]
endpoint = "team"
namespace = "team"
task_queue = "q"
"""


def delivery(status: Any) -> Any:
    return SimpleNamespace(
        get_workflow_handle=lambda _: SimpleNamespace(describe=answering(status))
    )


@pytest.mark.parametrize(("prune", "action"), [(False, Action.UNLISTED), (True, Action.END)])
async def test_a_subscription_that_is_not_in_the_file(prune: bool, action: Action) -> None:
    given = services(
        connection=Database(subscriptions=ROWS), client=delivery(SimpleNamespace(status=None))
    )
    target = Target(config=parse(TEAM), prune=prune)
    changes = await Subscriptions().compare(given, target)
    assert [(change.name, change.action) for change in changes] == [
        ("team:a", Action.CHANGE),
        ("other:b", action),
    ]
    assert changes[0].fields == (
        ("endpoint", "old", "team"),
        ("delivery", "not running", "running"),
    )


async def test_a_subscription_to_a_source_that_does_not_exist_is_refused() -> None:
    change = Change(
        kind="subscription",
        name="team:nope",
        action=Action.CREATE,
        desired=Subscription(endpoint="team"),
    )
    with pytest.raises(ConfigurationError, match="names source 'nope', which does not exist"):
        await Subscriptions().write(services(connection=Database()), change)


@pytest.mark.parametrize(("from_start", "batch"), [(True, 0), (False, -1)])
async def test_where_a_subscription_begins(from_start: bool, batch: int) -> None:
    connection = Database(upsert_subscription=[{"added": True}])
    desired = Subscription(endpoint="team", from_start=from_start)
    change = Change(kind="subscription", name="team:a", action=Action.CREATE, desired=desired)
    await Subscriptions().write(services(connection=connection), change)
    values = dict(connection.executed)["upsert_subscription"]
    assert values["from_batch"] == batch


async def test_a_delivery_that_cannot_be_read_is_one_clear_error() -> None:
    given = services(
        connection=Database(subscriptions=ROWS),
        client=delivery(error(RPCStatusCode.UNAVAILABLE)),
    )
    with pytest.raises(DependencyError, match="reading the delivery of team:a failed"):
        await Subscriptions().current(given, ["team:a"])


async def test_a_namespace_needs_no_change() -> None:
    assert Namespace().fields() == {}
