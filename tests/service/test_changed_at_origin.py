"""A document that has changed at its origin is read again: check, backfill and batch on real servers."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from compose.local.checks import CheckFailedError
from compose.local.topics_check import judge_records
from corpus.source import FreshnessSpec, SourceSpec
from corpus.specs.fetch import FetchSpec
from freshness.report import FreshnessReport
from freshness.retained import asking_sources
from freshness.revalidate import MAX_READ_AGAIN
from ingest.kafka import Cluster
from tests.support.fleet import Fleet
from tests.support.polling import until
from tests.support.reference_server import serving, status
from tests.support.team_env import check

pytestmark = pytest.mark.service
SPEC = SourceSpec(
    source="linked",
    topics=("linked",),
    fetch=FetchSpec(internal_hosts=("127.0.0.1",), plain_http=True, timeout_seconds=5.0),
    freshness=FreshnessSpec(expire_after_seconds=3_600, max_expiry_ratio=1.0),
)


def texts(live: Fleet) -> dict[str, str]:
    rows = live.rows(
        """SELECT document_id, string_agg(text, ' ') AS text FROM freshet.chunk
           WHERE visible_to IS NULL GROUP BY document_id"""
    )
    return {row.document_id: row.text for row in rows}


async def checked(live: Fleet) -> tuple[FreshnessReport, str]:
    """The report of a check, and its history as JSON."""
    env: Any = live
    report = await check(env, SPEC.source)
    handle = live.client.get_workflow_handle(report.workflow_id, run_id=report.run_id)
    return report, (await handle.fetch_history()).to_json()


@pytest.mark.timeout(150)
async def test_a_change_is_read_again_and_what_is_gone_goes(
    live: Fleet, make_topic: Callable[..., str]
) -> None:
    topic = make_topic()
    live.add_source(replace(SPEC, topics=(topic,)))
    with serving() as server:
        names = ("same", "changed", "gone")
        events = [
            {"id": name, "version": 1, "content_url": server.url(f"/{name}/x")} for name in names
        ]
        live.produce(topic, events)
        await live.drained("linked")
        before = texts(live)
        assert set(before) == set(names)
        live.connection.execute(
            """UPDATE freshet.document
               SET observed_at = now() - interval '2 hours', verified_at = now() - interval '2 hours'"""
        )
        server.texts["/changed/x"] = "The weir was closed in the evening."
        server.answers["gone"] = status(404)
        embedded = live.embedder.embedded.total()
        report, history = await checked(live)
        assert report.revalidation is not None
        counts = report.revalidation
        assert (counts.renewed, counts.changed, counts.gone, counts.problem) == (1, 1, 1, "")
        assert (report.expired, report.status) == (1, "pass")
        assert "weir" not in history
        assert server.host not in history
        await until(lambda: "closed" in texts(live)["changed"], seconds=60)
        assert texts(live) == {"same": before["same"], "changed": server.texts["/changed/x"]}
        assert live.embedder.embedded.total() == embedded + 1
        assert live.visible("linked") == {"same": 1, "changed": 1}
        [backfill] = live.rows("SELECT by_record, wanted FROM freshet.backfill")
        assert (backfill.by_record, backfill.wanted) == (True, 1)
        # What was read again was seen when it was fetched.
        report, _ = await checked(live)
        assert (report.revalidation, report.overdue, report.documents) == (None, 0, 2)


@pytest.mark.timeout(150)
async def test_the_doctor_compares_what_topics_keep_with_expire_after(
    live: Fleet, make_topic: Callable[..., str], kafka_bootstrap: str
) -> None:
    short = make_topic(**{"retention.ms": "1800000"})
    compacted = make_topic(**{"retention.ms": "1800000", "cleanup.policy": "compact"})
    own = make_topic(**{"retention.ms": "1800000"})
    not_asking = replace(SPEC.fetch, revalidate=False)
    live.add_source(replace(SPEC, source="short", topics=(short,)))
    live.add_source(replace(SPEC, source="compacted", topics=(compacted,)))
    live.add_source(replace(SPEC, source="not-asking", topics=(compacted,), fetch=not_asking))
    live.add_source(replace(SPEC, source="own", topics=(own,)))
    with serving() as server:
        url = server.url("/plain/x")
        for topic in (short, compacted):
            live.produce(topic, [{"id": "x", "version": 1, "content_url": url}])
        live.produce(own, [{"id": "x", "version": 1, "content": "A text."}])
        for source in ("short", "compacted", "not-asking", "own"):
            await live.drained(source)
    specs = asking_sources(live.connection)
    assert [spec.source for spec in specs] == ["compacted", "short"]
    settings = Cluster(kafka_bootstrap, {}).topic_settings([short, compacted]).answers
    with pytest.raises(CheckFailedError) as failed:
        judge_records(specs, settings)
    problem = str(failed.value)
    assert problem.startswith(f"short: topic {short} keeps records for 30m")
    assert "retention.ms = 1800000" in problem
    assert "expire_after = 1h" in problem
    assert "compacted:" not in problem


@pytest.mark.timeout(150)
async def test_a_change_whose_record_is_gone_is_lost(
    live: Fleet, make_topic: Callable[..., str]
) -> None:
    topic = make_topic()
    live.add_source(replace(SPEC, topics=(topic,)))
    with serving() as server:
        event = {"id": "old", "version": 1, "content_url": server.url("/plain/x")}
        live.produce(topic, [event])
        await live.drained("linked")
        live.connection.execute(
            """UPDATE freshet.document SET record_offset = 900,
               observed_at = now() - interval '2 hours', verified_at = now() - interval '2 hours'"""
        )
        server.texts["/plain/x"] = "The weir was closed in the evening."
        before = texts(live)
        # A record may be found later: as many checks look for it as others are read again.
        for number in range(1, MAX_READ_AGAIN + 1):
            report, _ = await checked(live)
            assert report.revalidation is not None
            assert report.revalidation.changed == 1
            is_last = number == MAX_READ_AGAIN
            assert (report.expired, texts(live)) == ((1, {}) if is_last else (0, before))
        assert live.rows("SELECT FROM freshet.backfill") == []
        assert live.rows("SELECT answer FROM freshet.fetched")[0].answer == "lost"
