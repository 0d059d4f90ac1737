"""Whether a document's events change what the corpus holds of it."""

from dataclasses import replace
from typing import Any

import pytest

from corpus.prepare.fold import FoldedDocument, Mark, Place
from corpus.prepare.heads import Head

HEAD = Head(
    document_id="a",
    document_key=1,
    version=5,
    visible=True,
    expired=False,
    content_sha256=b"content",
    cleaned_sha256=b"cleaned",
    pipeline="p",
    space_id=1,
    content_type="text/plain",
)
EXPIRED = replace(HEAD, visible=False, expired=True)


@pytest.mark.parametrize(
    ("head", "version", "outranks"),
    [
        (HEAD, 4, True),
        (HEAD, 5, True),
        (HEAD, 6, False),
        (EXPIRED, 4, True),
        (EXPIRED, 5, True),
        (EXPIRED, 6, False),
    ],
)
def test_a_head_outranks_older_versions_and_its_own(
    head: Head, version: int, outranks: bool
) -> None:
    assert head.outranks(FoldedDocument(winner=0, winner_version=version)) is outranks


@pytest.mark.parametrize(("record_version", "outranks"), [(9, False), (10, True), (11, True)])
def test_under_one_version_the_record_that_was_written_first_stands(
    record_version: int, outranks: bool
) -> None:
    head = replace(HEAD, first_record=(10, "t", 0, 1))
    place = Place(record_version, "t", 0, 1)
    document = FoldedDocument(winner=0, winner_version=5, first=place)
    assert head.outranks(document) is outranks


def test_a_delete_that_the_corpus_knows_deletes_an_older_record_of_a_batch() -> None:
    head = replace(HEAD, deletes={"t/0/id": (8, 80)}, written={"t/0/id": (9, 90)})
    older, newer = {"t/1/id": Mark(1, 70)}, {"t/1/id": Mark(1, 85)}
    for version in (5, 6):
        assert head.deletes_winner(FoldedDocument(winner_version=version, written=older))
        assert not head.deletes_winner(FoldedDocument(winner_version=version, written=newer))


@pytest.mark.parametrize(
    "change",
    [
        {"visible": False},
        {"pipeline": "q"},
        {"space_id": 2},
        {"space_id": None},
        {"content_type": None},
    ],
    ids=str,
)
def test_chunks_are_reused_only_under_the_same_conditions(change: dict[str, Any]) -> None:
    conditions = {"content_type": "text/plain", "pipelines": {"p"}, "space_id": 1}
    assert HEAD.is_reusable(**conditions)
    assert not replace(HEAD, **change).is_reusable(**conditions)


@pytest.mark.parametrize(
    ("before", "title", "reusable"),
    [("A", "A", True), ("A", "B", False), (None, "", True), ("A", "", False), ("A", None, True)],
)
def test_a_title_counts_where_chunks_are_embedded_below_it(
    before: str | None, title: str | None, reusable: bool
) -> None:
    head = replace(HEAD, title=before)
    conditions: dict[str, Any] = {"content_type": "text/plain", "pipelines": {"p"}, "space_id": 1}
    assert head.is_reusable(**conditions, title=title) is reusable
