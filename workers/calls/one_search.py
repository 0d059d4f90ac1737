"""A single search on the replica: without looks before it, the newest commit that it shows says how old it is."""

from collections.abc import Generator
from contextlib import contextmanager

from corpus.database import (
    SHORT_LIMITS,
    Connection,
    connect,
    database_errors_translated,
)
from corpus.errors import DependencyError
from corpus.replica.standing import Lag, lag_of, mismatch, position_of, standing_of
from corpus.sessions.server import EVERY_REPLICA_SESSION
from workers.config.replica import replica_url
from workers.config.settings import Settings


@contextmanager
def fresh_replica(settings: Settings, primary: Connection) -> Generator[Connection]:
    """A connection to the configured replica.

    Raises:
        ConfigurationError: Freshet cannot use that server.
        DependencyError: it does not answer, is no replica of this primary, or is further behind than it may be.
    """
    url = replica_url(settings, settings.database_url)
    assert url is not None, "no replica is configured"
    with connect(
        url,
        application="freshet-search",
        limits=SHORT_LIMITS,
        rules=EVERY_REPLICA_SESSION,
    ) as replica:
        with database_errors_translated():
            lag = lag_now(primary, replica)
        if not is_within(lag, settings.read_replica_max_lag):
            raise DependencyError(
                f"it is {lag.describe()}, and may be {settings.read_replica_max_lag} s behind"
            )
        yield replica


def lag_now(primary: Connection, replica: Connection) -> Lag:
    """How far a replica is behind.

    Raises:
        DependencyError: it is no replica of this primary.
    """
    of_primary = position_of(primary)
    standing = standing_of(replica)
    problem = mismatch(standing, of_primary)
    if problem is not None:
        raise DependencyError(problem)
    return lag_of(primary, standing, of_primary)


def is_within(lag: Lag, max_seconds: float) -> bool:
    """Whether an answer of a replica is as new as it has to be."""
    return lag.seconds is not None and lag.seconds <= max_seconds
