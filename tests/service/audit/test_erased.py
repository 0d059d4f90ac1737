"""An audit and its repair take erased documents for what was never there."""

import pytest

from corpus.audit.audit import AuditResult, Phase
from tests.service.test_erasure import found_in_tables
from tests.support.auditing import Auditor, KeptLog
from tests.support.damage import DAMAGES
from tests.support.pipeline import Pipeline, make_event

ERASED = "canary-4711"
SECRET = "zebrafishery quarrel"


@pytest.fixture
def auditor(pipeline: Pipeline) -> Auditor:
    """A corpus with two documents, some of whose records cannot be read; one is to be erased."""
    made = Auditor(pipeline, KeptLog(pipeline))
    pipeline.ingest(make_event("kept", 1, "Gauge 1."), make_event(ERASED, 1, SECRET))
    pipeline.ingest(
        make_event("kept", 2, "Gauge 2."),
        make_event(ERASED, 2, op="nonsense", content=SECRET),
        f'{{"id": "{ERASED}", '.encode(),
    )
    return made


def repair_of(auditor: Auditor, result: AuditResult) -> dict[str, tuple[int, str]]:
    auditor.repair(result)
    return auditor.pipeline.visible()


def test_nothing_is_missing_of_what_was_erased(auditor: Auditor, pipeline: Pipeline) -> None:
    pipeline.erase(ERASED)
    result = auditor.run(deep=10_000)
    assert auditor.findings(result) == []
    assert found_in_tables(pipeline.connection, ERASED, SECRET) == {}


def test_a_repair_that_reads_the_topic_again_brings_nothing(
    auditor: Auditor, pipeline: Pipeline
) -> None:
    pipeline.erase(ERASED)
    before = pipeline.visible()
    damage = next(iter(DAMAGES))
    DAMAGES[damage].do(pipeline, "kept")
    result = auditor.run(deep=10_000)
    assert {one.document_id for one in auditor.findings(result)} == {"kept"}
    assert repair_of(auditor, result) == before
    assert auditor.findings(auditor.run(deep=10_000)) == []
    assert found_in_tables(pipeline.connection, ERASED, SECRET) == {}


@pytest.mark.parametrize("phase", [Phase.REPLAY, Phase.DOCUMENTS, Phase.TEXTS, Phase.FINISH])
def test_an_audit_that_has_read_it_before_keeps_nothing(
    auditor: Auditor, pipeline: Pipeline, phase: Phase
) -> None:
    DAMAGES[next(iter(DAMAGES))].do(pipeline, ERASED)
    cursor = auditor.begin()
    while cursor.phase is not phase:
        cursor = auditor.step(cursor)
    pipeline.erase(ERASED)
    while cursor.phase is not Phase.FINISH:
        cursor = auditor.step(cursor)
    result = auditor.staged.finish(cursor)
    assert auditor.findings(result) == []
    assert found_in_tables(pipeline.connection, ERASED, SECRET) == {}


def test_what_a_repair_says_names_it_no_more(auditor: Auditor, pipeline: Pipeline) -> None:
    result = auditor.run(deep=10_000)
    pipeline.connection.execute(
        """UPDATE freshet.audit SET repair = jsonb_build_object('gone', 2, 'examples_gone', jsonb_build_array(
               'kept', %(id)s::text), 'by_hand', jsonb_build_array(%(line)s::text)) WHERE audit = %(audit)s""",
        {"id": ERASED, "line": f"{ERASED!r} differs", "audit": result.audit},
    )
    pipeline.erase(ERASED)
    [[repair]] = pipeline.connection.execute("SELECT repair FROM freshet.audit").fetchall()
    assert repair == {
        "gone": 2,
        "examples_gone": ["kept", "(erased)"],
        "by_hand": ["(erased) differs"],
    }
    assert found_in_tables(pipeline.connection, ERASED, SECRET) == {}
