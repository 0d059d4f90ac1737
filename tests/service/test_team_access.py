"""Who is answered over Nexus: a stranger, a team with a wrong token or without a grant, each over every operation."""

import dataclasses
import time
import uuid
from contextlib import asynccontextmanager
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.worker import Worker

from corpus.access.admission import UNCLAIMED
from corpus.access.keys import add_key, key_file, read_keys
from corpus.access.reader import Reader
from corpus.access.token import Call, request_digest, sign
from corpus.answer.gate import Decision
from corpus.service import SearchHit, SearchRequest, SearchResponse
from tests.support.callers import RawCaller, RawCalls, requests
from tests.support.team_env import (
    TEAM,
    Env,
    add_batch,
    add_document,
    gateway_of,
    make_source,
)

pytestmark = [pytest.mark.service, pytest.mark.timeout(120)]

QUEUE = "raw"
OPERATIONS = {"search", "describe_source", "await_fresh"}
REFUSED = dict.fromkeys(OPERATIONS, f"UNAUTHENTICATED: {UNCLAIMED}")
SERVICE = "freshet.corpus.v1"


def answer(reader: Reader, request: SearchRequest) -> SearchResponse:
    """Finds one chunk in each source that is asked for and granted."""
    hits = [
        SearchHit(source=source, document_id="d", version=1, text="wheels", score=1.0)
        for source in request.sources
        if source in reader.sources
    ]
    return SearchResponse(hits=tuple(hits))


@pytest.fixture
async def two_sources(env: Env, db: Any) -> Env:
    """An installation with a source that the team is granted, and one that it is not."""
    for source in ("peps", "secret"):
        make_source(db, source)
        add_batch(db, source, 1)
        add_document(db, source, "d", 1, 1)
    await env.reconcile()
    return env


@asynccontextmanager
async def asking(client: Client, **options: Any):
    """A caller's worker in its namespace; gives what asks about a source."""

    async def ask(endpoint: str, source: str, **fields: Any) -> dict[str, str]:
        calls = RawCalls(endpoint=endpoint, source=source, **({"tokens": {}} | fields))
        return await client.execute_workflow(
            RawCaller.run, calls, id=f"raw-{uuid.uuid4()}", task_queue=QUEUE
        )

    async with Worker(client, task_queue=QUEUE, workflows=[RawCaller], **options):
        yield ask


def tokens(env: Env, source: str, **changed: Any) -> dict[str, str]:
    """A token per operation, as the team makes them, but for what is changed."""
    key_id, key = next(iter(read_keys(key_file(env.keys, TEAM)).items()))
    fields = {"team": TEAM, "key_id": key_id, "key": key, "now": int(time.time())}
    call = {"service": SERVICE, "endpoint": env.corpus_endpoint}
    of_call = {name: changed.pop(name) for name in ("operation", "endpoint") if name in changed}
    made: dict[str, str] = {}
    for name, request in requests(changed.pop("of", source)).items():
        bound = call | {"operation": name, "digest": request_digest(request)} | of_call
        made[name] = sign(Call(**bound), **(fields | changed))
    return made


async def test_a_team_is_answered_about_what_it_is_granted(two_sources: Env) -> None:
    env = two_sources
    async with (
        env.light_worker(),
        gateway_of(env, answer),
        asking(env.team, interceptors=env.identity()) as ask,
    ):
        granted = await ask(env.corpus_endpoint, "peps")
        assert '"document_id": "d"' in granted["search"]
        assert '"documents": 1' in granted["describe_source"]
        assert '"reached": true' in granted["await_fresh"]
        own = await ask(env.corpus_endpoint, "secret")
        missing = await ask(env.corpus_endpoint, "nope")
        assert own == {name: text.replace("nope", "secret") for name, text in missing.items()}
        assert own["describe_source"] == "NOT_FOUND: there is no source 'secret'"
        assert "source_unknown" in own["await_fresh"]
        assert '"hits": []' in own["search"]


async def test_a_stranger_learns_nothing(two_sources: Env, temporal_env: Any) -> None:
    """Any namespace can call any endpoint of a server without an authorizer, this dev server for one."""
    env = two_sources
    noted: list[Decision] = []
    stranger = await temporal_env.client()
    async with env.light_worker(), gateway_of(env, answer, noted), asking(stranger) as ask:
        stolen = tokens(env, "peps")
        for endpoint in (env.corpus_endpoint, f"{env.corpus_endpoint}-of-no-team"):
            for source in ("peps", "secret", "nope"):
                assert await ask(endpoint, source) == REFUSED
            assert await ask(endpoint, "peps", tokens=stolen) == REFUSED
    assert len(noted) == 2 * 4 * len(OPERATIONS)
    assert {decision.team for decision in noted} == {""}
    reasons = {decision.refused for decision in noted}
    assert reasons == {
        f"namespace {stranger.namespace!r} is not the team's",
        "the endpoint is no team's",
    }
    assert {name for decision in noted for name in decision.namespaces} == {stranger.namespace}


