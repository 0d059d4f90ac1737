"""A text that the model makes no usable vector of stops its document, and nothing else."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from corpus.clean.cleaner import Cleaner
from corpus.embed.embedder import Vectors
from corpus.errors import VectorRefusedError
from tests.service.test_erasure import found_in_tables
from tests.support.fakes import HashEmbedder
from tests.support.pipeline import Pipeline, make_event


class OverflowingEmbedder(HashEmbedder):
    """Has no numbers for texts of one length."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.tokens = tokens

    def embed_tokens(self, token_ids: Sequence[Sequence[int]]) -> Vectors:
        vectors = super().embed_tokens(token_ids)
        for row, ids in enumerate(token_ids):
            if len(ids) == self.tokens:
                vectors[row, 0] = np.nan
            if len(ids) == self.tokens + 1:
                vectors[row, 0] = np.inf
        return vectors


@pytest.fixture
def overflowing(database_url: str, tmp_path: Path, cleaner: Cleaner) -> Pipeline:
    embedder = OverflowingEmbedder(tokens=3)
    return Pipeline(database_url, tmp_path, cleaner=cleaner, embedder=embedder)


def test_the_other_documents_of_the_batch_are_published(overflowing: Pipeline) -> None:
    with overflowing as pipeline:
        events = [
            make_event("good", 1, "one two"),
            make_event("nan", 1, "one two three"),
            make_event("infinite", 1, "one two three four"),
            make_event("was", 1, "five six"),
            make_event("was", 2, "five six seven"),
        ]
        staged = pipeline.stage(pipeline.records(events))
        with pytest.raises(VectorRefusedError, match="vectors of 3 texts"):
            pipeline.embed(pipeline.prepare([staged], 1))
        report = pipeline.run(staged)
        assert (report.applied, report.dead_lettered) == (2, 3)
        assert set(pipeline.visible()) == {"good", "was"}
        assert pipeline.visible()["was"] == (1, "five six")
        letters = pipeline.connection.execute(b"SELECT DISTINCT reason FROM freshet.dead_letter")
        assert letters.fetchall() == [("not_embeddable",)]
        again = pipeline.ingest(make_event("nan", 2, "one two three"))
        assert (again.applied, again.dead_lettered) == (0, 1)


def test_nothing_of_a_refused_text_stays_when_its_document_is_erased(overflowing: Pipeline) -> None:
    with overflowing as pipeline:
        staged = pipeline.stage(pipeline.records([make_event("canary-4711", 1, "one two three")]))
        with pytest.raises(VectorRefusedError):
            pipeline.embed(pipeline.prepare([staged], 1))
        pipeline.run(staged)
        digest = sha256(b"one two three").hexdigest()
        assert found_in_tables(pipeline.connection, digest, "one two three").keys() == {
            *("refused_text", "dead_letter")
        }
        pipeline.erase("canary-4711")
        assert found_in_tables(pipeline.connection, digest, "one two three", "canary-4711") == {}
