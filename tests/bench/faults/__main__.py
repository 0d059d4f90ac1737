"""`python -m tests.bench.faults`: random faults on the PEP stream; exit code 1 where a promise does not hold."""

import argparse
import json
import secrets
import signal
import sys
import time
from typing import Any

from tests.bench.faults.run import Options, run
from tests.bench.faults.schedule import FROZEN_SECONDS
from tests.bench.stack import ROOT

_SEEDS = 2**31


def main() -> int:
    """Run, print the faults and what was broken, and write `build/bench/faults.json`."""
    options, as_json = _options()
    # Ended by a signal, it leaves neither a stack nor a frozen process.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(128 + signal.SIGTERM))
    say = _Lines()
    say(f"seed {options.seed}: make faults ARGS='{options.arguments}'")
    result = run(options, say)
    text = json.dumps({"name": "faults", "seed": options.seed, **result}, indent=2)
    folder = ROOT / "build" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "faults.json").write_text(text + "\n", encoding="utf-8")
    sys.stdout.write(text + "\n" if as_json else _report(result))
    return int(not result["holds"])


def _options() -> tuple[Options, bool]:
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="default: a random one, printed")
    parser.add_argument("--faults", type=int, default=100, help="how many; default 100")
    parser.add_argument("--documents", type=int, default=None, help="PEPs at most; default: all")
    parser.add_argument(
        "--most-seconds",
        type=float,
        default=FROZEN_SECONDS[1],
        help="the longest that a fault lasts; default %(default)s",
    )
    parser.add_argument("--fake-embedder", action="store_true", help="hashes instead of a model")
    parser.add_argument("--keep", action="store_true", help="keep the folder of the stack")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = parser.parse_args()
    seed = secrets.randbelow(_SEEDS) if given.seed is None else given.seed
    options = Options(
        seed=seed,
        faults=given.faults,
        documents=given.documents,
        most_seconds=given.most_seconds,
        fake_embedder=given.fake_embedder,
        keep=given.keep,
    )
    return options, given.json


class _Lines:
    """Progress on standard error, each line with the seconds since the beginning."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def __call__(self, text: str) -> None:
        sys.stderr.write(f"{time.monotonic() - self._started:7.1f} s  {text}\n")
        sys.stderr.flush()


def _report(result: dict[str, Any]) -> str:
    lines = ["", "  no       at s   held s  recovery s  fault"]
    for fault in result["faults"]:
        where = "in a transaction" if fault["in a transaction"] else ""
        recovery = "never" if fault["recovery"] is None else f"{fault['recovery']:.1f}"
        lines.append(
            f"{fault['number']:>4} {fault['at']:>10.1f} {fault['held']:>8.1f} {recovery:>11}"
            f"  {fault['fault']} {where} {fault['problem']}".rstrip()
        )
    counts = {name: value for name, value in result.items() if isinstance(value, int | float)}
    lines += ["", *(f"{name}: {value}" for name, value in counts.items())]
    lines += [f"{name}: {result[name]}" for name in ("standing still", "restarts", "reader")]
    if result["holds"]:
        lines.append("Every promise holds.")
    else:
        lines += ["", "BROKEN:", *(f"- {sentence}" for sentence in result["violations"])]
        lines.append(f"repeat with: {result['repeat']}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
