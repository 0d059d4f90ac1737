"""The rule: what each table and index needs, and why.

1. what a rebuild that was interrupted left is dropped
2. an index that is missing is built
3. a table whose counts are lost or old is analysed
4. a vector index with many entries of withdrawn chunks (of closed chunks: of purged ones) is rebuilt
5. a table with many dead rows is vacuumed, after its vector indexes were rebuilt

A VACUUM of the chunks removes dead entries of the vector index one by one, and mends the graph around each: with 5 %
of them it takes twice as long as the whole index takes to be built again, beside searches and publishing, and a VACUUM
after that takes a second. `README.md` has the figures.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from corpus.upkeep.standing import (
    Holder,
    IndexStanding,
    Standing,
    TableStanding,
    dead_share,
)

# Fewer dead rows or entries than this cost nothing that anybody notices.
LEAST_DEAD = 1_000
# A search by vector steps over dead entries: at this share it looks at a quarter more than it needs.
REBUILD_SHARE = 0.20
# Where the table is vacuumed anyway: from here on, mending the graph takes longer than building it.
REBUILD_BEFORE_VACUUM_SHARE = 0.03
# The server vacuums tables itself, most of them at 5 %: who has so many has been passed over.
VACUUM_SHARE = 0.20
ANALYZE_SHARE = 0.20
# What is due today is done in the night; who has so many has nobody who does it.
OVERDUE_SHARE = 0.40


class Action(StrEnum):
    """What is done to a table or an index, in this order."""

    DROP = "drop"
    BUILD = "build"
    ANALYZE = "analyze"
    REBUILD = "rebuild"
    VACUUM = "vacuum"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the rule says about one table or index."""

    name: str
    table: str
    kind: str  # table, or the method of the index
    bytes: int
    rows: int
    dead: int
    last_vacuum: datetime | None
    last_analyze: datetime | None
    action: Action
    why: str
    held_by: str | None = None  # what keeps it from being done now

    @property
    def share(self) -> float:
        """Of its rows or entries, those that are dead or withdrawn."""
        return dead_share(self.dead, self.rows)

    @property
    def is_due(self) -> bool:
        """Whether something is to be done."""
        return self.action is not Action.NOTHING

    @property
    def is_overdue(self) -> bool:
        """Whether it should not wait for the next night."""
        if self.action in (Action.REBUILD, Action.VACUUM):
            return self.dead >= LEAST_DEAD and self.share >= OVERDUE_SHARE
        return self.action is Action.DROP

    def describe(self) -> str:
        """One line for a person."""
        return f"{self.name}: {self.action} ({self.why})"


def decide(standing: Standing) -> list[Decision]:
    """What the rule says about every table and index, tables first."""
    by_index = dict(_decide_indexes(standing))
    rebuilt = {
        decision.table
        for decision in by_index.values()
        if decision.action is Action.REBUILD
    }
    tables = [
        _decide_table(standing, table, is_rebuilt=table.name in rebuilt)
        for table in standing.tables
    ]
    vacuumed = {
        decision.name for decision in tables if decision.action is Action.VACUUM
    }
    indexes = [
        _before_vacuum(standing, index, by_index[index.name])
        if index.table in vacuumed
        else by_index[index.name]
        for index in standing.indexes
    ]
    return [*map(_missing, standing.missing), *tables, *indexes]


def forced(decision: Decision, standing: Standing) -> Decision:
    """The decision about an index that an operator wants to be rebuilt; what is said of a table stays."""
    names = {index.name for index in standing.indexes if index.is_valid}
    if decision.name not in names:
        return decision
    return _rebuilt(decision, standing, "asked for")


def _rebuilt(decision: Decision, standing: Standing, why: str) -> Decision:
    held = _held(standing.holder)
    return replace(decision, action=Action.REBUILD, why=why, held_by=held)


def _missing(index: str) -> Decision:
    return Decision(
        name=index,
        table="chunk",
        kind="index",
        bytes=0,
        rows=0,
        dead=0,
        last_vacuum=None,
        last_analyze=None,
        action=Action.BUILD,
        why="until then searches compare with each chunk, and are slower",
    )


