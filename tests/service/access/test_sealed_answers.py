"""Answers that are encrypted with the team's key: what lies in the histories of a real server, and who can read it."""

import base64
import dataclasses
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowHandle
from temporalio.converter import DataConverter
from temporalio.worker import Worker

from corpus.access.client import SignedCalls, opened_answers
from corpus.access.keys import add_key, key_file
from corpus.access.reader import Reader
from corpus.answer.gate import Decision
from corpus.service import SearchHit, SearchRequest, SearchResponse
from tests.support.callers import RawCaller, RawCalls
from tests.support.fix_temporal import TemporalEnv
from tests.support.polling import until
from tests.support.team_env import (
    TEAM,
    Env,
    add_batch,
    add_document,
    gateway_of,
    make_source,
)
from workers.calls.queues import TeamRegistry

pytestmark = [pytest.mark.service, pytest.mark.timeout(120)]

CANARY = "the levee breaks at noon"
OPERATIONS = ("search", "describe_source", "await_fresh")


def answer(_reader: Reader, request: SearchRequest) -> SearchResponse:
    """Finds a document that must not be read on the way."""
    hit = SearchHit(
        source=request.sources[0], document_id="d", version=1, text=CANARY, score=1.0, title=CANARY
    )
    return SearchResponse(hits=(hit,))


@pytest.fixture
async def sealed(env: Env, db: Any) -> Env:
    """An installation with a team whose answers are encrypted."""
    make_source(db)
    add_batch(db, "peps", 1)
    add_document(db, "peps", "d", 1, 1)
    await env.reconcile(teams=(env.team_spec(answers="encrypted"),))
    env.identity()
    return env


@asynccontextmanager
async def caller(env: Env, temporal: TemporalEnv, key: Path | None = None, **options: Any):
    """The team's worker; gives what starts its calls. The client opens answers with the key, if there is one."""
    client = env.team
    if key is not None:
        converter = opened_answers(TEAM, key, **options)
        client = await temporal.client(env.team.namespace, data_converter=converter)
    signing = SignedCalls(TEAM, key or key_file(env.keys, TEAM))

    async def start() -> WorkflowHandle[Any, dict[str, str]]:
        calls = RawCalls(endpoint=env.corpus_endpoint, source="peps", tokens={})
        return await client.start_workflow(
            RawCaller.run, calls, id=f"raw-{uuid.uuid4()}", task_queue="sealed"
        )

    async with Worker(client, task_queue="sealed", workflows=[RawCaller], interceptors=[signing]):
        yield start


@dataclasses.dataclass
class Serving:
    """A gateway, and what it has decided."""

    env: Env
    registry: TeamRegistry
    noted: list[Decision]

    async def with_answers(self, answers: str) -> None:
        await self.env.reconcile(teams=(self.env.team_spec(answers=answers),))
        self.registry.refresh()

    def refused(self) -> set[str]:
        return {decision.refused for decision in self.noted}


@pytest.fixture
async def serving(sealed: Env) -> AsyncIterator[Serving]:
    noted: list[Decision] = []
    async with sealed.light_worker(), gateway_of(sealed, answer, noted) as registry:
        yield Serving(sealed, registry, noted)


async def histories(*clients: Client) -> str:
    """Every history of these namespaces, as JSON and with each payload decoded from base64."""
    held: list[str] = []
    for client in clients:
        async for found in client.list_workflows():
            handle = client.get_workflow_handle(found.id, run_id=found.run_id)
            history = await handle.fetch_history()
            held += [history.to_json(), *(str(event) for event in history.events)]
    return "\n".join(held)


async def failure_of_task(handle: WorkflowHandle[Any, Any]) -> str:
    """What the first failed workflow task of a caller says."""

    async def failed() -> str:
        history = await handle.fetch_history()
        for event in history.events:
            if event.HasField("workflow_task_failed_event_attributes"):
                return str(event.workflow_task_failed_event_attributes.failure)
        return ""

    return await until(failed)


async def test_no_history_holds_an_answer_that_can_be_read(
    sealed: Env, serving: Serving, temporal_env: TemporalEnv
) -> None:
    key = key_file(sealed.keys, TEAM)
    async with caller(sealed, temporal_env, key, seal_own=True) as start:
        outcomes = await (await start()).result()
    assert CANARY in outcomes["search"]
    assert '"documents": 1' in outcomes["describe_source"]
    assert '"reached": true' in outcomes["await_fresh"]
    assert [decision.refused for decision in serving.noted] == [""] * len(OPERATIONS)
    held = await histories(sealed.team, sealed.client)
    assert "binary/freshet-team" in held
    assert CANARY not in held
    assert base64.b64encode(CANARY.encode()).decode()[:-4] not in held
    assert "wheels" not in held  # the query


