"""The account of a document's text: from the cleaner to the version, the ledger and the freshness report."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from corpus.clean.account import AccountBuilder, DropRule, visible_length
from corpus.clean.blocks import CleanedDocument
from corpus.clean.cleaner import RawDocument
from corpus.clean.plain import plain_blocks
from corpus.preparation import PreparationSpec
from corpus.sql import query
from freshness.scan import measure
from tests.support.pipeline import Pipeline, make_event


class MarkingCleaner:
    """Drops what follows "hidden:" or "script:" in a document."""

    def clean(
        self, documents: Sequence[RawDocument], _spec: PreparationSpec
    ) -> list[CleanedDocument]:
        return [self._clean(document.content) for document in documents]

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
