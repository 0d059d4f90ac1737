"""Dead letters that are tried again by themselves: what their events point to, or leave out, is not there for now.

Each is redriven when its time has come (`freshet.waiting_fetch`), as `freshet dead-letters redrive` does it: its record
is written to its own partition again, as old as it was, so that its version fences it. Several consumers do this, and
each letter is taken by one of them: a claim moves its time on by two minutes. A process that ends in between leaves it
to the next one then; a record that is redriven twice changes nothing.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from psycopg.rows import class_row
from psycopg_pool import ConnectionPool

from corpus.database import database_errors_translated, fetch_all
from corpus.errors import ConfigurationError, DependencyError
from corpus.log_limit import LogLimit
from corpus.retry import until_answered_in_thread
from corpus.sql import query
from ingest.dead_letters.redrive import redrive

logger = logging.getLogger(__name__)
logger.addFilter(LogLimit())

_IDLE_SECONDS = 5.0
_MAX_LETTERS = 200
_CONNECTION_SECONDS = 5.0
_CLAIM_SECONDS = 120.0


async def run_waiting(waiting: "WaitingLetters") -> None:
    """Redrive what is due until cancelled; a service that is down is waited for."""
    while True:
        redriven = await until_answered_in_thread(
            waiting.redrive_some,
            doing="redriving dead letters that wait",
            logger=logger,
        )
        if not redriven:
            await asyncio.sleep(_IDLE_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class _DueLetter:
    """A row of the query `claim_due_letters`."""

    dead_letter: int
    source: str


class WaitingLetters:
    """Redrives what is due.

    Args:
        pool: connections to the database.
        kafka: gives the librdkafka properties of a producer, with the newest login.
    """

    def __init__(
        self, pool: ConnectionPool[Any], kafka: Callable[[], dict[str, Any]]
    ) -> None:
        self._pool = pool
        self._kafka = kafka

    def redrive_some(self) -> int:
        """Redrive the letters that have waited longest, at most a round of them.

        A source whose topic Kafka does not let this process write waits for the next claim, and delays no other.

        Returns:
            How many were redriven.

        Raises:
            DependencyError: PostgreSQL does not answer.
        """
        by_source: dict[str, list[int]] = {}
        for letter in self._claim():
            by_source.setdefault(letter.source, []).append(letter.dead_letter)
        return sum(self._redrive(*each) for each in by_source.items())

    def _claim(self) -> list[_DueLetter]:
        values = {"most": _MAX_LETTERS, "claim_seconds": _CLAIM_SECONDS}
        with (
            database_errors_translated(),
            self._pool.connection(_CONNECTION_SECONDS) as connection,
        ):
            factory = class_row(_DueLetter)
            return fetch_all(connection, factory, "claim_due_letters", values)

    def _redrive(self, source: str, numbers: list[int]) -> int:
        try:
            with (
                database_errors_translated(),
                self._pool.connection(_CONNECTION_SECONDS) as connection,
            ):
                redriven = redrive(connection, self._kafka(), numbers)
                values = {"dead_letters": redriven}
                connection.execute(query("end_waits"), values)
        except (ConfigurationError, DependencyError) as error:
            logger.warning(
                "dead letters that wait cannot be redriven: %s",
                error,
                extra={"action": "retry", "source": source, "kind": f"waits/{source}"},
            )
            return 0
        return len(redriven)
