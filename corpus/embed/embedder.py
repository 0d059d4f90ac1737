"""The model: token ids in, vectors out. Loaded once a process; bf16 where it is faithful and faster, else fp32.

The fast path feeds token ids that the splitter already has, sorted by length, straight into the model's modules. Query
texts go through sentence-transformers' own `encode_query`.
"""

import logging
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from corpus.embed.model_files import local_folder
from corpus.embed.tokenizer import load_tokenizer
from corpus.errors import ConfigurationError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger(__name__)

Vectors = npt.NDArray[np.float32]

# bf16 is taken where the device has units for it (others emulate it, slowly) and its vectors point where fp32's do
# (measured on all-MiniLM-L6-v2: mean 0.99995, least 0.99989).
_FAITHFUL_MEAN = 0.9999
_FAITHFUL_LEAST = 0.9995
# Small batches of like lengths waste the least padding; a CPU gains nothing by larger ones.
_CPU_BATCH = 8
_PROBES = (
    "The gauging station at the weir recorded its highest level since 1962.",
    "def fold(events): return {event.id: event for event in sorted(events, key=lambda event: event.version)}",
    "PEP 703 proposes to make the global interpreter lock optional in CPython.",
    "Snowmelt, heavy rain and frozen ground together make a freshet: a sudden rise of the river in spring. "
    * 6,
    "Refunds are possible within 30 days of purchase; see section 4.2 for exceptions.",
    "Überschwemmungen an der Elbe: Pegelstände in Dresden und Magdeburg.",
    "An index scan that filters after the scan may return fewer rows than were asked for. " * 8,
    "OK",
)


class Embedder(Protocol):
    """What the embed step and search need of a model."""

    dimensions: int

    def embed_tokens(self, token_ids: Sequence[Sequence[int]]) -> Vectors:
        """Vectors (n, dimensions), float32, in the order given, of texts as token ids without special tokens."""
        ...

    def embed_query(self, text: str) -> Vectors:
        """Vector (dimensions,), float32, of a query."""
        ...


