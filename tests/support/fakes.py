"""The only fake: an embedder without a model. Held to the same contract test as the real one."""

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

from corpus.embed.embedder import Vectors
from corpus.embed.model_files import read_embedding_spec
from corpus.embed.tokenizer import load_tokenizer

MODEL = "all-MiniLM-L6-v2"


class HashEmbedder:
    """A text's vector is the sum of pseudo-random vectors of its tokens, at unit length: like texts are near each other."""

    def __init__(self) -> None:
        self.dimensions = read_embedding_spec(MODEL).dimensions
        self.embedded: Counter[tuple[int, ...]] = Counter()  # how often each text was sent through
        self._tokenizer = load_tokenizer(MODEL)
        self._words: dict[int, Vectors] = {}

    def embed_tokens(self, token_ids: Sequence[Sequence[int]]) -> Vectors:
        self.embedded.update(tuple(tokens) for tokens in token_ids)
        return (
            np.stack([self._vector(tokens) for tokens in token_ids])
            if token_ids
            else np.empty((0, self.dimensions), np.float32)
        )

    def embed_query(self, text: str) -> Vectors:
        return self._vector(self._tokenizer.encode(text)[0])

    def with_fingerprint(self, model: str, prefix: str) -> tuple["HashEmbedder", str]:
        """As workers.roles.models.LoadedModels does."""
        return self, read_embedding_spec(model, prefix).fingerprint()

    def of(self, _model: str, _prefix: str = "") -> "HashEmbedder":
        """As workers.roles.models.LoadedModels does."""
        return self

    def _vector(self, tokens: Sequence[int]) -> Vectors:
        total = np.zeros(self.dimensions, np.float32)
        for token in tokens:
            if token not in self._words:
                seed = int.from_bytes(hashlib.sha256(str(token).encode()).digest()[:8], "big")
                self._words[token] = np.random.default_rng(seed).standard_normal(
                    self.dimensions, np.float32
                )
            total += self._words[token]
        return (total / max(float(np.linalg.norm(total)), 1e-9)).astype(np.float32)
