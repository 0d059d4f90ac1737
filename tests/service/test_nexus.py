"""The contract, called as a team calls it: from a workflow in another namespace."""

import asyncio
import subprocess
import sys
import uuid
from contextlib import asynccontextmanager

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.worker import Worker

from corpus.access.reader import Reader
from corpus.answer import await_fresh
from corpus.service import AwaitFreshRequest, SearchHit, SearchRequest, SearchResponse, WaitOutcome
from examples.team.worker import build as build_team
from examples.team.workflows import AskWorkflow, Question
from tests.support.callers import DescribeCaller
from tests.support.polling import until
from tests.support.team_env import (
    ROOT,
    add_batch,
    add_document,
    connection_to,
    delivery,
    gateway_of,
    make_env,
    make_source,
    notices,
)

pytestmark = [pytest.mark.service, pytest.mark.timeout(180)]


def answer(_reader: Reader, request: SearchRequest) -> SearchResponse:
    """Stands for the search, which has tests of its own."""
    hit = SearchHit(
        source=request.sources[0], document_id="pep-1", version=1, text=request.query, score=1.0
    )
    return SearchResponse(hits=(hit,) * request.k)


@asynccontextmanager
async def serving(env, log=None, step=answer):
    async with (
        env.light_worker(),
        gateway_of(env, step),
        build_team(env.team, log, env.identity()),
    ):
        yield


def describing(env):
    return Worker(
        env.team,
        task_queue="describe",
        workflows=[DescribeCaller],
        interceptors=env.identity(),
    )


async def ask(env, *, k=2, query="wheels", **wait):
    wait_for = AwaitFreshRequest(source="peps", **wait) if wait else None
    question = Question(
        search=SearchRequest(query=query, k=k, sources=("peps",)),
        wait_for=wait_for,
        endpoint=env.corpus_endpoint,
    )
    return await env.team.execute_workflow(
        AskWorkflow.run, question, id=f"ask-{uuid.uuid4()}", task_queue="team-search"
    )


async def test_search_and_describe(env, db):
    make_source(db)
    add_batch(db, "peps", 1)
    add_document(db, "peps", "pep-1", 1, 1)
    await env.reconcile()
    async with serving(env), describing(env):
        found = (await ask(env)).found
        assert [hit.document_id for hit in found.hits] == ["pep-1", "pep-1"]

        async def describe(source):
            arguments = [source, env.corpus_endpoint]
            return await env.team.execute_workflow(
                DescribeCaller.run, args=arguments, id=f"d-{source}", task_queue="describe"
            )

        assert await describe("peps") == "active 1 1 None"
        with pytest.raises(WorkflowFailureError) as failed:
            await describe("nope")
        assert "there is no source 'nope'" in str(failed.value.cause.cause)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"k": 0}, "k is 0; give 1 to 100"),
        ({"query": "  "}, "query has 2 characters"),
        ({"batch": 1, "time_ms": 1}, "name exactly one target"),
        ({"topic": "t", "partition": 0}, "name exactly one target"),
        ({"batch": 1, "timeout_seconds": -1}, "timeout_seconds is -1"),
    ],
)
async def test_bad_requests_fail_at_once_with_a_reason(env, db, fields, message):
    await env.reconcile()
    async with serving(env):
        with pytest.raises(WorkflowFailureError) as failed:
            await asyncio.wait_for(ask(env, **fields), 20)
    assert message in str(failed.value.cause.cause)


async def test_await_fresh_completes_when_it_is_there(env, db):
    make_source(db)
    await env.reconcile()
    async with serving(env):
        waiting = asyncio.create_task(ask(env, batch=1, timeout_seconds=60))
        await until(lambda: _running_waits(env, 1))
        assert not waiting.done()
        add_batch(db, "peps", 1)
        answered = await waiting
        waited = answered.waited
        assert (waited.reached, waited.why) == (True, WaitOutcome.RETRIEVABLE)
        assert waited.batch == 1
        assert waited.published_at_us <= waited.published_at_ms * 1000
        assert answered.found.hits


