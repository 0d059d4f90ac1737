"""Withholds documents while the records that narrow their access lists wait to be published."""

import logging
from collections.abc import Sequence

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from corpus.access.stated import StatedReaders
from corpus.access.withholding import WithholdingTakesLongError, withhold
from corpus.database import Connection
from corpus.disclosure.error_text import public_text
from corpus.log_limit import LogLimit
from corpus.source import SourceSpec

logger = logging.getLogger(__name__)
logger.addFilter(LogLimit())

_CONNECTION_SECONDS = 5.0
_FAILURES = (psycopg.Error, PoolTimeout, WithholdingTakesLongError)


class Withholder:
    """Withholds by what is staged; what it cannot do now is done when the batch is published.

    Attributes:
        documents: withheld since the start.
        failures: micro-batches whose documents could not be withheld, since the start.
    """

    def __init__(self, pool: ConnectionPool[Connection]) -> None:
        self._pool = pool
        self.documents = 0
        self.failures = 0

    def withhold(
        self, spec: SourceSpec, log: str, stated: Sequence[StatedReaders]
    ) -> None:
        """Withhold what these upserts take from somebody."""
        if not stated:
            return
        try:
            with self._pool.connection(_CONNECTION_SECONDS) as connection:
                self.documents += withhold(connection, spec, log, stated)
        except _FAILURES as error:
            self.failures += 1
            logger.warning(
                "documents that fewer may read stay readable until their batch is published: %s",
                public_text(error),
                extra={
                    "action": "not_withheld",
                    "kind": f"withhold/{spec.source}",
                    "source": spec.source,
                },
            )
