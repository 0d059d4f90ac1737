"""The account of a document's text: from the cleaner to the version, the ledger and the freshness report."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from compose.local.checks import CheckFailedError
from compose.local.text_check import SourceText, judge_texts
from corpus.clean.account import AccountBuilder, DropRule, visible_length
from corpus.clean.blocks import CleanedDocument
from corpus.clean.cleaner import RawDocument
from corpus.clean.plain import plain_blocks
from corpus.limits.fair_queue import QueuedBatch
from corpus.preparation import PreparationSpec
from corpus.sql import query
from freshness.scan import measure
from tests.support.pipeline import Pipeline, make_event


class MarkingCleaner:
    """Drops what follows "hidden:" or "script:" in a document."""

    def clean_then(
        self,
        documents: Sequence[RawDocument],
        _spec: PreparationSpec,
        steps: Sequence[Callable[[CleanedDocument], Any]],
        _batch: QueuedBatch,
    ) -> Generator[Any]:
        for document, step in zip(documents, steps, strict=True):
            yield step(self._clean(document.content))

    def _clean(self, content: str) -> CleanedDocument:
        builder = AccountBuilder()
        for mark, rule in (("hidden:", DropRule.HIDDEN), ("script:", DropRule.MACHINE)):
            content, _, dropped = content.partition(mark)
            builder.drop(rule, dropped)
        text = content.strip()
        account = builder.finish(kept=visible_length(text))
        return CleanedDocument(text, plain_blocks(text), account)


@pytest.fixture
def marked(pipeline: Pipeline) -> Pipeline:
    pipeline.preparer._cleaner = MarkingCleaner()  # type: ignore[assignment]
    return pipeline


def rows(pipeline: Pipeline, name: str, **values: Any) -> list[dict[str, Any]]:
    with pipeline.connection.cursor() as cursor:
        cursor.execute(query(name), values)
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def batch_row(pipeline: Pipeline) -> dict[str, Any]:
    return rows(pipeline, "list_batches", source="s", limit=1)[0]


def test_the_ledger_sums_what_its_documents_lost(marked: Pipeline) -> None:
    events = [
        make_event("whole", 1, "every word"),
        make_event("part", 1, "a hidden: " + "b" * 40),
        make_event("code", 1, "one script: " + "x" * 90),
    ]
    marked.run(marked.stage(marked.records(events)))
    row = batch_row(marked)
    assert (row["received_characters"], row["kept_characters"]) == (9 + 41 + 93, 9 + 1 + 3)
    assert row["dropped"] == {"hidden": 40, "machine": 90}
    assert (row["documents_empty"], row["documents_lossy"]) == (0, 1)
    assert row["tokens"] > 0
    (lossy,) = rows(
        marked,
        "list_documents",
        **{"source": "s", "document_id": None, "gone": False, "history": False, "limit": 10},
        max_kept_ratio=0.1,
        min_unknown_ratio=None,
        noted=False,
    )
    assert lossy["document_id"] == "part"
    measured = measure(marked.connection, "s")
    assert (measured.empty, measured.lossy) == (0, 1)


def test_a_document_that_lost_everything_is_not_applied(marked: Pipeline) -> None:
    report = marked.run(marked.stage(marked.records([make_event("a", 1, "hidden: text")])))
    assert (report.applied, report.dead_lettered) == (0, 1)
    assert marked.visible() == {}


def test_a_source_may_publish_it_and_it_is_counted(marked: Pipeline) -> None:
    pipeline = replace(marked.spec.pipeline, on_empty="publish")
    marked.spec = replace(marked.spec, pipeline=pipeline)
    marked.configure()
    marked.run(marked.stage(marked.records([make_event("a", 1, "hidden: text")])))
    row = batch_row(marked)
    assert (row["applied"], row["documents_empty"], row["documents_lossy"]) == (1, 1, 1)
    assert measure(marked.connection, "s").empty == 1


def test_a_version_with_the_same_text_keeps_its_account(marked: Pipeline) -> None:
    content = "some text hidden: more"
    marked.run(marked.stage(marked.records([make_event("a", 1, content)])))
    marked.run(marked.stage(marked.records([make_event("a", 2, content, title="New")])))
    versions = rows(marked, "lineage_versions", document_id="a", source="s")
    assert [version["kept_characters"] for version in versions] == [8, 8]
    assert [version["dropped"] for version in versions] == [{"hidden": 4}, {"hidden": 4}]


THAI = "ประตูระบายน้ำจะเปิดเมื่อระดับน้ำลดลงต่ำกว่าเครื่องหมายในคู่มือ"
ENGLISH = "The sluice opens when the water falls below the mark of the manual."


def documents_unknown(pipeline: Pipeline, above: float = 0.05) -> list[dict[str, Any]]:
    values = {"source": "s", "document_id": None, "gone": False, "history": False, "limit": 10}
    chosen = {"max_kept_ratio": None, "min_unknown_ratio": above, "noted": False}
    return rows(pipeline, "list_documents", **values, **chosen)


def test_what_the_model_does_not_know_is_counted_to_the_report(pipeline: Pipeline) -> None:
    events = [
        make_event("both", 1, f"{ENGLISH}\n\n{THAI}"),
        make_event("english", 1, ENGLISH),
        make_event("thai", 1, THAI),
    ]
    pipeline.run(pipeline.stage(pipeline.records(events)))
    batch = batch_row(pipeline)
    assert batch["unknown_characters"] == 2 * visible_length(THAI)
    assert batch["unknown_tokens"] == 2
    assert batch["documents_unknown"] == 2
    listed = documents_unknown(pipeline)
    assert [row["document_id"] for row in listed] == ["thai", "both"]
    assert listed[0]["unknown_ratio"] == 1
    assert [row["document_id"] for row in documents_unknown(pipeline, above=0.9)] == ["thai"]
    versions = rows(pipeline, "lineage_versions", document_id="both", source="s")
    assert versions[0]["unknown_characters"] == visible_length(THAI)
    measured = measure(pipeline.connection, "s")
    assert measured.unknown == 2
    whole = visible_length(ENGLISH + THAI)
    assert measured.unknown_ratio == pytest.approx(visible_length(THAI) / whole)


def texts_of(pipeline: Pipeline) -> list[SourceText]:
    return [SourceText(**text) for text in rows(pipeline, "unknown_text")]


def test_doctor_warns_about_a_source_whose_model_does_not_know_it(pipeline: Pipeline) -> None:
    pipeline.ingest(*(make_event(f"english-{n}", 1, f"{ENGLISH} {n}") for n in range(3)))
    (english,) = texts_of(pipeline)
    assert (english.unknown_ratio, english.is_unknown) == (0, False)
    pipeline.ingest(make_event("thai", 1, THAI))
    with pytest.raises(CheckFailedError, match="in 1 of 4 documents more than 5%"):
        judge_texts(texts_of(pipeline))


def test_a_source_may_accept_what_its_model_does_not_know(pipeline: Pipeline) -> None:
    preparation = replace(pipeline.spec.pipeline, max_unknown_ratio=1.0)
    pipeline.spec = replace(pipeline.spec, pipeline=preparation)
    pipeline.configure()
    pipeline.ingest(make_event("thai", 1, THAI))
    (text,) = texts_of(pipeline)
    assert (text.unknown, text.is_unknown) == (0, False)
    assert batch_row(pipeline)["documents_unknown"] == 0
    assert measure(pipeline.connection, "s").unknown == 0


def test_documents_of_before_the_figure_are_in_no_share(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event("old", 1, THAI))
    pipeline.connection.execute("UPDATE freshet.document SET unknown_characters = NULL")
    assert texts_of(pipeline) == []
    measured = measure(pipeline.connection, "s")
    assert (measured.unknown, measured.unknown_ratio) == (0, None)
    assert documents_unknown(pipeline) == []
