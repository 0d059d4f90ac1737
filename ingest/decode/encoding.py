"""Bytes become text, or a reason that names what they are instead."""

import re
from collections.abc import Callable

from corpus.dead_letter import DeadLetterReason
from ingest.decode.fields import FieldError, shown

UTF8_MARK = b"\xef\xbb\xbf"  # byte order mark
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_JSON_SPACE = b" \t\r\n"
_ZIP_START = b"PK\x03\x04"
_CONFLUENT_HEADER_BYTES = 5  # magic byte 0 and a schema id

# So many bytes that are not UTF-8 may be mistakes of a UTF-8 text; more of them are another encoding.
_MIN_BAD_BYTES = 32
_BAD_SHARE = 20  # one in so many characters


def utf8_text(body: bytes) -> str:
    """UTF-8, with each bad byte kept as a lone surrogate: an id refuses it, and a text shows it as U+FFFD.

    Raises:
        FieldError: so many bytes are bad that this is another encoding.
    """
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        pass
    try:
        # CESU-8: an emoji as two surrogates of three bytes each.
        return body.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        text = body.decode("utf-8", "surrogateescape")
    bad = sum("\udc80" <= character <= "\udcff" for character in text)
    if bad > max(_MIN_BAD_BYTES, len(text) // _BAD_SHARE):
        raise FieldError(
            DeadLetterReason.NOT_DECODABLE,
            f"{bad:,} of the value's {len(body):,} bytes are not UTF-8; its encoding is not guessed",
        )
    return text


# ── JSON ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def json_bytes(value: bytes) -> bytes:
    """The JSON in a value: without a byte order mark, and without Confluent's header of a JSON Schema value.

    Raises:
        FieldError: the value is recognisably something else.
    """
    value = value.removeprefix(UTF8_MARK)
    if _has_confluent_header(value):
        return value[_CONFLUENT_HEADER_BYTES:]
    for matches, name in (*_NOT_JSON, *_NOT_TEXT):
        if matches(value):
            raise _is_other_format(value, name, "JSON")
    return value


def _has_confluent_header(value: bytes) -> bool:
    after = value[_CONFLUENT_HEADER_BYTES : _CONFLUENT_HEADER_BYTES + 2]
    begins = value[:1] == b"\x00" and after[:1] == b"{"
    is_utf16 = after[1:] == b"\x00"
    return begins and not is_utf16 and value.rstrip().endswith(b"}")


def _is_blank(value: bytes) -> bool:
    return not value.strip(_JSON_SPACE)


def _is_utf16_or_utf32(value: bytes) -> bool:
    if value.startswith(_UTF16_MARKS):
        return True
    return value[:2] in (b"{\x00", b"\x00{") or value[:4] == b"\x00\x00\x00{"


# ── documents ───────────────────────────────────────────────────────────────────────────────────────────────────────


def document_text(value: bytes, content_type: str) -> str:
    """A document's text: by its byte order mark, else by the media type's charset, else UTF-8.

    Raises:
        FieldError: the value is recognisably not text, or is in another encoding that is not named.
    """
    if value.startswith(_UTF16_MARKS):
        return value.decode("utf-16", "replace")
    charset = _CHARSET.search(content_type)
    if charset is not None and _BROWSER_CHARSET.fullmatch(charset[1]):
        return value.decode(charset[1], "replace")
    for matches, name in _NOT_TEXT:
        if matches(value):
            raise _is_other_format(value, name, "text")
    return utf8_text(value.removeprefix(UTF8_MARK))


_CHARSET = re.compile(r"charset\s*=\s*\"?([a-z0-9_-]{1,30})", re.IGNORECASE | re.ASCII)
# The ones that browsers meet; any other name is read as UTF-8. No codec of Python's that is not a character set
# (rot13, zip) is among them.
_BROWSER_CHARSET = re.compile(
    r"iso-8859-(?:1|2|5|7|9|15)|latin1|windows-125[012346]|cp1252|koi8-r|(?:us-)?ascii"
    r"|shift_jis|euc-jp|iso-2022-jp|gb2312|gbk|gb18030|big5|euc-kr|utf-16(?:le|be)?|utf-32",
    re.IGNORECASE | re.ASCII,
)


# ── other formats ───────────────────────────────────────────────────────────────────────────────────────────────────


def _is_other_format(value: bytes, name: str, wanted: str) -> FieldError:
    return FieldError(
        DeadLetterReason.NOT_DECODABLE,
        f"the value is {name}, not {wanted}; it starts with {shown(value[:16])}",
    )


def _is_gzip(value: bytes) -> bool:
    return value.startswith(b"\x1f\x8b")


def _is_zip(value: bytes) -> bool:
    return value.startswith(_ZIP_START)


def _is_confluent(value: bytes) -> bool:
    return len(value) > _CONFLUENT_HEADER_BYTES and value[0] == 0


def _is_java(value: bytes) -> bool:
    return value.startswith(b"\xac\xed")


def _is_pickle(value: bytes) -> bool:
    return value.startswith(b"\x80") and value.endswith(b".")


_Signature = tuple[Callable[[bytes], bool], str]

_NOT_JSON: tuple[_Signature, ...] = (
    (_is_blank, "empty (only a null value is a tombstone)"),
    (_is_utf16_or_utf32, "UTF-16 or UTF-32 (JSON must be UTF-8)"),
)
_NOT_TEXT: tuple[_Signature, ...] = (
    (_is_gzip, "gzip (the producer's `compression.type` compresses, not the sender)"),
    (_is_zip, "a zip archive"),
    (_is_confluent, "in Confluent's wire format (magic byte 0 and a schema id)"),
    (_is_java, "a serialised Java object"),
    (_is_pickle, "a Python pickle"),
)
