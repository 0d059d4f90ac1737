"""The figures as one page, which needs nothing else: charts, and a table of everything."""

from collections.abc import Sequence
from html import escape
from typing import Any

from tests.bench.scale import charts
from tests.bench.scale.charts import Dot, Row
from tests.bench.scale.questions import KINDS
from tests.bench.scale.revision import BASELINE, NOW

Figures = dict[str, Any]
_MIN_RECALL_SHOWN = 0.5


def page(result: Figures) -> str:
    """HTML with its styles and charts inside."""
    searches = result["searches"]
    parts = [
        _about(result),
        "<h2>Search</h2>",
        _time_chart(
            searches, "p50 ms", "p99 ms", "milliseconds, from the median to the 99th percentile"
        ),
        _time_chart(searches, "CPU ms", None, "milliseconds of processor time per search, mean"),
        _time_chart(searches, "pages", None, "pages of 8 kB that a search touches, median"),
        _kinds_chart(searches),
        "<h2>Recall</h2>",
        _recall_chart(searches),
        *_rest(result),
        "<h2>All figures of search</h2>",
        _table(searches),
    ]
    return _PAGE.replace("CONTENT", "\n".join(parts))


def _about(result: Figures) -> str:
    corpus = result["corpus"]
    revisions = ", ".join(f"{name}: {commit}" for name, commit in result["revisions"].items())
    loads = result["load averages"]
    return (
        f"<h1>Freshet at {corpus['chunks']:,} chunks</h1>"
        f"<p>{corpus['words']:,} words of a vocabulary of {corpus['vocabulary']:,}; "
        f"{corpus['chunks of former versions']:,} chunks belong to former versions; vectors of "
        f"{corpus['dimensions']} dimensions; seed {corpus['seed']}.</p>"
        f"<p>Revisions: {escape(revisions)}. Load of the machine meanwhile: {min(loads)} to {max(loads)}. A hollow "
        "mark is the baseline; each question goes to both databases, one after the other.</p>"
    )


def _time_chart(searches: list[Figures], figure: str, until: str | None, title: str) -> str:
    modes = _values(searches, "mode")
    rows = [
        Row(
            f"{name} ({chunks:,})",
            [
                Dot(
                    modes.index(one["mode"]),
                    one[figure],
                    one[until] if until else None,
                    _note(one, figure),
                    hollow=one["revision"] == BASELINE,
                )
                for one in searches
                if one["searched"] == name
            ],
        )
        for name, chunks in _spaces(searches)
    ]
    axis = charts.logarithmic(title, _every(searches, figure, until))
    heading = "What is searched, and how many chunks that is"
    return charts.dots(f"{heading}: {title}", axis, rows, modes)


def _every(searches: list[Figures], figure: str, until: str | None) -> list[float]:
    return [one[key] for one in searches for key in (figure, until) if key]


def _note(one: Figures, figure: str) -> str:
    return f"{one['revision']}, {one['mode']}, {one['searched']}: {one[figure]:,} {figure}"


def _kinds_chart(searches: list[Figures]) -> str:
    rows = []
    for name in ("none", "source of 10 %"):
        for kind in KINDS:
            some = [one for one in searches if one["searched"] == name and one["mode"] == "text"]
            dots = [
                Dot(
                    0,
                    one["kinds"][kind]["p50 ms"],
                    one["kinds"][kind]["p99 ms"],
                    f"{one['revision']}: {one['kinds'][kind]}",
                    hollow=one["revision"] == BASELINE,
                )
                for one in some
            ]
            rows.append(Row(f"{kind} words, filter: {name}", dots))
    values = [value for row in rows for dot in row.dots for value in (dot.value, dot.until or 0)]
    axis = charts.logarithmic("milliseconds, from the median to the 99th percentile", values)
    return charts.dots("Text search by the words of the question", axis, rows, ["text"])


def _recall_chart(searches: list[Figures]) -> str:
    judged = [one for one in searches if "recall@10" in one]
    modes = _values(judged, "mode")
    rows = [
        Row(
            f"{name} ({chunks:,})",
            [
                Dot(
                    modes.index(one["mode"]),
                    max(one["recall@10"], _MIN_RECALL_SHOWN),
                    None,
                    _note(one, "recall@10"),
                    hollow=one["revision"] == BASELINE,
                )
                for one in judged
                if one["searched"] == name
            ],
        )
        for name, chunks in _spaces(judged)
    ]
    least = min(one["recall@10"] for one in judged)
    first = max(_MIN_RECALL_SHOWN, int(least * 20) / 20)
    axis = charts.Axis("share of the ten best that are returned", min(first, 0.95), 1.0)
    title = "Recall@10, against exact distances and exact BM25"
    return charts.dots(title, axis, rows, modes)


