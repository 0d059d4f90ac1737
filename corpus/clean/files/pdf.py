"""PDF → text by PDFium, the engine of Chromium. Each page becomes a heading.

A page without text is a picture, whose text can be recognised (`corpus.clean.files.ocr`).
"""

from collections.abc import Iterator
from contextlib import closing
from importlib import import_module
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
# Of a picture of a page: what Tesseract is made for, and twice an A3 page of it.
_DOTS_PER_INCH = 300
_POINTS_PER_INCH = 72
_MAX_PIXELS = 35_000_000


def read_pdf(content: bytes, draft: Draft, limits: FileLimits) -> None:
    """Add the text of each page, below a heading `page N`; values of a form's fields follow the page's text.

    A page without text that shows something is read as a picture where that is asked for, or noted as not read.

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
        if draft.kept > kept or not _shows_something(page):
            return
        if ocr != OFF:
            text = recognised(_picture_of(page), ocr)
            draft.text(text)
        if draft.kept > kept:
            draft.account.count_recognised(draft.kept - kept)
            return
        draft.has_pictures = True
        draft.unread("a page without text", CHARACTERS_OF_A_PAGE)


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


def _shows_something(page: Any) -> bool:
    objects = _raw.FPDFPage_CountObjects(page)
    return objects > 0 or _raw.FPDFPage_GetAnnotCount(page) > 0


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
