"""A page of HTML that is inside of a file → blocks: bytes, in whatever encoding it declares."""

import codecs
import re
from contextlib import suppress

from corpus.clean.files.draft import Draft
from corpus.clean.files.limits import FileLimits
from corpus.clean.html import clean_html

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_DECLARED = re.compile(
    rb"""<\?xml[^>]*\sencoding=["']([A-Za-z0-9._-]{1,40})|<meta[^>]*\scharset=["']?([A-Za-z0-9._-]{1,40})"""
)
_BEGINNING = 1_024


def read_page(content: bytes, draft: Draft, limits: FileLimits) -> None:
    """Add a page; bytes that are no text in its encoding are counted."""
    page = _decoded(content)
    draft.account.count_undecodable(page)
    document = clean_html(page, main=False, max_nesting=limits.max_nesting)
    draft.document(document)


def _decoded(content: bytes) -> str:
    """A page by its byte order mark, by what it declares, else as UTF-8."""
    declared = _DECLARED.search(content[:_BEGINNING])
    stated = (declared[1] or declared[2]) if declared else b"utf-8"
    encoding = stated.decode("ascii")
    for mark, name in _MARKS.items():
        if content.startswith(mark):
            encoding = name
    with suppress(LookupError, ValueError):
        return content.decode(encoding, "replace")
    return content.decode("utf-8", "replace")
