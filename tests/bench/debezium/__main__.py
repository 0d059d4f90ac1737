"""`python -m tests.bench.debezium`: rows edited under a real Debezium; exit code 1: the corpus is not the table."""

import argparse
import json
import secrets
import signal
import sys
import time

from tests.bench.debezium.run import Options, run
from tests.bench.stack import ROOT

_SEEDS = 2**31


def main() -> int:
    """Run, print what happened, and write `build/bench/debezium.json`."""
    options = _options()
    # Ended by a signal, it leaves no stack.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(128 + signal.SIGTERM))
    started = time.monotonic()

    def say(text: str) -> None:
        sys.stderr.write(f"{time.monotonic() - started:7.1f} s  {text}\n")
        sys.stderr.flush()

    say(f"seed {options.seed}: make debezium ARGS='{options.arguments}'")
    result = run(options, say)
    result["seconds"] = round(time.monotonic() - started, 1)
    text = json.dumps({"name": "debezium", "seed": options.seed, **result}, indent=2)
    folder = ROOT / "build" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "debezium.json").write_text(text + "\n", encoding="utf-8")
    sys.stdout.write(text + "\n")
    return int(not result["holds"])


def _options() -> Options:
    parser = argparse.ArgumentParser(prog="make debezium", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="default: a random one, printed")
    parser.add_argument("--kills", type=int, default=14, help="how many; default 14")
    parser.add_argument("--partitions", type=int, default=1, help="of the table's topic; default 1")
    parser.add_argument("--encoding", choices=("json", "avro"), default="json", help="of values")
    parser.add_argument("--keep", action="store_true", help="keep the folder of the stack")
    parser.add_argument(
        "--break-snapshot", action="store_true", help="kill Connect first in its snapshot"
    )
    given = parser.parse_args()
    seed = secrets.randbelow(_SEEDS) if given.seed is None else given.seed
    return Options(
        seed=seed,
        kills=given.kills,
        partitions=given.partitions,
        encoding=given.encoding,
        keep=given.keep,
        break_snapshot=given.break_snapshot,
    )


if __name__ == "__main__":
    sys.exit(main())
