"""Labels and encodings as the WHATWG Encoding Standard has them, which is how browsers read the same bytes.

Labels are webencodings'. Python's codecs are narrower than the standard in places: its windows-1252 refuses five bytes,
its gbk and euc_jp lack what pages hold, its iso-8859-1 is another encoding. Each place is a line below.
"""

import re
from collections.abc import Callable
from functools import cache

from webencodings.labels import LABELS  # pyright: ignore[reportMissingTypeStubs]

_REPLACEMENT = "\ufffd"
_Decoder = Callable[[bytes], str]


class RefusedCharsetError(Exception):
    """The label names an encoding that the standard refuses, since it hides text from a filter (hz-gb-2312, ...)."""


def encoding_of(label: str) -> str | None:
    """The standard's name of an encoding; None where the standard does not know the label.

    Raises:
        RefusedCharsetError: the standard knows the label, and refuses its encoding.
    """
    if not label.isascii():
        return None
    name = label.strip("\t\n\f\r ").lower()
    encoding = LABELS.get(name)
    if encoding == "replacement":
        raise RefusedCharsetError(label)
    return encoding


def decoded(value: bytes, encoding: str) -> str:
    """The text of bytes in an encoding of the standard; what is not of the encoding becomes U+FFFD."""
    if encoding in _UNICODE:
        return value.decode(encoding, "replace")
    if encoding in _MULTI_BYTE:
        decode = _MULTI_BYTE[encoding]
        return decode(value)
    characters = _single_byte_table(encoding)
    # One character per byte, so that a table of characters does the rest.
    text = value.decode("latin-1")
    return text.translate(characters)


_UNICODE = frozenset({"utf-8", "utf-16le", "utf-16be"})

# Encodings of one byte

# The standard reads 0x80 to 0x9F as controls where these encodings have no character; Python has none there.
_WITH_CONTROLS = re.compile(r"windows-\d+")
_PYTHON_NAMES = {
    "iso-8859-8-i": "iso-8859-8",
    "macintosh": "mac-roman",
    "x-mac-cyrillic": "mac-cyrillic",
    "windows-874": "cp874",
}
# KOI8-U with the two letters of Belarusian, which Python's lacks.
_PATCHES = {"koi8-u": {0xAE: "\u045e", 0xBE: "\u040e"}}


@cache
def _single_byte_table(encoding: str) -> dict[int, str]:
    """Maps the code of a byte to its character."""
    if encoding == "x-user-defined":
        return {byte: chr(0xF700 + byte) for byte in range(0x80, 0x100)}
    codec = _PYTHON_NAMES.get(encoding, encoding)
    table = {
        byte: bytes([byte]).decode(codec, "replace") for byte in range(0x80, 0x100)
    }
    if _WITH_CONTROLS.fullmatch(encoding):
        for byte in range(0x80, 0xA0):
            if table[byte] == _REPLACEMENT:
                table[byte] = chr(byte)
    return table | _PATCHES.get(encoding, {})


# Chinese and Korean

# Characters that GB 18030 of 2022 has moved out of the private use area, as the standard follows it.
_MOVED = str.maketrans(
    {
        **dict(zip(range(0xE78D, 0xE794), "︐︒︑︓︔︕︖", strict=True)),
        **{0xE794: "︗", 0xE795: "︘", 0xE796: "︙", 0xE7C7: "ḿ", 0xE5E5: "\u3000"},
        **{0xE81E: "龴", 0xE826: "龵", 0xE82B: "龶", 0xE82C: "龷"},
        **{0xE832: "龸", 0xE843: "龹", 0xE854: "龺", 0xE864: "龻"},
    }
)
# 0x80 as a character of its own (never the second byte of one) is the euro sign.
_GB_CHARACTER = re.compile(
    rb"([\x81-\xfe](?:[\x30-\x39][\x81-\xfe][\x30-\x39]|[\x40-\x7e\x80-\xfe]))|\x80"
)


def _from_gb(value: bytes) -> str:
    if b"\x80" in value:
        value = _GB_CHARACTER.sub(lambda found: found[1] or b"\xa2\xe3", value)
    return value.decode("gb18030", "replace").translate(_MOVED)


