"""The only fake: an embedder without a model."""

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

from corpus.embed.embedder import Vectors
from corpus.embed.model_files import read_embedding_spec
from corpus.embed.tokenizer import load_tokenizer

MODEL = "all-MiniLM-L6-v2"


class HashEmbedder:
    """A text's vector is the sum of pseudo-random vectors of its tokens, at unit length: similar texts are near.

    Attributes:
        embedded: how often each text was embedded.
    """

    def __init__(self) -> None:
        self.dimensions = read_embedding_spec(MODEL).dimensions
        self.embedded: Counter[tuple[int, ...]] = Counter()
        self._tokenizer = load_tokenizer(MODEL)
        self._tokens: dict[int, Vectors] = {}

    def embed_tokens(self, token_ids: Sequence[Sequence[int]]) -> Vectors:
        self.embedded.update(map(tuple, token_ids))
        vectors = np.empty((len(token_ids), self.dimensions), np.float32)
        for row, tokens in enumerate(token_ids):
            vectors[row] = self._vector(tokens)
        return vectors

    def embed_query(self, text: str) -> Vectors:
        token_ids, _ = self._tokenizer.encode(text)
        return self._vector(token_ids)

    def with_fingerprint(self, model: str, prefix: str, context: str) -> tuple["HashEmbedder", str]:
        """As workers.roles.models.LoadedModels does."""
        return self, read_embedding_spec(model, prefix, context).fingerprint()

    def of(self, _model: str, _prefix: str = "") -> "HashEmbedder":
        """As workers.roles.models.LoadedModels does."""
        return self

    def _vector(self, tokens: Sequence[int]) -> Vectors:
        total = np.zeros(self.dimensions, np.float32)
        for token in tokens:
            total += self._token_vector(token)
        length = max(float(np.linalg.norm(total)), 1e-9)
        return (total / length).astype(np.float32)

    def _token_vector(self, token: int) -> Vectors:
        if token not in self._tokens:
            digest = hashlib.sha256(str(token).encode()).digest()
            seed = int.from_bytes(digest[:8], "big")
            generator = np.random.default_rng(seed)
            self._tokens[token] = generator.standard_normal(self.dimensions, np.float32)
        return self._tokens[token]
