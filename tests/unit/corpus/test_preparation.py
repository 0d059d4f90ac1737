"""The fingerprint of a preparation: stored with every document, compared when the document comes again."""

from dataclasses import fields, replace
from typing import Any

import pytest

from corpus.preparation import PreparationSpec

CHANGED: dict[str, Any] = {
    "content_type": "text/html",
    "unknown_content_type": "text",
    "html": "all",
    "ocr": "eng",
    "chunker": "whole",
    "max_tokens": 64,
    "min_tokens": 16,
    "max_nesting": 100,
}
LIMITS: dict[str, Any] = {
    "max_document_bytes": 1,
    "max_chunks": 1,
    "max_pages": 1,
    "max_unpacked_bytes": 1,
    "clean_timeout_seconds": 1.0,
    "min_kept_ratio": 0.5,
    "max_unknown_ratio": 0.5,
    "on_empty": "publish",
}


def test_the_fingerprints_are_those_that_databases_hold() -> None:
    """Another fingerprint for the same preparation would clean every document again."""
    assert PreparationSpec().fingerprint() == "fb14cfe8edfde96c"
    changed = PreparationSpec(html="all", max_tokens=64, chunker="whole")
    assert changed.fingerprint() == "2a31ac702610cdb3"


def test_every_setting_is_either_a_limit_or_changes_the_result() -> None:
    names = {declared.name for declared in fields(PreparationSpec)}
    assert CHANGED.keys() | LIMITS.keys() == names


@pytest.mark.parametrize("name", CHANGED)
def test_what_changes_the_result_changes_the_fingerprint(name: str) -> None:
    changed = replace(PreparationSpec(), **{name: CHANGED[name]})
    assert changed.fingerprint() != PreparationSpec().fingerprint()


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_does_not_change_the_fingerprint(name: str) -> None:
    changed = replace(PreparationSpec(), **{name: LIMITS[name]})
    assert changed.fingerprint() == PreparationSpec().fingerprint()
