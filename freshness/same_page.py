"""Tell a document that has changed from the page that an origin gives for everything. Pure.

A page for a login, an error or maintenance that comes with status 200 looks like a change of every document. It is
recognised by being the same for different addresses of one host whose documents were not the same before.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from corpus.fetch.address import host_of

# What a page has of each request: tokens, numbers of requests, times.
_LONG_WORD = re.compile(rb"[A-Za-z0-9+/=_.:-]{16,}")
_DIGIT = re.compile(rb"[0-9]")
# A larger content is no such page, and is compared as it is.
_MAX_PAGE_BYTES = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A document whose origin gave other bytes than it has."""

    document_key: int
    url: str
    before: bytes  # sha256 of what the corpus has
    after: bytes  # sha256 of what came
    shape: bytes  # from `shape_of`


def shape_of(content: bytes, url: str) -> bytes:
    """The hash of a content without what a page for everything has of each request: its address, and long tokens."""
    if len(content) <= _MAX_PAGE_BYTES:
        for name in _names_of(url):
            content = content.replace(name.encode(), b"")
        content = _LONG_WORD.sub(_without_tokens, content)
    return hashlib.sha256(content).digest()


def _names_of(url: str) -> list[str]:
    """How a page may name an address, the longest one first."""
    path = urlsplit(url).path
    names = {url, quote(url, safe=""), path, quote(path, safe="")}
    return sorted((name for name in names if len(name) > 1), key=len, reverse=True)


def _without_tokens(word: re.Match[bytes]) -> bytes:
    found = word.group()
    return b"" if _DIGIT.search(found) else found


def alike(changes: Iterable[Change]) -> dict[int, str]:
    """Of the changes of one check, those that are one page for different documents.

    Returns:
        By document, why it is not believed; without its address.
    """
    pages: dict[tuple[str, bytes], list[Change]] = defaultdict(list)
    for change in changes:
        pages[host_of(change.url), change.shape].append(change)
    reasons: dict[int, str] = {}
    for (host, _), same in pages.items():
        addresses = len({change.url for change in same})
        # Copies of one document change together: they were the same before.
        if addresses > 1 and len({change.before for change in same}) > 1:
            why = same_page(host)
            reasons.update({change.document_key: why for change in same})
    return reasons


def same_page(host: str) -> str:
    """Why a change is not believed, for people."""
    return (
        f"its host gives the same page for different documents: a login, an error or maintenance with status 200? "
        f"({host})"
    )
