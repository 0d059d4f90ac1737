"""Checks on a real ledger, entity and publish step; schedules on a real server."""

import json

import pytest

from corpus.answer.search import search
from corpus.database import open_pool
from corpus.embed import spaces
from corpus.embed.model_files import read_embedding_spec
from corpus.errors import ConfigurationError, PermanentError
from corpus.service import SearchRequest
from freshness import scan, schedules
from freshness.activities import FreshnessActivities
from freshness.pace import check_pace
from freshness.policy import FreshnessStatus
from tests.support.polling import until
from tests.support.team_env import (
    add_batch,
    add_document,
    all_workers,
    check,
    fill,
    make_source,
)
from workers.roles import orchestrator as deliveries

pytestmark = [pytest.mark.service, pytest.mark.timeout(180)]


async def test_a_fresh_source_passes_and_is_reported(env, db):
    make_source(db, warn_after_seconds=60, error_after_seconds=600)
    fill(db)
    async with env.light_worker():
        report = await check(env)
    assert (report.status, report.documents, report.overdue, report.error) == (
        FreshnessStatus.PASS,
        10,
        0,
        None,
    )
    (latest,), now_ms = scan.latest(db)
    assert latest == report
    assert 0 <= now_ms - report.snapshotted_at_ms < 60_000


async def test_ages_are_of_the_newest_event_and_of_the_oldest_document(env, db):
    make_source(db, warn_after_seconds=60, error_after_seconds=600)
    fill(db)
    add_document(db, "peps", "old", 1, 1, observed_at="2020-01-01")
    found = scan.measure(db, "peps")
    assert found.verdict().status is FreshnessStatus.ERROR
    assert found.verdict().reasons[0].startswith("oldest unverified document")
    db.execute(
        "UPDATE freshet.document SET verified_at = now() WHERE document_id = 'old'"
    )  # asked for at its origin
    assert scan.measure(db, "peps").verdict().status is FreshnessStatus.PASS


async def test_what_is_overdue_is_withdrawn_by_the_entity(env, db, tmp_path):
    make_source(db, expire_after_seconds=3_600)
    fill(db, 8)
    for name, columns in {
        "stale": {"observed_at": "2020-01-01"},
        "ended": {"expires_at": "2020-01-01"},
    }.items():
        add_document(db, "peps", name, 1, 1, **columns)
    before = db.execute("SELECT clock_timestamp()").fetchone()[0]
    async with all_workers(env, tmp_path):
        report = await check(env)
        again = await check(env)
    assert (report.status, report.expired, report.overdue, report.documents) == (
        FreshnessStatus.PASS,
        2,
        0,
        8,
    )
    assert (again.expired, again.overdue) == (0, 0)
    rows = db.execute(
        "SELECT document_id, end_reason, end_detail, end_batch FROM freshet.document WHERE visible_to IS NOT NULL"
    ).fetchall()
    assert sorted(rows) == [
        ("ended", "expired", "expires_at or expire_after=1h", 2),
        ("stale", "expired", "expires_at or expire_after=1h", 2),
    ]
    ledger = db.execute(
        "SELECT kind, state, documents_expired, reason FROM freshet.batch WHERE batch = 2"
    ).fetchone()
    assert ledger == ("expiry", "published", 2, "expires_at or expire_after=1h")
    assert db.execute("SELECT max(batch) FROM freshet.batch").fetchone() == (2,)
    as_of = db.execute(
        "SELECT count(*) FROM freshet.document WHERE visible_from <= %s AND (visible_to IS NULL OR visible_to > %s)",
        (before, before),
    )
    assert as_of.fetchone() == (10,)  # as of before, it is still there


