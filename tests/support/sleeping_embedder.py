"""Role embedder with a model that sleeps for each text, as a process of its own: a device that is not this machine's.

FRESHET_BENCH_TEXT_SECONDS says for how long. FRESHET_BENCH_HOST is the name of the machine that the process believes
to be on.
"""

import asyncio
import os
import socket
import time
from collections.abc import Sequence

import numpy as np

from corpus.embed.embedder import Vectors
from corpus.embed.model_files import read_embedding_spec
from tests.support.fakes import MODEL
from workers.roles import embedder
from workers.roles.run import run_role


class SleepingEmbedder:
    """Vectors are random: nobody searches them."""

    def __init__(self, seconds: float) -> None:
        self.dimensions = read_embedding_spec(MODEL).dimensions
        self._seconds = seconds
        self._chance = np.random.default_rng()

    def embed_tokens(self, token_ids: Sequence[Sequence[int]]) -> Vectors:
        time.sleep(self._seconds * len(token_ids))
        return self._chance.random((len(token_ids), self.dimensions), np.float32)


class SleepingModels:
    """As workers.roles.models.LoadedModels, for any model."""

    def __init__(self, _settings: object) -> None:
        seconds = float(os.environ["FRESHET_BENCH_TEXT_SECONDS"])
        self._embedder = SleepingEmbedder(seconds)

    def of(self, _model: str, _prefix: str = "") -> SleepingEmbedder:
        return self._embedder

    def with_fingerprint(
        self, model: str, prefix: str, context: str
    ) -> tuple[SleepingEmbedder, str]:
        return self._embedder, read_embedding_spec(model, prefix, context).fingerprint()


def main() -> None:
    host = os.environ["FRESHET_BENCH_HOST"]
    socket.gethostname = lambda: host
    embedder.LoadedModels = SleepingModels  # type: ignore[misc, assignment]
    asyncio.run(run_role("embedder"))
    os._exit(0)


if __name__ == "__main__":
    main()
