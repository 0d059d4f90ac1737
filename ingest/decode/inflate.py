"""Values that their sender compressed, as the header `content-encoding` says; within a limit on what they become."""

import sys
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from corpus.dead_letter import DeadLetterReason
from ingest.decode.fields import FieldError, invalid
from ingest.event import KafkaRecord

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

HEADER = "content-encoding"
_GZIP_WINDOW = 16 + zlib.MAX_WBITS  # zlib reads the header and checksum of gzip
_UNCHANGED = frozenset({"", "identity"})
_MAX_ENCODINGS = 3
# Texts become 3 to 100 times as large; what becomes much larger was made to.
_MAX_RATIO = 200
_SMALL_BYTES = 1_000_000  # so much is harmless, however well it was compressed
# Each part costs a decompressor (gzip 3 us, zstd 11 us), also one of nothing. Of 64 MB, bgzip makes 1,029 parts.
MAX_PARTS = 2_000
_PIECE_BYTES = 256
_PIECE_GROWTH = 4

# (compressed, most bytes that it may become) -> the bytes.
_Inflate = Callable[[bytes, int], bytes]


def inflated(
    record: KafkaRecord,
    max_bytes: int,
) -> KafkaRecord:
    """The record with its value as it was before it was compressed.

    Args:
        record: as it came; its value is not null.
        max_bytes: what the value may become.

    Raises:
        FieldError: the encoding is not known, the value is damaged or cut off, or it becomes too large.
    """
    encodings = _encodings_of(record)
    if not encodings:
        return record
    value = record.value or b""
    harmless = max(_SMALL_BYTES, _MAX_RATIO * len(value))
    limit = min(max_bytes, harmless)
    for encoding in reversed(encodings):
        inflate = _INFLATE.get(encoding)
        if inflate is None:
            raise invalid(f"header {HEADER}", encoding, "gzip, zstd or identity")
        try:
            value = inflate(value, limit)
        except (zlib.error, zstd.ZstdError, EOFError):
            detail = f"the value is not {encoding}, or is damaged or cut off, although header {HEADER} says so"
            raise FieldError(DeadLetterReason.NOT_DECODABLE, detail) from None
    return replace(record, value=value)


def _encodings_of(record: KafkaRecord) -> list[str]:
    """In the order in which they were applied."""
    stated = b""
    for name, value in record.headers:
        if name.lower() == HEADER and value is not None:
            stated = value
    if not stated:
        return []
    names = stated.decode("utf-8", "replace").lower().split(",")
    encodings = [name.strip() for name in names if name.strip() not in _UNCHANGED]
    if len(encodings) > _MAX_ENCODINGS:
        raise invalid(f"header {HEADER}", stated, f"{_MAX_ENCODINGS} at most")
    return encodings


def joined(
    value: bytes,
    max_bytes: int,
    begin: Callable[[], Any],
) -> bytes:
    """What was compressed, in one part or several.

    A decompressor copies what it is given and does not use. So it gets all of the value for the first part, which
    mostly is the only one, and pieces of it for the others: the work grows with the bytes, not with their square.

    Args:
        value: the compressed bytes.
        max_bytes: that they may become.
        begin: makes a decompressor of one part.

    Raises:
        FieldError: they become more, or are of too many parts.
        EOFError: the last part is cut off.
    """
    parts: list[bytes] = []
    rest = memoryview(value)
    left = max_bytes
    piece_bytes = max(len(value), 1)
    while rest or not parts:
        if len(parts) == MAX_PARTS:
            raise _too_many_parts()
        used, part = _part(rest, left, begin(), piece_bytes)
        left -= len(part)
        if left < 0:
            raise _too_large(max_bytes)
        parts.append(part)
        rest = rest[used:]
        piece_bytes = _PIECE_BYTES
    return b"".join(parts)


def _part(
    value: memoryview,
    max_bytes: int,
    decompressor: Any,
    piece_bytes: int,
) -> tuple[int, bytes]:
    """How many bytes the first part has, and what they become; more than `max_bytes` where it would be more.

    Args:
        value: compressed bytes, of this part and those behind it.
        max_bytes: that the part may become.
        decompressor: of one part.
        piece_bytes: that the decompressor gets at first; then more and more, since a part of some size costs as much.
    """
    pieces: list[bytes] = []
    left = max_bytes
    given = 0
    while not decompressor.eof:
        piece = value[given : given + piece_bytes]
        if not piece:
            raise EOFError
        inflated_piece: bytes = decompressor.decompress(piece, left + 1)
        pieces.append(inflated_piece)
        left -= len(inflated_piece)
        if left < 0:
            break
        given += len(piece)
        piece_bytes *= _PIECE_GROWTH
    return given - len(decompressor.unused_data), b"".join(pieces)


def _gunzip(value: bytes, max_bytes: int) -> bytes:
    return joined(value, max_bytes, partial(zlib.decompressobj, _GZIP_WINDOW))


def _unzstd(value: bytes, max_bytes: int) -> bytes:
    return joined(value, max_bytes, zstd.ZstdDecompressor)


def _too_large(max_bytes: int) -> FieldError:
    return FieldError(
        DeadLetterReason.TOO_LARGE,
        f"the value becomes larger than {max_bytes:,} bytes when it is inflated; the limit is "
        f"pipeline.max_document_bytes, and {_MAX_RATIO} times what was sent",
    )


def _too_many_parts() -> FieldError:
    return FieldError(
        DeadLetterReason.NOT_DECODABLE,
        f"the value is compressed in more than {MAX_PARTS:,} parts; compress it as a whole",
    )


_INFLATE: dict[str, _Inflate] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "zstd": _unzstd,
}
