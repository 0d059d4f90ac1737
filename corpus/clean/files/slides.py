"""PPTX → blocks by python-pptx. Each slide becomes a heading."""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib import import_module
from io import BytesIO
from typing import Any

from corpus.clean.account import DropRule
from corpus.clean.files.draft import Draft
from corpus.clean.files.limits import FileLimits
from corpus.clean.files.unpack import opened, text_characters

# Without types.
_pptx: Any = import_module("pptx")
_shape_kinds: Any = import_module("pptx.enum.shapes")
import_module("pptx.chart.plot")  # loaded late; a confined process could not

_SLIDES = re.compile(
    r"ppt/(?:slides/slide|notesSlides/notesSlide|diagrams/data)\d*\.xml"
)
_TEXT = frozenset({"t"})
_PICTURES = "ppt/media/"
_MAX_GROUPS = 50


def read_pptx(content: bytes, draft: Draft, limits: FileLimits) -> None:
    """Add the slides in order: titles, texts, tables, charts, and notes. A hidden slide is dropped.

    What the library leaves out (diagrams) is counted as not read.
    """
    with opened(content, limits.max_unpacked_bytes) as archive:
        names = archive.namelist()
        received = text_characters(archive, filter(_SLIDES.fullmatch, names), _TEXT)
        draft.has_pictures |= any(name.startswith(_PICTURES) for name in names)
    show = _pptx.Presentation(BytesIO(content))
    limits.check_pages(len(show.slides), "slides")
    of_charts = 0
    before = draft.kept
    for number, slide in enumerate(show.slides, 1):
        draft.place(f"slide {number}")
        if slide.element.get("show") == "0":
            for text in _texts(slide.shapes):
                draft.account.drop(DropRule.HIDDEN, text)
            continue
        of_charts += _read_slide(slide, draft)
    hidden = draft.account.dropped(DropRule.HIDDEN)
    _count_layouts(show, draft)
    missing = received + of_charts + before - draft.kept - hidden
    if missing > 0:
        draft.unread("diagrams, or other text that no reader is there for", missing)


def _read_slide(slide: Any, draft: Draft) -> int:
    """Add a slide; return how many characters of it are of charts, which are parts of their own."""
    title = slide.shapes.title
    if title is not None and title.text_frame.text.strip():
        draft.heading(title.text_frame.text, 2)
    of_charts = 0
    for shape in _shapes(slide.shapes):
        if title is not None and shape.shape_id == title.shape_id:
            continue
        if getattr(shape, "has_chart", False):
            of_charts += _read_chart(shape.chart, draft)
        else:
            _read_shape(shape, draft)
    if slide.has_notes_slide:
        frame = slide.notes_slide.notes_text_frame
        draft.text(frame.text if frame is not None else "")
    return of_charts


def _is_hidden(shape: Any) -> bool:
    """Whether it is there and not shown; shapes inside of a group follow the group."""
    marked: list[Any] = shape.element.xpath(
        "ancestor-or-self::*/*/p:cNvPr[@hidden='1' or @hidden='true']"
    )
    return bool(marked)


def _count_layouts(show: Any, draft: Draft) -> None:
    """What every slide shows of its layout, such as a name and a date; places for text are no text."""
    for master in show.slide_masters:
        for page in (master, *master.slide_layouts):
            for shape in _shapes(page.shapes):
                if not shape.is_placeholder and shape.has_text_frame:
                    draft.account.drop(DropRule.BOILERPLATE, shape.text_frame.text)


def _read_chart(chart: Any, draft: Draft) -> int:
    """Add the titles and figures of a chart; return how many characters they have."""
    before = draft.kept
    for text in _chart_titles(chart):
        draft.text(text)
    draft.table(_chart_rows(chart))
    return draft.kept - before


def _read_shape(shape: Any, draft: Draft) -> None:
    if _is_hidden(shape):
        for text in _texts([shape]):
            draft.account.drop(DropRule.HIDDEN, text)
    elif getattr(shape, "has_table", False):
        draft.table([[cell.text for cell in row.cells] for row in shape.table.rows])
    elif shape.has_text_frame:
        draft.text(shape.text_frame.text)


def _texts(shapes: Iterable[Any]) -> Iterator[str]:
    for shape in _shapes(shapes):
        if shape.has_text_frame:
            yield shape.text_frame.text


def _shapes(shapes: Iterable[Any], depth: int = 0) -> Iterator[Any]:
    """Yield the shapes, and those inside groups."""
    for shape in shapes:
        is_group = shape.shape_type == _shape_kinds.MSO_SHAPE_TYPE.GROUP
        if is_group and depth < _MAX_GROUPS:
            yield from _shapes(shape.shapes, depth + 1)
        elif not is_group:
            yield shape


def _chart_titles(chart: Any) -> Iterator[str]:
    """The title of a chart, and those of its axes."""
    if chart.has_title and chart.chart_title.has_text_frame:
        yield chart.chart_title.text_frame.text
    for name in ("category_axis", "value_axis"):
        # A chart without axes raises.
        with suppress(ValueError):
            axis = getattr(chart, name)
            if axis.has_title and axis.axis_title.has_text_frame:
                yield axis.axis_title.text_frame.text


def _chart_rows(chart: Any) -> list[list[str]]:
    """A chart's figures: a row per category, a column per series."""
    rows: list[list[str]] = []
    for plot in chart.plots:
        series = list(plot.series)
        rows.append(["Category", *(str(one.name) for one in series)])
        for number, category in enumerate(plot.categories):
            values = (_value(one.values, number) for one in series)
            rows.append([str(category), *values])
    return rows


def _value(values: Any, number: int) -> str:
    value = values[number] if number < len(values) else None
    return "" if value is None else f"{value:g}"
