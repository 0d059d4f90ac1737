"""The figures as one page, which needs nothing else: charts, and a table of everything."""

from collections.abc import Sequence
from html import escape
from typing import Any

from tests.bench.scale import charts
from tests.bench.scale.charts import Dot, Row
from tests.bench.scale.questions import KINDS
from tests.bench.scale.revision import BASELINE

Figures = dict[str, Any]
_TIME = "milliseconds, from the median to the 99th percentile"
_PARTS_SHOWN = 4  # of storage
_COLUMNS = (
    "searched",
    "chunks",
    "mode",
    "revision",
    "queries",
    "p50 ms",
    "p99 ms",
    "CPU ms",
    "pages",
    "rows",
)
_COLUMNS += ("recall@10", "foreign")


def page(result: Figures) -> str:
    """HTML with its styles and charts inside."""
    searches = result["searches"]
    parts = [
        _about(result),
        "<h2>Search</h2>",
        _chart(searches, "Time of a search", _TIME, "p50 ms", "p99 ms"),
        _chart(searches, "Processor time of a search", "milliseconds, mean", "CPU ms"),
        _chart(searches, "Pages that a search touches", "pages of 8 kB, median", "pages"),
        _kinds_chart(searches),
        "<h2>Recall</h2>",
        _recall_chart(searches),
        *_publishing_charts(result["publishing"]),
        "<h2>Storage</h2>",
        _storage_chart(result["storage"]),
        "<h2>Loading, as a restore does it</h2>",
        _loading_chart(result["load"]),
        _ratios(result["ratios"]),
        "<h2>All figures of search</h2>",
        _table(searches, _COLUMNS),
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


def _chart(
    searches: list[Figures], title: str, unit: str, figure: str, until: str | None = None
) -> str:
    modes = _values(searches, "mode")
    rows = [
        Row(
            name,
            [
                Dot(
                    modes.index(one["mode"]),
                    one[figure],
                    one[until] if until else None,
                    _note(one, figure),
                    hollow=one["revision"] == BASELINE,
                )
                for one in some
            ],
        )
        for name, some in _by_space(searches)
    ]
    axis = charts.logarithmic(unit, _every(searches, figure, until))
    return charts.dots(
        f"{title}, by what is searched (and its number of chunks)", axis, rows, modes
    )


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
    axis = charts.logarithmic(_TIME, values)
    return charts.dots("Time of text search, by the words of the question", axis, rows, ["text"])


def _recall_chart(searches: list[Figures]) -> str:
    judged = [one for one in searches if "recall@10" in one]
    modes = _values(judged, "mode")
    rows = [
        Row(
            name,
            [
                Dot(
                    modes.index(one["mode"]),
                    one["recall@10"],
                    None,
                    _note(one, "recall@10"),
                    hollow=one["revision"] == BASELINE,
                )
                for one in some
            ],
        )
        for name, some in _by_space(judged)
    ]
    least = min(one["recall@10"] for one in judged)
    axis = charts.Axis(
        "share of the ten best that are returned", min(int(least * 10) / 10, 0.9), 1.0
    )
    title = "Recall@10, against exact distances and exact BM25"
    return charts.dots(title, axis, rows, modes)


def _publishing_charts(publishing: Figures) -> list[str]:
    rows = [
        Row(
            count,
            [
                Dot(0, one["p50 ms"], one["p99 ms"], f"{name}: {one}", hollow=name == BASELINE)
                for name, one in by_name.items()
            ],
        )
        for count, by_name in publishing.items()
    ]
    values = [value for row in rows for dot in row.dots for value in (dot.value, dot.until or 0)]
    axis = charts.linear(_TIME, max(values))
    title = "The publishing step of a batch, by its documents"
    return ["<h2>Publishing</h2>", charts.dots(title, axis, rows, ["publish"])]


def _storage_chart(storage: Figures) -> str:
    """The greatest parts, and all others as one."""
    greatest: dict[str, float] = {}
    for parts in storage.values():
        for name, size in parts.items():
            greatest[name] = max(size, greatest.get(name, 0))
    shown = sorted(greatest.keys() - {"other"}, key=lambda name: -greatest[name])[:_PARTS_SHOWN]
    rows = [
        (
            revision,
            [parts.get(name, 0) for name in shown]
            + [sum(size for name, size in parts.items() if name not in shown)],
        )
        for revision, parts in storage.items()
    ]
    axis = charts.linear("bytes per chunk", 1.1 * max(sum(values) for _, values in rows))
    show = "{:,.0f}".format
    short = [name.replace("chunk_embedding_space_1", "of vectors") for name in shown]
    return charts.bars("Bytes of a chunk", axis, rows, [*short, "other"], show)


def _loading_chart(load: Figures) -> str:
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
    return charts.bars("Seconds of each step", axis, rows, ["seconds"], "{:,.1f} s".format)


def _ratios(ratios: list[Figures]) -> str:
    if not ratios:
        return ""
    heading = "<h2>This revision over the baseline</h2>"
    return heading + _table(ratios, list(ratios[0]))


def _table(rows: list[Figures], columns: Sequence[str]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(
        "<tr>" + "".join(_cell(one.get(name, "")) for name in columns) + "</tr>" for one in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(value: object) -> str:
    if isinstance(value, int | float):
        return f"<td>{value:,}</td>"
    return f'<td class="w">{escape(str(value))}</td>'


def _values(rows: list[Figures], key: str) -> list[str]:
    return list(dict.fromkeys(row[key] for row in rows))


def _by_space(rows: list[Figures]) -> list[tuple[str, list[Figures]]]:
    """Name of what is searched and its chunks -> its rows."""
    spaces: dict[str, list[Figures]] = {}
    for row in rows:
        spaces.setdefault(f"{row['searched']} ({row['chunks']:,})", []).append(row)
    return list(spaces.items())


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
td.w, th:first-child { text-align: left; }
</style></head><body>
CONTENT
</body></html>
"""
