"""PPTX, XLSX, and the formats of OpenDocument."""

from datetime import date
from io import BytesIO

import odfdo
import pptx
import xlsxwriter
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.util import Inches

from tests.support.files.made import (
    ODP,
    ODS,
    ODT,
    PPTX,
    XLSX,
    MadeFile,
    sentence,
    with_member,
    word,
    words,
)

_TITLE_AND_CONTENT = 1
_BLANK = 6


def slides() -> bytes:
    """Titles, bullets, a table, boxes inside a group, notes, a chart."""
    show = pptx.Presentation()
    for number in range(1, 4):
        slide = show.slides.add_slide(show.slide_layouts[_TITLE_AND_CONTENT])
        slide.shapes.title.text = word("headline", number)
        slide.placeholders[1].text = "\n".join(words(f"slide{number}x", 5))
    slide = show.slides.add_slide(show.slide_layouts[_BLANK])
    table = slide.shapes.add_table(2, 3, 0, 0, Inches(4), Inches(2)).table
    for number, cell in enumerate(table.iter_cells()):
        cell.text = word("cell", number)
    group = slide.shapes.add_group_shape()
    group.shapes.add_textbox(0, 0, 100, 100).text_frame.text = word("grouped", 0)
    slide.notes_slide.notes_text_frame.text = word("note", 0)
    slide = show.slides.add_slide(show.slide_layouts[_BLANK])
    data = CategoryChartData()
    data.categories = [word("category", 0), word("category", 1)]
    data.add_series(word("series", 0), (1.5, 2.5))
    slide.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, 0, 0, 9, 9, data)
    out = BytesIO()
    show.save(out)
    return out.getvalue()


def workbook() -> bytes:
    """Sheets with texts, numbers, dates, a formula with its result, a cell over two columns; one is hidden."""
    out = BytesIO()
    book = xlsxwriter.Workbook(out)
    levels = book.add_worksheet("Levels")
    levels.write_row(0, 0, words("column", 3))
    for row in range(1, 31):
        levels.write_row(row, 0, (word("row", row), row * 1.5, row * 1_000_000))
    costs = book.add_worksheet("Costs 2026")
    day = book.add_format({"num_format": "yyyy-mm-dd"})
    costs.merge_range(0, 0, 0, 1, word("merged", 0))
    costs.write_datetime(1, 0, date(2026, 11, 26), day)
    costs.write_formula(1, 1, "=1+1", None, 4711)
    costs.write_boolean(2, 0, True)
    costs.write_string(2, 1, f"{word('line', 0)}\n{word('line', 1)}")
    costs.write_comment(2, 1, word("comment", 0))
    hidden = book.add_worksheet("Hidden")
    hidden.hide()
    hidden.write_string(0, 0, word("unseen", 0))
    book.add_worksheet("Empty")
    book.close()
    return out.getvalue()


def far_cell() -> bytes:
    """Two cells at the opposite corners of a sheet."""
    cells = b'<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>2</v></c></row>'

    def change(sheet: bytes) -> bytes:
        before, _, after = sheet.partition(b"<sheetData>")
        return before + b"<sheetData>" + cells + after[after.index(b"</sheetData>") :]

    return with_member(workbook(), "xl/worksheets/sheet1.xml", change)


def long_sheet(rows: int) -> bytes:
    """A sheet with many rows."""
    out = BytesIO()
    book = xlsxwriter.Workbook(out, {"constant_memory": True})
    sheet = book.add_worksheet("Long")
    for row in range(rows):
        sheet.write_row(row, 0, (f"gauge {row}", row, row / 7))
    book.close()
    return out.getvalue()


