"""The tree at hand over the baseline, in each kind of search."""

from typing import Any

from tests.bench.scale.revision import BASELINE, NOW

_FIGURES = ("p50 ms", "p99 ms", "CPU ms", "pages")


def ratios(searches: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per mode and what is searched; none without a baseline."""
    before = {
        (one["mode"], one["searched"]): one for one in searches if one["revision"] == BASELINE
    }
    return [
        _row(one, before[one["mode"], one["searched"]])
        for one in searches
        if one["revision"] == NOW and (one["mode"], one["searched"]) in before
    ]


def _row(now: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    row = {"searched": now["searched"], "chunks": now["chunks"], "mode": now["mode"]}
    for name in _FIGURES:
        row[name] = round(now[name] / before[name], 2) if before[name] else None
    if "recall@10" in now:
        row["recall@10 before"] = before["recall@10"]
        row["recall@10 now"] = now["recall@10"]
    return row
