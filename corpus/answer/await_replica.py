"""A wait where searches read a replica: it is over once the replica shows what was awaited.

The rows of the wait are read on the replica itself. A position of the log that a later look would have to reach moves
on with each look, so that a wait on a busy primary would never end.
"""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager

from corpus.access.reader import reading_as
from corpus.access.teams import team_reader
from corpus.answer.activities import TeamLook
from corpus.answer.await_fresh import current_outcome, not_yet, outcome_for_team
from corpus.database import Connection, database_errors_translated
from corpus.errors import DependencyError
from corpus.log_limit import LogLimit
from corpus.replica.standing import lag_of, mismatch, position_of, standing_of
from corpus.service import AwaitFreshResponse

logger = logging.getLogger(__name__)
logger.addFilter(LogLimit())

# Lends a connection to the replica.
Lend = Callable[[], AbstractContextManager[Connection]]


def outcome_where_searched(
    primary: Connection, look: TeamLook, *, replica: Lend | None
) -> AwaitFreshResponse:
    """The outcome of a team's wait: reached only where searches show it.

    1. the primary decides; what will never be, or is not there yet, is so on every replica
    2. what is there must be on the replica, too: the same rows decide, as the replica has them
    3. else it is not there yet, and the answer says how far the replica is behind

    Args:
        primary: where the grants of the team are read, too.
        look: the wait.
        replica: that searches read; None: this process knows none.
    """
    # Step 1.
    outcome = outcome_for_team(primary, look)
    searches_replica = replica is not None or look.on_replica
    if not outcome.reached or not searches_replica:
        return outcome
    # Steps 2, 3.
    missing = _missing(primary, look, replica)
    if missing is None:
        return outcome
    context = {"action": "replica_lacks_awaited", "kind": look.request.source}
    logger.info("a wait is not over: %s", missing, extra=context)
    return not_yet(f"{outcome.detail} on the primary, but {missing}")


def _missing(primary: Connection, look: TeamLook, replica: Lend | None) -> str | None:
    """Why a search of the replica may not show what the primary has; None: it does."""
    if replica is None:
        return (
            "searches read a replica, and the orchestrator that decides waits knows none: set FRESHET_READ_REPLICA for "
            "it, too"
        )
    try:
        with database_errors_translated(), replica() as copy:
            return _missing_on(primary, copy, look)
    except DependencyError as error:
        return f"the replica that searches read cannot be asked: {error}"


def _missing_on(primary: Connection, copy: Connection, look: TeamLook) -> str | None:
    of_primary = position_of(primary)
    standing = standing_of(copy)
    problem = mismatch(standing, of_primary)
    if problem is not None:
        return f"the replica that searches read is none of this primary: {problem}"
    # Grants are the primary's: what was taken from the team ends the wait at once.
    reader = team_reader(primary, look.team, look.request.groups)
    with reading_as(copy, reader):
        if current_outcome(copy, look.request).reached:
            return None
    lag = lag_of(primary, standing, of_primary)
    return f"not on the replica that searches read, which is {lag.describe()}"
