"""`python -m tests.bench.scale`: measure with other options than `make bench` does."""

import argparse
import sys
from pathlib import Path

from tests.bench.scale.bench import Options
from tests.bench.scale.report import measure, table
from tests.bench.scale.searches import MODES


def _options() -> Options:
    default = Options()
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scale", description=__doc__)
    parser.add_argument("--chunks", type=int, default=default.chunks, help="of the corpus")
    parser.add_argument("--seed", type=int, default=default.seed, help="of all that is drawn")
    parser.add_argument(
        "--queries", type=int, default=default.queries, help="of a search without a filter"
    )
    parser.add_argument(
        "--baseline", help="a revision of git, or a folder with another tree, to measure beside"
    )
    parser.add_argument(
        "--keep", type=Path, help="a folder that keeps the loaded databases for the next run"
    )
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES, help="of search")
    given = parser.parse_args()
    return Options(
        chunks=given.chunks,
        seed=given.seed,
        queries=given.queries,
        baseline=given.baseline,
        modes=tuple(given.modes),
        keep=given.keep,
    )


def main() -> int:
    """1 where an answer has what it must not have."""
    result = measure(_options())
    sys.stdout.write(table(result) + "\n")
    return int(not result["holds"])


if __name__ == "__main__":
    sys.exit(main())
