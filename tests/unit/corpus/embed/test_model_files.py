"""What a model's files say about its vectors."""

import hashlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from corpus.embed import model_files as module
from corpus.embed.embedder import _load
from corpus.embed.model_files import (
    is_pinned,
    model_folder,
    read_embedding_spec,
    require_own_weights,
    token_limit,
)
from corpus.embed.tokenizer import load_tokenizer
from corpus.errors import ConfigurationError

MODEL = "all-MiniLM-L6-v2"


def write(folder: Path, files: dict[str, Any]) -> Path:
    """Write JSON files, and weights."""
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content), encoding="utf-8")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def modules(*kinds: str) -> list[dict[str, str]]:
    return [{"path": f"{number}_{kind}", "type": f"x.{kind}"} for number, kind in enumerate(kinds)]


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


def test_a_space_without_context_is_the_one_that_was_there_before() -> None:
    # As the first version stored it (tests/migrations/first_version.sql).
    assert read_embedding_spec(MODEL).fingerprint() == "6b28ad40c1f237c0"
    assert read_embedding_spec(MODEL, "", "headings").fingerprint() != "6b28ad40c1f237c0"


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


def test_local_folder_is_itself() -> None:
    folder = model_folder(MODEL)
    assert model_folder(str(folder)) == folder


@pytest.mark.parametrize(
    ("settings", "pooling", "dimensions"),
    [
        ({"word_embedding_dimension": 8, "pooling_mode_cls_token": True}, "cls", 8),
        ({"embedding_dimension": 8, "pooling_mode": ["cls", "mean"]}, "cls+mean", 16),
        (
            {
                "word_embedding_dimension": 8,
                "pooling_mode_max_tokens": True,
                "pooling_mode_mean_tokens": True,
            },
            "max+mean",
            16,
        ),
        ({}, "mean", 4),
        ({"pooling_mode": ""}, "mean", 4),
    ],
)
def test_pooling(tmp_path: Path, settings: dict[str, Any], pooling: str, dimensions: int) -> None:
    files = {
        "config.json": {"hidden_size": 4},
        "modules.json": modules("Transformer", "Pooling"),
        "1_Pooling/config.json": settings,
    }
    spec = read_embedding_spec(str(write(tmp_path, files)))
    assert (spec.pooling, spec.dimensions, spec.normalised) == (pooling, dimensions, False)


def test_a_dense_layer_changes_the_dimensions_and_a_last_one_normalises(tmp_path: Path) -> None:
    files = {
        "config.json": {"hidden_size": 4},
        "modules.json": modules("Transformer", "Pooling", "Dense", "Normalize"),
        "2_Dense/config.json": {"out_features": 99},
    }
    spec = read_embedding_spec(str(write(tmp_path, files)))
    assert (spec.dimensions, spec.normalised) == (99, True)


@pytest.mark.parametrize("config", [{}, {"hidden_size": "4"}, [], "text"])
def test_a_model_without_dimensions_is_named(tmp_path: Path, config: Any) -> None:
    write(tmp_path, {"config.json": config})
    with pytest.raises(ConfigurationError, match="dimensions"):
        read_embedding_spec(str(tmp_path))


def test_a_model_without_weights_is_named(tmp_path: Path) -> None:
    write(tmp_path, {"config.json": {"hidden_size": 4}})
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ConfigurationError, match="copy the whole model"):
        read_embedding_spec(str(tmp_path))


def test_several_files_of_weights_are_one_identity(tmp_path: Path) -> None:
    write(tmp_path, {"config.json": {"hidden_size": 4}})
    one = read_embedding_spec(str(tmp_path)).weights
    (tmp_path / "model-2.safetensors").write_bytes(b"more")
    two = read_embedding_spec(str(tmp_path)).weights
    (tmp_path / "model-2.safetensors").write_bytes(b"else")
    three = read_embedding_spec(str(tmp_path)).weights
    assert len({one, two, three}) == 3


