"""Bytes as they arrive: counted, limited, and inflated where they are sent compressed."""

import hashlib
import zlib
from collections.abc import AsyncIterable

from corpus.dead_letter import DeadLetterReason
from corpus.fetch.places import BodyPlace
from corpus.fetch.result import FetchError

# Sent by servers although none was asked for; gzip and zlib.
_INFLATED = frozenset({"gzip", "x-gzip", "deflate"})
_PLAIN = frozenset({"", "identity"})
_ANY_HEADER = 47  # of zlib's window bits: gzip or zlib
# A gzip file may be several, one behind the other; small ones cost more than they hold.
MAX_MEMBERS = 10_000


async def read_body(
    pieces: AsyncIterable[bytes],
    max_bytes: int,
    encoding: str = "",
    place: BodyPlace | None = None,
) -> bytes:
    """All of a body; what the sender states as its size counts nothing.

    Args:
        pieces: as they arrive.
        max_bytes: that it may have.
        encoding: as the sender states it.
        place: that it needs where it is large; None: it needs none.

    Raises:
        FetchError: it is larger, also when it is inflated; or it cannot be inflated.
    """
    coding = encoding.strip().lower()
    if coding not in _INFLATED | _PLAIN:
        raise FetchError("the host sent an encoding that was not asked for")
    inflater = _Inflater() if coding in _INFLATED else None
    body = bytearray()
    async for piece in pieces:
        if inflater is None:
            body += piece
        else:
            inflater.add(piece, body, max_bytes)
        if len(body) > max_bytes:
            raise FetchError(
                f"the document has more than max_document_bytes = {max_bytes:,}",
                reason=DeadLetterReason.TOO_LARGE,
            )
        if place is not None:
            await place.take_for(len(body))
    if inflater is not None and not inflater.is_at_end:
        raise FetchError("the compressed document ends too early", may_pass=True)
    return bytes(body)


class _Inflater:
    """Inflates one member after the other."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_ANY_HEADER)
        self._members = 1

    @property
    def is_at_end(self) -> bool:
        """Whether the last member is whole."""
        return self._member.eof

    def add(self, piece: bytes, body: bytearray, max_bytes: int) -> None:
        """Add what a piece becomes, until the body is larger than it may be.

        Raises:
            FetchError: it cannot be inflated, or has too many members.
        """
        while piece and len(body) <= max_bytes:
            if self._member.eof:
                piece = piece.lstrip(b"\0")  # a file may be filled up with zeros
                if not piece:
                    return
                self._begin_next()
            room = max_bytes + 1 - len(body)
            try:
                body += self._member.decompress(piece, room)
            except zlib.error:
                raise FetchError("the compressed document is damaged") from None
            piece = self._member.unused_data

    def _begin_next(self) -> None:
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise FetchError(
                f"the compressed document has more than {MAX_MEMBERS:,} members"
            )
        self._member = zlib.decompressobj(_ANY_HEADER)


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
