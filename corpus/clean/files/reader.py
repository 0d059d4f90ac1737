"""Files → cleaned documents. It imports every library: only the program of the processes with limits imports it."""

from collections.abc import Callable
from dataclasses import replace

from corpus.clean.blocks import CleanedDocument, CleaningFailure
from corpus.clean.files.book import read_epub
from corpus.clean.files.draft import Draft
from corpus.clean.files.kinds import (
    MEDIA_TYPES,
    FileKind,
    FileRefusedError,
    is_other_type,
)
from corpus.clean.files.limits import FileLimits
from corpus.clean.files.mail import read_mail
from corpus.clean.files.open_document import read_odp, read_odt
from corpus.clean.files.pdf import read_pdf
from corpus.clean.files.recognise import kind_of
from corpus.clean.files.sheets import read_sheets
from corpus.clean.files.slides import read_pptx
from corpus.clean.files.word import read_docx
from corpus.dead_letter import DeadLetterReason
from corpus.preparation import OFF

_Reader = Callable[[bytes, Draft, FileLimits], None]
_READERS: dict[FileKind, _Reader] = {
    FileKind.PDF: read_pdf,
    FileKind.DOCX: read_docx,
    FileKind.PPTX: read_pptx,
    FileKind.XLSX: read_sheets,
    FileKind.XLS: read_sheets,
    FileKind.ODS: read_sheets,
    FileKind.ODT: read_odt,
    FileKind.ODP: read_odp,
    FileKind.EPUB: read_epub,
}


def read_file(
    content: bytes,
    stated: str | None,
    limits: FileLimits,
) -> CleanedDocument | CleaningFailure:
    """Read a file.

    Args:
        content: the bytes.
        stated: media type that it was sent as, in lower case, without parameters.
        limits: of the file, with those inside it.

    Returns:
        The document, or why there is none. A file that shows something and has no text is a failure, not an empty
        document.
    """
    try:
        kind = kind_of(content, stated)
        document = _read(kind, content, limits)
    except FileRefusedError as error:
        return CleaningFailure(error.reason, error.detail)
    if not is_other_type(stated or "", kind):
        return document
    account = document.account
    notes = replace(account.notes, read_as=MEDIA_TYPES[kind])
    return replace(document, account=replace(account, notes=notes))


def _read(kind: FileKind, content: bytes, limits: FileLimits) -> CleanedDocument:
    """Read a file of this kind.

    Raises:
        FileRefusedError: it cannot be read, or shows something and has no text. What a library raises may quote the
            document, so its class is all that is kept.
        MemoryError: it takes more memory than the process may have.
    """
    draft = Draft()
    try:
        if kind is FileKind.MAIL:
            return read_mail(content, limits, _read_attachment)
        _READERS[kind](content, draft, limits)
    except (FileRefusedError, MemoryError):
        raise
    except Exception as error:
        raise FileRefusedError(
            DeadLetterReason.DAMAGED_FILE,
            f"the file cannot be read as {kind} ({type(error).__name__}): it is damaged, or of a variant that no "
            "reader is there for",
        ) from error
    if not draft.kept and draft.has_pictures:
        detail = _why_scanned(kind, draft, limits.ocr)
        raise FileRefusedError(DeadLetterReason.SCANNED, detail)
    return draft.finish()


def _read_attachment(
    content: bytes, stated: str, limits: FileLimits
) -> tuple[str, CleanedDocument]:
    """Read a file that is attached to a mail.

    Raises:
        FileRefusedError: it cannot be read.
    """
    kind = kind_of(content, stated)
    return MEDIA_TYPES[kind], _read(kind, content, limits)


def _why_scanned(kind: FileKind, draft: Draft, ocr: str) -> str:
    what = f"none of its {draft.places} pages" if draft.places else "no part of it"
    found = f"{what} has text: the {kind} holds pictures only (scans)"
    if kind is not FileKind.PDF:
        return f"{found}; recognise their text at the source (OCR), and send it again"
    if ocr != OFF:
        return f"{found}, and text recognition (ocr = {ocr!r}) found none in them"
    return (
        f"{found}; recognise their text at the source (OCR, such as ocrmypdf) and send it again, or set "
        'pipeline.ocr = "eng" (with freshet[ocr] installed) and redrive it'
    )
