"""Embedders of a process: each model is loaded once."""

import threading

from corpus.embed.embedder import SentenceTransformerEmbedder
from corpus.embed.model_files import read_embedding_spec
from workers.config.settings import Settings


class Embedders:
    """Embedders by (model, prefix), loaded at first use."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loaded: dict[tuple[str, str], SentenceTransformerEmbedder] = {}
        self._lock = threading.Lock()

    def of(self, model: str, prefix: str = "") -> SentenceTransformerEmbedder:
        """The embedder of a model.

        Raises:
            ConfigurationError: it cannot be loaded.
        """
        settings = self._settings
        with self._lock:
            if (model, prefix) not in self._loaded:
                self._loaded[model, prefix] = SentenceTransformerEmbedder(
                    model,
                    prefix=prefix,
                    device=settings.device,
                    precision=settings.precision,
                    backend=settings.embed_backend,
                    batch=settings.embed_batch,
                    threads=settings.embed_threads,
                )
            return self._loaded[model, prefix]

    def with_fingerprint(self, model: str, prefix: str) -> tuple[SentenceTransformerEmbedder, str]:
        """The embedder, and the fingerprint of the space it makes vectors of."""
        return self.of(model, prefix), read_embedding_spec(model, prefix).fingerprint()