class SentenceTransformerEmbedder:
    """Embedder behind sentence-transformers.

    Args:
        model: as configured: a folder, the bundled model's name, or a hub name.
        prefix: put before every document text.
        device: "auto", or what torch calls a device.
        precision: "auto", "fp32" or "bf16".
        backend: sentence-transformers' backend: "torch", "onnx", "openvino".
        batch: texts a forward pass; 0: 8 on a CPU, else all of a call.
        threads: forward passes side by side on a CPU, each on one core; 0: one a core.

    Raises:
        ConfigurationError: the model cannot be loaded.
    """

    def __init__(
        self,
        model: str,
        *,
        prefix: str = "",
        device: str = "auto",
        precision: str = "auto",
        backend: str = "torch",
        batch: int = 0,
        threads: int = 0,
    ) -> None:
        self._tokenizer = load_tokenizer(model, prefix)
        self._model = _load(model, device, backend)
        self.device = str(self._model.device)
        self._batch = batch or (_CPU_BATCH if self.device == "cpu" else sys.maxsize)
        self._passes = ThreadPoolExecutor(
            self._side_by_side(backend, threads), thread_name_prefix="forward"
        )
        self._pad = int(getattr(self._model.tokenizer, "pad_token_id", 0) or 0)
        self.dimensions = int(self._model.get_embedding_dimension() or 0)
        self.precision = self._choose_precision(precision if backend == "torch" else "fp32")
        logger.info(
            "model loaded",
            extra={
                "action": "model_loaded",
                "model": model,
                "device": self.device,
                "precision": self.precision,
                "backend": backend,
            },
        )

    def embed_tokens(self, token_ids: Sequence[Sequence[int]]) -> Vectors:
        """Vectors (n, dimensions), float32, unit length where the model normalises; batched by length."""
        order = sorted(range(len(token_ids)), key=lambda place: len(token_ids[place]), reverse=True)
        size = min(self._batch, max(1, len(order)))
        batches = [order[start : start + size] for start in range(0, len(order), size)]
        vectors = np.empty((len(token_ids), self.dimensions), dtype=np.float32)
        texts = ([token_ids[place] for place in places] for places in batches)
        for places, found in zip(batches, self._passes.map(self._forward, texts), strict=True):
            vectors[places] = found
        return vectors

    def embed_query(self, text: str) -> Vectors:
        """Vector (dimensions,), float32."""
        vector = self._model.encode_query(
            text, convert_to_numpy=False, convert_to_tensor=True, show_progress_bar=False
        )
        return _float32(vector)[0] if vector.ndim == 2 else _float32(vector[None])[0]

    def _side_by_side(self, backend: str, threads: int) -> int:
        """Forward passes at a time.

        On a CPU one a core, each on one thread: several threads in one pass wait for each other, and for every moment that
        another process takes one of their cores (measured on two cores: 13 % faster alone).
        """
        if backend != "torch" or self.device != "cpu":
            return 1  # these bring their own
        import torch

        torch.set_num_threads(1)
        return threads or len(os.sched_getaffinity(0))

    def _forward(self, token_ids: Sequence[Sequence[int]]) -> Vectors:
        import torch

        before, after = self._tokenizer.prefix_ids, self._tokenizer.suffix_ids
        width = max(map(len, token_ids)) + len(before) + len(after)
        ids = np.full((len(token_ids), width), self._pad, dtype=np.int64)
        mask = np.zeros((len(token_ids), width), dtype=np.int64)
        for row, tokens in enumerate(token_ids):
            length = len(before) + len(tokens) + len(after)
            ids[row, :length] = (*before, *tokens, *after)
            mask[row, :length] = 1
        device = self._model.device
        features = {
            "input_ids": torch.from_numpy(ids).to(device),
            "attention_mask": torch.from_numpy(mask).to(device),
        }
        with torch.inference_mode():
            return _float32(self._model.forward(features)["sentence_embedding"])

    def _choose_precision(self, wanted: str) -> str:
        if wanted == "fp32" or (wanted == "auto" and not _has_bf16_units(self.device)):
            return "fp32"
        probes = [
            self._tokenizer.encode(text)[0][
                : self._tokenizer.limit - self._tokenizer.special_tokens
            ]
            for text in _PROBES
        ]
        exact = self.embed_tokens(probes)
        self._model.bfloat16()
        fast = self.embed_tokens(probes)
        cosines = (exact * fast).sum(1) / (
            np.linalg.norm(exact, axis=1) * np.linalg.norm(fast, axis=1)
        )
        logger.info(
            "precision probed",
            extra={
                "action": "precision_probed",
                "cosine_mean": round(float(cosines.mean()), 6),
                "cosine_least": round(float(cosines.min()), 6),
            },
        )
        if cosines.mean() >= _FAITHFUL_MEAN and cosines.min() >= _FAITHFUL_LEAST:
            return "bf16"
        if wanted == "bf16":
            raise ConfigurationError(
                f"FRESHET_PRECISION=bf16, but bf16 vectors of this model leave fp32's (cosine {cosines.min():.5f}); use fp32 or auto"
            )
        self._model.float()
        return "fp32"


def _has_bf16_units(device: str) -> bool:
    import torch

    if device.startswith("cuda"):
        return torch.cuda.is_bf16_supported(including_emulation=False)
    asks = (
        getattr(torch.cpu, name, None)
        for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )
    return device == "cpu" and any(ask is not None and ask() for ask in asks)


def _float32(tensor: Any) -> Vectors:
    """To float32 on the CPU, at unit length again if it nearly was: bf16 leaves an error of a few thousandths."""
    vectors: Vectors = tensor.detach().float().cpu().numpy()
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    nearly_unit = (
        np.abs(norms - 1) < 0.02
    )  # a model that does not normalise has other lengths, and keeps them
    return np.where(nearly_unit, vectors / np.maximum(norms, 1e-12), vectors).astype(np.float32)


def _load(model: str, device: str, backend: str) -> "SentenceTransformer":
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise ConfigurationError(f"embedding needs the extra freshet[embed] ({error})") from error
    # A name that is not a folder is a model of the hub: the ordinary path of sentence-transformers.
    name = str(local_folder(model) or model)
    chosen_device = None if device == "auto" else device
    try:
        loaded = SentenceTransformer(name, device=chosen_device, backend=backend)  # type: ignore[arg-type]
        return loaded.eval()
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigurationError(
            f"model {model!r} cannot be loaded on device {device!r}: {error}"
        ) from error
