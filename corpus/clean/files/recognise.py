"""What bytes are: by what they hold, and where that tells nothing, by what they are sent as."""

import zipfile
from importlib import import_module
from io import BytesIO
from typing import Any

from corpus.clean.files.kinds import (
    COMPOUND_START,
    KINDS,
    PDF_START,
    PDF_WITHIN,
    ZIP_START,
    FileKind,
    FileRefusedError,
)
from corpus.dead_letter import DeadLetterReason, Quoting

_puremagic: Any = import_module("puremagic")

# Of an Office document: the folder of its parts.
_OFFICE_FOLDERS = {
    "word/": FileKind.DOCX,
    "ppt/": FileKind.PPTX,
    "xl/": FileKind.XLSX,
}
_COMPOUND_PARTS = {
    "EncryptedPackage": None,  # a newer file with a password
    "WordDocument": "Word",
    "PowerPoint Document": "PowerPoint",
}
_BOOK_PARTS = ("Workbook", "Book")
# What is surely no document; the names of others are guesses of a library.
_SURE = ("image/", "audio/", "video/", "font/")
_BEGINNING = 8_192


def kind_of(content: bytes, stated: str | None) -> FileKind:
    """The kind of a file.

    Args:
        content: the bytes.
        stated: media type in lower case, without parameters.

    Raises:
        FileRefusedError: it is none of the kinds, or its kind is not read.
    """
    claimed = KINDS.get(stated or "")
    if not content:
        raise FileRefusedError(DeadLetterReason.DAMAGED_FILE, "the file is empty")
    if PDF_START in content[:PDF_WITHIN]:
        return FileKind.PDF
    if content.startswith(ZIP_START):
        return _kind_of_archive(content, claimed)
    if content.startswith(COMPOUND_START):
        return _kind_of_compound(content)
    if claimed is FileKind.MAIL:
        return claimed
    _refuse_other_type(content, claimed)
    raise FileRefusedError(
        DeadLetterReason.DAMAGED_FILE,
        f"the content does not begin as a file of kind {claimed or 'PDF'} does",
    )


def _kind_of_archive(content: bytes, claimed: FileKind | None) -> FileKind:
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            names = archive.namelist()
            kind = _stated_inside(archive, names)
    except MemoryError:
        raise
    except Exception as error:  # zipfile raises a dozen kinds for damage
        raise FileRefusedError(
            DeadLetterReason.DAMAGED_FILE,
            f"the {claimed or 'archive'} is damaged: it is no whole zip archive",
        ) from error
    if kind is not None:
        return kind
    for folder, office in _OFFICE_FOLDERS.items():
        if any(name.startswith(folder) for name in names):
            return office
    raise FileRefusedError(
        DeadLetterReason.UNSUPPORTED_CONTENT,
        "the content is a zip archive that is no document; send its files as documents of their own",
    )


def _stated_inside(archive: zipfile.ZipFile, names: list[str]) -> FileKind | None:
    """The kind that an archive names in its member `mimetype`."""
    if "mimetype" not in names or archive.getinfo("mimetype").file_size > _BEGINNING:
        return None
    stated = archive.read("mimetype").decode("ascii", "replace")
    return KINDS.get(stated.strip().lower())


def _kind_of_compound(content: bytes) -> FileKind:
    for part, program in _COMPOUND_PARTS.items():
        if part.encode("utf-16-le") not in content:
            continue
        if program is None:
            raise FileRefusedError(
                DeadLetterReason.ENCRYPTED,
                "the document needs a password; send it without one",
            )
        raise FileRefusedError(
            DeadLetterReason.UNSUPPORTED_CONTENT,
            f"the content is a {program} document of before 2007; save it in the newer format, or as PDF",
        )
    if any(part.encode("utf-16-le") in content for part in _BOOK_PARTS):
        return FileKind.XLS
    raise FileRefusedError(
        DeadLetterReason.UNSUPPORTED_CONTENT,
        "the content is a compound file that is no workbook",
    )


def _refuse_other_type(content: bytes, claimed: FileKind | None) -> None:
    """Name what the content surely is instead."""
    try:
        media_type: str = _puremagic.from_string(content[:_BEGINNING], mime=True)
    except (_puremagic.PureError, ValueError):
        return
    if media_type.startswith(_SURE):
        raise FileRefusedError(
            DeadLetterReason.UNSUPPORTED_CONTENT,
            Quoting.CONTENT_TYPE.detail(value=repr(media_type)),
        )