async def test_a_caller_that_gives_up_ends_no_other_wait_and_lends_no_deadline(env, db):
    """Three teams wait for the same batch: one is cancelled, one has a short patience, one waits."""
    make_source(db)
    await env.reconcile()
    async with serving(env):
        wait = AwaitFreshRequest(source="peps", batch=1, timeout_seconds=90)
        first, second = [await start_asking(env, wait) for _ in range(2)]
        await until(lambda: _running_waits(env, 2))
        impatient = await ask(env, batch=1, timeout_seconds=1)
        assert impatient.waited.why is WaitOutcome.TIMEOUT
        await first.cancel()
        with pytest.raises(WorkflowFailureError):
            await first.result()
        await until(lambda: _running_waits(env, 1))
        add_batch(db, "peps", 1)
        assert (await second.result()).waited.reached


@pytest.mark.parametrize("callers", [40])
async def test_forty_callers_who_wait_for_one_batch_are_all_answered(env, db, callers):
    """The server allows 32 callbacks per workflow, so that a shared wait refused the 33rd caller."""
    make_source(db)
    await env.reconcile()
    async with serving(env):
        wait = AwaitFreshRequest(source="peps", batch=1, timeout_seconds=150)
        handles = [await start_asking(env, wait) for _ in range(callers)]
        await until(lambda: _running_waits(env, callers), seconds=90)
        add_batch(db, "peps", 1)
        answers = await asyncio.wait_for(asyncio.gather(*(one.result() for one in handles)), 60)
        assert [answer.waited.reached for answer in answers] == [True] * callers


@pytest.mark.parametrize("kilobytes", [150, 500])
async def test_a_search_over_whole_documents_is_cut_and_says_so(env, db, kilobytes):
    """`chunker = "whole"` makes one chunk of a document; ten of them are more than a payload may hold."""
    make_source(db)
    await env.reconcile()

    def whole(_reader, request):
        hit = SearchHit(
            source="peps", document_id="d", version=1, text="\u0436" * kilobytes * 500, score=1.0
        )
        return SearchResponse(hits=(hit,) * request.k)

    async with serving(env, step=whole):
        found = (await asyncio.wait_for(ask(env, k=10), 30)).found
    assert (found.cut, len(found.hits), found.hits_left_out) == (True, 10, 0)
    assert all(hit.cut and hit.text for hit in found.hits)


async def start_asking(env, wait_for):
    question = Question(
        search=SearchRequest(query="wheels", k=1, sources=("peps",)),
        wait_for=wait_for,
        endpoint=env.corpus_endpoint,
    )
    return await env.team.start_workflow(
        AskWorkflow.run, question, id=f"ask-{uuid.uuid4()}", task_queue="team-search"
    )


async def _running_waits(env, wanted):
    """Whether so many waits run, and each has looked at least once."""
    listed = env.client.list_workflows(
        "WorkflowType = 'AwaitFreshWorkflow' AND ExecutionStatus = 'Running'"
    )
    handles = [env.client.get_workflow_handle(run.id) async for run in listed]
    if len(handles) != wanted:
        return False
    described = await asyncio.gather(*(handle.describe() for handle in handles))
    return all(run.history_length > 10 for run in described)


async def _wait_runs(env):
    runs = [run async for run in env.client.list_workflows("WorkflowType = 'AwaitFreshWorkflow'")]
    return len(runs)


async def test_await_fresh_says_why_not(env, db):
    make_source(db)
    await env.reconcile()
    async with serving(env):
        late = await ask(env, batch=7, timeout_seconds=0)
        assert (late.waited.reached, late.waited.why, late.found) == (
            False,
            WaitOutcome.TIMEOUT,
            None,
        )
        assert late.waited.detail == "batch 7 is not published"
        db.execute(
            "UPDATE freshet.source SET state = 'halted', state_reason = 'offsets 3..9 of topic/0 are gone'"
        )
        halted = await ask(env, batch=7, timeout_seconds=60)
        assert (halted.waited.why, halted.waited.detail) == (
            WaitOutcome.SOURCE_HALTED,
            "offsets 3..9 of topic/0 are gone",
        )


