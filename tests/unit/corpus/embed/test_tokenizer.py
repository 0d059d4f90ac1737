"""The tokenizer without the model, and what the model's files say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from corpus.embed.model_files import model_folder, read_embedding_spec, token_limit
from corpus.embed.tokenizer import load_tokenizer
from corpus.errors import ConfigurationError

MODEL = "all-MiniLM-L6-v2"


def test_limit_and_special_tokens_of_the_bundled_model() -> None:
    tokenizer = load_tokenizer(MODEL)
    assert (tokenizer.limit, tokenizer.special_tokens) == (256, 2)
    assert (tokenizer.prefix_ids, tokenizer.suffix_ids) == ((101,), (102,))


def test_nothing_is_added_or_cut_off_and_offsets_are_characters() -> None:
    text = "Größe \U0001f600 weir " * 400
    ids, offsets = load_tokenizer(MODEL).encode(text)
    assert len(ids) == len(offsets) > 1_000
    start, end = offsets[ids.index(load_tokenizer(MODEL).encode("weir")[0][0])]
    assert text[start:end] == "we"[: end - start] or text[start:end] == "weir"


def test_a_prefix_counts_as_special_tokens() -> None:
    tokenizer = load_tokenizer(MODEL, prefix="passage: ")
    assert tokenizer.special_tokens == 2 + len(load_tokenizer(MODEL).encode("passage: ")[0])


def test_the_space_is_described_by_the_models_own_files() -> None:
    spec = read_embedding_spec(f"sentence-transformers/{MODEL}", "")
    assert (spec.dimensions, spec.pooling, spec.normalised, spec.token_limit) == (
        384,
        "mean",
        True,
        256,
    )
    assert len(spec.weights) == 64
    assert spec.fingerprint() == read_embedding_spec(MODEL, "").fingerprint()
    assert spec.fingerprint() != read_embedding_spec(MODEL, "passage: ").fingerprint()


def test_newer_files_say_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "1_Pooling").mkdir(parents=True)
    module = "sentence_transformers.sentence_transformer.modules.pooling.Pooling"
    (folder / "modules.json").write_text(
        json.dumps([{"path": "", "type": "x.Transformer"}, {"path": "1_Pooling", "type": module}])
    )
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps({"embedding_dimension": 8, "pooling_mode": "cls"})
    )
    (folder / "config.json").write_text(
        json.dumps({"hidden_size": 8, "max_position_embeddings": 512})
    )
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 128}))
    (folder / "model.safetensors").write_bytes(b"weights")
    spec = read_embedding_spec(str(folder), "")
    assert (spec.model, spec.dimensions, spec.pooling, spec.normalised, spec.token_limit) == (
        "mine",
        8,
        "cls",
        False,
        128,
    )
    (folder / "model.safetensors").write_bytes(b"other weights")
    assert read_embedding_spec(str(folder), "").fingerprint() != spec.fingerprint()


def test_no_limit_stated_is_not_taken_for_one(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 10**30}))
    assert token_limit(tmp_path) == 512


def test_a_model_that_cannot_be_had_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigurationError, match="nobody/nothing"):
        load_tokenizer("nobody/nothing")
    with pytest.raises(ConfigurationError, match=r"\./nowhere"):
        load_tokenizer("./nowhere")


def test_the_model_itself_is_not_imported() -> None:
    script = "import sys, corpus.split.splitter, corpus.embed.tokenizer; corpus.embed.tokenizer.load_tokenizer('all-MiniLM-L6-v2'); "
    script += "assert not {'torch', 'transformers', 'sentence_transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_local_folder_is_itself() -> None:
    folder = model_folder(MODEL)
    assert model_folder(str(folder)) == folder
