"""A dead letter is for who may read what its own record says."""

import gzip

import pytest

from corpus.access.reader import reading_as
from corpus.answer.await_fresh import current_outcome
from corpus.service import AwaitFreshRequest
from corpus.sessions.roles import GATEWAY
from ingest.event import KafkaRecord
from tests.support.logins import reader, session
from tests.support.pipeline import NOW_MS, Pipeline, make_event

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


UNREADABLE = {
    "utf-16": '{"id": "d", "op": "nonsense", "acl": ["hr"]'.encode("utf-16"),
    "utf-16 without a mark": '{"id": "d", "op": "nonsense", "acl": ["hr"]'.encode("utf-16-le"),
    "escaped name": rb'{"id": "d", "op": "nonsense", "\u0061cl": ["hr"]',
    "compressed": gzip.compress(b'{"id": "d", "op": "nonsense", "acl": ["hr"]}'),
}


@pytest.mark.parametrize("value", UNREADABLE.values(), ids=UNREADABLE)
def test_one_whose_list_cannot_be_read_is_for_nobody(pipeline: Pipeline, value: bytes) -> None:
    assert pipeline.ingest(value).dead_lettered == 1
    assert lists_of(pipeline) == [[]]


def test_an_escaped_name_is_read(pipeline: Pipeline) -> None:
    pipeline.ingest(rb'{"id": "d", "op": "nonsense", "\u0061cl": ["hr"]}')
    assert lists_of(pipeline) == [["hr"]]


def test_where_a_mapping_or_a_header_has_the_list_it_is_for_nobody(pipeline: Pipeline) -> None:
    record = KafkaRecord(
        topic="", partition=0, offset=0, timestamp_ms=NOW_MS, key=None, value=b"no json",
        headers=(("Freshet-ACL", b"hr"),),
    )  # fmt: skip
    pipeline.ingest(record)
    pipeline.connection.execute(
        """UPDATE freshet.source SET spec = spec || '{"mapping": {"acl": "readers"}}'"""
    )
    pipeline.ingest(b"no json, either")
    assert lists_of(pipeline) == [[], []]


def lists_of(pipeline: Pipeline) -> list[list[str] | None]:
    """The access lists of the dead letters, in the order of the log."""
    rows = pipeline.connection.execute(
        """SELECT a.acl FROM freshet.dead_letter l LEFT JOIN freshet.access_list a USING (access_id)
           ORDER BY l.record_offset"""
    ).fetchall()
    return [acl for (acl,) in rows]
