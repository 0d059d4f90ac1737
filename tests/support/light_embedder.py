"""Role embedder with the fake embedder, as a process of its own: `python -m tests.support.light_embedder`."""

import asyncio
import os
from collections.abc import Sequence

from corpus.embed.embedder import Vectors
from tests.support.fakes import HashEmbedder
from workers.roles import embedder
from workers.roles.run import run_role


class ForgetfulEmbedder(HashEmbedder):
    """It runs for hours: counting each text would make its process grow."""

    def embed_tokens(self, token_ids: Sequence[Sequence[int]]) -> Vectors:
        vectors = super().embed_tokens(token_ids)
        self.embedded.clear()
        return vectors


class FakeModels:
    """As workers.roles.models.LoadedModels, for any model."""

    def __init__(self, _settings: object) -> None:
        self._embedder = ForgetfulEmbedder()
        self.of = self._embedder.of
        self.with_fingerprint = self._embedder.with_fingerprint


embedder.LoadedModels = FakeModels
asyncio.run(run_role("embedder"))
os._exit(0)
