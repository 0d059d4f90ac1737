"""What a purge removes beside history: bytes of dead letters, acknowledgements, reports, results of audits."""

from collections.abc import Iterator

import pytest

from corpus.deliver.notices import acknowledge, next_notice
from corpus.deliver.subscription import Acknowledgement, DeliveryInput
from corpus.errors import ConfigurationError
from corpus.purge.store import standings
from ingest.dead_letters.redrive import redrive, settle, show
from tests.support.auditing import Auditor, KeptLog
from tests.support.pipeline import Pipeline, make_event
from tests.support.purging import Purging

DAY = 86_400
SUBSCRIPTION = DeliveryInput(subscriber="t", source="s")


@pytest.fixture
def purging(pipeline: Pipeline) -> Iterator[Purging]:
    yield Purging(pipeline)


def subscribe(pipeline: Pipeline) -> None:
    pipeline.connection.execute(
        "INSERT INTO freshet.subscription (subscriber, source, endpoint) VALUES ('t', 's', 'e')"
    )


def deliver(pipeline: Pipeline, batches: int) -> list[list[str]]:
    """Deliver some notices; returns the documents that each lists."""
    listed: list[list[str]] = []
    for _ in range(batches):
        notice = next_notice(pipeline.connection, SUBSCRIPTION).notice
        assert notice is not None
        listed.append(sorted(change.document_id for change in notice.changes))
        acknowledged = Acknowledgement(subscriber="t", source="s", batch=notice.batch)
        acknowledge(pipeline.connection, acknowledged)
    return listed


def test_a_notice_that_is_not_delivered_yet_keeps_what_it_lists(purging: Purging) -> None:
    pipeline = purging.pipeline
    subscribe(pipeline)
    for version in range(1, 5):
        pipeline.ingest(make_event("a", version, f"gauge {version}"))
    deliver(pipeline, 2)
    purging.age(30)
    purging.keep(history_seconds=DAY, notices_seconds=DAY)
    planned = purging.plan()
    assert (planned.held_by, planned.held) == ("t", {"versions": 2})
    # Batch 3 ended version 2, and was not delivered: the notice of it must list it.
    assert purging.run().removed == {"chunks": 3, "versions": 1, "notices": 2}
    assert deliver(pipeline, 2) == [["a"], ["a"]]
    assert purging.run().removed == {"versions": 2}
    purging.age(30)
    assert purging.run().removed == {"notices": 2}
    assert purging.count("batch") == 4


def test_an_audit_does_not_miss_the_acknowledgements_that_were_purged(purging: Purging) -> None:
    pipeline = purging.pipeline
    auditor = Auditor(pipeline, KeptLog(pipeline))
    subscribe(pipeline)
    for version in range(1, 4):
        pipeline.ingest(make_event("a", version, f"gauge {version}"))
    deliver(pipeline, 3)
    purging.age(30)
    purging.keep(notices_seconds=DAY)
    assert purging.run().removed == {"notices": 3}
    assert auditor.findings(auditor.run()) == []
    # One that is missing since is still found.
    pipeline.ingest(make_event("a", 4, "gauge 4"))
    deliver(pipeline, 1)
    pipeline.connection.execute("DELETE FROM freshet.delivered_notice WHERE batch = 4")
    assert {finding.kind for finding in auditor.findings(auditor.run())} == {"notice_missing"}


def test_bytes_of_dead_letters_go_and_their_rows_stay(purging: Purging) -> None:
    pipeline = purging.pipeline
    pipeline.ingest(b"settled", b"open", b"not produced yet")
    connection = pipeline.connection
    rows = connection.execute("SELECT dead_letter FROM freshet.dead_letter ORDER BY record_offset")
    settled, still_open, unproduced = [row[0] for row in rows.fetchall()]
    connection.execute(
        "UPDATE freshet.dead_letter SET produced_at = now() WHERE dead_letter <> %s", (unproduced,)
    )
    settle(connection, [settled, unproduced], "discarded")
    purging.age(100)
    purging.keep(dead_letters_seconds=90 * DAY)
    assert purging.run().removed == {"dead_letters": 1}
    assert show(connection, settled)["value"] is None
    assert show(connection, settled)["purged_at"] is not None
    assert show(connection, still_open)["value"] == b"open"
    assert show(connection, unproduced)["value"] == b"not produced yet"
    purging.keep(open_dead_letters_seconds=90 * DAY)
    assert purging.run().removed == {"dead_letters": 1}
    assert show(connection, still_open)["state"] == "discarded"
    assert redrive(connection, {"bootstrap.servers": "localhost:1"}, [still_open]) == []
    with pytest.raises(ConfigurationError):
        show(connection, 10_000)


def test_the_newest_report_and_the_newest_audit_stay(purging: Purging) -> None:
    pipeline = purging.pipeline
    auditor = Auditor(pipeline, KeptLog(pipeline))
    pipeline.ingest(make_event("a", 1, "gauge"))
    auditor.run()
    auditor.run()
    for day in (1, 2):
        pipeline.connection.execute(
            """INSERT INTO freshet.freshness_report (source, snapshotted_at, status, criteria, duration_seconds,
                   workflow_id, run_id) VALUES ('s', now() - make_interval(days => %s), 'pass', '{}', 1, 'w', 'r')""",
            (day,),
        )
    purging.age(400)
    purging.keep(reports_seconds=90 * DAY, audits_seconds=365 * DAY)
    assert purging.run().removed == {"reports": 1, "audits": 1}
    assert (purging.count("freshness_report"), purging.count("audit")) == (1, 1)
    [standing] = standings(pipeline.connection, "s")
    assert str(standing) == "purge 1: audits 1, reports 1 in all"
    assert not standing.is_overdue


def test_a_purge_of_no_source_is_refused_by_name(purging: Purging) -> None:
    purging.pipeline.connection.execute("DELETE FROM freshet.source_position")
    purging.pipeline.connection.execute("DELETE FROM freshet.source")
    with pytest.raises(ConfigurationError, match="there is no source 's'"):
        purging.begin()
