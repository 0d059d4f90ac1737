"""Charts as SVG, for a page that brings the colours: series have the classes s0, s1 and so on."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH = 860
_LABELS = 250  # width of the names at the left
_RIGHT = 24
_TOP = 34
_ROW = 24
_BOTTOM = 46
_RADIUS = 4.5
_LEGEND = 26
_MAX_RATIO_OF_FINE_TICKS = 300.0
_SEGMENT_WITH_TEXT = 46  # least width of a segment that its value fits in


@dataclass(frozen=True, slots=True)
class Axis:
    """The horizontal axis, from a first to a last value."""

    title: str  # with the unit
    first: float
    last: float
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Where a value is, in units of the drawing."""
        if self.logarithmic:
            low, high = math.log10(self.first), math.log10(self.last)
            share = (math.log10(max(value, self.first)) - low) / (high - low)
        else:
            share = (value - self.first) / (self.last - self.first)
        return _LABELS + share * (_WIDTH - _LABELS - _RIGHT)

    def ticks(self) -> list[float]:
        """Round values."""
        if self.logarithmic:
            powers = range(math.floor(math.log10(self.first)), math.ceil(math.log10(self.last)) + 1)
            factors = (1, 2, 5) if self.last / self.first <= _MAX_RATIO_OF_FINE_TICKS else (1,)
            ticks = [factor * 10.0**power for power in powers for factor in factors]
            return [tick for tick in ticks if self.first * 0.999 <= tick <= self.last * 1.001]
        step = _round_step((self.last - self.first) / 6)
        count = int((self.last - self.first) / step + 1e-9)
        return [self.first + n * step for n in range(count + 1)]


@dataclass(frozen=True, slots=True)
class Dot:
    """A value of one series in one row, and where a line from it ends."""

    series: int
    value: float
    until: float | None = None
    note: str = ""  # shown when the pointer rests on it
    hollow: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A name and what is drawn beside it."""

    name: str
    dots: Sequence[Dot]


def logarithmic(title: str, values: Sequence[float]) -> Axis:
    """From a round value that is not above the least one to one that is not below the greatest."""
    positive = [value for value in values if value > 0] or [1.0]
    first = 1 / _round_step(1 / min(positive))
    last = _round_step(max(positive))
    return Axis(title, first, last if last > first else first * 10, logarithmic=True)


def linear(title: str, greatest: float, first: float = 0.0) -> Axis:
    """To a round value that is not below the greatest."""
    step = _round_step((greatest - first) / 6 or 1)
    return Axis(title, first, first + step * math.ceil((greatest - first) / step - 1e-9))


def dots(title: str, axis: Axis, rows: Sequence[Row], series: Sequence[str]) -> str:
    """One row per name, one dot per series; series that share a row are a little apart."""
    parts = [_legend(series), *_grid(axis, len(rows))]
    for number, row in enumerate(rows):
        middle = _TOP + _ROW * (number + 0.5)
        parts.append(_name(row.name, middle))
        for dot in row.dots:
            y = middle + (dot.series - (len(series) - 1) / 2) * 5 + (2 if dot.hollow else 0)
            parts.append(_dot(axis, dot, y))
    return _figure(title, parts, len(rows))


def bars(
    title: str,
    axis: Axis,
    rows: Sequence[tuple[str, Sequence[float]]],
    series: Sequence[str],
    show: Callable[[float], str],
) -> str:
    """One bar per row, of one segment per series, one after the other; the value of all is at its end."""
    parts = [_legend(series) if len(series) > 1 else "", *_grid(axis, len(rows))]
    for number, (name, values) in enumerate(rows):
        middle = _TOP + _ROW * (number + 0.5)
        parts.append(_name(name, middle))
        total = 0.0
        for which, value in enumerate(values):
            left, right = axis.place(total), axis.place(total + value)
            total += value
            parts.append(
                f'<rect class="f s{which}" x="{left:.1f}" y="{middle - 7:.1f}" '
                f'width="{max(right - left - 1, 0.5):.1f}" height="14" rx="2">'
                f"<title>{escape(series[which])}: {show(value)}</title></rect>"
            )
            if len(values) > 1 and right - left > _SEGMENT_WITH_TEXT:
                parts.append(_text(show(value), (left + right) / 2, middle + 4, "v"))
        parts.append(_text(show(total), axis.place(total) + 6, middle + 4, "n"))
    return _figure(title, parts, len(rows))


def _dot(axis: Axis, dot: Dot, y: float) -> str:
    x = axis.place(dot.value)
    fill = f'class="o s{dot.series}"' if dot.hollow else f'class="f s{dot.series}"'
    line = ""
    if dot.until is not None:
        end = axis.place(dot.until)
        line = (
            f'<line class="l s{dot.series}" x1="{x:.1f}" y1="{y:.1f}" x2="{end:.1f}" y2="{y:.1f}"/>'
        )
    mark = f'<circle {fill} cx="{x:.1f}" cy="{y:.1f}" r="{_RADIUS}"/>'
    return f"<g>{line}{mark}<title>{escape(dot.note)}</title></g>"


def _grid(axis: Axis, rows: int) -> list[str]:
    bottom = _TOP + _ROW * rows
    parts = []
    for tick in axis.ticks():
        x = axis.place(tick)
        parts.append(f'<line class="g" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{bottom}"/>')
        parts.append(_text(_shown(tick), x, bottom + 16, "t"))
    middle = (_LABELS + _WIDTH - _RIGHT) / 2
    title = axis.title + (", logarithmic" if axis.logarithmic else "")
    return [*parts, _text(title, middle, bottom + 36, "t")]


def _legend(series: Sequence[str]) -> str:
    parts = []
    x = float(_LABELS)
    for number, name in enumerate(series):
        parts.append(f'<rect class="f s{number}" x="{x:.1f}" y="8" width="11" height="11" rx="2"/>')
        parts.append(_text(name, x + 16, 18, "n"))
        x += _LEGEND + 7.0 * len(name)
    return "".join(parts)


def _name(name: str, middle: float) -> str:
    return _text(name, _LABELS - 12, middle + 4, "r")


def _text(text: str, x: float, y: float, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _figure(title: str, parts: list[str], rows: int) -> str:
    height = _TOP + _ROW * rows + _BOTTOM
    return (
        f'<figure><figcaption>{escape(title)}</figcaption><svg viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg></figure>'
    )


def _round_step(rough: float) -> float:
    """1, 2 or 5 times a power of ten, at least as large."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough - 1e-12)


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.3g}"