async def test_a_wait_continues_as_new(database_url, temporal_short_history, tmp_path):
    env = await make_env(database_url, temporal_short_history, tmp_path)
    with connection_to(env) as db:
        make_source(db)
        await env.reconcile()
        async with serving(env):
            waiting = asyncio.create_task(ask(env, batch=1, timeout_seconds=60))

            async def continued():
                return await _wait_runs(env) >= 2

            await until(continued)
            add_batch(db, "peps", 1)
            assert (await waiting).waited.reached


async def test_the_example_team_is_notified_and_asks(env, db, tmp_path):
    make_source(db)
    await env.reconcile(env.subscriber("peps"))
    log = tmp_path / "notices.jsonl"
    async with serving(env, str(log)):
        await env.publish(db, "peps", 1)
        await until(lambda: [notice["notice_id"] for notice in notices(log)] == ["peps:1"])
        question = ["wheels", "--source", "peps", "--batch", "1"]
        command = [sys.executable, "-m", "examples.team.ask", *question]
        command += ["--endpoint", env.corpus_endpoint]
        environment = {
            "TEMPORAL_ADDRESS": env.address,
            "TEMPORAL_NAMESPACE": env.team.namespace,
            "PATH": "",
        }
        asked = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, env=environment, stdout=subprocess.PIPE
        )
        output, _ = await asked.communicate()
        assert asked.returncode == 0
        assert output.decode().splitlines()[0] == "retrievable: batch 1 is published"
        assert delivery(db)["cursor_batch"] == 1


# ── one check, every outcome ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def ledger(db):
    """Return a database with documents, a dead letter and positions for every outcome.

    pep-1: v1 replaced, v2 visible; gone: deleted; stale: expired. Offsets 0..9 of topic/0 are read; 3 is a dead letter,
    4 a hole. What became of the records of batch 1 is not kept any more.
    """
    make_source(db)
    add_batch(db, "peps", 1, records=5, applied=4, dead_lettered=1)
    add_batch(db, "peps", 2, records=3, applied=1, superseded=1, ignored=1)
    add_batch(db, "peps", 3, records=2, unchanged=2)
    for batch, first, following, records in ((1, 0, 5, 5), (2, 5, 8, 3), (3, 8, 10, 2)):
        db.execute(
            "INSERT INTO freshet.batch_range VALUES ('peps', %s, 'topic', 0, 0, %s, %s, %s)",
            (batch, first, following, records),
        )
    db.execute(
        "INSERT INTO freshet.source_position (source, cluster_id, topic, topic_id, partition, next_offset)"
        " VALUES ('peps', 'c', 'topic', 't', 0, 10)"
    )
    db.execute("UPDATE freshet.source_position SET newest_at = '2026-11-25'")
    keep_outcomes(
        db, 2, 5, ("applied", "pep-1", 2), ("superseded", "pep-1", 1), ("ignored", None, None)
    )
    keep_outcomes(db, 3, 8, ("unchanged", "pep-1", 2), ("unchanged", "stale", 1))
    at = {"topic": "topic", "partition": 0}
    replaced = {"is_head": False, "visible_to": "now", "end_reason": "replaced"}
    deleted = {"kind": "tombstone", "visible_to": "now", "end_reason": "deleted"}
    expired = {"visible_to": "now", "end_reason": "expired", "end_detail": "expire_after=30d"}
    add_document(db, "peps", "pep-1", 1, 1, record_offset=0, **replaced, **at)
    add_document(db, "peps", "pep-1", 2, 2, record_offset=5, **at)
    add_document(db, "peps", "gone", 4, 1, record_offset=1, **deleted, **at)
    add_document(db, "peps", "stale", 1, 1, record_offset=2, **expired, **at)
    db.execute(
        "INSERT INTO freshet.dead_letter"
        " (source, batch, topic, partition, record_offset, document_id, reason, detail, value)"
        " VALUES ('peps', 1, 'topic', 0, 3, 'bad', 'too_large', '33 MB', %s)",
        (b'{"id": "bad", "version": 9}',),
    )
    return db