async def test_search_returns_no_expired_document_but_as_of_before_it_does(env, db, tmp_path):
    make_source(db, expire_after_seconds=3_600)
    spec = read_embedding_spec("all-MiniLM-L6-v2")
    space = {"space_id": spaces.register(db, spec), "dimensions": spec.dimensions}
    add_batch(db, "peps", 1)
    for name, seen in {"fresh": "now", "stale": "2020-01-01"}.items():
        chunk = {
            "source": "peps",
            "document_id": name,
            "text": f"wheels of {name}",
            "text_sha256": name.encode().ljust(32),
            "token_count": 3,
        } | space
        chunk |= {"embedding": str([0.1] * spec.dimensions), "visible_from": "now", "batch": 1}
        columns = f"({', '.join(chunk)}, search_text)"
        values = f"({', '.join('%s' for _ in chunk)}, to_tsvector('english', %s))"
        inserted = db.execute(
            f"INSERT INTO freshet.chunk {columns} VALUES {values} RETURNING chunk_id",
            (*chunk.values(), chunk["text"]),
        )
        chunk_ids = [inserted.fetchone()[0]]
        add_document(
            db,
            "peps",
            name,
            1,
            1,
            observed_at=seen,
            chunk_ids=chunk_ids,
            chunk_starts=[0],
            chunk_headings=[""],
            space_id=space["space_id"],
        )
    before = db.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint").fetchone()[
        0
    ]

    def found(as_of_ms=None):
        request = SearchRequest(query="wheels", mode="text", as_of_ms=as_of_ms)
        return sorted(hit.document_id for hit in search(db, request, lambda *_: None).hits)

    assert found() == ["fresh", "stale"]
    async with all_workers(env, tmp_path):
        assert (await check(env)).expired == 1
    assert found() == ["fresh"]
    assert found(before) == ["fresh", "stale"]


async def test_a_mass_expiry_stops_and_says_so(env, db):
    make_source(db, expire_after_seconds=3_600, max_expiry_ratio=0.5)
    fill(db, 4)
    for number in range(6):
        add_document(db, "peps", f"old-{number}", 1, 1, observed_at="2020-01-01")
    async with env.light_worker():
        report = await check(env)
    assert (report.status, report.expired, report.overdue) == (FreshnessStatus.ERROR, 0, 6)
    assert "6 of 10 documents are overdue" in report.error
    assert db.execute(
        "SELECT count(*) FROM freshet.document WHERE visible_to IS NULL"
    ).fetchone() == (10,)


async def test_a_failed_check_is_a_runtime_error_in_the_report(env, db):
    make_source(db)

    def fails(source: str):
        raise PermanentError(f"{source} cannot be measured")

    with open_pool(env.database_url, size=2) as pool:
        real = {activity.__name__: activity for activity in deliveries.activities(pool)}
        shell = FreshnessActivities(
            measure=fails, expired_after=None, record=None, initial_state=None
        )
        async with env.light_worker(activities=[shell.measure, real["record"]]):
            report = await check(env)
    assert report.status is FreshnessStatus.RUNTIME_ERROR
    (latest,), _ = scan.latest(db)
    assert latest.status is FreshnessStatus.RUNTIME_ERROR
    assert (
        latest.error == "freshness.measure: PermanentError: PermanentError: peps cannot be measured"
    )


async def test_recording_twice_changes_nothing(env, db):
    make_source(db)
    async with env.light_worker():
        report = await check(env)
    scan.record(db, report)
    assert db.execute("SELECT count(*) FROM freshet.freshness_report").fetchone() == (1,)


def test_a_check_that_does_not_run_is_a_runtime_error(env, db):
    make_source(db, check_every_seconds=300)
    pace = check_pace(db)
    assert (pace.sources, pace.late, pace.due_per_second) == (1, 0, 1 / 300)
    (never,), _ = scan.latest(db)
    assert (never.status, "never ran" in never.error) == (FreshnessStatus.RUNTIME_ERROR, True)
    db.execute(
        "INSERT INTO freshet.freshness_report"
        " (source, snapshotted_at, status, criteria, duration_seconds, workflow_id, run_id)"
        " VALUES ('peps', now() - interval '901 seconds', 'pass', %s, 0, 'w', 'r')",
        (json.dumps({}),),
    )
    assert check_pace(db).late == 1
    (late,), _ = scan.latest(db, "peps")
    assert (late.status, "last ran 901s ago" in late.error) == (FreshnessStatus.RUNTIME_ERROR, True)
    db.execute(
        "UPDATE freshet.freshness_report SET snapshotted_at = now() - interval '890 seconds'"
    )
    assert scan.latest(db)[0][0].status is FreshnessStatus.PASS
    db.execute("UPDATE freshet.source SET state = 'retired'")
    assert scan.latest(db)[0] == []
    assert check_pace(db).sources == 0
    with pytest.raises(ConfigurationError, match="there is no source 'nope'"):
        scan.latest(db, "nope")


async def test_a_schedule_runs_the_check(env, db):
    spec = make_source(db, warn_after_seconds=60, check_every_seconds=3_600)
    fill(db)
    async with env.light_worker():
        await schedules.write(env.client, spec)
        await until(lambda: scan.latest(db)[0][0].status is FreshnessStatus.PASS)
