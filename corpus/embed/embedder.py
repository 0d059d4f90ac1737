"""The model: token ids in, vectors out. It is loaded once per process, in bf16 where that is faithful and faster.

The fast path feeds token ids that the splitter already has, sorted by length, straight into the model's modules. Query
texts go through sentence-transformers' own `encode_query`.
"""

import importlib.util
import logging
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from corpus.disclosure.error_text import public_text
from corpus.embed.model_files import (
    loadable_name,
    model_folder,
    require_own_weights,
)
from corpus.embed.tokenizer import load_tokenizer
from corpus.errors import ConfigurationError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger(__name__)

Vectors = npt.NDArray[np.float32]

# bf16 is used where the device has units for it (others emulate it, slowly) and its vectors point where fp32's do
# (measured on all-MiniLM-L6-v2: mean cosine 0.99995, smallest 0.99989).
_MIN_MEAN_COSINE = 0.9999
_MIN_COSINE = 0.9995
# Small batches of similar lengths waste the least padding; a CPU gains nothing by larger ones.
_CPU_BATCH = 8
# What a backend imports, and where it comes from.
_BACKENDS = {
    "onnx": (
        "optimum.onnxruntime",
        "install optimum-onnx, of which no version goes with sentence-transformers 6 yet; or use openvino or torch",
    ),
    "openvino": ("optimum.intel", "pip install 'sentence-transformers[openvino]'"),
}
# A vector whose length differs from 1 by less was normalised by its model.
_UNIT_LENGTH_TOLERANCE = 0.02
_PROBES = (
    "The gauging station at the weir recorded its highest level since 1962.",
    "def fold(events): return {event.id: event for event in sorted(events, key=lambda event: event.version)}",
    "PEP 703 proposes to make the global interpreter lock optional in CPython.",
    "Snowmelt, heavy rain and frozen ground together make a freshet: a sudden rise of the river in spring. "
    * 6,
    "Refunds are possible within 30 days of purchase; see section 4.2 for exceptions.",
    "Überschwemmungen an der Elbe: Pegelstände in Dresden und Magdeburg.",
    "An index scan that filters after the scan may return fewer rows than were asked for. "
    * 8,
    "OK",
)


class Embedder(Protocol):
    """What the embed step and search need of a model."""

    dimensions: int

    def embed_tokens(self, token_ids: Sequence[Sequence[int]]) -> Vectors:
        """Return vectors (n, dimensions), float32, in the order given.

        Args:
            token_ids: of each text, without special tokens.
        """
        ...

    def embed_query(self, text: str) -> Vectors:
        """Return the vector (dimensions,), float32, of a query."""
        ...


class SentenceTransformerEmbedder:
    """Embedder behind sentence-transformers.

    Args:
        model: as configured: a folder, the bundled model's name, or a hub name, with @ and a revision or without.
        prefix: put before every document text.
        device: "auto", or a device's name in torch.
        precision: "auto", "fp32" or "bf16".
        backend: sentence-transformers' backend: "torch", "onnx", "openvino".
        batch: texts per forward pass; 0: 8 on a CPU, else all of a call.
        threads: parallel forward passes on a CPU, each on one core; 0: one per core.

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
        # Torch's and sentence-transformers' own types are unknown in part, so the model is used without types.
        self._model: Any = _load(model, device, backend)
        self.device = str(self._model.device)
        self._batch = batch or (_CPU_BATCH if self.device == "cpu" else sys.maxsize)
        passes = self._parallel_passes(backend, threads)
        self._passes = ThreadPoolExecutor(passes, thread_name_prefix="forward")
        self._pad = int(getattr(self._model.tokenizer, "pad_token_id", 0) or 0)
        self.dimensions = int(self._model.get_embedding_dimension() or 0)
        if backend != "torch":
            self._require_faithful(_load(model, "cpu", "torch"), backend)
        self.precision = self._choose_precision(
            precision if backend == "torch" else "fp32"
        )
        context = {
            "action": "model_loaded",
            "model": model,
            "device": self.device,
            "precision": self.precision,
            "backend": backend,
        }
        logger.info("model loaded", extra=context)

    def embed_tokens(self, token_ids: Sequence[Sequence[int]]) -> Vectors:
        """Return vectors (n, dimensions), float32, unit length where the model normalises; batched by length."""
        count = len(token_ids)
        vectors = np.empty((count, self.dimensions), dtype=np.float32)
        lengths = [len(tokens) for tokens in token_ids]
        longest_first = sorted(range(count), key=lengths.__getitem__, reverse=True)
        size = min(self._batch, max(1, count))
        batches = [
            longest_first[start : start + size] for start in range(0, count, size)
        ]
        texts = ([token_ids[number] for number in batch] for batch in batches)
        for batch, batch_vectors in zip(
            batches, self._passes.map(self._forward, texts), strict=True
        ):
            vectors[batch] = batch_vectors
        return vectors

    def embed_query(self, text: str) -> Vectors:
        """Return the vector (dimensions,), float32."""
        vector = self._model.encode_query(
            text,
            convert_to_numpy=False,
            convert_to_tensor=True,
            show_progress_bar=False,
        )
        row = vector if vector.ndim == 2 else vector[None]
        return _float32(row)[0]

    def _parallel_passes(self, backend: str, threads: int) -> int:
        """Return how many forward passes run at a time."""
        if backend != "torch" or self.device != "cpu":
            return 1  # these bring their own threads
        return one_pass_per_core(threads)

    def _forward(self, token_ids: Sequence[Sequence[int]]) -> Vectors:
        import torch

        ids, mask = self._padded(token_ids)
        device = self._model.device
        tensors: Any = torch
        features = {
            "input_ids": tensors.from_numpy(ids).to(device),
            "attention_mask": tensors.from_numpy(mask).to(device),
        }
        with torch.inference_mode():
            return _float32(self._model.forward(features)["sentence_embedding"])

    def _padded(
        self, token_ids: Sequence[Sequence[int]]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return ids (n, longest) with special tokens and padding, and the mask (n, longest) that is 1 on tokens."""
        before, after = self._tokenizer.prefix_ids, self._tokenizer.suffix_ids
        width = max(map(len, token_ids)) + self._tokenizer.special_tokens
        shape = (len(token_ids), width)
        ids = np.full(shape, self._pad, dtype=np.int64)
        mask = np.zeros(shape, dtype=np.int64)
        for row, tokens in enumerate(token_ids):
            whole = (*before, *tokens, *after)
            ids[row, : len(whole)] = whole
            mask[row, : len(whole)] = 1
        return ids, mask

    def _choose_precision(self, wanted: str) -> str:
        if wanted == "fp32" or (wanted == "auto" and not _has_bf16_units(self.device)):
            return "fp32"
        exact = self._probe()
        self._model.bfloat16()
        smallest = _least_cosine_if_unlike(exact, self._probe())
        if smallest is None:
            return "bf16"
        if wanted == "bf16":
            raise ConfigurationError(
                "FRESHET_PRECISION=bf16, but bf16 vectors of this model differ from fp32's "
                f"(cosine {smallest:.5f}); use fp32 or auto"
            )
        self._model.float()
        return "fp32"

    def _require_faithful(self, reference: Any, backend: str) -> None:
        """Compare with torch in fp32: a graph that was exported wrongly, or in 8 bits, makes vectors of another kind.

        Their space has the fingerprint of the weights, and nobody would notice that two kinds are mixed in it.

        Raises:
            ConfigurationError: the vectors differ by more than bf16 may.
        """
        fast = self._probe()
        own, self._model = self._model, reference
        exact = self._probe()
        self._model = own
        smallest = _least_cosine_if_unlike(exact, fast)
        if smallest is not None:
            raise ConfigurationError(
                f"FRESHET_EMBED_BACKEND={backend}, but vectors of its graph differ from those of the model's weights "
                f"(cosine {smallest:.5f}); export the model again in fp32, or use torch"
            )

    def _probe(self) -> Vectors:
        """The vectors of the probes."""
        budget = self._tokenizer.limit - self._tokenizer.special_tokens
        probes = [self._tokenizer.encode(text)[0][:budget] for text in _PROBES]
        return self.embed_tokens(probes)


