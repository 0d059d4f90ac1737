"""How much memory the build of a vector index gets, and how many processes build it.

An HNSW index is a graph. Its build keeps the graph in memory, where a vector finds its neighbours, until
`maintenance_work_mem` is full; from then on each further vector looks for them in the index file, which takes many
times as long. So the memory follows from the number of vectors, and is never left to the setting of the server.
"""

from dataclasses import dataclass

_PAGE = 8_192 - 24 - 8  # bytes of a page beside its header and the mark of HNSW
_LINE_POINTER = 4
_ELEMENT = 72  # bytes of a node beside its vector: rows that have it, level, place of its neighbours
_VECTOR = 8  # bytes of a vector beside its numbers
_NEIGHBOURS = (
    200  # bytes of the list of a node's neighbours in the lowest layer, m = 16
)
# In memory a node has pointers and distances in place of numbers of pages: 12 bytes more for each of 34 neighbours,
# and what an allocation takes.
_IN_MEMORY = 700
_ROOM = 1.2  # rows that come while it is built, and what the estimate of rows misses

_MEGABYTE = 1024 * 1024
_LEAST_MEGABYTES = 64  # PostgreSQL's own default
MOST_MEGABYTES = 2_048  # unless more is asked for: the server has other work
MOST_WORKERS = 4
# Below this a second process costs more to start than it saves.
_ROWS_OF_ONE_PROCESS = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildLimits:
    """What an operator allows to the build of a vector index."""

    megabytes: int = (
        MOST_MEGABYTES  # where the server's own setting is greater, that counts
    )
    workers: int | None = (
        None  # beside the session's own process; None: by the number of chunks
    )


DEFAULT_BUILD = BuildLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildMemory:
    """What a session that builds a vector index sets."""

    megabytes: int  # `maintenance_work_mem`
    workers: int  # `max_parallel_maintenance_workers`, beside the session's own process
    needed_megabytes: int  # for the whole graph

    @property
    def is_too_little(self) -> bool:
        """Whether the graph does not fit, so that its build takes many times as long."""
        return self.needed_megabytes > self.megabytes

    def describe(self) -> str:
        """In words, for the line that says what is built."""
        text = f"{self.megabytes:,} MB, at most {self.workers + 1} processes"
        if not self.is_too_little:
            return text
        needed = f"{self.needed_megabytes:,} MB"
        return (
            f"{text}; the graph needs about {needed}, so that its build takes many times as long: "
            f"`freshet maintain --memory {self.needed_megabytes}` gives it, where the server has it"
        )


def entry_bytes(dimensions: int, *, is_half: bool) -> int:
    """Bytes of the index file per vector, as pgvector lays them out."""
    number = 2 if is_half else 4
    node = _aligned(_ELEMENT + _VECTOR + dimensions * number)
    both = node + _NEIGHBOURS + 2 * _LINE_POINTER
    if both > _PAGE:
        return 2 * 8_192  # the neighbours are on a page of their own
    return 8_192 // (_PAGE // both)


def build_memory(
    rows: int, dimensions: int, *, is_half: bool, limits: BuildLimits
) -> BuildMemory:
    """What the build of an index should get.

    Args:
        rows: that it will hold.
        dimensions: of their vectors.
        is_half: whether it holds them in half precision.
        limits: of the operator.
    """
    number = 2 if is_half else 4
    graph = rows * (dimensions * number + _VECTOR + _IN_MEMORY) * _ROOM
    needed = int(graph / _MEGABYTE) + 1
    workers = limits.workers
    if workers is None:
        workers = min(MOST_WORKERS, rows // _ROWS_OF_ONE_PROCESS)
    return BuildMemory(
        megabytes=min(limits.megabytes, max(_LEAST_MEGABYTES, needed)),
        workers=workers,
        needed_megabytes=needed,
    )


def _aligned(size: int) -> int:
    return (size + 7) // 8 * 8
