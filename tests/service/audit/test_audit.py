"""An audit finds what differs from the log, and nothing else; a repair mends it through the log."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from corpus.audit import store
from corpus.audit.audit import Phase
from corpus.errors import ConfigurationError
from ingest.audit import inventory
from tests.support.auditing import Auditor, KeptLog
from tests.support.damage import DAMAGES
from tests.support.logins import reader, seen
from tests.support.pipeline import (
    LONG_TEXT,
    NOW_MS,
    Event,
    Pipeline,
    make_event,
    tombstone,
    with_time,
)

UNDAMAGED = "undamaged"


@pytest.fixture
def auditor(pipeline: Pipeline) -> Iterator[Auditor]:
    yield Auditor(pipeline, KeptLog(pipeline))


def events(ids: Sequence[str], version: int) -> list[Event]:
    return [
        make_event(
            name,
            version,
            f"# {name}\n\nThe gauge {name} of station {n} recorded {name} in version {version}.",
            metadata={"team": "x", "n": 1.0},
            acl=["readers"],
        )
        for n, name in enumerate(ids)
    ]


def fill(pipeline: Pipeline, *ids: str) -> None:
    """Updates, a delete, a tombstone, dead letters, older versions, in two partitions."""
    pipeline.ingest(*events([UNDAMAGED, *ids], 1), b"not json", make_event("c", 1, "gamma"))
    pipeline.ingest(*events([UNDAMAGED, *ids], 2), *events(ids[:1], 1))
    pipeline.ingest(make_event("c", 2, op="delete"), make_event("long", 1, LONG_TEXT))
    pipeline.ingest(
        make_event("d", 1, "# D\n\ndelta dam five"),
        make_event("e", 1, "<script>only()</script>", content_type="text/html"),
        with_time(tombstone("d"), NOW_MS + 1_000),
        partition=1,
    )


def test_a_corpus_that_equals_its_log_is_clean(auditor: Auditor) -> None:
    fill(auditor.pipeline, "a")
    result = auditor.run()
    assert auditor.findings(result) == []
    assert result.is_clean
    assert result.counts["documents"] == 6
    assert result.counts["records"] == 12
    assert auditor.pipeline.connection.execute("SELECT FROM freshet.audit_record").fetchall() == []
    assert auditor.findings(auditor.run(sample=3)) == []


def test_a_figure_that_is_not_what_the_rows_come_to_is_found(auditor: Auditor) -> None:
    fill(auditor.pipeline, "a")
    connection = auditor.pipeline.connection
    connection.execute("UPDATE freshet.visible_documents SET documents = documents + 1")
    [found] = auditor.findings(auditor.run(sample=3))
    assert (found.kind, found.subject) == ("ledger_does_not_add_up", "figures: visible documents")
    assert "SELECT freshet.count_again('s')" in found.actual
    connection.execute("SELECT freshet.count_again('s')")
    assert auditor.run(sample=3).is_clean


def test_a_source_whose_own_versions_come_first_is_refused_by_name(auditor: Auditor) -> None:
    pipeline = auditor.pipeline
    pipeline.spec = replace(pipeline.spec, version_rule="own")
    pipeline.configure()
    with pytest.raises(ConfigurationError, match=r'version_rule = "own", which an audit does not'):
        auditor.run()


def test_every_damage_is_found_by_its_name_and_repaired(auditor: Auditor) -> None:
    pipeline = auditor.pipeline
    ids = {name: f"doc{n}" for n, name in enumerate(DAMAGES)}
    fill(pipeline, *ids.values())
    truth = pipeline.visible()
    expected = {damage.do(pipeline, ids[name], UNDAMAGED) for name, damage in DAMAGES.items()}
    result = auditor.run()
    assert set(auditor.found(result)) == expected
    assert sum(result.findings.values()) == len(expected)

    planned, done = auditor.carry_out(result)
    assert planned.is_whole
    assert done.findings == len(expected)
    # What is on its way again is no finding.
    assert auditor.findings(auditor.run()) == []
    pipeline.embedder.embedded.clear()
    auditor.settle(planned, done)
    # A vector that went with its chunk, or is not trusted; every other text has its vector.
    again = {"no chunk", "another text", "another space"}
    again |= {"another vector", "another vector, with its hash"}
    assert sum(pipeline.embedder.embedded.values()) == len(again & DAMAGES.keys()) == 5
    assert pipeline.visible() == truth
    assert auditor.findings(auditor.run()) == []


LEDGER = (
    "UPDATE freshet.batch_range SET records = records - 1 WHERE batch = 2",
    "DELETE FROM freshet.batch_range WHERE batch = 2",
    "UPDATE freshet.source SET last_batch = last_batch + 1",
)


def test_a_ledger_that_does_not_add_up_is_found(auditor: Auditor) -> None:
    fill(auditor.pipeline, "a")
    for number, statement in enumerate(LEDGER, 1):
        auditor.pipeline.connection.execute(statement.encode())
        result = auditor.run()
        assert set(auditor.found(result)) == {("ledger_does_not_add_up", "")}
        subjects = {finding.subject for finding in auditor.findings(result)}
        assert len(subjects) >= number, subjects


def test_records_that_the_log_has_lost_prove_nothing(auditor: Auditor) -> None:
    pipeline = auditor.pipeline
    fill(pipeline, "a", "b")
    pipeline.connection.execute(b"DELETE FROM freshet.document WHERE document_id = 'c'")
    auditor.log.cut(below=7)
    result = auditor.run()
    assert auditor.findings(result) == []
    assert result.counts["record_not_in_log"] > 0


def test_a_step_that_is_repeated_changes_nothing(auditor: Auditor) -> None:
    """Its worker was killed after it, before the workflow had its result."""
    fill(auditor.pipeline, "a", "b")
    expected = {DAMAGES["an older version"].do(auditor.pipeline, "a")}
    cursor = auditor.begin()
    while cursor.phase is not Phase.FINISH:
        auditor.step(cursor)
        cursor = auditor.step(cursor)
    result = auditor.staged.finish(cursor)
    assert set(auditor.found(result)) == expected
    assert result.counts["records"] == 14


def test_what_is_published_meanwhile_is_no_finding(auditor: Auditor) -> None:
    """A source that changes between any two steps, in new documents, old ones and deletes."""
    pipeline = auditor.pipeline
    fill(pipeline, "a", "b")
    cursor = auditor.begin()
    version = 3
    while cursor.phase is not Phase.FINISH:
        cursor = auditor.step(cursor)
        pipeline.ingest(*events(["a", f"new{version}"], version), make_event("c", version, "again"))
        pipeline.ingest(
            make_event("b", version, op="delete"), *events([f"new{version - 1}"], version)
        )
        pipeline.expire()
        version += 1
    result = auditor.staged.finish(cursor)
    assert auditor.findings(result) == []
    assert result.counts["moved"] > 0


def test_what_a_crash_of_the_server_takes_is_read_again(auditor: Auditor) -> None:
    """PostgreSQL empties an unlogged table after a crash."""
    pipeline = auditor.pipeline
    fill(pipeline, "a")
    cursor = auditor.begin()
    crashed = False
    while cursor.phase is not Phase.FINISH:
        if cursor.phase is Phase.DOCUMENTS and not crashed:
            pipeline.connection.execute("TRUNCATE freshet.audit_record")
            crashed = True
        cursor = auditor.step(cursor)
    assert auditor.findings(auditor.staged.finish(cursor)) == []


def test_a_mass_withdrawal_asks_a_person(auditor: Auditor) -> None:
    pipeline = auditor.pipeline
    pipeline.ingest(*events(["a"], 1))
    for number in range(3):
        pipeline.ingest(*events([f"x{number}"], 1))
        DAMAGES["a copy"].do(pipeline, f"x{number}")
        pipeline.connection.execute(
            "DELETE FROM freshet.document WHERE document_id = %s", (f"x{number}",)
        )
        pipeline.ingest(make_event(f"x{number}", 1, op="delete"))
    result = auditor.run()
    before = pipeline.visible()
    planned = auditor.plan(result)
    assert planned.withdrawn == 3
    assert "3 of 4 documents would be withdrawn" in planned.refusal
    with pytest.raises(ConfigurationError, match="max_expiry_ratio"):
        auditor.repair(result)
    assert pipeline.visible() == before


@pytest.mark.parametrize("damage", ["another content", "a version of its own", "it was hidden"])
def test_nothing_older_and_nothing_wider_shows_while_records_are_read_again(
    auditor: Auditor, damage: str
) -> None:
    pipeline = auditor.pipeline
    pipeline.ingest(
        make_event("z", 1, "The end."),
        make_event("a", 1, "The level."),
        make_event("a", 2, "The secret level."),
        make_event("a", 2, "The secret level.", acl=["hr"]),
    )
    truth = pipeline.visible()
    DAMAGES["another content"].do(pipeline, "z")  # its records begin before those of a
    DAMAGES[damage].do(pipeline, "a")
    _, done = auditor.carry_out(auditor.run())
    assert done.reads_again
    for offset in range(4):
        pipeline.run(pipeline.stage([auditor.log.records[0][offset]]))
        assert pipeline.visible().get("a", (2, ""))[0] == 2
        assert seen(pipeline.connection, reader()) <= {"z"}
    assert pipeline.visible() == truth
    assert seen(pipeline.connection, reader("hr")) == {"a", "z"}
    assert auditor.findings(auditor.run()) == []


def test_a_repair_leaves_out_what_was_published_since(auditor: Auditor) -> None:
    pipeline = auditor.pipeline
    fill(pipeline, "a")
    DAMAGES["another content"].do(pipeline, "a")
    result = auditor.run()
    pipeline.ingest(*events(["a"], 3))
    assert auditor.repair(result).findings == 0
    assert auditor.findings(auditor.run()) == []


def test_what_kafka_no_longer_has_is_sent_again_by_its_source(auditor: Auditor) -> None:
    pipeline = auditor.pipeline
    fill(pipeline, "a")
    DAMAGES["another text"].do(pipeline, "a")
    auditor.log.cut(below=9)
    result = auditor.run()
    assert set(auditor.found(result)) == {("text_hash_differs", "a")}
    planned = auditor.plan(result)
    assert (planned.gone, planned.examples_gone, planned.is_empty) == (1, ("a",), True)
    assert "send these documents again" in " ".join(planned.lines())


def test_an_inventory_judges_what_the_log_has_lost(auditor: Auditor, tmp_path: Path) -> None:
    pipeline = auditor.pipeline
    fill(pipeline, "a", "b")
    rows = pipeline.connection.execute(
        """SELECT document_id, version, encode(content_sha256, 'hex') FROM freshet.document
            WHERE visible_to IS NULL AND document_id <> 'b'"""
    ).fetchall()
    names = ("id", "version", "sha256")
    frame = pl.DataFrame([*rows, ("never-came", 1, None)], schema=names, orient="row")
    file = tmp_path / "inventory.parquet"
    frame.write_parquet(file)
    auditor.log.cut(below=9)
    order = auditor.begin(inventory=True).order
    connection = pipeline.connection
    audit = store.begin(connection, order, workflow_id="audit:s", run_id="r")
    assert inventory.load(connection, audit, file) == len(rows) + 1
    result = auditor.run(audit=audit, inventory=True)
    assert set(auditor.found(result)) == {("extra", "b"), ("missing", "never-came")}
    assert "record_not_in_log" not in result.counts


def test_a_notice_that_was_never_sent_is_found_and_sent(auditor: Auditor) -> None:
    pipeline = auditor.pipeline
    fill(pipeline, "a")
    connection = pipeline.connection
    connection.execute(
        "INSERT INTO freshet.subscription (subscriber, source, endpoint) VALUES ('team', 's', 'e'), ('new', 's', 'e')"
    )
    connection.execute(
        "INSERT INTO freshet.delivery (subscriber, source, cursor_batch, delivered) VALUES ('team', 's', 3, 2)"
    )
    connection.execute(
        "INSERT INTO freshet.delivered_notice (subscriber, source, batch) VALUES ('team', 's', 1), ('team', 's', 3)"
    )
    result = auditor.run()
    assert [one.subject for one in auditor.findings(result)] == ["team"]
    done = auditor.repair(result)
    assert done.subscribers == ("team",)
    [(cursor,)] = connection.execute(
        "SELECT cursor_batch FROM freshet.delivery WHERE subscriber = 'team'"
    ).fetchall()
    assert cursor == 1


def test_a_delete_that_compaction_has_taken_is_found(auditor: Auditor) -> None:
    """The topic keeps the newest record of every key; the document has none, so its tombstone is gone as well."""
    pipeline = auditor.pipeline
    pipeline.ingest(*events(["gone", "a", "b"], 1))
    auditor.log.records[0].pop(0)
    assert auditor.findings(auditor.run()) == []  # retention may have taken it
    auditor.log.compacted = {"s"}
    result = auditor.run()
    assert set(auditor.found(result)) == {("extra", "gone")}
    auditor.repair(result)
    assert sorted(pipeline.visible()) == ["a", "b"]
    assert auditor.findings(auditor.run()) == []
    [(reconciled,)] = pipeline.connection.execute(
        "SELECT reconciled_at IS NOT NULL FROM freshet.source_position"
    ).fetchall()
    assert reconciled


def test_what_no_search_finds_is_found(auditor: Auditor) -> None:
    """As with an index that lacks rows: the rows themselves are right."""
    pipeline = auditor.pipeline
    fill(pipeline, "a")
    pipeline.connection.execute(
        """CREATE OR REPLACE FUNCTION freshet.vector_candidates(
               p_query vector, p_limit integer, p_space smallint, p_sources text[], p_metadata jsonb,
               p_as_of timestamptz) RETURNS TABLE (chunk_id bigint, distance double precision)
           LANGUAGE sql STABLE AS $$ SELECT 0::bigint, 0::double precision WHERE false $$"""
    )
    result = auditor.run()
    assert set(result.findings) == {"not_found_by_search"}
    assert {one.actual for one in auditor.findings(result)} == {"mode vector does not find it"}
    planned = auditor.plan(result)
    assert planned.is_empty
    assert planned.by_hand


def test_a_staged_file_that_a_batch_needs_and_nobody_has_is_found(auditor: Auditor) -> None:
    pipeline = auditor.pipeline
    published = pipeline.stage(pipeline.records(events(["a"], 1)))
    pipeline.run(published)  # its file is removed
    waiting = pipeline.stage(pipeline.records(events(["a"], 2)))
    lost = replace(waiting, url=waiting.url.replace(".parquet", "0.parquet"))
    held = [published, waiting, lost]
    assert auditor.staged.look("s", held) == {lost.url}
    cursor = auditor.steps.step(auditor.begin())
    auditor.staged.step(cursor, auditor.staged.look("s", held))
    [finding] = store.findings_of(pipeline.connection, cursor.audit)
    assert (finding.kind, finding.subject) == ("staged_file_missing", lost.url)