def keep_outcomes(db, batch, first, *records):
    outcomes, documents, versions = (list(column) for column in zip(*records, strict=True))
    ops = [document and "upsert" for document in documents]
    offsets = list(range(first, first + len(records)))
    db.execute(
        "INSERT INTO freshet.record_outcome VALUES"
        " ('peps', 'topic', 0, 't', %s, %s, %s, now(), %s, %s, %s, %s, %s, %s)",
        (
            *(first, first + len(records), batch, offsets, outcomes, ops, documents, versions),
            [None if document else "a_rule" for document in documents],
        ),
    )


@pytest.mark.parametrize(
    ("wanted", "reached", "why", "batch"),
    [
        ({"batch": 2}, True, "retrievable", 2),
        ({"batch": 4}, False, "timeout", None),
        ({"batch": 0}, False, "not_published", None),
        ({"document_id": "pep-1", "version": 2}, True, "retrievable", 2),
        ({"document_id": "pep-1", "version": 1}, False, "superseded", 2),
        ({"document_id": "pep-1", "version": 3}, False, "timeout", None),
        ({"document_id": "never", "version": 1}, False, "timeout", None),
        ({"document_id": "gone", "version": 4}, False, "deleted", 1),
        ({"document_id": "gone", "version": 3}, False, "superseded", 1),
        ({"document_id": "stale", "version": 1}, False, "expired", 1),
        ({"document_id": "bad", "version": 9}, False, "dead_lettered", 1),
        ({"document_id": "bad", "version": 10}, False, "timeout", None),
        ({"topic": "topic", "partition": 0, "offset": 5}, True, "retrievable", 2),
        ({"topic": "topic", "partition": 0, "offset": 0}, False, "superseded", 1),
        ({"topic": "topic", "partition": 0, "offset": 1}, False, "deleted", 1),
        ({"topic": "topic", "partition": 0, "offset": 2}, False, "expired", 1),
        ({"topic": "topic", "partition": 0, "offset": 3}, False, "dead_lettered", 1),
        ({"topic": "topic", "partition": 0, "offset": 4}, False, "no_change", 1),
        ({"topic": "topic", "partition": 0, "offset": 6}, False, "superseded", 2),
        ({"topic": "topic", "partition": 0, "offset": 7}, False, "no_change", 2),
        ({"topic": "topic", "partition": 0, "offset": 8}, True, "unchanged", 3),
        ({"topic": "topic", "partition": 0, "offset": 9}, False, "expired", 1),
        ({"topic": "topic", "partition": 0, "offset": 10}, False, "timeout", None),
        ({"topic": "topic", "partition": 1, "offset": 0}, False, "timeout", None),
        ({"time_ms": 0}, True, "retrievable", None),
        ({"time_ms": 4_000_000_000_000}, False, "timeout", None),
    ],
)
def test_current_outcome(ledger, wanted, reached, why, batch):
    response = outcome(ledger, **wanted)
    assert (response.reached, response.why, response.batch) == (reached, why, batch)
    assert response.detail


def outcome(connection, source="peps", **target):
    return await_fresh.current_outcome(connection, AwaitFreshRequest(source=source, **target))


def test_the_outcome_where_nothing_more_will_be_published(ledger):
    assert outcome(ledger, source="nope", batch=1).why is WaitOutcome.SOURCE_UNKNOWN
    ledger.execute("UPDATE freshet.source SET state = 'retired'")
    assert outcome(ledger, batch=2).reached
    assert outcome(ledger, batch=4).why is WaitOutcome.SOURCE_RETIRED
    ledger.execute("UPDATE freshet.batch SET state = 'rejected', reason = 'no' WHERE batch = 3")
    rejected = outcome(ledger, batch=3)
    assert (rejected.why, rejected.detail) == (WaitOutcome.NOT_PUBLISHED, "batch 3 is rejected: no")


def test_the_contract_is_light():
    heavy = "{'torch', 'polars', 'psycopg', 'numpy', 'confluent_kafka'}"
    light = f"assert not {heavy} & set(sys.modules)"
    code = f"import sys, corpus.service; {light}; import examples.team.worker; {light}"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
