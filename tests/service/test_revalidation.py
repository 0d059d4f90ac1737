"""Before age withdraws a document, its origin is asked: on a real database, with servers on loopback."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from corpus.errors import MassExpiryError
from freshness import read_again
from freshness.policy import FreshnessStatus
from freshness.revalidate import MAX_READ_AGAIN
from freshness.revalidation import Revalidation
from ingest.backfill import plan as backfill
from ingest.backfill.plan import BackfillPlan, NamedRecord
from tests.support.asking import (
    HOUR,
    age,
    ask,
    configure,
    due_after_an_hour,
    expire,
    measured,
    pointing,
)
from tests.support.pipeline import Pipeline, make_event
from tests.support.reference_server import Server, seconds_of, serving, silent, status, without_etag

pytestmark = pytest.mark.service
NO_CLUSTER: Any = None


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


@pytest.fixture
def docs(database_url: str, tmp_path: Path) -> Iterator[Pipeline]:
    with due_after_an_hour(database_url, tmp_path) as made:
        yield made


def test_each_answer_has_its_effect(docs: Pipeline, server: Server) -> None:
    names = ("same", "bare", "changed", "gone", "gone-for-good", "failing", "refused", "slow")
    server.answers["bare"] = without_etag
    docs.ingest(*(pointing(name, server.url(f"/{name}/x")) for name in names))
    age(docs)
    server.texts["/changed/x"] = "Another text."
    server.answers |= {"gone": status(404), "gone-for-good": status(410), "failing": status(503)}
    server.answers |= {"refused": status(403), "slow": silent}
    embedded = docs.embedder.embedded.total()
    assert expire(docs) == 0  # nothing goes before its origin was asked
    assert measured(docs).kept == 8
    asked = ask(docs)
    problem = asked.problem
    assert replace(asked, problem="") == Revalidation(
        asked=8, renewed=2, changed=1, to_read=1, gone=2, unanswered=3, refused=1
    )
    assert problem.startswith("2 documents are overdue and could not be asked for")
    assert "1 documents are overdue and are refused when they are asked for" in problem
    assert "the host answers 403" in problem
    assert "/" not in problem.replace("fetch.timeout", "")
    assert server.conditions["/same/x"] is not None
    now = measured(docs)
    assert (now.kept, now.overdue, now.gone) == (4, 2, 2)
    assert expire(docs) == 2
    assert set(docs.visible()) == set(names) - {"gone", "gone-for-good"}
    assert docs.embedder.embedded.total() == embedded
    # What was renewed is not due again; what was not answered is asked again.
    server.requests.clear()
    again = ask(docs)
    assert (again.asked, again.renewed, again.unanswered) == (4, 0, 3)
    assert {path.split("/")[1] for path in server.requests} == {
        "changed", "failing", "refused", "slow"
    }  # fmt: skip


def test_a_renewed_document_keeps_its_version_and_is_seen_now(
    docs: Pipeline, server: Server
) -> None:
    docs.ingest(pointing("a", server.url("/plain/a")))
    before = docs.visible()
    age(docs)
    assert measured(docs).verdict().status is FreshnessStatus.PASS
    asked = ask(docs)
    assert (asked.asked, asked.renewed) == (1, 1)
    assert docs.visible() == before
    [row] = docs.connection.execute(
        """SELECT now() - d.verified_at < interval '1 minute', now() - f.fetched_at < interval '1 minute', f.answer
           FROM freshet.document d JOIN freshet.fetched f USING (source, document_id)"""
    ).fetchall()
    assert row == (True, True, "unchanged")
    assert (measured(docs).kept, expire(docs)) == (0, 0)
    assert docs.connection.execute("SELECT count(*) FROM freshet.document").fetchone() == (1,)


def test_what_was_fetched_now_was_seen_now(docs: Pipeline, server: Server) -> None:
    """The record may be old, as in a log that is read from its beginning."""
    docs.ingest(pointing("a", server.url("/plain/a")))
    assert (measured(docs).kept, expire(docs)) == (0, 0)


def test_an_address_that_is_not_kept_cannot_be_asked(docs: Pipeline, server: Server) -> None:
    docs.ingest(
        pointing("signed", server.url("/plain/a?signature=s3cret")),
        pointing("open", server.url("/plain/b")),
        make_event("own", 1, "Text of its own."),
    )
    age(docs)
    now = measured(docs)
    assert (now.unaskable, now.kept, now.overdue) == (1, 1, 2)
    assert ask(docs).asked == 1
    assert expire(docs) == 2
    assert set(docs.visible()) == {"open"}


def test_an_end_of_its_own_is_an_instruction(docs: Pipeline, server: Server) -> None:
    event = pointing("a", server.url("/plain/a"), expires_at="2020-01-01T00:00:00Z")
    docs.ingest(event)
    age(docs)
    server.requests.clear()
    assert ask(docs) == Revalidation()
    assert server.asked == 0
    assert expire(docs) == 1


def test_a_source_may_choose_not_to_ask(docs: Pipeline, server: Server) -> None:
    docs.ingest(pointing("a", server.url("/plain/a")))
    age(docs)
    configure(docs, revalidate=False)
    assert (ask(docs), measured(docs).kept) == (Revalidation(), 0)
    assert expire(docs) == 1


def test_a_paused_source_asks_nobody(docs: Pipeline, server: Server) -> None:
    docs.ingest(pointing("a", server.url("/plain/a")))
    age(docs)
    docs.connection.execute("UPDATE freshet.source SET state = 'paused'")
    assert ask(docs).asked == 0
    assert measured(docs).kept == 1


def test_the_rules_of_the_source_hold_when_it_asks(docs: Pipeline, server: Server) -> None:
    docs.ingest(pointing("a", server.url("/plain/a")))
    age(docs)
    configure(docs, internal_hosts=())
    server.requests.clear()
    asked = ask(docs)
    assert (asked.unanswered, server.asked) == (1, 0)
    assert "not public" in asked.problem
    assert expire(docs) == 0


def test_many_that_are_gone_are_a_mass_expiry(docs: Pipeline, server: Server) -> None:
    """An origin that answers 404 for everything may just be configured wrongly."""
    docs.ingest(*(pointing(f"d{n}", server.url(f"/plain/{n}")) for n in range(10)))
    age(docs)
    server.answers["plain"] = status(404)
    assert ask(docs).gone == 10
    with pytest.raises(MassExpiryError, match="10 of 10"):
        expire(docs, max_ratio=0.5)
    assert len(docs.visible()) == 10
    # Nobody is asked again at once, and what was said is not believed for ever.
    assert ask(docs).asked == 0
    docs.connection.execute("UPDATE freshet.fetched SET asked_at = asked_at - interval '2 hours'")
    assert measured(docs).kept == 10
    del server.answers["plain"]
    assert ask(docs).renewed == 10


def test_what_is_gone_goes_also_where_the_source_is_silent(docs: Pipeline, server: Server) -> None:
    docs.ingest(*(pointing(f"d{n}", server.url(f"/plain/{n}")) for n in range(9)))
    docs.ingest(make_event("own", 1, "Text of its own."))
    age(docs)
    server.answers["/plain/3"] = status(404)
    assert ask(docs).gone == 1
    assert expire(docs, max_ratio=0.5) == 1
    assert set(docs.visible()) == {"own", *(f"d{n}" for n in range(9) if n != 3)}
    now = measured(docs)
    assert (now.overdue, now.gone) == (1, 0)
    assert "the source is silent" in now.verdict().reasons[-1]


def test_what_is_never_answered_becomes_an_error(docs: Pipeline, server: Server) -> None:
    docs.ingest(pointing("a", server.url("/plain/a")))
    server.answers["plain"] = status(503)
    age(docs, hours=24)
    assert ask(docs).unanswered == 1
    assert measured(docs).verdict().status is FreshnessStatus.PASS
    age(docs, hours=26)
    verdict = measured(docs).verdict()
    assert verdict.status is FreshnessStatus.ERROR
    assert "1 documents are overdue for longer than fetch.retry_for" in verdict.reasons[-1]
    configure(docs, retry_for_seconds=48 * HOUR)
    assert measured(docs).verdict().status is FreshnessStatus.PASS


OWN_RULES = {"internal_hosts": ()}
REFUSALS = [(401, {}, "answers 401"), (403, {}, "answers 403"), (200, OWN_RULES, "not public")]


@pytest.mark.parametrize(("code", "rules", "why"), REFUSALS)
def test_what_is_refused_stays_and_is_said_until_somebody_decides(
    docs: Pipeline, server: Server, code: int, rules: dict[str, Any], why: str
) -> None:
    """By the origin, or by the source's own rules: that is no word on whether the document is there."""
    docs.ingest(pointing("a", server.url("/plain/a")))
    age(docs, hours=24)
    if code != 200:
        server.answers["plain"] = status(code)
    configure(docs, **rules)
    asked = ask(docs)
    assert (asked.unanswered, asked.refused, asked.gone) == (1, 1, 0)
    assert why in asked.problem
    assert "fetch.revalidate = false" in asked.problem
    assert (expire(docs), set(docs.visible())) == (0, {"a"})
    assert measured(docs).verdict().status is FreshnessStatus.PASS  # the check itself warns
    age(docs, hours=26)
    verdict = measured(docs).verdict()
    assert verdict.status is FreshnessStatus.ERROR
    assert "does not answer or refuses" in verdict.reasons[-1]
    # However long that lasts.
    age(docs, hours=24 * 400)
    assert (ask(docs).refused, expire(docs)) == (1, 0)
    assert measured(docs).verdict().status is FreshnessStatus.ERROR
    configure(docs, revalidate=False)
    assert expire(docs) == 1


