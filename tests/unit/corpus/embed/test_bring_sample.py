"""The sample of a file of embeddings: drawn by chance out of all of it, and large enough to speak for the rest."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from corpus.embed.bring.bringing import SampleResult, try_sample
from corpus.embed.bring.file import EmbeddingsFile

ROWS = 4_000


class Model:
    """Knows the vector of each text, which is its number."""

    limit = 100
    special_tokens = 2

    def __init__(self, vectors: Any) -> None:
        self.vectors = vectors

    def encode(self, text: str) -> tuple[list[int], None]:
        return [int(text)], None

    def embed_tokens(self, token_ids: list[list[int]]) -> Any:
        return np.array([self.vectors[number] for [number] in token_ids], dtype=np.float32)


def vectors_of(seed: int) -> Any:
    made = np.random.default_rng(seed).normal(size=(ROWS, 8)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def sampled(path: Path, given: Any, model: Model, size: int = 100) -> SampleResult:
    texts = list(map(str, range(ROWS)))
    pl.DataFrame({"text": texts, "vector": given.tolist()}).write_parquet(path)
    file = EmbeddingsFile(path, dimensions=8, normalised=True)
    rows = file.check().usable
    named: Any = {"embedder": model, "tokenizer": model}
    # Every row has its text, so nothing is asked of a database.
    connection: Any = None
    return try_sample(connection, file, size=size, rows=rows, **named)


@pytest.mark.parametrize("step", [40, 41, 100])
def test_no_pattern_of_rows_keeps_wrong_ones_out_of_the_sample(tmp_path: Path, step: int) -> None:
    right = vectors_of(1)
    given = vectors_of(2)
    given[::step] = right[::step]
    result = sampled(tmp_path / "file.parquet", given, Model(right))
    assert result.tried == 100
    assert not result.passed


def test_a_file_of_the_space_passes_and_is_sampled_alike_again(tmp_path: Path) -> None:
    right = vectors_of(1)
    given = right.copy()
    given[::50] = vectors_of(2)[::50]
    path = tmp_path / "file.parquet"
    assert sampled(path, right, Model(right)).passed
    assert sampled(path, given, Model(right)) == sampled(path, given, Model(right))
    assert sampled(path, right, Model(right), size=10_000).tried == ROWS


@pytest.mark.parametrize(
    ("wanted", "tried", "passed"),
    [
        *((100, 1, False), (100, 30, False), (100, 50, False), (100, 51, True)),
        *((40, 29, False), (40, 30, True), (10, 9, False), (10, 10, True)),
        *((1, 1, True), (0, 0, False), (1_000, 500, False)),
    ],
)
def test_a_sample_that_could_not_be_compared_says_nothing(
    wanted: int, tried: int, passed: bool
) -> None:
    counts = {"wanted": wanted, "tried": tried, "too_long": 0, "unknown": wanted - tried}
    result = SampleResult(mean=1.0, smallest=1.0, **counts)
    assert result.passed is passed
    assert f"{tried:,}" in result.sentence()
    assert (wanted - tried == 0) or (f"{wanted - tried:,}" in result.sentence())