# Characters of Big5 that Python reads by another table than the standard.
_BIG5 = str.maketrans("•､‾∼♁☉／＼¥¢£￭\x1a", "‧﹑¯～⊕⊙∕﹨￥￠￡▓€")
_BIG5_CHARACTER = re.compile(rb"[\x81-\xfe][\x40-\x7e\xa1-\xfe]")


def _from_big5(value: bytes) -> str:
    if b"\xa3\xe1" in value:
        value = _BIG5_CHARACTER.sub(_without_euro, value)
    return value.decode("big5hkscs", "replace").translate(_BIG5)


def _without_euro(character: re.Match[bytes]) -> bytes:
    """The euro sign, which Python's Big5 lacks, as a control character that no text has."""
    return b"\x1a" if character[0] == b"\xa3\xe1" else character[0]


def _from_korean(value: bytes) -> str:
    return value.decode("cp949", "replace")


# Japanese

# Python reads four bytes of Shift_JIS as private characters; the standard has none there.
_NOT_SHIFT_JIS = str.maketrans(dict.fromkeys(range(0xF8F0, 0xF8F4), _REPLACEMENT))
# One character of three, two or one bytes, or a byte that is none.
_EUC_CHARACTER = re.compile(
    rb"\x8f[\xa1-\xfe]{2}|\x8e[\xa1-\xdf]|[\xa1-\xfe]{2}|[\x80-\xff]"
)
_JIS_CHARACTER = re.compile(rb"[\x21-\x7e]{2}|[\x00-\xff]", re.DOTALL)
_ESCAPE = re.compile(rb"(\x1b(?:\([BJI]|\$[@B]))")


def _from_shift_jis(value: bytes) -> str:
    return value.decode("cp932", "replace").translate(_NOT_SHIFT_JIS)


def _from_euc_jp(value: bytes) -> str:
    parts: list[str] = []
    at = 0
    for character in _EUC_CHARACTER.finditer(value):
        before = value[at : character.start()]
        parts.append(before.decode("ascii"))
        parts.append(_euc_character(character[0]))
        at = character.end()
    parts.append(value[at:].decode("ascii"))
    return "".join(parts)


@cache
def _euc_character(character: bytes) -> str:
    """The character of up to three bytes. Two bytes are those of Shift_JIS, written otherwise."""
    if len(character) != 2 or character[0] == 0x8E:
        return character.decode("euc_jp", "replace")
    row, cell = character[0] - 0xA0, character[1] - 0xA0
    lead = (row + 1) // 2 + (0x80 if row <= 62 else 0xC0)
    if row % 2:
        trail = cell + 0x3F + (cell >= 0x40)
    else:
        trail = cell + 0x9E
    return bytes([lead, trail]).decode("cp932", "replace")


def _from_iso_2022_jp(value: bytes) -> str:
    """Shifts by escape sequences; each part between two of them has one form."""
    parts: list[str] = []
    shift = b"\x1b(B"
    for number, part in enumerate(_ESCAPE.split(value)):
        if number % 2:
            shift = part
        else:
            text = _shifted(part, shift)
            parts.append(text)
    return "".join(parts)


def _shifted(part: bytes, shift: bytes) -> str:
    if shift == b"\x1b(B":
        return part.decode("ascii", "replace")
    if shift == b"\x1b(J":
        text = part.decode("ascii", "replace")
        return text.translate({0x5C: "\xa5", 0x7E: "\u203e"})
    if shift == b"\x1b(I":
        return bytes(byte | 0x80 for byte in part).decode("cp932", "replace")
    return "".join(map(_jis_character, _JIS_CHARACTER.findall(part)))


def _jis_character(character: bytes) -> str:
    if len(character) == 1:
        return character.decode("ascii", "replace")
    return _euc_character(bytes(byte | 0x80 for byte in character))


_MULTI_BYTE: dict[str, _Decoder] = {
    "gbk": _from_gb,
    "gb18030": _from_gb,
    "big5": _from_big5,
    "euc-kr": _from_korean,
    "shift_jis": _from_shift_jis,
    "euc-jp": _from_euc_jp,
    "iso-2022-jp": _from_iso_2022_jp,
}
