"""The reranking model: a query and passages in, a number for each passage out. It is loaded once per process."""

import logging
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from corpus.disclosure.error_text import public_text
from corpus.embed.embedder import one_pass_per_core
from corpus.embed.model_files import (
    loadable_name,
    local_folder,
    model_folder,
    read_object,
    require_own_weights,
)
from corpus.errors import ConfigurationError, DependencyError

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

logger = logging.getLogger(__name__)

# Pairs per forward pass on a CPU; as small batches of similar lengths waste the least padding.
_CPU_BATCH = 8
_PROBES = [
    ("When does the river rise?", "Snowmelt and heavy rain make a freshet in spring."),
    (
        "When does the river rise?",
        "An index scan that filters afterwards returns fewer rows.",
    ),
    ("refund", "Refunds are possible within 30 days of purchase; see section 4.2."),
    ("?", "OK"),
]
# Two loads of the same weights differ by no more.
_SAME_SCORE = 1e-5


class CrossEncoderReranker:
    """Reranker behind sentence-transformers.

    Args:
        model: as configured: a folder, or ORGANISATION/NAME of a hub, with @ and a revision or without.
        device: "auto", or a device's name in torch.
        threads: parallel forward passes on a CPU, each on one core; 0: one per core.

    Raises:
        ConfigurationError: the model cannot be loaded, or is no reranker.
    """

    def __init__(self, model: str, *, device: str = "auto", threads: int = 0) -> None:
        # Sentence-transformers' own types are unknown in part, so the model is used without types.
        self._model: Any = _load(model, device)
        # As `CrossEncoder.predict` chooses it.
        self._prompt = self._model.prompts.get(self._model.default_prompt_name)
        # A tokenizer of the `tokenizers` library serves one thread at a time.
        self._tokenizing = threading.Lock()
        on_cpu = self._model.device.type == "cpu"
        self._batch = _CPU_BATCH if on_cpu else 0
        passes = one_pass_per_core(threads) if on_cpu else 1
        self._passes = ThreadPoolExecutor(passes, thread_name_prefix="rerank")
        self._require_reranker(model, device)
        context = {
            "action": "model_loaded",
            "model": model,
            "device": str(self._model.device),
        }
        logger.info("reranking model loaded", extra=context)

    def scores(
        self,
        query: str,
        passages: Sequence[str],
        go_on: Callable[[], None] = lambda: None,
    ) -> list[float]:
        """Return what the model gives for each pair, in the order of the passages; greater is better.

        Args:
            query: as it was asked.
            passages: what is longer than the model reads counts with its beginning.
            go_on: called between passes; what it raises ends them.

        Raises:
            DependencyError: the device failed, as for want of memory.
        """
        count = len(passages)
        longest_first = sorted(
            range(count), key=lambda number: len(passages[number]), reverse=True
        )
        size = self._batch or max(1, count)
        batches = [
            longest_first[start : start + size] for start in range(0, count, size)
        ]
        pairs = ([(query, passages[number]) for number in batch] for batch in batches)
        scores = [0.0] * count
        go_on()
        try:
            for batch, some in zip(
                batches, self._passes.map(self._forward, pairs), strict=True
            ):
                go_on()
                for number, score in zip(batch, some, strict=True):
                    scores[number] = score
        except RuntimeError as error:
            raise DependencyError(
                f"reranking failed: {public_text(error)}; search again"
            ) from error
        return scores

    def _forward(self, pairs: list[tuple[str, str]]) -> list[float]:
        """One pass; what `CrossEncoder.predict` gives for these pairs."""
        import torch

        with self._tokenizing:
            features = self._model.preprocess(pairs, prompt=self._prompt)
        device = self._model.device
        on_device = {
            name: value.to(device) if isinstance(value, torch.Tensor) else value
            for name, value in features.items()
        }
        with torch.inference_mode():
            scores = self._model(on_device)["scores"]
            activated = self._model.activation_fn(scores.float())
        return activated.reshape(len(pairs), -1)[:, 0].tolist()

    def _require_reranker(self, model: str, device: str) -> None:
        """Refuse a model whose numbers would order nothing.

        A model without a trained head is given one of random numbers by the libraries, with a line in the log at most.
        Those of another load are others.

        Raises:
            ConfigurationError: says which model it is.
        """
        labels = int(self._model.num_labels)
        if labels != 1:
            raise ConfigurationError(
                f"FRESHET_RERANK_MODEL={model} gives {labels} numbers per passage; a reranking model gives one"
            )
        own = self._model
        try:
            scores = self._forward(_PROBES)
            self._model = _load(model, device)
            again = self._forward(_PROBES)
        except (OSError, ValueError, RuntimeError, TypeError, KeyError) as error:
            raise ConfigurationError(
                f"FRESHET_RERANK_MODEL={model} cannot read a query and a passage: {public_text(error)}"
            ) from error
        self._model = own
        if not np.allclose(scores, again, rtol=0, atol=_SAME_SCORE):
            raise ConfigurationError(
                f"FRESHET_RERANK_MODEL={model} gives other scores each time it is loaded: it has no trained head for "
                "them; name a cross-encoder, such as cross-encoder/ms-marco-MiniLM-L6-v2"
            )


def _load(model: str, device: str) -> "CrossEncoder":
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")
    try:
        from safetensors import SafetensorError
        from sentence_transformers import CrossEncoder
    except ImportError as error:
        raise ConfigurationError(
            f"reranking needs the extra freshet[embed] ({public_text(error)})"
        ) from error
    if local_folder(model) is None and "/" not in model:
        # A hub has no model without an organisation, and the libraries choose one by what they load.
        raise ConfigurationError(
            f"FRESHET_RERANK_MODEL={model} is not a folder; name a model of the hub with its organisation, such as "
            "cross-encoder/ms-marco-MiniLM-L6-v2"
        )
    folder = model_folder(model)
    name, revision = loadable_name(model, folder)
    chosen_device = None if device == "auto" else device
    try:
        _require_cross_encoder(model, folder)
        loaded = CrossEncoder(name, revision=revision, device=chosen_device)
        require_own_weights(folder)
        return loaded.eval()
    except (
        OSError,
        ValueError,
        RuntimeError,
        TypeError,
        KeyError,
        SafetensorError,
    ) as error:
        raise ConfigurationError(
            f"reranking model {model!r} cannot be loaded on device {device!r}: {public_text(error)}"
        ) from error


def _require_cross_encoder(model: str, folder: Path) -> None:
    """Refuse what the libraries would make one of: models of embeddings, and those that write text.

    Raises:
        ConfigurationError: neither sentence-transformers nor transformers wrote it as one that gives a pair a number.
    """
    architectures = cast(
        "list[Any]", read_object(folder, "config.json").get("architectures") or []
    )
    kind = read_object(folder, "config_sentence_transformers.json").get("model_type")
    gives_numbers = any(
        str(name).endswith("ForSequenceClassification") for name in architectures
    )
    if kind == "CrossEncoder" or (gives_numbers and kind is None):
        return
    what = (
        kind
        or ", ".join(map(str, architectures))
        or "a model that does not say what it is"
    )
    raise ConfigurationError(
        f"FRESHET_RERANK_MODEL={model} is no cross-encoder but {what}; name one, such as "
        "cross-encoder/ms-marco-MiniLM-L6-v2"
    )
