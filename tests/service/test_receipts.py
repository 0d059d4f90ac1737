"""What a receipt counts is what went, compared with the tables before and after; notices count what they list."""

from collections.abc import Callable
from typing import Any

import pytest

from corpus.deliver.notices import acknowledge, next_notice
from corpus.deliver.subscription import Acknowledgement, DeliveryInput
from corpus.erase.finisher import EraseFinisher
from corpus.service import BatchNotice
from tests.service.test_erasure import CANARY, OTHER, SECRET, receipt_of
from tests.support.pipeline import LONG_TEXT, Pipeline, make_event

VECTORS = """SELECT space_id, text_sha256 FROM freshet.embedding
       UNION SELECT space_id, text_sha256 FROM freshet.chunk"""
COUNTED = {
    "versions": "SELECT document_key FROM freshet.document",
    "chunks": "SELECT chunk_id FROM freshet.chunk",
    "dead_letters": "SELECT dead_letter FROM freshet.dead_letter",
    "corrections": "SELECT document_id, old_version FROM freshet.document_correction",
    "access_lists": "SELECT access_id FROM freshet.access_list",
    "vectors": VECTORS,
}
SUBSCRIPTION = DeliveryInput(subscriber="t", source="s")


def rows_of(pipeline: Pipeline) -> dict[str, set[tuple[Any, ...]]]:
    return {
        store: set(pipeline.connection.execute(statement.encode()).fetchall())
        for store, statement in COUNTED.items()
    }


def erase_and_compare(pipeline: Pipeline, meanwhile: Callable[[], object] | None = None) -> None:
    """Erase, let something happen before the receipt, and compare what it counts with what went."""
    before = rows_of(pipeline)
    pipeline.erase(CANARY)
    if meanwhile is not None:
        meanwhile()
        EraseFinisher(store=pipeline.store, pool=pipeline.pool).finish_all()
    after = rows_of(pipeline)
    removed = receipt_of(pipeline)["removed"]
    gone = {store: len(before[store] - after[store]) for store in COUNTED}
    assert {store: removed[store] for store in COUNTED} == gone
    assert gone["versions"] > 0


def store_again(pipeline: Pipeline) -> None:
    """Vectors are in the embedding store, too, as in a database from before they were stored once."""
    pipeline.connection.execute(
        """INSERT INTO freshet.embedding (space_id, text_sha256, dimensions, embedding, source, batch)
           SELECT DISTINCT ON (space_id, text_sha256) space_id, text_sha256, dimensions, embedding, source, batch
           FROM freshet.chunk ON CONFLICT DO NOTHING"""
    )


def test_of_a_document_alone(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event(CANARY, 1, f"{SECRET}\n\n{LONG_TEXT}", acl=["a", CANARY]))
    pipeline.ingest(make_event(CANARY, 2, SECRET, acl=["a"]))
    pipeline.ingest(make_event(CANARY, 3, op="nonsense", content=SECRET))
    pipeline.correct(CANARY, 2, 1)
    erase_and_compare(pipeline)
    assert receipt_of(pipeline)["removed"]["access_lists"] == 2


def test_of_texts_and_lists_that_others_have(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event(CANARY, 1, f"{SECRET}\n\n{LONG_TEXT}", acl=["a"]), OTHER)
    pipeline.ingest(make_event("third", 1, "of its own", acl=["a"]))
    erase_and_compare(pipeline)
    assert receipt_of(pipeline)["removed"]["access_lists"] == 0


def test_of_vectors_that_are_stored_twice(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event(CANARY, 1, f"{SECRET}\n\n{LONG_TEXT}"), OTHER)
    store_again(pipeline)
    erase_and_compare(pipeline)


def test_of_vectors_that_only_the_embedding_store_has(pipeline: Pipeline) -> None:
    """As of a batch that was embedded and failed, and of which the text is then in a chunk no more."""
    pipeline.ingest(make_event(CANARY, 1, SECRET))
    store_again(pipeline)
    pipeline.ingest(make_event(CANARY, 2, "another text"))
    erase_and_compare(pipeline)


@pytest.mark.parametrize("text", [f"{SECRET} in flight", LONG_TEXT], ids=["its own", "shared"])
def test_of_a_batch_in_flight(pipeline: Pipeline, text: str) -> None:
    pipeline.ingest(make_event(CANARY, 1, SECRET), OTHER)
    ref = pipeline.stage(pipeline.records([make_event(CANARY, 2, text)]))
    ahead = pipeline.prepare([ref], 9)
    pipeline.embed(ahead)
    erase_and_compare(pipeline, lambda: pipeline.publish([ref], ahead, 9))


def test_of_an_unreadable_record_in_flight(pipeline: Pipeline) -> None:
    """It becomes a dead letter after the erasure, and goes before the receipt; nothing makes it again."""
    pipeline.ingest(make_event(CANARY, 1, SECRET))
    value = b'{"id": "canary-4711", "op": "nonsense", "content": '
    records = pipeline.records([value])
    ref = pipeline.stage(records)
    ahead = pipeline.prepare([ref], 9)
    pipeline.erase(CANARY)
    assert receipt_or_wait(pipeline) == "staged files"
    assert pipeline.publish([ref], ahead, 9).dead_lettered == 1
    EraseFinisher(store=pipeline.store, pool=pipeline.pool).finish_all()
    assert receipt_of(pipeline)["removed"]["dead_letters"] == 1
    again = pipeline.stage(pipeline.records([value, value + b" "]))
    prepared = pipeline.prepare([again], 20)
    report = pipeline.publish([again], prepared, 20)
    assert report.ignored == 2, "by its bytes, and by what is between quotes"


def receipt_or_wait(pipeline: Pipeline) -> str | None:
    [[waits_for]] = pipeline.connection.execute("SELECT waits_for FROM freshet.erasure").fetchall()
    return "staged files" if waits_for and "staged files" in waits_for else waits_for


def delivered(pipeline: Pipeline) -> list[BatchNotice]:
    """All notices of a subscriber that was notified of nothing yet."""
    notices: list[BatchNotice] = []
    while (notice := next_notice(pipeline.connection, SUBSCRIPTION).notice) is not None:
        notices.append(notice)
        done = Acknowledgement(subscriber="t", source="s", batch=notice.batch)
        acknowledge(pipeline.connection, done)
    return notices


def test_notices_count_and_list_what_is_left(pipeline: Pipeline) -> None:
    """Also those of batches that were published before the erasure; that of the erasure says nothing of what went."""
    pipeline.connection.execute(
        "INSERT INTO freshet.subscription (subscriber, source, endpoint) VALUES ('t', 's', 'e')"
    )
    pipeline.ingest(make_event(CANARY, 1, SECRET), OTHER)
    pipeline.ingest(make_event(CANARY, 2, op="delete"), make_event("other", 2, "changed"))
    pipeline.erase(CANARY)
    notices = delivered(pipeline)
    assert [notice.kind for notice in notices] == ["ingest", "ingest", "erasure"]
    for notice in notices:
        changed = notice.documents_written + notice.documents_deleted + notice.documents_expired
        assert (changed, notice.changes_left_out) == (len(notice.changes), 0)
        assert CANARY not in repr(notice)
    assert [len(notice.changes) for notice in notices] == [1, 1, 0]
    assert notices[-1].chunks_closed == 0
