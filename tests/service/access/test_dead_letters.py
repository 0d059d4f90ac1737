"""A dead letter is for who may read what its own record says."""

from corpus.access.reader import reading_as
from corpus.answer.await_fresh import current_outcome
from corpus.service import AwaitFreshRequest
from corpus.sessions.roles import GATEWAY
from tests.support.logins import reader, session
from tests.support.pipeline import Pipeline, make_event

EVENTS = (
    make_event("hr", 1, op="nonsense", acl=["hr"]),
    make_event("open", 1, op="nonsense"),
    b'{"id": "cut", "acl": ["hr"]',
    make_event("wrong", 1, acl={"hr": 1}),
    b"no json",
)


def test_a_dead_letter_of_a_document_that_is_not_known_has_its_own_list(pipeline: Pipeline) -> None:
    assert pipeline.ingest(*EVENTS).dead_lettered == len(EVENTS)
    waits = [
        AwaitFreshRequest(source="s", topic="s", partition=0, offset=offset)
        for offset in range(len(EVENTS))
    ]
    with session(pipeline.database_url, GATEWAY) as gateway:

        def seen(*groups: str) -> tuple[list[int], list[int]]:
            """Offsets of dead letters in the table, and of records that a wait tells of."""
            with reading_as(gateway, reader(*groups)):
                rows = gateway.execute(
                    "SELECT record_offset FROM freshet.dead_letter ORDER BY record_offset"
                ).fetchall()
                told = [current_outcome(gateway, wait).why.value for wait in waits]
            offsets = [offset for offset, why in enumerate(told) if why == "dead_lettered"]
            return [row[0] for row in rows], offsets

        assert seen() == ([1, 4], [1, 4])
        assert seen("hr") == ([0, 1, 4], [0, 1, 4])
    pipeline.erase("hr")
    lists = pipeline.connection.execute("SELECT acl FROM freshet.access_list").fetchall()
    assert lists == [([],)]
