"""What the build of a vector index gets."""

import pytest

from corpus.embed.build_memory import DEFAULT_BUILD, BuildLimits, build_memory, entry_bytes


@pytest.mark.parametrize(
    ("dimensions", "is_half", "size"),
    [
        (384, False, 2_048),  # measured: 2,052 with 100,000 vectors, 1,176 in half precision
        (384, True, 1_170),
        (768, False, 4_096),
        (1_536, False, 8_192),
        (2_000, False, 16_384),
    ],
)
def test_bytes_of_an_entry(dimensions: int, is_half: bool, size: int) -> None:
    assert entry_bytes(dimensions, is_half=is_half) == size


def test_the_graph_gets_what_it_needs() -> None:
    memory = build_memory(100_000, 384, is_half=False, limits=DEFAULT_BUILD)
    # pgvector: "no longer fits into maintenance_work_mem" after 7,448 vectors in 16 MB.
    assert memory.needed_megabytes == pytest.approx(100_000 / 7_448 * 16 * 1.2, rel=0.05)
    assert memory.megabytes == memory.needed_megabytes
    assert memory.describe() == "257 MB, at most 5 processes"


def test_a_small_graph_has_postgresqls_default_and_one_process() -> None:
    memory = build_memory(100, 384, is_half=False, limits=DEFAULT_BUILD)
    assert (memory.megabytes, memory.workers) == (64, 0)


def test_half_precision_needs_less() -> None:
    full = build_memory(100_000, 384, is_half=False, limits=DEFAULT_BUILD)
    half = build_memory(100_000, 384, is_half=True, limits=DEFAULT_BUILD)
    assert half.needed_megabytes < full.needed_megabytes * 0.7


def test_a_limit_of_the_operator_counts_and_is_said() -> None:
    limits = BuildLimits(megabytes=1_000, workers=1)
    memory = build_memory(1_000_000, 384, is_half=False, limits=limits)
    assert (memory.megabytes, memory.workers) == (1_000, 1)
    assert memory.is_too_little
    assert "`freshet maintain --memory 2569` gives it" in memory.describe()
