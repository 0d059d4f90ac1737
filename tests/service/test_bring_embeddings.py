"""`freshet bring-embeddings`: vectors are taken over when a sample shows that they are of the space."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from corpus.embed.model_files import read_embedding_spec
from corpus.embed.tokenizer import load_tokenizer
from tests.support.commands import CommandLine, Done
from tests.support.fakes import MODEL, HashEmbedder
from tests.support.pipeline import Pipeline, make_event
from workers.roles.models import LoadedModels

pytestmark = pytest.mark.service
SPEC = read_embedding_spec(MODEL, "")
TEXTS = [f"Gauge {number} of the weir at mile {7 * number}." for number in range(40)]
Bring = Callable[..., Done]


@pytest.fixture
def bring(
    pipeline: Pipeline,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Bring:
    """Runs the command on a file of these columns; its model is the pipeline's."""
    freshet = CommandLine(tmp_path, monkeypatch, capsys)
    embedder = pipeline.embedder
    monkeypatch.setattr(LoadedModels, "of", lambda *_: embedder)

    def bring(columns: dict[str, Any], *words: str) -> Done:
        pl.DataFrame(columns).write_parquet(tmp_path / "e.parquet")
        return freshet(
            *("bring-embeddings", "e.parquet", "--json", *words),
            FRESHET_DATABASE_URL=pipeline.database_url,
            FRESHET_KAFKA_BOOTSTRAP="127.0.0.1:1",
            TEMPORAL_ADDRESS="127.0.0.1:1",
        )

    return bring


def vectors_of(texts: list[str]) -> list[list[float]]:
    embedder = HashEmbedder()
    return [embedder.embed_query(text).tolist() for text in texts]


def stored(pipeline: Pipeline) -> int:
    row = pipeline.connection.execute("SELECT count(*) FROM freshet.embedding").fetchone()
    assert row is not None
    return int(row[0])


def test_brought_vectors_are_not_made_again(pipeline: Pipeline, bring: Bring) -> None:
    columns = {"text": TEXTS, "vector": vectors_of(TEXTS)}
    done = bring(columns, "--space", MODEL, "--dry-run")
    assert done.code == 0, done.stderr
    row = json.loads(done.stdout)
    assert (row["sample"]["passed"], row["sample"]["tried"], row["brought"]) == (True, 40, None)
    assert stored(pipeline) == 0
    done = bring(columns, "--space", SPEC.fingerprint()[:8], "--sample", "10")
    row = json.loads(done.stdout)
    assert (done.code, row["sample"]["tried"]) == (0, 10)
    assert row["brought"] == {"kept": 40, "present": 0, "claimed": 0}
    # Again, also after an end in the middle: what is there stays.
    done = bring(columns, "--space", MODEL)
    assert json.loads(done.stdout)["brought"] == {"kept": 0, "present": 40, "claimed": 0}
    pipeline.embedder.embedded.clear()
    events = [make_event(f"d{number}", 1, text) for number, text in enumerate(TEXTS)]
    report = pipeline.ingest(*events, make_event("new", 1, "A text that no file brought."))
    assert report.documents_written == 41
    assert sum(pipeline.embedder.embedded.values()) == 1
    hit, *_ = pipeline.search("gauge 7 of the weir at mile 49")
    assert hit.document_id == "d7"
    # Hashes alone: their texts are those of the corpus.
    hashes = [hashlib.sha256(text.encode()).hexdigest() for text in TEXTS]
    done = bring({"text_sha256": hashes, "vector": columns["vector"]}, "--space", MODEL)
    row = json.loads(done.stdout)
    assert (done.code, row["sample"]["tried"], row["brought"]["present"]) == (0, 40, 40)


