"""Kinds of files, by their media types and by how they begin. The module uses the standard library only."""

from enum import StrEnum

from corpus.dead_letter import DeadLetterReason


class FileKind(StrEnum):
    """What a file is; values are shown."""

    PDF = "PDF"
    DOCX = "DOCX"
    PPTX = "PPTX"
    XLSX = "XLSX"
    XLS = "XLS"
    ODT = "ODT"
    ODS = "ODS"
    ODP = "ODP"
    EPUB = "EPUB"
    MAIL = "e-mail"


class FileRefusedError(Exception):
    """A file cannot be read; becomes the dead letter's reason and detail."""

    def __init__(self, reason: DeadLetterReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


_OFFICE = "application/vnd.openxmlformats-officedocument."
_OPEN_DOCUMENT = "application/vnd.oasis.opendocument."
KINDS: dict[str, FileKind] = {
    "application/pdf": FileKind.PDF,
    "application/x-pdf": FileKind.PDF,
    f"{_OFFICE}wordprocessingml.document": FileKind.DOCX,
    f"{_OFFICE}wordprocessingml.template": FileKind.DOCX,
    "application/vnd.ms-word.document.macroenabled.12": FileKind.DOCX,
    f"{_OFFICE}presentationml.presentation": FileKind.PPTX,
    f"{_OFFICE}presentationml.slideshow": FileKind.PPTX,
    "application/vnd.ms-powerpoint.presentation.macroenabled.12": FileKind.PPTX,
    f"{_OFFICE}spreadsheetml.sheet": FileKind.XLSX,
    f"{_OFFICE}spreadsheetml.template": FileKind.XLSX,
    "application/vnd.ms-excel.sheet.macroenabled.12": FileKind.XLSX,
    "application/vnd.ms-excel": FileKind.XLS,
    f"{_OPEN_DOCUMENT}text": FileKind.ODT,
    f"{_OPEN_DOCUMENT}text-template": FileKind.ODT,
    f"{_OPEN_DOCUMENT}spreadsheet": FileKind.ODS,
    f"{_OPEN_DOCUMENT}presentation": FileKind.ODP,
    "application/epub+zip": FileKind.EPUB,
    "message/rfc822": FileKind.MAIL,
}

# The media type that is shown for each kind: the first above.
MEDIA_TYPES = {kind: name for name, kind in reversed(KINDS.items())}

# What is stated of contents that nothing is known about.
SAYS_NOTHING = frozenset(
    {
        *("application/octet-stream", "binary/octet-stream", "application/binary"),
        *(
            "application/x-download",
            "application/force-download",
            "application/unknown",
        ),
    }
)
# What documents are made of, which is true of them.
_CONTAINERS = frozenset(
    {"application/zip", "application/x-zip-compressed", "application/x-ole-storage"}
)

# The media type of a file by the end of its name.
SUFFIXES = {
    ".pdf": "application/pdf",
    ".docx": f"{_OFFICE}wordprocessingml.document",
    ".pptx": f"{_OFFICE}presentationml.presentation",
    ".xlsx": f"{_OFFICE}spreadsheetml.sheet",
    ".xls": "application/vnd.ms-excel",
    ".odt": f"{_OPEN_DOCUMENT}text",
    ".ods": f"{_OPEN_DOCUMENT}spreadsheet",
    ".odp": f"{_OPEN_DOCUMENT}presentation",
    ".epub": "application/epub+zip",
    ".eml": "message/rfc822",
}

PDF_START = b"%PDF-"
ZIP_START = b"PK\x03\x04"
# A compound file: Office before 2007, and newer files that have a password.
COMPOUND_START = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
# Of a PDF: so many bytes of something else may stand before it.
PDF_WITHIN = 1_024
# Of a zip archive: names that only documents have.
_PARTS_OF_DOCUMENTS = (b"[Content_Types].xml", b"mimetypeapplication/")


def is_other_type(stated: str, kind: FileKind) -> bool:
    """Whether a media type states another kind than a file is of.

    Args:
        stated: in lower case, without parameters; empty: nothing is stated.
        kind: of the file, by its content.
    """
    if not stated or stated in SAYS_NOTHING or stated in _CONTAINERS:
        return False
    return KINDS.get(stated) is not kind


def is_file(value: bytes) -> bool:
    """Whether bytes begin as a document of one of the kinds does: such bytes are no text, whatever they are sent as."""
    if value.startswith((PDF_START, COMPOUND_START)):
        return True
    if not value.startswith(ZIP_START):
        return False
    parts = (part in value for part in _PARTS_OF_DOCUMENTS)
    return any(parts)