async def test_a_wrong_token_opens_nothing(two_sources: Env) -> None:
    env = two_sources
    noted: list[Decision] = []
    wrong = {
        "the token's signature is wrong": {"key": b"x" * 32},
        "the token's key is not one of the team's": {"key_id": "k"},
        "the token has expired": {"now": int(time.time()) - 3_600},
        "the token is of the future: a clock is wrong": {"now": int(time.time()) + 3_600},
        "the token is valid for more than 600 s": {"valid_seconds": 86_400},
        "the token is of another operation": {"operation": "subscribe"},
        "the token is of another endpoint": {"endpoint": "corpus-of-another"},
        "the token is of another team": {"team": "legal"},
        "the token is of another request": {"of": "secret"},
    }
    async with env.light_worker(), gateway_of(env, answer, noted), asking(env.team) as ask:
        assert await ask(env.corpus_endpoint, "peps") == REFUSED
        for changed in wrong.values():
            made = tokens(env, "peps", **changed)
            assert await ask(env.corpus_endpoint, "peps", tokens=made) == REFUSED
        right = await ask(env.corpus_endpoint, "peps", tokens=tokens(env, "peps"))
        assert '"document_id": "d"' in right["search"]
    reasons = [decision.refused for decision in noted if decision.refused]
    expected = ["there is no token", *wrong]
    assert reasons == [reason for reason in expected for _ in OPERATIONS]


async def test_a_team_without_rights_or_groups(two_sources: Env) -> None:
    env = two_sources
    bare = dataclasses.replace(env.team_spec(), rights=(), groups=())
    await env.reconcile(teams=(bare,))
    async with (
        env.light_worker(),
        gateway_of(env, answer) as registry,
        asking(env.team, interceptors=env.identity()) as ask,
    ):
        without = await ask(env.corpus_endpoint, "peps")
        assert set(without.values()) == {
            f"UNAUTHORIZED: team {TEAM!r} does not have the right 'search'",
            f"UNAUTHORIZED: team {TEAM!r} does not have the right 'await'",
        }
        # What changes is in effect once the gateway has read it again; a new key opens calls beside the old one.
        await env.reconcile(teams=(dataclasses.replace(env.team_spec(), groups=("staff",)),))
        add_key(key_file(env.keys, TEAM))
        registry.refresh()
        assert '"documents": 1' in (await ask(env.corpus_endpoint, "peps"))["describe_source"]
        staff = await ask(env.corpus_endpoint, "peps", groups=("staff",))
        assert '"document_id": "d"' in staff["search"]
        board = await ask(env.corpus_endpoint, "peps", groups=("staff", "board"))
        refused = f"BAD_REQUEST: groups: team {TEAM!r} may not vouch for 'board'"
        assert set(board.values()) == {refused}
        # A quota counts the calls before it; the server does not try again by itself.
        few = dataclasses.replace(env.team_spec(), calls_per_minute=1)
        await env.reconcile(teams=(few,))
        registry.refresh()
        for outcome in (await ask(env.corpus_endpoint, "peps")).values():
            words = (
                f"RESOURCE_EXHAUSTED: team {TEAM!r} has used its 1 calls per minute; try again in "
            )
            assert outcome.startswith(words)
        # A team that has ended is refused, and its queue is served all the same.
        await env.reconcile(teams=())
        registry.refresh()
        assert await ask(env.corpus_endpoint, "peps") == REFUSED


async def test_a_grant_that_is_withdrawn_ends_a_wait(two_sources: Env, db: Any) -> None:
    env = two_sources
    from corpus.answer.activities import TeamLook
    from corpus.answer.await_fresh import outcome_for_team

    request = requests("peps")["await_fresh"]
    look = TeamLook(request=request, team=TEAM)
    assert outcome_for_team(db, look).reached
    assert outcome_for_team(db, dataclasses.replace(look, team="")).why == "source_unknown"
    for changed in ({"sources": ("secret",)}, {"rights": ("search",)}):
        await env.reconcile(teams=(dataclasses.replace(env.team_spec(), **changed),))
        assert outcome_for_team(db, look).why == "source_unknown"
    await env.reconcile(teams=())
    assert outcome_for_team(db, look).why == "source_unknown"
