"""Makes the corpus, loads it into each database, and measures."""

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.scale.databases import loaded
from tests.bench.scale.load import require_same_lexemes
from tests.bench.scale.made import CLOSED, DIMENSIONS, Made, make
from tests.bench.scale.publishing import publishing
from tests.bench.scale.questions import KINDS, questions
from tests.bench.scale.ratios import ratios
from tests.bench.scale.revision import Revision, trees
from tests.bench.scale.searches import MODES, Measured, Searcher, by_kind
from tests.bench.scale.spaces import NONE, Searched, past, present
from tests.bench.scale.storage import bytes_per_chunk


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is measured, on how much.

    Attributes:
        chunks: of the corpus, those of former versions included.
        seed: of all that is drawn.
        queries: of each mode without a filter; with one, half of them, and a quarter as of a day of the past.
        baseline: a revision of git, or a folder with another tree, that is measured beside this one.
        modes: of search.
        keep: a folder for the loaded databases, which later runs with the same chunks and seed measure copies of.
    """

    chunks: int = 100_000
    seed: int = 20261127
    queries: int = 120
    baseline: str | None = None
    modes: tuple[str, ...] = MODES
    keep: Path | None = None


def run(options: Options) -> dict[str, Any]:
    """All measurements; figures by the name of the revision."""
    _say(f"seed {options.seed}, {options.chunks:,} chunks")
    began = time.monotonic()
    made = make(options.chunks, options.seed)
    _say(f"made in {time.monotonic() - began:.0f} s: {len(made.words):,} words")
    result: dict[str, Any] = {"corpus": _about(made)}
    loads = [os.getloadavg()[0]]
    with trees(options.baseline) as places, loaded(places, made, options.keep) as databases:
        revisions = databases.revisions
        result["revisions"] = {place.name: place.commit for place in places}
        result["load"] = databases.seconds
        _say(f"loaded: {databases.seconds}")
        loads.append(os.getloadavg()[0])
        result["searches"] = _searches(options, made, revisions)
        loads.append(os.getloadavg()[0])
        result["storage"] = {one.name: bytes_per_chunk(one) for one in revisions}
        result |= publishing(made, revisions)
        loads.append(os.getloadavg()[0])
    result["ratios"] = ratios(result["searches"])
    result["load averages"] = [round(one, 2) for one in loads]
    result["holds"] = not any(row.get("foreign") for row in result["searches"])
    return result


def _about(made: Made) -> dict[str, Any]:
    return {
        "seed": made.seed,
        "chunks": made.chunks,
        "chunks of former versions": int((~made.visible()).sum()),
        "share of former versions": CLOSED,
        "versions of documents": len(made.documents.chunks),
        "words": len(made.words),
        "vocabulary": len(made.vocabulary.words),
        "dimensions": DIMENSIONS,
    }


def _searches(options: Options, made: Made, revisions: list[Revision]) -> list[dict[str, Any]]:
    searcher = Searcher(made, revisions, questions(made, options.queries))
    require_same_lexemes(revisions[0].connection, made, searcher.exact.lexemes)
    rows = []
    for searched in [*present(made), *past(made)]:
        for mode in options.modes:
            count = _count(options, searched)
            measured = searcher.measure(mode, searched, count)
            for name, of_revision in measured.items():
                row = _row(name, mode, searched, of_revision)
                rows.append(row)
                _say("  ".join(f"{key}: {value}" for key, value in row.items() if key != "kinds"))
    return rows


def _count(options: Options, searched: Searched) -> int:
    if searched.name == NONE:
        return options.queries
    share = 4 if "as_of" in searched.parameters else 2
    return max(options.queries // share, len(KINDS))


def _row(revision: str, mode: str, searched: Searched, measured: Measured) -> dict[str, Any]:
    return {
        "revision": revision,
        "mode": mode,
        "searched": searched.name,
        "chunks": int(searched.allowed.sum()),
        "queries": len(measured.milliseconds),
        **measured.figures(),
        "kinds": {} if mode == "vector" else by_kind(measured),
    }


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