# ── tables ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _decide_table(
    standing: Standing, table: TableStanding, *, is_rebuilt: bool
) -> Decision:
    action, why = _table_action(table, is_rebuilt=is_rebuilt)
    held = _held(standing.holder) if action is Action.VACUUM else None
    return Decision(
        name=table.name,
        table=table.name,
        kind="table",
        bytes=table.bytes,
        rows=table.rows,
        dead=table.dead,
        last_vacuum=table.last_vacuum,
        last_analyze=table.last_analyze,
        action=action,
        why=why,
        held_by=held,
    )


def _table_action(table: TableStanding, *, is_rebuilt: bool) -> tuple[Action, str]:
    dead = f"{table.dead:,} dead rows, {table.share:.0%}"
    if table.last_analyze is None and table.rows >= LEAST_DEAD:
        return Action.ANALYZE, "it was never analysed, or a crash has lost its counts"
    if table.dead >= LEAST_DEAD and table.share >= VACUUM_SHARE:
        return Action.VACUUM, f"{dead}, at least {VACUUM_SHARE:.0%}"
    if is_rebuilt:
        return Action.VACUUM, f"{dead}; its vector index is rebuilt, so it takes little"
    if table.modified >= max(LEAST_DEAD, ANALYZE_SHARE * table.rows):
        return (
            Action.ANALYZE,
            f"{table.modified:,} rows were changed since its ANALYZE, at least {ANALYZE_SHARE:.0%}",
        )
    if table.dead < LEAST_DEAD:
        return Action.NOTHING, f"{table.dead:,} dead rows, fewer than {LEAST_DEAD:,}"
    return Action.NOTHING, f"{dead}, less than {VACUUM_SHARE:.0%}"


# ── indexes ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _decide_indexes(standing: Standing) -> Iterator[tuple[str, Decision]]:
    for index in standing.indexes:
        table = standing.table(index.table)
        dead = index.dead_entries(table)
        action, why = _index_action(index, dead)
        yield index.name, _of_index(standing, index, dead, action, why)


def _of_index(
    standing: Standing, index: IndexStanding, dead: int, action: Action, why: str
) -> Decision:
    table = standing.table(index.table)
    held = _held(standing.holder) if action is Action.REBUILD else None
    return Decision(
        name=index.name,
        table=index.table,
        kind=index.method,
        bytes=index.bytes,
        rows=index.rows,
        dead=dead,
        last_vacuum=table.last_vacuum,
        last_analyze=table.last_analyze,
        action=action,
        why=why,
        held_by=held,
    )


def _index_action(index: IndexStanding, dead: int) -> tuple[Action, str]:
    share = dead_share(dead, index.rows)
    entries = f"{_entries(index, dead)}, {share:.0%}"
    if index.is_left_over:
        return (
            Action.DROP,
            "a rebuild that was interrupted left it; each write fills it",
        )
    if index.is_built and not index.is_valid:
        return Action.NOTHING, "a session builds it now"
    if not index.is_valid:
        return Action.NOTHING, "its build was interrupted, and no search uses it"
    if index.dimensions is None:
        return Action.NOTHING, "the VACUUM of its table frees its dead entries"
    if dead < LEAST_DEAD:
        return Action.NOTHING, f"{entries}; fewer than {LEAST_DEAD:,}"
    if share >= REBUILD_SHARE:
        return Action.REBUILD, f"{entries}, at least {REBUILD_SHARE:.0%}"
    return Action.NOTHING, f"{entries}, less than {REBUILD_SHARE:.0%}"


def _before_vacuum(
    standing: Standing, index: IndexStanding, decision: Decision
) -> Decision:
    """A vector index whose table is vacuumed: rebuilt before that, where mending its graph takes longer."""
    is_rebuilt = (
        decision.action is Action.NOTHING
        and index.dimensions is not None
        and decision.dead >= LEAST_DEAD
        and decision.share >= REBUILD_BEFORE_VACUUM_SHARE
    )
    if not is_rebuilt:
        return decision
    why = (
        f"{_entries(index, decision.dead)}, {decision.share:.0%}; the VACUUM of {index.table} would mend "
        "the graph around each, which takes longer"
    )
    return _rebuilt(decision, standing, why)


def _entries(index: IndexStanding, dead: int) -> str:
    kind = "purged" if index.is_of_closed else "withdrawn"
    return f"{dead:,} entries of {kind} chunks"


def _held(holder: Holder | None) -> str | None:
    if holder is None:
        return None
    since = "" if holder.since is None else f" since {holder.since:%Y-%m-%d %H:%M:%S}Z"
    return f"{holder.who} may still see what is gone{since}"
