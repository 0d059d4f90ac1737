"""Carries out what the rule decides: one table or index at a time, beside searches and publishing.

Every statement takes a lock that no publish and no search waits for: `REINDEX CONCURRENTLY`, `VACUUM` without cutting
off the end of the file, `ANALYZE`. None of them may be part of a transaction, so no function of the schema can run
them for a role without rights: the user is the one of `freshet migrate`, which owns the tables.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import psycopg
from psycopg.rows import scalar_row

from corpus.database import (
    Connection,
    SessionLimits,
    connect,
    database_errors_translated,
    execute_made,
    fetch_one,
)
from corpus.disclosure.secret import Secret
from corpus.embed.build_memory import DEFAULT_BUILD, BuildLimits
from corpus.embed.graph_build import build_graph
from corpus.embed.space_indexes import (
    BUILD_LOCK,
    IDLE_SESSION_SECONDS,
    build_as_only,
)
from corpus.errors import ConfigurationError, FreshetError
from corpus.sessions.advisory_lock import take_lock
from corpus.sql import query
from corpus.upkeep.rule import LEAST_DEAD, Action, Decision, decide, forced
from corpus.upkeep.standing import IndexStanding, Standing, read_standing

logger = logging.getLogger(__name__)

# It waits for transactions under way, the longest of which is a publish (`STORER_LIMITS`); nobody waits for it.
UPKEEP_LIMITS = SessionLimits(lock=3600, statement=0)
_LOST_CLIENT_SECONDS = 5
_VERBS = {
    Action.DROP: "DROP INDEX CONCURRENTLY IF EXISTS",
    Action.ANALYZE: "ANALYZE",
    Action.REBUILD: "REINDEX INDEX CONCURRENTLY",
    # INDEX_CLEANUP: also where dead rows are on few pages. TRUNCATE: to cut off the end of the file, it would take a
    # lock that searches and publishing wait for.
    Action.VACUUM: "VACUUM (ANALYZE, INDEX_CLEANUP ON, TRUNCATE OFF)",
}
_NOT_REBUILT = "it waits for the rebuild of its vector index, without which it takes many times as long"
# The second round decides by what the first one leaves: ANALYZE counts again what is dead.
_ROUNDS = (
    (Action.DROP, Action.BUILD, Action.ANALYZE),
    (Action.REBUILD, Action.VACUUM),
    (Action.DROP,),  # of a rebuild that failed: each publish would fill it
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What an operator asks for."""

    # Names of tables, with their indexes, and of indexes; empty: all. What a rebuild left is dropped in any case.
    only: frozenset[str] = frozenset()
    rebuild: bool = False  # the indexes of `only`, whatever the rule says
    limits: BuildLimits = DEFAULT_BUILD
    lock_seconds: int = 30  # for the builder or maintainer before


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What was done about one decision."""

    decision: Decision
    seconds: float
    bytes_after: int | None  # None: it is gone, or was not there
    problem: str | None = None  # why it was not done, or not wholly

    def describe(self) -> str:
        """One line for a person."""
        line = f"{self.decision.action} {self.decision.name}"
        if self.problem is not None:
            return f"{line}: {self.problem}"
        return f"{line}: done in {self.seconds:,.1f} s"


def plan(standing: Standing, wish: Wish) -> list[Decision]:
    """What is to be done about what an operator names.

    Raises:
        ConfigurationError: there is no table or index of a name.
    """
    decisions = decide(standing)
    names = {name for one in decisions for name in (one.name, one.table)}
    unknown = sorted(wish.only - names)
    if unknown:
        raise ConfigurationError(
            f"there is no table or index {unknown[0]!r} in the schema freshet; `freshet maintain --dry-run --all` "
            "lists them"
        )
    if not wish.only:
        return decisions
    named = [
        one
        for one in decisions
        if one.action is Action.DROP or wish.only & {one.name, one.table}
    ]
    if wish.rebuild:
        return [forced(one, standing) for one in named]
    return named


def maintain(
    url: str | Secret,
    wish: Wish,
    *,
    notify: Callable[[str], None],
    report: Callable[[Done], None],
) -> None:
    """Do what is due; blocks for as long as that takes.

    1. take the lock of index builds: one builder or maintainer at a time
    2. in rounds: drop, build, analyse, rebuild, vacuum; look again before each

    Args:
        url: of the database, as the user that owns the tables.
        wish: what to look at.
        notify: called with a line if another process holds the lock.
        report: called with each thing that was done, or could not be.

    Raises:
        ConfigurationError: the user does not own the tables, or a name is unknown; nothing was done.
        LockWaitError: another process builds or maintains; the message names it.
        DependencyError: PostgreSQL does not answer.
    """
    with (
        database_errors_translated(),
        connect(
            url, application="freshet-maintain", limits=UPKEEP_LIMITS
        ) as connection,
    ):
        _require_owner(connection)
        plan(read_standing(connection), wish)
        # What nobody waits for any more is not worth the memory and the lock.
        lost = {"seconds": _LOST_CLIENT_SECONDS}
        connection.execute(query("limit_lost_client"), lost)
        frozen = {"seconds": IDLE_SESSION_SECONDS}
        connection.execute(query("limit_idle_session"), frozen)
        # Step 1.
        take_lock(
            connection,
            BUILD_LOCK,
            wanted="index builds and upkeep",
            seconds=wish.lock_seconds,
            whole_session=True,
            notify=notify,
        )
        # Step 2.
        for actions in _ROUNDS:
            for done in _round(connection, wish, actions):
                report(done)


def _require_owner(connection: Connection) -> None:
    if not fetch_one(connection, scalar_row, "owns_tables"):
        raise ConfigurationError(
            f"the user {connection.info.user!r} does not own the tables of Freshet, and only their owner may rebuild "
            "and vacuum them: name the user of `freshet migrate` in FRESHET_DATABASE_URL; nothing was done"
        )


def _round(
    connection: Connection, wish: Wish, actions: Sequence[Action]
) -> Iterator[Done]:
    standing = read_standing(connection)
    not_rebuilt: set[str] = set()  # tables
    for decision in _in_order(plan(standing, wish), actions):
        held_by = decision.held_by
        if decision.action is Action.VACUUM and decision.name in not_rebuilt:
            held_by = held_by or _NOT_REBUILT
        todo = replace(decision, held_by=held_by)
        done = _do(connection, standing, todo, wish.limits)
        if done.problem is not None and decision.action is Action.REBUILD:
            not_rebuilt.add(decision.table)
        yield done


def _in_order(
    decisions: Iterable[Decision], actions: Sequence[Action]
) -> list[Decision]:
    chosen = [decision for decision in decisions if decision.action in actions]
    return sorted(chosen, key=lambda decision: actions.index(decision.action))


def _do(
    connection: Connection, standing: Standing, decision: Decision, limits: BuildLimits
) -> Done:
    """One decision; what the server refuses is a problem of it, and the next one is tried."""
    context = {"action": "upkeep", "does": decision.action.value, "of": decision.name}
    logger.info("upkeep begins", extra=context | {"why": decision.why})
    began = time.monotonic()
    problem = decision.held_by
    if problem is None:
        problem = _tried(connection, standing, decision, limits)
    seconds = time.monotonic() - began
    logger.info("upkeep ended", extra=context | {"problem": problem})
    return Done(
        decision=decision,
        seconds=round(seconds, 1),
        bytes_after=_bytes_of(connection, decision.name),
        problem=problem,
    )


def _tried(
    connection: Connection, standing: Standing, decision: Decision, limits: BuildLimits
) -> str | None:
    """Why it was not done, or not wholly; None: it was.

    Raises:
        DependencyError: the session is lost, or a person cancelled the statement.
    """
    try:
        with database_errors_translated():
            if decision.action is Action.BUILD:
                build_as_only(connection, limits)
            elif decision.action is Action.REBUILD:
                _rebuild(connection, standing.index(decision.name), limits)
            else:
                _execute(connection, decision.action, decision.name)
    except FreshetError as error:
        is_cancelled = isinstance(error.__cause__, psycopg.errors.QueryCanceled)
        if is_cancelled or connection.closed:
            raise
        return str(error)
    if decision.action is Action.VACUUM:
        return _left_by_vacuum(connection, decision)
    return None


def _execute(connection: Connection, action: Action, name: str) -> None:
    values = {"verb": _VERBS[action], "name": name}
    execute_made(connection, "upkeep_statement", values)


def _rebuild(connection: Connection, index: IndexStanding, limits: BuildLimits) -> None:
    def rebuild() -> None:
        _execute(connection, Action.REBUILD, index.name)

    def undo() -> None:
        _drop_left_over(connection, index.table)

    if index.dimensions is None:
        rebuild()
    else:
        build_graph(connection, index.name, limits, rebuild, undo)


def _drop_left_over(connection: Connection, table: str) -> None:
    """What a rebuild that was refused left."""
    for index in read_standing(connection).indexes:
        if index.table == table and index.is_left_over:
            _execute(connection, Action.DROP, index.name)


def _left_by_vacuum(connection: Connection, decision: Decision) -> str | None:
    after = read_standing(connection).table(decision.name)
    if after.dead < max(LEAST_DEAD, decision.dead // 2):
        return None
    return (
        f"{after.dead:,} of {decision.dead:,} dead rows stayed: a transaction, a prepared transaction or a replication "
        "slot may still see them (`pg_stat_activity.backend_xmin`, `pg_prepared_xacts`, `pg_replication_slots.xmin`)"
    )


def _bytes_of(connection: Connection, name: str) -> int | None:
    standing = read_standing(connection)
    sizes = {one.name: one.bytes for one in (*standing.tables, *standing.indexes)}
    return sizes.get(name)