def text_document() -> bytes:
    """Headings, prose, a list, a table, a footnote."""
    document = odfdo.Document("text")
    body = document.body
    body.clear()
    for chapter in range(3):
        body.append(odfdo.Header(1, f"Reach {word('chapter', chapter)}"))
        body.append(odfdo.Paragraph(sentence(words("prose", 12, first=12 * chapter))))
        body.append(odfdo.List(list(words("bullet", 3, first=3 * chapter))))
    table = odfdo.Table("T", width=3, height=2)
    for number in range(6):
        table.set_value((number % 3, number // 3), word("cell", number))
    body.append(table)
    noted = odfdo.Paragraph("See below")
    noted.insert_note(after="below", note_id="n1", citation="1", body=word("note", 0))
    body.append(noted)
    return _saved(document)


def spreadsheet() -> bytes:
    """Two sheets."""
    document = odfdo.Document("spreadsheet")
    document.body.clear()
    for name in ("Levels", "Costs"):
        table = odfdo.Table(name, width=2, height=4)
        for number in range(8):
            table.set_value((number % 2, number // 2), word(name.lower(), number))
        document.body.append(table)
    return _saved(document)


def presentation() -> bytes:
    """Two pages."""
    document = odfdo.Document("presentation")
    document.body.clear()
    for number in (1, 2):
        page = odfdo.DrawPage(f"p{number}", name=f"Page {number}")
        frame = odfdo.Frame.text_frame(word(f"frame{number}x", 0), size=("7cm", "5cm"))
        page.append(frame)
        document.body.append(page)
    return _saved(document)


def _saved(document: odfdo.Document) -> bytes:
    out = BytesIO()
    document.save(out)
    return out.getvalue()


def sealed_odt() -> bytes:
    """A document whose manifest says that its content is encrypted."""
    entry = (
        b'<manifest:file-entry manifest:full-path="content.xml" manifest:media-type="text/xml">'
        b'<manifest:encryption-data manifest:checksum="x"/></manifest:file-entry>'
    )

    def seal(manifest: bytes) -> bytes:
        return manifest.replace(b"</manifest:manifest>", entry + b"</manifest:manifest>")

    sealed = with_member(text_document(), "META-INF/manifest.xml", seal)
    return with_member(sealed, "content.xml", lambda _: bytes(range(256)) * 20)


def sealed_office() -> bytes:
    """The beginning of a file that Office has encrypted: a compound file with an encrypted package in it."""
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)
    return header + "EncryptedPackage".encode("utf-16-le") + bytes(3_000)


FILES = [
    MadeFile(
        "slides.pptx",
        PPTX,
        slides,
        (*words("grouped", 1), *words("note", 1), *words("category", 2), *words("series", 1)),
        places={
            **{f"slide {n}": (word("headline", n), *words(f"slide{n}x", 5)) for n in range(1, 4)},
            "slide 4": words("cell", 6),
        },
    ),
    MadeFile(
        "book.xlsx",
        XLSX,
        workbook,
        places={
            "sheet Levels": (*words("column", 3), *words("row", 30, first=1), "45", "30000000"),
            "sheet Costs 2026": (*words("merged", 1), "2026-11-26", "4711", *words("line", 2)),
        },
        unwanted=words("unseen", 1),
    ),
    MadeFile("far.xlsx", XLSX, far_cell, reason="too_large", detail="cells"),
    MadeFile("long.xlsx", XLSX, lambda: long_sheet(5_000), ("4999",)),
    MadeFile("half.xlsx", XLSX, lambda: workbook()[:3_000], reason="damaged_file", detail="XLSX"),
    MadeFile(
        "text.odt",
        ODT,
        text_document,
        (
            *words("chapter", 3),
            *words("bullet", 9),
            *words("cell", 6),
            *words("note", 1),
        ),
        places={f"Reach {word('chapter', n)}": words("prose", 12, first=12 * n) for n in range(3)},
    ),
    MadeFile(
        "sheets.ods",
        ODS,
        spreadsheet,
        places={"sheet Levels": words("levels", 8), "sheet Costs": words("costs", 8)},
    ),
    MadeFile(
        "pages.odp",
        ODP,
        presentation,
        places={"slide 1": words("frame1x", 1), "slide 2": words("frame2x", 1)},
    ),
    MadeFile("sealed.odt", ODT, sealed_odt, reason="encrypted", detail="password"),
    MadeFile("sealed.xlsx", XLSX, sealed_office, reason="encrypted", detail="password"),
    MadeFile("half.pptx", PPTX, lambda: slides()[:9_000], reason="damaged_file", detail="PPTX"),
]
