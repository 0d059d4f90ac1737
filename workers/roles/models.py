"""The models that a process has loaded, each once."""

import logging
import threading
import time
from contextlib import ExitStack
from typing import Any

from psycopg.rows import namedtuple_row

from corpus.access.reader import reading_as
from corpus.access.teams import reader_of_all_teams
from corpus.database import connect
from corpus.embed.cross_encoder import CrossEncoderReranker
from corpus.embed.embedder import SentenceTransformerEmbedder
from corpus.embed.model_files import read_embedding_spec
from corpus.errors import ConfigurationError, FreshetError
from corpus.source import SourceSpec, read_specs
from corpus.sql import query
from workers.config.settings import Settings

logger = logging.getLogger(__name__)

_TRIED_AGAIN_SECONDS = 60.0


class LoadedModels:
    """Embedders by (model, prefix), loaded at first use."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loaded: dict[tuple[str, str], SentenceTransformerEmbedder] = {}
        self._lock = threading.Lock()
        self._reranker: CrossEncoderReranker | None = None
        self._reranker_problem: ConfigurationError | None = None
        self._reranker_again = 0.0
        self._reranker_lock = (
            threading.Lock()
        )  # searches without reranking do not wait for it

    def of(self, model: str, prefix: str = "") -> SentenceTransformerEmbedder:
        """The embedder of a model.

        Raises:
            ConfigurationError: it cannot be loaded.
        """
        key = (model, prefix)
        with self._lock:
            embedder = self._loaded.get(key)
            if embedder is None:
                embedder = self._load(model, prefix)
                self._loaded[key] = embedder
            return embedder

    def reranker(self) -> CrossEncoderReranker:
        """The reranking model, loaded at first use.

        Raises:
            ConfigurationError: none is configured, or it cannot be loaded.
        """
        model = self._settings.rerank_model
        if not model:
            raise ConfigurationError(
                "rerank is 'model', and no reranking model is configured; FRESHET_RERANK_MODEL names one"
            )
        with self._reranker_lock:
            if self._reranker is None:
                self._reranker = self._load_reranker(model)
            return self._reranker

    def _load_reranker(self, model: str) -> CrossEncoderReranker:
        """One that failed is not tried again at once: each try may ask the hub, and load the model twice."""
        if (
            self._reranker_problem is not None
            and time.monotonic() < self._reranker_again
        ):
            raise self._reranker_problem
        try:
            return CrossEncoderReranker(
                model,
                device=self._settings.device,
                threads=self._settings.embed_threads,
            )
        except ConfigurationError as error:
            self._reranker_problem = error
            self._reranker_again = time.monotonic() + _TRIED_AGAIN_SECONDS
            raise

    def with_fingerprint(
        self, model: str, prefix: str, context: str
    ) -> tuple[SentenceTransformerEmbedder, str]:
        """The embedder, and the fingerprint of the space that its vectors of such texts belong to."""
        spec = read_embedding_spec(model, prefix, context)
        return self.of(model, prefix), spec.fingerprint()

    def _load(self, model: str, prefix: str) -> SentenceTransformerEmbedder:
        settings = self._settings
        return SentenceTransformerEmbedder(
            model,
            prefix=prefix,
            device=settings.device,
            precision=settings.precision,
            backend=settings.embed_backend,
            batch=settings.embed_batch,
            threads=settings.embed_threads,
        )


def load_configured(
    settings: Settings, models: LoadedModels, *, for_teams: bool = False
) -> None:
    """Load the models of the configured sources, or the default one, so that the first batch does not wait for it.

    One that cannot be loaded is logged: the batches that need it say so again.

    Args:
        settings: of the process.
        models: where they are kept.
        for_teams: only those of the sources that teams are granted, since who answers for them sees no others; and the
            reranking model.
    """
    for model, prefix in _configured(settings, for_teams=for_teams):
        try:
            models.of(model, prefix)
        except FreshetError as error:
            _not_loaded(model, error)
    if for_teams and settings.rerank_model:
        try:
            models.reranker()
        except FreshetError as error:
            _not_loaded(settings.rerank_model, error)


def _not_loaded(model: str, error: FreshetError) -> None:
    context = {"action": "model_not_loaded", "model": model, "error": str(error)}
    logger.error("model not loaded", extra=context)


def _configured(settings: Settings, *, for_teams: bool) -> list[tuple[str, str]]:
    """Model and prefix of every source; of the default specification where there is no source."""
    with connect(settings.database_url) as connection, ExitStack() as stack:
        if for_teams:
            reader = reader_of_all_teams(connection)
            stack.enter_context(reading_as(connection, reader))
        cursor = stack.enter_context(connection.cursor(row_factory=namedtuple_row))
        cursor.execute(query("search_spaces"), {"sources": None})
        rows: list[Any] = cursor.fetchall()
    # A source that cannot be read has no batch either; `freshet sources` names it.
    specs = list(read_specs((row.source, row.spec) for row in rows).specs.values())
    if not specs:
        specs = [SourceSpec(source="default", topics=("none",))]
    return sorted({(spec.model, spec.prefix) for spec in specs})
