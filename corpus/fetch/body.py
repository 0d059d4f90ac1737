"""Bytes as they arrive: counted, limited, and inflated where they are sent compressed."""

import hashlib
import zlib
from collections.abc import AsyncIterable
from typing import Any

from corpus.dead_letter import DeadLetterReason
from corpus.fetch.result import FetchError

# Sent by servers although none was asked for; gzip and zlib.
_INFLATED = frozenset({"gzip", "x-gzip", "deflate"})
_PLAIN = frozenset({"", "identity"})
_ANY_HEADER = 47  # of zlib's window bits: gzip or zlib


async def read_body(
    pieces: AsyncIterable[bytes], max_bytes: int, encoding: str = ""
) -> bytes:
    """All of a body; what the sender states as its size counts nothing.

    Raises:
        FetchError: it is larger, also when it is inflated; or it cannot be inflated.
    """
    coding = encoding.strip().lower()
    if coding not in _INFLATED | _PLAIN:
        raise FetchError("the host sent an encoding that was not asked for")
    inflater = zlib.decompressobj(_ANY_HEADER) if coding in _INFLATED else None
    body = bytearray()
    async for piece in pieces:
        if inflater is not None:
            room = max_bytes + 1 - len(body)
            piece = _inflated(inflater, piece, room)
        body += piece
        if len(body) > max_bytes:
            raise FetchError(
                f"the document has more than max_document_bytes = {max_bytes:,}",
                reason=DeadLetterReason.TOO_LARGE,
            )
    if inflater is not None and not inflater.eof:
        raise FetchError("the compressed document ends too early", may_pass=True)
    return bytes(body)


def _inflated(inflater: Any, piece: bytes, room: int) -> bytes:
    try:
        return inflater.decompress(piece, room)
    except zlib.error:
        raise FetchError("the compressed document is damaged") from None


def check_sum(content: bytes, stated: bytes | None) -> bytes:
    """The SHA-256 of a document.

    Raises:
        FetchError: the record states another one. The host may have another version for a while, so it may pass.
    """
    digest = hashlib.sha256(content).digest()
    if stated is not None and digest != stated:
        raise FetchError(
            f"the document's sha256 is {digest.hex()[:12]}..., and the record states {stated.hex()[:12]}...",
        )
    return digest