def _rest(result: Figures) -> list[str]:
    parts: list[str] = []
    if publishing := result.get("publishing"):
        rows = [
            Row(
                f"{count} of 5 chunks",
                [
                    Dot(0, one["p50 ms"], one["p99 ms"], f"{name}: {one}", hollow=name == BASELINE)
                    for name, one in by_name.items()
                ],
            )
            for count, by_name in publishing.items()
        ]
        values = [
            value for row in rows for dot in row.dots for value in (dot.value, dot.until or 0)
        ]
        axis = charts.linear("milliseconds, from the median to the 99th percentile", max(values))
        parts += ["<h2>Publishing</h2>", charts.dots("Publishing a batch", axis, rows, ["publish"])]
    if storage := result.get("storage"):
        parts += ["<h2>Storage</h2>", _storage_chart(storage)]
    return [*parts, _builds_chart(result["load"])]


def _storage_chart(storage: Figures) -> str:
    names = list(storage[NOW])
    rows = [
        (revision, [of_one.get(name, 0) for name in names]) for revision, of_one in storage.items()
    ]
    axis = charts.linear("bytes per chunk", 1.1 * max(sum(values) for _, values in rows))
    return charts.bars("Storage of a chunk", axis, rows, names, lambda value: f"{value:,.0f}")


def _builds_chart(load: Figures) -> str:
    rows = [
        (name if len(load) == 1 else f"{name}, {revision}", [seconds])
        for revision, steps in load.items()
        for name, seconds in {
            "rows and their search texts": steps["rows"],
            "documents": steps["documents"],
            **{f"index {name}": seconds for name, seconds in steps["indexes"].items()},
            "VACUUM ANALYZE": steps["vacuum"],
        }.items()
    ]
    axis = charts.linear("seconds", 1.1 * max(value for _, [value] in rows))
    heading = "<h2>Loading, as a restore does it</h2>"
    return heading + charts.bars("Steps", axis, rows, ["seconds"], lambda value: f"{value:,.1f} s")


def _table(searches: list[Figures]) -> str:
    head = ["searched", "chunks", "mode", "revision", "queries", "p50 ms", "p99 ms", "CPU ms"]
    head += ["pages", "rows", "recall@10", "foreign"]
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    rows = "".join(
        "<tr>" + "".join(f"<td>{_cell(one.get(name, ''))}</td>" for name in head) + "</tr>"
        for one in searches
    )
    return f'<div class="wide"><table><thead><tr>{cells}</tr></thead><tbody>{rows}</tbody></table></div>'


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int | float) else escape(str(value))


def _values(rows: list[Figures], key: str) -> list[str]:
    return list(dict.fromkeys(row[key] for row in rows))


def _spaces(rows: list[Figures]) -> Sequence[tuple[str, int]]:
    return list(dict.fromkeys((row["searched"], row["chunks"]) for row in rows))


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Freshet at scale</title><style>
:root { color-scheme: light dark; --paper: #fcfcfb; --ink: #1d1f21; --soft: #5c6166; --line: #dcdfe2;
  --s0: #2a6fc9; --s1: #c2591a; --s2: #1f8a5b; --s3: #8353b5; --s4: #a8812a; --s5: #b8437a; --s6: #4b8a99;
  --s7: #6d7278; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #16181a; --ink: #e7e9ea; --soft: #a2a8ae; --line: #33383c;
    --s0: #6aa8f2; --s1: #ee9354; --s2: #56c48d; --s3: #bd93e8; --s4: #d9b45c; --s5: #ee86b3; --s6: #85c4d3;
    --s7: #a2a8ae; } }
body { background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; margin: 0 auto;
  max-width: 900px; padding: 24px 16px 64px; }
h1 { font-size: 24px; margin: 0 0 8px; } h2 { font-size: 18px; margin: 36px 0 4px; }
p { color: var(--soft); margin: 4px 0; }
figure { margin: 14px 0 22px; } figcaption { font-weight: 600; font-size: 14px; }
svg { width: 100%; height: auto; display: block; font: 12px system-ui, sans-serif; }
.g { stroke: var(--line); } .l { stroke: var(--c); stroke-width: 2; opacity: .45; }
.f { fill: var(--c); } .o { fill: var(--paper); stroke: var(--c); stroke-width: 2; }
text { fill: var(--ink); } .t, .v { text-anchor: middle; } .t { fill: var(--soft); } .r { text-anchor: end; }
.v { fill: var(--paper); font-size: 11px; }
.s0 { --c: var(--s0); } .s1 { --c: var(--s1); } .s2 { --c: var(--s2); } .s3 { --c: var(--s3); }
.s4 { --c: var(--s4); } .s5 { --c: var(--s5); } .s6 { --c: var(--s6); } .s7 { --c: var(--s7); }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: 12.5px; font-variant-numeric: tabular-nums; }
th, td { padding: 3px 9px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:nth-child(1), td:nth-child(1), th:nth-child(3), td:nth-child(3), th:nth-child(4), td:nth-child(4) {
  text-align: left; }
</style></head><body>
CONTENT
</body></html>
"""