def one_pass_per_core(threads: int) -> int:
    """Return how many forward passes run at a time on a CPU, each on one thread.

    Several threads in one pass wait for each other, and whenever another process takes one of their cores (measured on
    two cores: 13 % faster, alone on the machine).

    Args:
        threads: that many; 0: one per core.
    """
    import torch

    torch.set_num_threads(1)
    return threads or len(os.sched_getaffinity(0))


def _least_cosine_if_unlike(exact: Vectors, fast: Vectors) -> float | None:
    """The smallest cosine of two vectors of one probe; None where all point the same way."""
    lengths = np.linalg.norm(exact, axis=1) * np.linalg.norm(fast, axis=1)
    cosines = (exact * fast).sum(1) / lengths
    mean, smallest = float(cosines.mean()), float(cosines.min())
    context = {
        "action": "precision_probed",
        "cosine_mean": round(mean, 6),
        "cosine_least": round(smallest, 6),
    }
    logger.info("precision probed", extra=context)
    if mean >= _MIN_MEAN_COSINE and smallest >= _MIN_COSINE:
        return None
    return smallest


def _has_bf16_units(device: str) -> bool:
    import torch

    if device.startswith("cuda"):
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device != "cpu":
        return False
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    checks = (getattr(torch.cpu, name, None) for name in names)
    return any(check is not None and check() for check in checks)


def _float32(tensor: Any) -> Vectors:
    """Convert to float32 on the CPU; a vector that was nearly at unit length is at unit length again.

    bf16 leaves an error of a few thousandths. A model that does not normalise has other lengths, and keeps them.
    """
    vectors: Vectors = tensor.detach().float().cpu().numpy()
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    nearly_unit = np.abs(norms - 1) < _UNIT_LENGTH_TOLERANCE
    at_unit_length = vectors / np.maximum(norms, 1e-12)
    return np.where(nearly_unit, at_unit_length, vectors).astype(np.float32)


def _require_backend(backend: str) -> None:
    """Refuse a backend whose packages are missing; sentence-transformers raises a bare Exception then.

    Raises:
        ConfigurationError: says what to install.
    """
    module, remedy = _BACKENDS.get(backend, ("", ""))
    if not module:
        return
    try:
        found = importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of its parent
        found = False
    if not found:
        raise ConfigurationError(
            f"FRESHET_EMBED_BACKEND={backend} needs {module}: {remedy}"
        )


def _load(model: str, device: str, backend: str) -> "SentenceTransformer":
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise ConfigurationError(
            f"embedding needs the extra freshet[embed] ({public_text(error)})"
        ) from error
    _require_backend(backend)
    folder = model_folder(model)
    name, revision = loadable_name(model, folder)
    chosen_device = None if device == "auto" else device
    try:
        loaded = SentenceTransformer(
            name,
            revision=revision,
            device=chosen_device,
            backend=cast("Any", backend),
        )
        require_own_weights(folder)
        return loaded.eval()
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigurationError(
            f"model {model!r} cannot be loaded on device {device!r}: {public_text(error)}"
        ) from error
