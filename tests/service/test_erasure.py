"""Erasing documents: nothing of them remains in any store, and nothing brings them back."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from corpus.answer.await_fresh import current_outcome
from corpus.batch import BatchKind
from corpus.erase.finisher import EraseFinisher
from corpus.erase.receipt import check_receipt, public_key_of
from corpus.errors import ConfigurationError, MissingVectorError
from corpus.publish import publisher
from corpus.publish.transaction import PublishTransaction
from corpus.service import AwaitFreshRequest, WaitOutcome
from corpus.sql import query
from ingest.event import KafkaRecord
from tests.support.pipeline import LONG_TEXT, NOW_MS, Pipeline, make_event

CANARY = "canary-4711"
SECRET = "zebrafishery quarrel"
CONTENT = f"{SECRET}\n\n{LONG_TEXT}"
OTHER = make_event("other", 1, LONG_TEXT, metadata={"team": "billing"})


def found_in_tables(connection: psycopg.Connection, *needles: str) -> dict[str, int]:
    """Table -> rows that hold one of the texts, in whatever column; bytes are read as text, too."""
    names = connection.execute(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'freshet' AND table_type = 'BASE TABLE'"
    ).fetchall()
    encoded = [needle.encode().hex() for needle in needles]
    found = {}
    for [name] in names:
        [rows] = connection.execute(
            f"SELECT count(*) FROM freshet.{name} t WHERE t::text ~ %s",
            ["|".join([*map(re.escape, needles), *encoded])],
        ).fetchone() or [0]
        if rows:
            found[name] = rows
    return found


def found_in_files(folder: Path, *needles: str) -> list[str]:
    """Staged files that hold one of the texts, in whatever column."""
    import polars as pl

    found = []
    for file in folder.rglob("*.parquet"):
        text = repr(pl.read_parquet(file).rows())
        if any(needle in text for needle in needles):
            found.append(file.name)
    return sorted(found)


def replay(pipeline: Pipeline, records: Sequence[KafkaRecord]) -> Any:
    """The whole topic again, as after `freshet source rewind` or a backfill."""
    pipeline.connection.execute("UPDATE freshet.source_position SET next_offset = 0")
    pipeline.connection.execute("UPDATE freshet.source SET epoch = epoch + 1")
    [[epoch]] = pipeline.connection.execute("SELECT epoch FROM freshet.source").fetchall()
    return pipeline.run(replace(pipeline.stage(records), epoch=epoch))


def test_nothing_of_a_document_remains_also_after_a_replay(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    unreadable = KafkaRecord(
        topic="", partition=0, offset=0, timestamp_ms=NOW_MS, key=None,
        value=b'{"id": "canary-4711", "op": "nonsense", "content": "zebrafishery quarrel"}',
    )  # fmt: skip
    events = [
        make_event(CANARY, 1, CONTENT, metadata={"team": "sales"}),
        OTHER,
        make_event(CANARY, 2, f"{CONTENT} once more"),
        make_event(CANARY, 3, op="nonsense", content=SECRET),
        unreadable,
        make_event("kept", 1, "something else"),
    ]
    records = pipeline.records(events)
    for record in records:
        pipeline.run(pipeline.stage([record]))
    assert found_in_tables(pipeline.connection, CANARY, SECRET).keys() >= {
        "document",
        "chunk",
        "dead_letter",
        "record_outcome",
    }
    before = pipeline.visible()
    report = pipeline.erase(CANARY)
    assert (report.kind, report.applied, report.documents_deleted) == (BatchKind.ERASURE, 1, 1)
    assert found_in_tables(pipeline.connection, CANARY, SECRET) == {}
    del before[CANARY]
    assert pipeline.visible() == before
    again = replay(pipeline, records)
    assert (again.records, again.ignored, again.dead_lettered) == (6, 4, 0)
    assert found_in_tables(pipeline.connection, CANARY, SECRET) == {}
    assert found_in_files(tmp_path, CANARY, SECRET) == []
    assert pipeline.visible() == before


def unfinished(pipeline: Pipeline) -> list[Any]:
    return pipeline.connection.execute(
        "SELECT waits_for, document_ids FROM freshet.erasure WHERE receipt IS NULL"
    ).fetchall()


def receipt_of(pipeline: Pipeline) -> dict[str, Any]:
    [[receipt]] = pipeline.connection.execute(
        "SELECT receipt FROM freshet.erasure ORDER BY requested_at DESC LIMIT 1"
    ).fetchall()
    return receipt


def test_the_receipt_says_what_was_removed_and_can_be_checked(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event(CANARY, 1, CONTENT), OTHER)
    pipeline.ingest(make_event(CANARY, 2, SECRET))
    chunks = pipeline.connection.execute(
        "SELECT count(*) FROM freshet.chunk WHERE document_id = %s", [CANARY]
    ).fetchone()
    pipeline.erase(CANARY)
    receipt = receipt_of(pipeline)
    assert chunks is not None
    assert receipt["removed"] == {
        "versions": 2,
        "chunks": chunks[0],
        "vectors": 2,  # all others are of texts that the other document has, too
        "dead_letters": 0,
        "outcomes": 2,
        "audit_findings": 0,
        "audit_records": 0,
        "audit_repairs": 0,
        "corrections": 0,
        "access_lists": 0,
        "mentions": 0,
        "staged_files": 0,
        "staged_keys": 0,
    }
    assert receipt["found_afterwards"].keys() >= {
        *("vector", "text", "hybrid", "as_of", "documents", "export", "lineage"),
        *("dead_letters", "await", "notices"),
    }
    assert set(receipt["found_afterwards"].values()) == {0}
    [[key]] = pipeline.connection.execute("SELECT signing_key FROM freshet.erasure_key").fetchall()
    check_receipt(receipt, public_key_of(key))
    with pytest.raises(ConfigurationError, match="altered"):
        check_receipt(receipt | {"documents": 2}, public_key_of(key))
    with pytest.raises(ConfigurationError, match="another installation"):
        check_receipt(receipt, public_key_of(b"k" * 32))
    assert CANARY not in json.dumps(receipt)


def test_vectors_of_other_documents_stay(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event(CANARY, 1, CONTENT), OTHER)
    pipeline.erase(CANARY)
    [hit, *_] = pipeline.search("Paragraph 29", mode="vector")
    assert hit.document_id == "other"
    embedded = pipeline.embedder.embedded.total()
    assert pipeline.ingest(make_event("third", 1, LONG_TEXT)).applied == 1
    assert pipeline.embedder.embedded.total() == embedded


@pytest.mark.parametrize("other", ["of its own", LONG_TEXT], ids=["alone", "with shared texts"])
def test_a_batch_that_was_prepared_before_the_erasure_brings_nothing(
    pipeline: Pipeline, tmp_path: Path, other: str
) -> None:
    pipeline.ingest(make_event(CANARY, 1, CONTENT))
    events = [
        make_event(CANARY, 2, f"{SECRET} in flight"),
        make_event("other", 1, other),
        make_event(CANARY, 3, op="nonsense", content=SECRET),
    ]
    ref = pipeline.stage(pipeline.records(events))
    ahead = pipeline.prepare([ref], 9)
    pipeline.embed(ahead)
    pipeline.erase(CANARY)
    [[waits_for, ids]] = unfinished(pipeline)
    assert "staged files that batches of the source need" in waits_for
    assert ids == [CANARY]
    if other is LONG_TEXT:
        with pytest.raises(MissingVectorError):
            pipeline.publish([ref], ahead, 9)
        ahead = pipeline.prepare([ref], 9)
        pipeline.embed(ahead)
    report = pipeline.publish([ref], ahead, 9)
    assert (report.records, report.applied, report.ignored) == (3, 1, 2)
    assert pipeline.visible().keys() == {"other"}
    assert EraseFinisher(store=pipeline.store, pool=pipeline.pool).finish_all() == 1
    assert found_in_tables(pipeline.connection, CANARY, SECRET) == {}
    assert found_in_files(tmp_path, CANARY, SECRET) == []
    vectors = pipeline.connection.execute(
        "SELECT count(*) FROM freshet.embedding e WHERE NOT EXISTS "
        "(SELECT FROM freshet.chunk c WHERE c.text_sha256 = e.text_sha256)"
    ).fetchone()
    assert vectors == (0,)


def test_what_was_left_behind_in_the_staging_store_goes(pipeline: Pipeline, tmp_path: Path) -> None:
    records = pipeline.records([make_event(CANARY, 1, CONTENT)])
    left_behind = pipeline.stage(records)
    content = (tmp_path / left_behind.url).read_bytes()
    pipeline.run(left_behind)
    (tmp_path / left_behind.url).write_bytes(content)
    pipeline.erase(CANARY)
    assert found_in_files(tmp_path, CANARY, SECRET) == []
    assert receipt_of(pipeline)["removed"]["staged_files"] == 1


def test_a_batch_that_comes_a_second_time_after_an_erasure_is_empty(pipeline: Pipeline) -> None:
    ref = pipeline.stage(pipeline.records([make_event(CANARY, 1, CONTENT), OTHER]))
    pipeline.run(ref)
    pipeline.erase(CANARY)
    again = pipeline.run(ref)
    assert again.records == 0
    assert pipeline.visible().keys() == {"other"}


def test_an_erasure_is_carried_out_once_and_may_be_repeated(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event(CANARY, 1, CONTENT), OTHER)
    order = pipeline.order_erasure(CANARY)
    assert pipeline.order_erasure(CANARY) == order
    assert pipeline.carry_out(order).published_at_ms > 0
    assert pipeline.carry_out(order).published_at_ms == 0
    assert pipeline.erase(CANARY).documents_deleted == 0
    assert receipt_of(pipeline)["removed"]["versions"] == 0
    assert pipeline.visible().keys() == {"other"}


MOMENTS = {
    "before the ledger": "corpus.publish.erasure.record_batch",
    "after the commit": "corpus.erase.finisher.EraseFinisher._holding",
    "before the receipt": "corpus.erase.finisher._write_receipt",
}


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
def test_a_storer_that_is_killed_leaves_nothing_undone(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    pipeline.ingest(make_event(CANARY, 1, CONTENT), OTHER)
    order = pipeline.order_erasure(CANARY)

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(moment, killed)
        with pytest.raises(KeyboardInterrupt):
            pipeline.carry_out(order)
    if moment == MOMENTS["before the ledger"]:
        assert CANARY in pipeline.visible()
    else:
        assert pipeline.visible().keys() == {"other"}
    pipeline.carry_out(order)
    EraseFinisher(store=pipeline.store, pool=pipeline.pool).finish_all()
    assert unfinished(pipeline) == []
    assert found_in_tables(pipeline.connection, CANARY, SECRET) == {}
    assert receipt_of(pipeline)["removed"]["versions"] == 1


def test_a_vector_that_goes_while_another_source_publishes_is_made_again(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = publisher.judge

    def vectors_go(transaction: PublishTransaction) -> None:
        judge(transaction)
        monkeypatch.undo()
        transaction.connection.execute("DELETE FROM freshet.embedding")

    monkeypatch.setattr(publisher, "judge", vectors_go)
    assert pipeline.ingest(make_event("a", 1, LONG_TEXT)).applied == 1
    assert "Paragraph 29" in pipeline.visible()["a"][1]


def test_a_lifted_document_comes_again(pipeline: Pipeline) -> None:
    records = pipeline.records([make_event(CANARY, 1, CONTENT), OTHER])
    pipeline.run(pipeline.stage(records))
    pipeline.erase(CANARY)
    assert replay(pipeline, records).ignored == 1
    lift = {"source": "s", "document_id": CANARY, "reason": "a mistake", "lifted_by": "op@machine"}
    assert pipeline.connection.execute(query("lift_erasure"), lift).fetchall() == [(True,)]
    assert pipeline.connection.execute(query("lift_erasure"), lift).fetchall() == []
    assert replay(pipeline, records).ignored == 0
    assert pipeline.visible().keys() == {CANARY, "other"}
    pipeline.erase(CANARY)
    assert replay(pipeline, records).ignored == 1
    assert pipeline.visible().keys() == {"other"}


def test_messages_for_people_do_not_name_it_any_more(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event(CANARY, 1, CONTENT))
    pipeline.connection.execute(
        "UPDATE freshet.source SET state_reason = %s",
        [f"batch 3: documents changed, for example '{CANARY}'; not {CANARY}0"],
    )
    pipeline.erase(CANARY)
    assert pipeline.connection.execute("SELECT state_reason FROM freshet.source").fetchone() == (
        f"batch 3: documents changed, for example (erased); not {CANARY}0",
    )


def test_waits_and_notices_name_an_erasure(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event(CANARY, 1, CONTENT))
    pipeline.erase(CANARY)
    record = AwaitFreshRequest(source="s", topic="s", partition=0, offset=0)
    document = AwaitFreshRequest(source="s", document_id=CANARY, version=1)
    for wait in (record, document):
        assert current_outcome(pipeline.connection, wait).why is WaitOutcome.ERASED
    sent_again = pipeline.ingest(make_event(CANARY, 2, CONTENT))
    assert sent_again.ignored == 1
    again = replace(record, offset=1)
    assert current_outcome(pipeline.connection, again).why is WaitOutcome.ERASED
