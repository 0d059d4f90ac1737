"""PDF → text by PDFium, the engine of Chromium. Each page becomes a heading.

A page without text is a picture, whose text can be recognised (`corpus.clean.files.ocr`).
"""

from collections.abc import Iterator
from contextlib import closing
from importlib import import_module
from itertools import islice
from typing import Any

from corpus.clean.files.draft import CHARACTERS_OF_A_PAGE, Draft
from corpus.clean.files.kinds import FileRefusedError
from corpus.clean.files.limits import FileLimits
from corpus.clean.files.ocr import Picture, recognised
from corpus.dead_letter import DeadLetterReason
from corpus.preparation import OFF

# Without types.
_pypdfium2: Any = import_module("pypdfium2")
_raw: Any = import_module("pypdfium2.raw")

# PDFium's mark of a hyphen that divides a word at a line's end.
_DIVIDED = ("\ufffe\r\n", "\x02\r\n")
_MAX_FIELDS = 10_000
# A page of so few characters on pictures that cover so much of it is a scan with a stamp or a number.
_MAX_STAMP = 40
_MIN_COVERED = 0.8
_MAX_PICTURES = 1_000
# Of a picture of a page: what Tesseract is made for, and twice an A3 page of it.
_DOTS_PER_INCH = 300
_POINTS_PER_INCH = 72
_MAX_PIXELS = 35_000_000


def read_pdf(content: bytes, draft: Draft, limits: FileLimits) -> None:
    """Add the text of each page, below a heading `page N`; values of a form's fields follow the page's text.

    A page without text that shows something, or a picture of a page with next to none, is read as a picture where that
    is asked for, or noted as not read.

    Raises:
        FileRefusedError: it needs a password, is damaged, or has too many pages; or text recognition is asked for that
            is not there.
    """
    with closing(_opened(content)) as document:
        pages = len(document)
        limits.check_pages(pages, "pages")
        for number in range(pages):
            draft.place(f"page {number + 1:,}".replace(",", ""))
            _read_page(document, number, draft, limits.ocr)


def _opened(content: bytes) -> Any:
    try:
        return _pypdfium2.PdfDocument(content)
    except _pypdfium2.PdfiumError as error:
        if error.err_code in (_raw.FPDF_ERR_PASSWORD, _raw.FPDF_ERR_SECURITY):
            raise FileRefusedError(
                DeadLetterReason.ENCRYPTED,
                "the PDF needs a password; send it without one",
            ) from error
        raise


def _read_page(document: Any, number: int, draft: Draft, ocr: str) -> None:
    try:
        page = document[number]
    except _pypdfium2.PdfiumError:
        reason = f"page {number + 1} is damaged"
        draft.unread(reason, CHARACTERS_OF_A_PAGE)
        return
    with closing(page):
        kept = draft.kept
        text = _text_of(page)
        draft.text(text)
        for value in _field_values(document, page):
            draft.text(value)
        written = draft.kept - kept
        if written > _MAX_STAMP or not _is_picture(page, has_text=written > 0):
            return
        before = draft.kept
        if ocr != OFF:
            text = recognised(_picture_of(page), ocr)
            draft.text(text)
        if draft.kept > before:
            draft.account.count_recognised(draft.kept - before)
            return
        draft.has_pictures = True
        what = "a page that is a picture" if written else "a page without text"
        draft.unread(what, CHARACTERS_OF_A_PAGE)


def _picture_of(page: Any) -> Picture:
    """A page as it is printed: in shades of grey; a very large one is coarser."""
    width, height = page.get_size()
    scale = _DOTS_PER_INCH / _POINTS_PER_INCH
    pixels = width * height * scale**2
    if pixels > _MAX_PIXELS:
        scale *= (_MAX_PIXELS / pixels) ** 0.5
    with closing(page.render(scale=scale, grayscale=True)) as bitmap:
        return Picture(
            content=bytes(bitmap.buffer),
            width=bitmap.width,
            height=bitmap.height,
            bytes_per_line=bitmap.stride,
            dots_per_inch=round(scale * _POINTS_PER_INCH),
        )


def _text_of(page: Any) -> str:
    with closing(page.get_textpage()) as text_page:
        text: str = text_page.get_text_range()
    for mark in _DIVIDED:
        text = text.replace(mark, "")
    return text


def _is_picture(page: Any, *, has_text: bool) -> bool:
    """Whether what a page shows is no text, or next to none: the number on a scan."""
    if has_text:
        width, height = page.get_size()
        return _area_of_pictures(page) >= _MIN_COVERED * width * height
    objects = _raw.FPDFPage_CountObjects(page)
    return objects > 0 or _raw.FPDFPage_GetAnnotCount(page) > 0


def _area_of_pictures(page: Any) -> float:
    """In square points; a scan may be stored in strips."""
    area = 0.0
    pictures = page.get_objects(filter=[_raw.FPDF_PAGEOBJ_IMAGE], max_depth=2)
    for picture in islice(pictures, _MAX_PICTURES):
        left, bottom, right, top = picture.get_bounds()
        area += (right - left) * (top - bottom)
    return area


def _field_values(document: Any, page: Any) -> Iterator[str]:
    """Yield what is written into the fields of a form: it is no text of the page."""
    if document.get_formtype() == _raw.FORMTYPE_NONE:
        return
    count = _raw.FPDFPage_GetAnnotCount(page)
    for number in range(min(count, _MAX_FIELDS)):
        annotation = _raw.FPDFPage_GetAnnot(page, number)
        if not annotation:
            continue
        try:
            if _raw.FPDFAnnot_GetSubtype(annotation) == _raw.FPDF_ANNOT_WIDGET:
                yield _value_of(annotation)
        finally:
            _raw.FPDFPage_CloseAnnot(annotation)


def _value_of(annotation: Any) -> str:
    """The value of a field; empty: it has none that is text."""
    length = _raw.FPDFAnnot_GetStringValue(annotation, b"V", None, 0)
    if length <= 2:
        return ""
    buffer = (_raw.FPDF_WCHAR * (length // 2))()
    _raw.FPDFAnnot_GetStringValue(annotation, b"V", buffer, length)
    return bytes(buffer).decode("utf-16-le", "replace").rstrip("\x00")
