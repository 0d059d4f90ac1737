"""Who is told that something is erased: who could read it, and nobody where that is not known."""

from corpus.access.reader import reading_as
from corpus.answer.await_fresh import current_outcome
from corpus.service import AwaitFreshRequest, AwaitFreshResponse
from corpus.sessions.roles import GATEWAY
from tests.support.logins import reader, session
from tests.support.pipeline import Pipeline, make_event


def test_an_erasure_is_no_news_to_who_could_not_read(pipeline: Pipeline) -> None:
    pipeline.ingest(
        make_event("hr", 1, "The wages.", acl=["hr"]), make_event("open", 1, "The mill.")
    )
    records = [
        AwaitFreshRequest(source="s", topic="s", partition=0, offset=offset) for offset in (0, 1, 2)
    ]
    documents = [
        AwaitFreshRequest(source="s", document_id=name, version=1)
        for name in ("hr", "open", "never")
    ]
    with session(pipeline.database_url, GATEWAY) as gateway:

        def told(wait: AwaitFreshRequest, *groups: str) -> AwaitFreshResponse:
            with reading_as(gateway, reader(*groups)):
                return current_outcome(gateway, wait)

        before = told(records[0])
        pipeline.erase("hr", "open", "never")
        pipeline.erase("never")
        pipeline.ingest(make_event("hr", 2, "The wages.", acl=["hr"]))
        assert told(records[0]) == before
        assert [told(record).detail.split(":")[0] for record in records] == [
            f"there is no record s/0@{offset}" for offset in (0, 1, 2)
        ]
        of_public = [told(wait).why.value for wait in documents]
        assert of_public == ["timeout", "erased", "timeout"]
        assert [told(wait, "hr").why.value for wait in documents] == ["erased", "erased", "timeout"]
    whole = [current_outcome(pipeline.connection, wait).why.value for wait in records + documents]
    assert whole == ["erased"] * 6
