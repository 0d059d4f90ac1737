"""`python -m tests.bench.scale`: measure with other options than `make bench` does."""

import argparse
import json
import sys

from tests.bench.scale.bench import Options, run
from tests.bench.scale.searches import MODES
from tests.bench.stack import ROOT


def _options() -> Options:
    default = Options()
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scale", description=__doc__)
    parser.add_argument("--chunks", type=int, default=default.chunks)
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument("--queries", type=int, default=default.queries)
    parser.add_argument("--baseline", help="a revision, or a folder with another tree")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    given = parser.parse_args()
    return Options(
        chunks=given.chunks,
        seed=given.seed,
        queries=given.queries,
        baseline=given.baseline,
        modes=tuple(given.modes),
    )


def main() -> int:
    """1 where an answer has what it must not have."""
    result = run(_options())
    folder = ROOT / "build" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"name": "scale", **result}, indent=2, ensure_ascii=False)
    (folder / "scale.json").write_text(text + "\n", encoding="utf-8")
    return int(not result["holds"])


if __name__ == "__main__":
    sys.exit(main())