def test_vectors_of_another_space_are_refused_with_the_figures(
    pipeline: Pipeline, bring: Bring
) -> None:
    right = np.array(vectors_of(TEXTS), dtype=np.float32)
    generator = np.random.default_rng(5)
    noise = generator.standard_normal(right.shape).astype(np.float32) * 0.02
    shifted = [*vectors_of(TEXTS[1:]), *vectors_of(TEXTS[:1])]
    for wrong in ((right + noise).tolist(), shifted):
        done = bring({"text": TEXTS, "vector": wrong}, "--space", MODEL)
        assert done.code == 1
        row = json.loads(done.stdout)
        assert row["sample"]["passed"] is False
        assert row["brought"] is None
        assert "is not of space" in done.stderr
        assert f"{row['sample']['mean']:.4f} in the mean" in done.stderr
    assert stored(pipeline) == 0
    unknown = [hashlib.sha256(text.encode()).digest() for text in TEXTS]
    done = bring({"text_sha256": unknown, "vector": right.tolist()}, "--space", MODEL)
    assert done.code == 1
    assert "the texts of 40 hashes are not known" in done.stderr
    done = bring({"text": ["word " * 2_000], "vector": right[:1].tolist()}, "--space", MODEL)
    assert "1 are longer than the model reads" in done.stderr


def test_refused_rows_are_counted_and_the_others_kept(pipeline: Pipeline, bring: Bring) -> None:
    vectors = vectors_of(TEXTS)
    vectors[3] = vectors[3][:-1]
    vectors[4][0] = float("nan")
    done = bring({"text": TEXTS, "vector": vectors}, "--space", MODEL)
    row = json.loads(done.stdout)
    assert (done.code, row["file"]["wrong_dimensions"], row["file"]["not_finite"]) == (1, 1, 1)
    assert row["brought"]["kept"] == stored(pipeline) == 38


def test_a_space_that_no_source_has_is_refused(bring: Bring) -> None:
    columns = {"text": TEXTS, "vector": vectors_of(TEXTS)}
    done = bring(columns, "--space", "other-model")
    assert done.code == 2
    assert SPEC.fingerprint() in done.stderr


HEADED = read_embedding_spec(MODEL, "", "headings")


def with_context(pipeline: Pipeline) -> None:
    pipeline.spec = replace(pipeline.spec, context="headings")
    pipeline.configure()
    pipeline.embedder.embedded.clear()


def vectors_below(contexts: list[str], texts: list[str]) -> list[list[float]]:
    """As the model makes them of what a chunk is read below."""
    tokenizer = load_tokenizer(MODEL, "")
    pairs = zip(contexts, texts, strict=True)
    tokens = [
        [*tokenizer.encode(f"{above}\n")[0], *tokenizer.encode(text)[0]] for above, text in pairs
    ]
    return HashEmbedder().embed_tokens(tokens).tolist()


def test_a_space_with_context_takes_what_was_read_above_a_text(
    pipeline: Pipeline, bring: Bring
) -> None:
    with_context(pipeline)
    above = [f"Weir {number}" for number in range(40)]
    vectors = vectors_below(above, TEXTS)
    space = HEADED.fingerprint()
    columns = {"text": TEXTS, "context": above, "vector": vectors}
    done = bring(columns, "--space", space)
    assert done.code == 0, done.stderr
    row = json.loads(done.stdout)
    assert (row["sample"]["tried"], row["brought"]["kept"]) == (40, 40)
    # The next batch makes these very chunks, and embeds none of them.
    pipeline.embedder.embedded.clear()
    events = [make_event(f"d{n}", 1, TEXTS[n], title=f"Weir {n}") for n in range(40)]
    report = pipeline.ingest(*events)
    assert report.documents_written == 40
    assert sum(pipeline.embedder.embedded.values()) == 0


def test_a_space_with_context_refuses_vectors_of_texts_alone(
    pipeline: Pipeline, bring: Bring
) -> None:
    with_context(pipeline)
    space = HEADED.fingerprint()
    alone = vectors_of(TEXTS)
    done = bring({"text": TEXTS, "vector": alone}, "--space", space)
    assert done.code == 2
    assert "needs a column context beside text" in done.stderr
    columns: dict[str, Any] = {"text": TEXTS, "context": ["Weir"] * 40, "vector": alone}
    done = bring(columns, "--space", space)
    assert done.code == 1
    assert "is not of space" in done.stderr
    assert stored(pipeline) == 0


def test_a_context_is_refused_by_a_space_without_one(pipeline: Pipeline, bring: Bring) -> None:
    columns = {"text": TEXTS, "context": ["Weir"] * 40, "vector": vectors_of(TEXTS)}
    done = bring(columns, "--space", MODEL)
    assert done.code == 2
    assert "the space embeds texts alone" in done.stderr
    assert stored(pipeline) == 0
