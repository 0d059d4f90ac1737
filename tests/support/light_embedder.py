"""Role embedder with the fake embedder, as a process of its own: `python -m tests.support.light_embedder`."""

import asyncio
import os

from tests.support.fakes import HashEmbedder
from workers.roles import embedder
from workers.roles.run import run_role


class FakeModels:
    """As workers.roles.models.LoadedModels, for any model."""

    def __init__(self, _settings: object) -> None:
        self._embedder = HashEmbedder()
        self.of = self._embedder.of
        self.with_fingerprint = self._embedder.with_fingerprint


embedder.LoadedModels = FakeModels
asyncio.run(run_role("embedder"))
os._exit(0)
