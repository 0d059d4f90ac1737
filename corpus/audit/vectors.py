"""The step of an audit that needs the model: chunks of a sample are embedded again."""

from collections.abc import Callable
from dataclasses import replace

from psycopg_pool import ConnectionPool

from corpus.audit import samples, store
from corpus.audit.audit import AuditCursor, after
from corpus.audit.samples import fraction_of
from corpus.database import Connection, database_errors_translated
from corpus.embed.embedder import Embedder
from corpus.embed.tokenizer import load_tokenizer

# (model, prefix) -> its embedder.
EmbedderOf = Callable[[str, str], Embedder]


class VectorStep:
    """Embeds a page of the sample per step.

    Args:
        pool: of connections to PostgreSQL.
        embedder_of: gives the embedder of a model.
    """

    def __init__(
        self, *, pool: ConnectionPool[Connection], embedder_of: EmbedderOf
    ) -> None:
        self._pool = pool
        self._embedder_of = embedder_of

    def step(self, cursor: AuditCursor) -> AuditCursor:
        """Embed the next chunks of the sample, and compare.

        Raises:
            ConfigurationError: the model is not available.
            DependencyError: PostgreSQL does not answer.
        """
        with database_errors_translated(), self._pool.connection() as connection:
            row = store.row_of(connection, cursor.audit)
            spec = row.readable()
            moved = samples.embed_next(
                connection,
                cursor,
                row,
                fraction_of(cursor.counts.get("visible", 0), cursor.order.deep),
                embedder=self._embedder_of(spec.model, spec.prefix),
                tokenizer=load_tokenizer(spec.model, spec.prefix),
            )
            if not moved.after:
                moved = replace(moved, phase=after(moved.phase))
            store.note(connection, moved)
        return moved
