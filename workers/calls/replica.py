"""Searches on a replica: which of them it may answer, and why the primary answers the others."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from typing import TypeVar

import psycopg
from psycopg_pool import ConnectionPool

from corpus.database import Connection, database_errors_translated
from corpus.errors import DependencyError, FreshetError
from corpus.log_limit import LogLimit
from corpus.replica.clock import PrimaryClock
from corpus.replica.standing import Standing, mismatch, position_of, standing_of

logger = logging.getLogger(__name__)
logger.addFilter(LogLimit())

LOOK_SECONDS = 1.0
_POOL_SECONDS = 1.0  # longest wait for a connection; then the primary answers

Result = TypeVar("Result")


class Outcome(StrEnum):
    """Who answered a search: the replica, or for one of these reasons the primary."""

    REPLICA = "replica"
    GONE = "gone"  # it does not answer
    OTHER_SERVER = "other_server"  # it is no standby of this primary
    LAG = "lag"  # it is further behind than it may be, or that is not known
    FAILED = "failed"  # it ended the search: a conflict with what it replays, a restart
    # It refused the search, by rows that may be old: a source that is new, for instance.
    REFUSED = "refused"


class _UnusableError(Exception):
    """The replica may not answer.

    Attributes:
        outcome: the reason.
    """

    def __init__(self, outcome: Outcome, words: str) -> None:
        super().__init__(words)
        self.outcome = outcome


class ReplicaSearches:
    """Lets a replica answer while it is fresh; each search that it may not answer is counted with its reason.

    Whether it is fresh is asked on the connection that is searched, so that no other server answers. Beside that it is
    looked at each second: no search waits for a replica that is gone.

    Args:
        pool: of connections to the replica.
        of_primary: of one connection to the primary, which nothing else uses.
        max_lag: how old an answer may be, in seconds.

    Attributes:
        outcomes: of the searches of now.
        standing: as of the newest look; None: the replica did not answer.
    """

    def __init__(
        self,
        pool: ConnectionPool[Connection],
        of_primary: ConnectionPool[Connection],
        max_lag: float,
        clock: PrimaryClock | None = None,
    ) -> None:
        self._pool = pool
        self._of_primary = of_primary
        self._max_lag = max_lag
        self._clock = clock or PrimaryClock()
        self._problem: _UnusableError | None = _UnusableError(
            Outcome.LAG, "nobody has looked at it yet"
        )
        self._position = 0  # that it had replayed when it answered last
        self.outcomes: Counter[Outcome] = Counter()
        self.standing: Standing | None = None

    # ── looks ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def watch(self) -> None:
        """Look each second, until cancelled."""
        while True:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """Look at the primary and at the replica. Never raises."""
        try:
            with (
                database_errors_translated(),
                self._of_primary.connection(_POOL_SECONDS) as primary,
            ):
                self._clock.look(lambda: position_of(primary))
        except FreshetError as error:
            # Its newest position gets old, and with it what is known of the replica.
            context = {"action": "primary_not_seen", "kind": "primary"}
            logger.warning("the primary does not answer: %s", error, extra=context)
        self.standing = None
        try:
            with (
                database_errors_translated(),
                self._pool.connection(_POOL_SECONDS) as replica,
            ):
                self.standing = standing_of(replica)
                self._position = self.standing.position
                self._require_fresh(self.standing)
        except _UnusableError as error:
            self._problem = error
        except FreshetError as error:
            self._problem = _UnusableError(Outcome.GONE, str(error))
        else:
            self._problem = None
            return
        self._report(self._problem)

    @property
    def is_usable(self) -> bool:
        """Whether it may answer, as of the newest look."""
        return self._problem is None

    @property
    def lag_seconds(self) -> float | None:
        """How old an answer would be, a second more or less, also while it does not answer; None: unknown."""
        return self._clock.age_of(self._position)

    @property
    def lag_bytes(self) -> int | None:
        """How much of the primary's log it has not replayed; None: unknown."""
        newest = self._clock.newest
        if newest is None or self._position == 0:
            return None
        return max(0, newest.position - self._position)

    def _require_fresh(self, standing: Standing) -> None:
        of_primary = self._clock.newest
        if of_primary is None:
            raise _UnusableError(Outcome.LAG, "the primary was not seen yet")
        problem = mismatch(standing, of_primary)
        if problem is not None:
            raise _UnusableError(Outcome.OTHER_SERVER, problem)
        age = self._clock.age_of(standing.position)
        if age is None or age > self._max_lag:
            words = "more than was watched" if age is None else f"{age:.1f} s"
            reason = f"it is {words} behind, and may be {self._max_lag:g} s"
            raise _UnusableError(Outcome.LAG, reason)

    def _report(self, problem: _UnusableError) -> None:
        context = {
            "action": "replica_not_used",
            "kind": problem.outcome.value,
            "reason": problem.outcome.value,
        }
        logger.warning(
            "the primary answers for the replica: %s", problem, extra=context
        )

    # ── searches ────────────────────────────────────────────────────────────────────────────────────────────────────

    def answer(self, step: Callable[[Connection], Result]) -> Result | None:
        """The result of a search of now on the replica; None: the primary has to answer.

        Raises:
            DependencyError: it took too long, or its caller is gone.
        """
        problem = self._problem
        if problem is None:
            try:
                result = self._answer(step)
            except _UnusableError as error:
                problem = error
            else:
                self.outcomes[Outcome.REPLICA] += 1
                return result
        self.outcomes[problem.outcome] += 1
        self._report(problem)
        return None

    def _answer(self, step: Callable[[Connection], Result]) -> Result:
        try:
            with (
                database_errors_translated(),
                self._pool.connection(_POOL_SECONDS) as replica,
            ):
                self._require_fresh(standing_of(replica))
                return step(replica)
        except DependencyError as error:
            if not _is_of_replica(error):
                raise
            raise _UnusableError(Outcome.FAILED, str(error)) from error
        except FreshetError as error:
            raise _UnusableError(Outcome.REFUSED, str(error)) from error


def _is_of_replica(error: DependencyError) -> bool:
    """Whether the server failed; else the search took too long, or nobody waits for it any more."""
    cause = error.__cause__
    took_too_long = isinstance(cause, psycopg.errors.QueryCanceled)
    return isinstance(cause, psycopg.Error) and not took_too_long