async def test_a_team_in_plain_has_its_answers_in_its_history(
    sealed: Env, serving: Serving, temporal_env: TemporalEnv
) -> None:
    """So the test above can fail; and nothing is encrypted for a team that did not ask for it."""
    await serving.with_answers("plain")
    async with caller(sealed, temporal_env) as start:
        handle = await start()
        await handle.result()
    assert CANARY in await histories(sealed.team)


async def test_who_cannot_open_an_answer_is_told_so_and_goes_on_once_it_can(
    sealed: Env, serving: Serving, temporal_env: TemporalEnv, tmp_path: Path
) -> None:
    """A replaced key, and a client without the line: the workflow waits, and loses nothing."""
    key = key_file(sealed.keys, TEAM)
    async with caller(sealed, temporal_env) as start:  # signs, and opens nothing
        handle = await start()
        assert "KeyError" in await failure_of_task(handle)  # an encoding that it does not know
    async with caller(sealed, temporal_env, key):
        outcomes = await sealed.team.get_workflow_handle(handle.id).result()
    assert CANARY in outcomes["search"]


async def test_a_strict_client_refuses_an_answer_in_plain(
    sealed: Env, serving: Serving, temporal_env: TemporalEnv
) -> None:
    await serving.with_answers("plain")
    key = key_file(sealed.keys, TEAM)
    async with caller(sealed, temporal_env, key) as start:
        handle = await start()
        said = await failure_of_task(handle)
    assert "is not encrypted with a key of team" in said
    assert CANARY not in said
    async with caller(sealed, temporal_env, key, strict=False):
        assert CANARY in (await sealed.team.get_workflow_handle(handle.id).result())["search"]


async def test_a_new_key_needs_no_moment_at_which_both_sides_have_it(
    sealed: Env, temporal_env: TemporalEnv, tmp_path: Path
) -> None:
    of_team = tmp_path / "team.key"
    of_gateway = key_file(sealed.keys, TEAM)
    of_team.write_bytes(of_gateway.read_bytes())
    async with (
        sealed.light_worker(),
        gateway_of(sealed, answer) as registry,
        caller(sealed, temporal_env, of_team) as start,
    ):
        add_key(of_gateway)
        registry.refresh()
        assert CANARY in (await (await start()).result())["search"]
        of_team.write_bytes(of_gateway.read_bytes())
        assert CANARY in (await (await start()).result())["search"]
        newest = of_team.read_text().splitlines()[0]
        for path in (of_team, of_gateway):
            path.write_text(newest + "\n")
        registry.refresh()
        assert CANARY in (await (await start()).result())["search"]


async def test_a_request_with_another_key_is_refused_and_logged(
    sealed: Env, serving: Serving, temporal_env: TemporalEnv, tmp_path: Path
) -> None:
    other = tmp_path / "other.key"
    add_key(other)
    async with caller(sealed, temporal_env, other) as start:
        outcomes = await (await start()).result()
    assert {text.split(":")[0] for text in outcomes.values()} == {"UNAUTHENTICATED"}
    [reason] = serving.refused()
    assert "the request does not open with the team's key" in reason


async def test_with_keys_of_freshet_a_team_needs_its_own_only(
    sealed: Env, temporal_env: TemporalEnv
) -> None:
    """The operator's payload keys encrypt what no key of a team does; errors are plain for everybody."""
    from workers.temporal.codec import EncryptionCodec
    from workers.temporal.failures import EncryptedFailureConverter

    codec = EncryptionCodec({"operator": b"o" * 32})
    converter = dataclasses.replace(
        sealed.client.data_converter,
        payload_codec=codec,
        failure_converter_class=EncryptedFailureConverter,
    )
    keyed = await temporal_env.client(sealed.client.namespace, data_converter=converter)
    with_keys = dataclasses.replace(sealed, client=keyed)
    key = key_file(sealed.keys, TEAM)
    shared = dataclasses.replace(DataConverter.default, payload_codec=codec)
    for answers, options in (
        ("encrypted", {}),
        # As before teams had keys for answers: it shares Freshet's.
        ("plain", {"strict": False, "converter": shared}),
    ):
        await sealed.reconcile(teams=(sealed.team_spec(answers=answers, rights=("search",)),))
        async with (
            gateway_of(with_keys, answer),
            caller(sealed, temporal_env, key, seal_own=True, **options) as start,
        ):
            outcomes = await (await start()).result()
        assert CANARY in outcomes["search"]
        assert outcomes["await_fresh"].endswith("does not have the right 'await'")
    assert CANARY not in await histories(sealed.team)
