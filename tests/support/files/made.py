"""What a made file is, and the words in it: each names its place, so that a missing one says what is not read."""

import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from io import BytesIO

# Values that files of all formats use.
PDF = "application/pdf"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
ODT = "application/vnd.oasis.opendocument.text"
ODS = "application/vnd.oasis.opendocument.spreadsheet"
ODP = "application/vnd.oasis.opendocument.presentation"
EPUB = "application/epub+zip"
MAIL = "message/rfc822"

_SYLLABLES = ("ka", "lo", "mi", "re", "su", "ta", "vo", "ze", "ni", "pa")


@dataclass(frozen=True)
class MadeFile:
    """A file, and what a reader of it would read."""

    name: str
    content_type: str
    make: Callable[[], bytes]
    words: tuple[str, ...] = ()
    """That are in it."""
    places: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Words by the heading that they are below (`page 2`)."""
    unwanted: tuple[str, ...] = ()
    """Words that nobody would read: deleted, hidden, of machines."""
    reason: str = ""
    """Of its dead letter; empty: it is read."""
    detail: str = ""
    """A part of the dead letter's detail."""


def word(place: str, number: int) -> str:
    """A word of letters that is in no other place."""
    digits = f"{number:03d}"
    return place + "".join(_SYLLABLES[int(digit)] for digit in digits)


def words(place: str, count: int, first: int = 0) -> tuple[str, ...]:
    """As many words of one place."""
    return tuple(word(place, number) for number in range(first, first + count))


def sentence(some: Iterable[str]) -> str:
    """A sentence with these words."""
    return f"The gauges {' and '.join(some)} were read again."


def zipped(
    members: Mapping[str, str | bytes], *, stored: tuple[str, ...] = (), level: int = 6
) -> bytes:
    """A zip archive."""
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as archive:
        for name, content in members.items():
            kind = zipfile.ZIP_STORED if name in stored else zipfile.ZIP_DEFLATED
            archive.writestr(name, content, compress_type=kind)
    return out.getvalue()


def with_member(archive: bytes, name: str, change: Callable[[bytes], bytes]) -> bytes:
    """The archive with a member changed; one that it has not got is added."""
    with zipfile.ZipFile(BytesIO(archive)) as original:
        members = {each: original.read(each) for each in original.namelist()}
    members[name] = change(members.get(name, b""))
    return zipped(members)


def repeated(block: bytes, times: int) -> bytes:
    """A raw deflate stream of a block that is repeated; it is packed once."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    once = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    return once * times + packer.flush()


def zip_of_one(name: str, packed: bytes, size: int) -> bytes:
    """An archive with one member, by its raw deflate stream."""
    encoded = name.encode()
    fields = (20, 0, 8, 0, 0, 0, len(packed), size, len(encoded), 0)
    local = b"PK\3\4" + struct.pack("<5H3I2H", *fields) + encoded + packed
    entry = b"PK\1\2" + struct.pack("<6H3I5H2I", 20, *fields, 0, 0, 0, 0, 0) + encoded
    end = struct.pack("<4H2IH", 0, 0, 1, 1, len(entry), len(local), 0)
    return local + entry + b"PK\5\6" + end
