"""Bytes become text, or a reason that names what they are instead."""

import re
import unicodedata
from collections.abc import Callable, Sequence

from corpus.dead_letter import DeadLetterReason, Quoting
from ingest.decode import charset
from ingest.decode.fields import FieldError, shown

UTF8_MARK = b"\xef\xbb\xbf"  # byte order mark
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_JSON_SPACE = b" \t\r\n"
_ZIP_START = b"PK\x03\x04"
_CONFLUENT_HEADER_BYTES = 5  # magic byte 0 and a schema id

# So many bytes of a text may be mistakes; with more of them it is in another encoding, or no text.
_MAX_BAD_BYTES = 8
_MAX_BAD_SHARE = 50  # above that number: one in so many characters
_MAX_BAD_SHARE_OF_SHORT = 4  # always: one in so many characters


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
    _refuse_damage(bad, text, "UTF-8")
    return text


def _refuse_damage(bad: int, text: str, encoding: str) -> None:
    """A few bad bytes cost a character each, and the document's account counts them; more cost the document."""
    size = len(text)
    tolerated = max(_MAX_BAD_BYTES, size // _MAX_BAD_SHARE)
    tolerated_of_short = size // _MAX_BAD_SHARE_OF_SHORT
    if bad <= min(tolerated, tolerated_of_short):
        return
    raise FieldError(
        DeadLetterReason.NOT_DECODABLE,
        f"{bad:,} of {size:,} characters are not {encoding}; name the value's charset in its content type, "
        "or let the source detect it",
    )


# ── JSON ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def json_bytes(value: bytes) -> bytes:
    """The JSON in a value: without a byte order mark, and without Confluent's header of a JSON Schema value.

    Raises:
        FieldError: the value is recognisably something else.
    """
    value = value.removeprefix(UTF8_MARK)
    if _has_confluent_header(value):
        return value[_CONFLUENT_HEADER_BYTES:]
    _refuse_other_formats(value, _NOT_JSON, "JSON")
    _refuse_other_formats(value, _NOT_TEXT, "JSON")
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


def document_text(
    value: bytes, content_types: Sequence[str], *, detect: bool = False
) -> str:
    """A document's text.

    Its encoding is the first that is known:

    1. of the byte order mark
    2. of the charset of a media type
    3. UTF-16 where every zero byte is the same half of a character, and nothing but text comes out
    4. of HTML and XML: what the document itself declares
    5. if it is not UTF-8 and `detect` is set: what charset-normalizer finds
    6. UTF-8

    Args:
        value: the bytes.
        content_types: media types with their parameters, the one that counts most first.
        detect: whether an encoding that no one names may be guessed.

    Raises:
        FieldError: the value is recognisably not text, or so much of it is not of the encoding that it is another one.
    """
    for mark, encoding in _MARKS:  # 1
        if value.startswith(mark):
            marked = value[len(mark) :]
            return _text_in(marked, encoding)
    encoding = _stated_encoding(content_types)  # 2
    if encoding is None:
        encoding = _unmarked_utf16(value)  # 3
    if encoding is None:
        _refuse_other_formats(value, _NOT_TEXT, "text")
        encoding = _declared_encoding(value, content_types)  # 4
    if encoding is None and detect:
        encoding = _detected_encoding(value)  # 5
    if encoding is None:
        encoding = "utf-8"  # 6
    return _text_in(value, encoding)


def _refuse_other_formats(
    value: bytes, formats: Sequence["_Signature"], wanted: str
) -> None:
    for matches, name in formats:
        if matches(value):
            raise _is_other_format(value, name, wanted)


def _text_in(value: bytes, encoding: str) -> str:
    if encoding == "utf-8":
        return utf8_text(value)
    text = charset.decoded(value, encoding)
    bad = text.count("\ufffd")
    _refuse_damage(bad, text, encoding)
    return text


def _encoding_of(label: str) -> str | None:
    try:
        return charset.encoding_of(label)
    except charset.RefusedCharsetError:
        raise FieldError(
            DeadLetterReason.NOT_DECODABLE,
            Quoting.CHARSET.detail(value=shown(label)),
        ) from None


def _stated_encoding(content_types: Sequence[str]) -> str | None:
    for content_type in content_types:
        parameter = _CHARSET.search(content_type)
        if parameter is None:
            continue
        encoding = _encoding_of(parameter[1] or parameter[2])
        if encoding is not None:
            return encoding
    return None


def _unmarked_utf16(value: bytes) -> str | None:
    """UTF-16 without a mark: as UTF-8 most of it is valid, and other letters.

    Spaces, digits and marks of every script have a zero byte in UTF-16, and no other text has any.
    """
    sample = value[:_UTF16_WITHIN]
    zeros = (sample[::2].count(0), sample[1::2].count(0))
    units_per_zero = _MOST_UNITS_PER_ZERO
    if _ASCII_WITH_ZEROS.fullmatch(sample):
        units_per_zero = 1  # else zeros between words
    few = len(sample) // (2 * units_per_zero)
    if len(value) % 2 or min(zeros) or max(zeros) < max(few, 1):
        return None
    encoding = "utf-16be" if zeros[0] else "utf-16le"
    text = sample.decode(encoding, "replace")
    if len(value) > len(sample):
        text = text[:-1]  # perhaps half a character
    return encoding if all(map(_is_text, text)) else None


def _is_text(character: str) -> bool:
    if character in "\t\n\r\f":
        return True
    kind = unicodedata.category(character)
    return character != "\ufffd" and (kind[0] != "C" or kind == "Cf")


def _declared_encoding(value: bytes, content_types: Sequence[str]) -> str | None:
    """What an HTML or XML document says of itself at its beginning."""
    media_types = [each.partition(";")[0].strip().lower() for each in content_types]
    if not any(map(_DECLARES.search, media_types)):
        return None
    beginning = value[:_DECLARED_WITHIN]
    declaration = _XML_DECLARATION.match(beginning)
    if declaration is None:
        beginning = _COMMENT.sub(b"", beginning)
        declaration = _META_CHARSET.search(beginning)
    if declaration is None:
        return None
    encoding = _encoding_of(declaration[1].decode("ascii", "replace"))
    return _IF_DECLARED.get(encoding or "", encoding)


def _detected_encoding(value: bytes) -> str | None:
    """The most likely encoding of bytes that are not UTF-8; None where they are, or none is likely."""
    try:
        value.decode("utf-8")
        return None
    except UnicodeDecodeError:
        pass
    import charset_normalizer  # loads slowly, and most sources do not detect

    guess = charset_normalizer.from_bytes(
        value[:_DETECTED_FROM], cp_isolation=list(_DETECTABLE)
    ).best()
    return None if guess is None else _DETECTABLE.get(guess.encoding)


_MARKS = ((UTF8_MARK, "utf-8"), (b"\xff\xfe", "utf-16le"), (b"\xfe\xff", "utf-16be"))
_CHARSET = re.compile(
    r"""(?:^|[;\s])charset\s*=\s*(?:"([^"]{1,40})"|'?([^\s;"',]{1,40}))""",
    re.IGNORECASE,
)

# As in the HTML standard: the declaration is within so many bytes.
_DECLARED_WITHIN = 1_024
_DECLARES = re.compile(r"html$|xml$")
_XML_DECLARATION = re.compile(
    rb"""\s*<\?xml\s[^>]{0,200}?encoding\s*=\s*["']\s*([^"'>\s]{1,40})"""
)
_COMMENT = re.compile(rb"<!--.*?(?:-->|$)", re.DOTALL)
_META_CHARSET = re.compile(
    rb"""<meta[\s/][^>]{0,400}?charset\s*=\s*["']?\s*([^\s"'/>;]{1,40})""",
    re.IGNORECASE,
)
# What is read by its ASCII letters is not UTF-16.
_IF_DECLARED = {
    "utf-16le": "utf-8",
    "utf-16be": "utf-8",
    "x-user-defined": "windows-1252",
}

_UTF16_WITHIN = 4_096  # bytes
_MOST_UNITS_PER_ZERO = 64
_ASCII_WITH_ZEROS = re.compile(rb"[\x00\t\n\r\x20-\x7e]*")

_DETECTED_FROM = 65_536  # bytes; more make the guess slower, and no better
# Python's name of an encoding, and the standard's.
_DETECTABLE = {
    **{f"cp{number}": f"windows-{number}" for number in range(1250, 1259)},
    **{"cp874": "windows-874", "cp866": "ibm866", "koi8_r": "koi8-r"},
    **{"iso8859_2": "iso-8859-2", "iso8859_5": "iso-8859-5", "iso8859_7": "iso-8859-7"},
    **{"gb18030": "gb18030", "big5": "big5", "cp949": "euc-kr"},
    **{"cp932": "shift_jis", "euc_jp": "euc-jp"},
    **{"utf_16_le": "utf-16le", "utf_16_be": "utf-16be"},
}


# ── other formats ───────────────────────────────────────────────────────────────────────────────────────────────────


def _is_other_format(value: bytes, name: str, wanted: str) -> FieldError:
    beginning = shown(value[:16])
    detail = Quoting.OTHER_FORMAT.detail(words=name, wanted=wanted, value=beginning)
    return FieldError(DeadLetterReason.NOT_DECODABLE, detail)


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
