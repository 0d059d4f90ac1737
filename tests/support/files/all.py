"""All of them, and those whose stated media type is wrong."""

from dataclasses import replace

from tests.support.files import office, pdfs, texts, word
from tests.support.files.made import DOCX, PDF, MadeFile, zipped

_READ = {made.name: made for part in (pdfs, word, office, texts) for made in part.FILES}

MISNAMED = [
    replace(_READ["three.pdf"], name="pdf as docx", content_type=DOCX),
    replace(_READ["report.docx"], name="docx as pdf", content_type=PDF),
    replace(_READ["book.xlsx"], name="xlsx as octets", content_type="application/octet-stream"),
    replace(_READ["book.epub"], name="epub as zip", content_type="application/zip"),
    replace(_READ["text.odt"], name="odt as docx", content_type=DOCX),
    MadeFile(
        "zip as docx",
        DOCX,
        lambda: zipped({"a": "b"}),
        reason="unsupported_content",
        detail="zip",
    ),
    MadeFile(
        "png as pdf",
        PDF,
        lambda: b"\x89PNG\r\n\x1a\n" + bytes(200),
        reason="unsupported_content",
        detail="image/png",
    ),
    MadeFile("empty.pdf", PDF, lambda: b"", reason="damaged_file", detail="empty"),
]

FILES = [*_READ.values(), *MISNAMED]


def made(name: str) -> MadeFile:
    """The file of this name."""
    return next(file for file in FILES if file.name == name)
