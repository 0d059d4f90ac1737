"""Whether a document's events change what the corpus holds of it."""

from dataclasses import replace
from typing import Any

import pytest

from corpus.prepare.fold import FoldedDocument
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
        (EXPIRED, 5, False),
        (EXPIRED, 6, False),
    ],
)
def test_a_head_outranks_older_versions_and_its_own_unless_it_expired(
    head: Head, version: int, outranks: bool
) -> None:
    assert head.outranks(FoldedDocument(winner=0, winner_version=version)) is outranks


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
    conditions = {"content_type": "text/plain", "pipeline": "p", "space_id": 1}
    assert HEAD.is_reusable(**conditions)
    assert not replace(HEAD, **change).is_reusable(**conditions)
