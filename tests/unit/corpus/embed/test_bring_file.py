"""A file of embeddings: every row is usable or refused for a reason, whatever the types; pages equal the check."""

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from corpus.embed.bring import file as bring_file
from corpus.embed.bring.file import EmbeddingsFile, FileCounts
from corpus.errors import ConfigurationError

DIMENSIONS = 4


def sha(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def opened(path: Path, columns: dict[str, Any], *, normalised: bool = True) -> EmbeddingsFile:
    pl.DataFrame(columns, strict=False).write_parquet(path)
    return EmbeddingsFile(path, dimensions=DIMENSIONS, normalised=normalised)


def unit(number: int) -> list[float]:
    vector = [0.0] * DIMENSIONS
    vector[number % DIMENSIONS] = 1.0
    return vector


def taken(file: EmbeddingsFile) -> dict[bytes, list[float]]:
    return {
        digest: vector.tolist()
        for page in file.pages()
        for digest, vector in zip(page.hashes, page.vectors, strict=True)
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "e.parquet"


@pytest.mark.parametrize("page", [1, 2, 3, 1_000])
def test_each_row_is_usable_or_refused_for_one_reason(
    path: Path, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr(bring_file, "PAGE", page)
    rows: list[tuple[str | None, str | None, list[float] | None]] = [
        ("a", None, unit(0)),
        ("b", sha("b").hex(), unit(1)),
        (None, sha("c").hex(), [2.0, 0.0, 0.0, 0.0]),
        (None, None, unit(0)),
        ("nul\x00", None, unit(0)),
        ("d", sha("other").hex(), unit(0)),
        (None, "not hexadecimal", unit(0)),
        (None, "abcd", unit(0)),
        ("e", None, [1.0, 0.0]),
        ("f", None, []),
        ("g", None, None),
        ("h", None, [math.nan, 0.0, 0.0, 1.0]),
        ("i", None, [math.inf, 0.0, 0.0, 1.0]),
        ("j", None, [0.0, 0.0, 0.0, 0.0]),
        ("a", None, unit(0)),
        (None, sha("a").hex(), unit(0)),
        ("k", None, unit(2)),
        ("k", None, unit(3)),
    ]
    texts, hashes, vectors = zip(*rows, strict=True)
    columns = {"text": texts, "text_sha256": hashes, "vector": vectors}
    file = opened(path, columns)
    assert file.check() == FileCounts(
        rows=18,
        usable=3,
        no_text=2,
        wrong_hash=3,
        wrong_dimensions=3,
        not_finite=3,
        repeated=2,
        contradicting=2,
        scaled=1,
    )
    assert taken(file) == {sha("a"): unit(0), sha("b"): unit(1), sha("c"): unit(0)}


@pytest.mark.parametrize(
    "kind", [pl.List(pl.Float64), pl.List(pl.Float32), pl.Array(pl.Float32, DIMENSIONS)]
)
@pytest.mark.parametrize("as_bytes", [True, False])
def test_types_of_vectors_and_hashes(path: Path, kind: Any, as_bytes: bool) -> None:
    digest = sha("a") if as_bytes else sha("a").hex()
    vectors = pl.Series([unit(1)], dtype=kind)
    file = opened(path, {"text_sha256": [digest], "vector": vectors})
    assert file.check().usable == 1
    assert taken(file) == {sha("a"): unit(1)}


def test_vectors_of_a_space_without_a_length_stay(path: Path) -> None:
    file = opened(path, {"text": ["a"], "vector": [[2.0, 0.0, 0.0, 0.0]]}, normalised=False)
    assert file.check().scaled == 0
    assert taken(file)[sha("a")] == [2.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"vector": [unit(0)]}, "text or text_sha256"),
        ({"text": ["a"], "embedding": [unit(0)]}, "needs a column vector"),
        ({"text": ["a"], "vector": ["1,2"]}, "must be a list of numbers"),
        ({"text": [1], "vector": [unit(0)]}, "must be a text"),
    ],
)
def test_a_file_without_its_columns_is_refused(
    path: Path, columns: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        opened(path, columns)


def test_what_is_no_parquet_or_has_no_rows_is_refused(path: Path) -> None:
    path.write_bytes(b"PAR1 and nothing else")
    with pytest.raises(ConfigurationError, match="cannot be read as Parquet"):
        EmbeddingsFile(path, dimensions=DIMENSIONS, normalised=True)
    schema = {"text": pl.String, "vector": pl.List(pl.Float32)}
    pl.DataFrame(schema=schema).write_parquet(path)
    with pytest.raises(ConfigurationError, match="no rows"):
        EmbeddingsFile(path, dimensions=DIMENSIONS, normalised=True).check()


def test_a_file_that_changes_meanwhile_is_noticed(path: Path) -> None:
    file = opened(path, {"text": ["a", "b"], "vector": [unit(0), unit(1)]})
    file.check()
    columns = {"text": ["a", "b"], "vector": [unit(0), [np.nan] * DIMENSIONS]}
    pl.DataFrame(columns).write_parquet(path)
    with pytest.raises(ConfigurationError, match=r"was changed|cannot be read"):
        list(file.pages())


@pytest.mark.parametrize("stated", [1, ["a"], 0.5], ids=["integer", "list", "float"])
def test_hashes_of_another_type_are_refused(path: Path, stated: Any) -> None:
    with pytest.raises(ConfigurationError, match="text_sha256 of type"):
        opened(path, {"text_sha256": [stated], "vector": [unit(0)]})
