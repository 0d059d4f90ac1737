"""The way of a batch in one process, for tests: see `tests.support.pipeline`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from corpus.clean.cleaner import Cleaner
    from tests.support.pipeline import Pipeline


@pytest.fixture(scope="module")
def cleaner() -> "Iterator[Cleaner]":
    """One pool of cleaning processes for a module's tests."""
    from corpus.clean.cleaner import Cleaner

    with Cleaner(processes=1) as pool:
        yield pool


@pytest.fixture
def pipeline(database_url: str, tmp_path: Path, cleaner: "Cleaner") -> "Iterator[Pipeline]":
    """A source of its own in a fresh database."""
    from tests.support.pipeline import Pipeline

    with Pipeline(database_url, tmp_path, cleaner=cleaner) as made:
        yield made