def test_a_snapshot_of_the_hub_is_its_revision(tmp_path: Path) -> None:
    folder = tmp_path / "snapshots" / "abc123"
    write(folder, {"config.json": {"hidden_size": 4}})
    assert read_embedding_spec(str(folder)).weights == "abc123"


COMMIT = "0123456789abcdef" * 2 + "01234567"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub whose model `team/model` is at COMMIT; the revision that is asked for is the one that it has."""

    def download(name: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        assert name == "team/model"
        folder = tmp_path / "snapshots" / (revision or COMMIT)
        write(folder, {"config.json": {"hidden_size": 4}})
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    module._from_hub.cache_clear()
    return tmp_path


def test_a_model_of_a_hub_has_the_revision_that_is_named(
    hub: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pinned = read_embedding_spec(f"team/model@{COMMIT[::-1]}")
    assert pinned.weights == COMMIT[::-1]
    assert is_pinned(f"team/model@{COMMIT}")
    assert caplog.records == []
    # Pinned or not, the same weights are the same space.
    loose = read_embedding_spec("team/model")
    assert loose.fingerprint() == read_embedding_spec(f"team/model@{COMMIT}").fingerprint()
    assert f'set model = "team/model@{COMMIT}"' in caplog.text
    for model in ("team/model", "team/model@main", "team/model@", f"team/model@{COMMIT}x"):
        assert not is_pinned(model)


def test_folders_are_known_by_their_digest(hub: Path) -> None:
    assert is_pinned(MODEL)
    assert is_pinned(str(hub))


def test_weights_are_of_the_revision_whose_description_was_read(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[tuple[str, Any]] = []

    class Model:
        def __init__(self, name: str, *, revision: str | None, **_options: object) -> None:
            loaded.append((name, revision))

        def eval(self) -> None:
            return None

    fake = ModuleType("sentence_transformers")
    fake.SentenceTransformer = Model  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sentence_transformers", fake)
    for model in ("team/model", f"team/model@{COMMIT[::-1]}", MODEL):
        _load(model, "cpu", "torch")
    folder = str(model_folder(MODEL))
    expected = [("team/model", COMMIT), ("team/model", COMMIT[::-1]), (folder, None)]
    assert loaded == expected


def test_altered_weights_of_a_hub_are_refused(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"weights").hexdigest()
    blob = tmp_path / "blobs" / digest
    folder = tmp_path / "snapshots" / COMMIT
    for path in (blob.parent, folder):
        path.mkdir(parents=True)
    blob.write_bytes(b"weights")
    (folder / "model.safetensors").symlink_to(blob)
    require_own_weights(folder)
    blob.write_bytes(b"altered")
    with pytest.raises(ConfigurationError, match=f"are not those of the hub, .*{digest}"):
        require_own_weights(folder)


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, 512),
        ({"sentence_bert_config.json": {"max_seq_length": 64}}, 64),
        ({"sentence_bert_config.json": {"max_seq_length": None}}, 512),
        ({"sentence_bert_config.json": {"max_seq_length": 0}}, 512),
        ({"config.json": {"max_position_embeddings": 128}}, 128),
        ({"tokenizer_config.json": {"model_max_length": 32.0}}, 32),
        ({"tokenizer_config.json": {"model_max_length": 1e30}}, 512),
        ({"tokenizer_config.json": {"model_max_length": -1}}, 512),
        (
            {
                "tokenizer_config.json": {"model_max_length": 256},
                "config.json": {"max_position_embeddings": 128},
            },
            128,
        ),
    ],
)
def test_token_limits(tmp_path: Path, files: dict[str, Any], limit: int) -> None:
    assert token_limit(write(tmp_path, files)) == limit


@pytest.mark.parametrize("model", ["./nowhere", "/nowhere/at/all", "~/nowhere-at-all", "."])
def test_what_is_written_as_a_path_is_no_name_of_the_hub(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ConfigurationError):
        read_embedding_spec(model)
