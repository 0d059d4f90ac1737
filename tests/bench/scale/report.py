"""Writes the figures: `build/bench/scale.json`, `build/bench/scale.html`, and a table to read at once."""

import json
from typing import Any

from tests.bench.scale.bench import Options, run
from tests.bench.scale.page import page
from tests.bench.stack import ROOT

_COLUMNS = ("searched", "mode", "revision", "chunks", "p50 ms", "p99 ms", "CPU ms", "pages")
_COLUMNS += ("rows", "recall@10")


def measure(options: Options) -> dict[str, Any]:
    """Measure, and write both files."""
    result = run(options)
    _write(result)
    return result


def _write(result: dict[str, Any]) -> None:
    folder = ROOT / "build" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"name": "scale", **result}, indent=2, ensure_ascii=False)
    (folder / "scale.json").write_text(text + "\n", encoding="utf-8")
    (folder / "scale.html").write_text(page(result), encoding="utf-8")


def table(result: dict[str, Any]) -> str:
    """Searches, one per line."""
    rows = [list(_COLUMNS)]
    rows += [[_shown(one.get(name, "")) for name in _COLUMNS] for one in result["searches"]]
    widths = [max(len(row[place]) for row in rows) for place in range(len(_COLUMNS))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place < 3 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _shown(value: object) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)
