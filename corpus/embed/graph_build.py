"""Runs the statement that builds a vector index, with the memory that its graph needs."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import psycopg
from psycopg.rows import class_row

from corpus.database import Connection, fetch_one
from corpus.embed.build_memory import BuildLimits, BuildMemory, build_memory
from corpus.sql import query

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Graph:
    """What is to be built (query `graph_to_build`)."""

    rows: int
    dimensions: int
    is_half: bool
    own_megabytes: int  # that the server gives without being asked


def build_graph(
    connection: Connection,
    index: str,
    limits: BuildLimits,
    build: Callable[[], None],
    undo: Callable[[], None],
) -> BuildMemory:
    """Build a vector index; processes side by side where their memory can be shared, else one alone.

    A build by several processes takes all of its memory as one piece of shared memory. Where the server's system has
    no such piece (64 MB in many containers, `shm_size`), it is refused at once, and the index is built by one process.

    Args:
        connection: the session that builds.
        index: its name.
        limits: of the operator.
        build: executes the statement.
        undo: drops what a build that was refused leaves.

    Returns:
        What the build had.
    """
    memory = _memory_of(connection, index, limits)
    _set_memory(connection, memory)
    context = {"action": "index_memory", "index": index}
    logger.info("memory of a build", extra=context | {"memory": memory.describe()})
    try:
        build()
    except (psycopg.errors.DiskFull, psycopg.errors.OutOfMemory):
        if not memory.workers:
            raise
        logger.warning("no shared memory for several processes", extra=context)
        undo()
        memory = replace(memory, workers=0)
        _set_memory(connection, memory)
        build()
    return memory


def _memory_of(connection: Connection, index: str, limits: BuildLimits) -> BuildMemory:
    values = {"name": index}
    graph = fetch_one(connection, class_row(_Graph), "graph_to_build", values)
    assert graph is not None, f"{index} is an index of a registered space"
    megabytes = max(limits.megabytes, graph.own_megabytes)
    return build_memory(
        graph.rows,
        graph.dimensions,
        is_half=graph.is_half,
        limits=replace(limits, megabytes=megabytes),
    )


def _set_memory(connection: Connection, memory: BuildMemory) -> None:
    values = {"megabytes": memory.megabytes, "workers": memory.workers}
    connection.execute(query("set_build_memory"), values)