def test_a_new_version_is_not_taken_for_the_one_that_was_asked_for(
    docs: Pipeline, server: Server
) -> None:
    docs.ingest(pointing("a", server.url("/plain/a")))
    age(docs)
    server.answers["plain"] = status(404)
    assert ask(docs).gone == 1
    del server.answers["plain"]
    server.texts["/plain/b"] = "It lives elsewhere now."
    docs.ingest(pointing("a", server.url("/plain/b"), 2))
    age(docs)
    assert (measured(docs).gone, expire(docs)) == (0, 0)
    assert docs.connection.execute("SELECT answer FROM freshet.fetched").fetchall() == [(None,)]


def test_a_document_that_a_batch_works_on_is_left_to_the_next_check(
    docs: Pipeline, server: Server
) -> None:
    docs.ingest(*(pointing(name, server.url(f"/plain/{name}")) for name in "ab"))
    age(docs)
    with docs.pool.connection() as other, other.transaction():
        other.execute("SELECT FROM freshet.document WHERE document_id = 'a' FOR UPDATE")
        asked = ask(docs)
    assert (asked.renewed, asked.left) == (1, 1)
    assert (ask(docs).renewed, measured(docs).kept) == (1, 0)


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backfill finds the records of documents, but of `unfound` none."""

    def plan(_connection: Any, _cluster: Any, source: str, names: list[str], **_: Any) -> Any:
        records = tuple(
            NamedRecord(document_id=name, topic="t", partition=0, record_offset=number)
            for number, name in enumerate(names)
            if name != "unfound"
        )
        unknown = tuple({"unfound"} & set(names))
        return BackfillPlan(
            source=source,
            ranges=(),
            rate=0,
            wanted=len(records),
            records=records,
            unknown=unknown,
            by_record=True,
        )

    monkeypatch.setattr(backfill, "plan_documents", plan)


def read(docs: Pipeline, state: str) -> None:
    """A check finds the document changed and orders a backfill, which ends so."""
    assert ask(docs).changed == 1
    assert expire(docs) == 0
    ordered = read_again.order(docs.connection, docs.spec.source, cluster=NO_CLUSTER)
    docs.connection.execute(
        "UPDATE freshet.backfill SET state = %s, ended_at = now() WHERE backfill = ANY(%s)",
        (state, list(ordered.backfills)),
    )
    assert len(ordered.backfills) == 1


@pytest.mark.usefixtures("planned")
def test_a_change_that_cannot_be_read_is_lost_in_the_end(docs: Pipeline, server: Server) -> None:
    """After three backfills that were done: one that was cancelled or has failed did not read it."""
    docs.ingest(pointing("a", server.url("/plain/a")))
    age(docs)
    server.texts["/plain/a"] = "Another text."
    for state in ("done", "cancelled", "failed", "cancelled", "done", "failed", "done"):
        read(docs, state)
    asked = ask(docs)
    assert (asked.changed, asked.lost, asked.to_read) == (0, 1, 0)
    assert expire(docs) == 1


@pytest.mark.usefixtures("planned")
def test_an_unchanged_document_begins_to_be_counted_anew(docs: Pipeline, server: Server) -> None:
    docs.ingest(pointing("a", server.url("/plain/a")))
    for text in ("Another text.", "A third text."):
        age(docs)
        server.texts["/plain/a"] = text
        for _ in range(MAX_READ_AGAIN):
            read(docs, "done")
        del server.texts["/plain/a"]
        assert ask(docs).renewed == 1


@pytest.mark.usefixtures("planned")
def test_a_record_that_is_not_found_is_looked_for_three_times(
    docs: Pipeline, server: Server
) -> None:
    """Also beside documents whose backfill fails, and its own search counts once each time."""
    docs.ingest(*(pointing(name, server.url(f"/plain/{name}")) for name in ("a", "unfound")))
    age(docs)
    server.texts |= {"/plain/a": "Another text.", "/plain/unfound": "A third text."}
    for lost in (0, 0, 1):
        assert ask(docs).changed == 2
        read_again.order(docs.connection, docs.spec.source, cluster=NO_CLUSTER)
        docs.connection.execute("UPDATE freshet.backfill SET state = 'failed'")
        assert expire(docs) == lost
    assert set(docs.visible()) == {"a"}


def test_a_record_is_read_again_by_one_backfill(docs: Pipeline, server: Server) -> None:
    docs.ingest(pointing("a", server.url("/plain/a")))
    age(docs)
    source = docs.spec.source
    assert read_again.order(docs.connection, source, cluster=NO_CLUSTER).backfills == ()
    server.texts["/plain/a"] = "Another text."
    assert ask(docs).to_read == 1
    docs.connection.execute(
        "INSERT INTO freshet.backfill (source, ranges, wanted, by_record, rate) VALUES (%s, '[]', 1, true, 0)",
        (source,),
    )
    docs.connection.execute("UPDATE freshet.fetched SET backfill = 1")
    # Its workflow may not have been started, so it is named again; the document is not asked for meanwhile.
    asked = ask(docs)
    assert (asked.asked, asked.to_read) == (0, 1)
    ordered = read_again.order(docs.connection, source, cluster=NO_CLUSTER)
    assert ordered.backfills == (1,)
    docs.connection.execute("UPDATE freshet.backfill SET state = 'failed'")
    assert ask(docs).changed == 1


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_mass_of_due_documents_is_bounded(docs: Pipeline, server: Server) -> None:
    """1,200 documents, 400 of them of a host that is silent: two checks, each within its bounds."""
    with serving() as slow:
        slow.answers["slow"] = silent
        slow.answers["plain"] = lambda handler: handler.send(b"A text.", Content_Type="text/plain")
        urls = {f"p{n}": server.url(f"/plain/{n}") for n in range(800)}
        urls |= {f"s{n}": slow.url(f"/plain/{n}") for n in range(400)}
        docs.ingest(*(pointing(name, url) for name, url in urls.items()))
        assert len(docs.visible()) == 1_200
        age(docs)
        configure(docs, revalidate_per_check=1_000)
        slow.answers["plain"] = silent
        asked = Revalidation()

        def check() -> None:
            nonlocal asked
            asked = ask(docs)

        for slow_asked, server_asked in ((12, 600), (24, 800)):
            taken = seconds_of(check)
            print(f"{taken:.1f} s: {asked}")
            assert asked.asked <= 1_000
            assert taken < 30
            assert slow.asked - 400 <= slow_asked
            assert server.asked - 800 >= server_asked
        assert measured(docs).kept == 400
        assert expire(docs) == 0
        assert len(docs.visible()) == 1_200


def test_time_that_is_used_up_leaves_the_rest_to_the_next_check(
    docs: Pipeline, server: Server
) -> None:
    docs.ingest(*(pointing(f"d{n}", server.url(f"/plain/{n}")) for n in range(20)))
    age(docs)
    asked = ask(docs, seconds=0.0)
    assert asked.asked == asked.renewed == 1
    assert ask(docs).renewed == 19
