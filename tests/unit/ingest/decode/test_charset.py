"""Every label of the WHATWG Encoding Standard is read as browsers read it."""

import pytest
from webencodings.labels import LABELS

from ingest.decode.charset import RefusedCharsetError, decoded, encoding_of

# A text per encoding with characters that Python's codec of the same name reads otherwise, where there are some.
SAMPLES = {
    "utf-8": ("水門".encode(), "水門"),
    "utf-16le": (b"4l\x80\x95", "水門"),
    "utf-16be": (b"l4\x95\x80", "水門"),
    "ibm866": (b"\x82\xae\xe0", "Вор"),
    "iso-8859-2": (b"\xb3\xb1", "łą"),
    "iso-8859-3": (b"\xa1\xfe", "Ħŝ"),
    "iso-8859-4": (b"\xba\xb3", "ēŗ"),
    "iso-8859-5": (b"\xb2\xde\xe0", "Вор"),
    "iso-8859-6": (b"\xc8\xc7", "با"),
    "iso-8859-7": (b"\xd0\xfd\xa4", "Πύ€"),
    "iso-8859-8": (b"\xf9\xf2", "שע"),
    "iso-8859-8-i": (b"\xf9\xf2", "שע"),
    "iso-8859-10": (b"\xfe\xe6", "þæ"),
    "iso-8859-13": (b"\xe0\xfe", "ąž"),
    "iso-8859-14": (b"\xd0\xf0", "Ŵŵ"),
    "iso-8859-15": (b"\xa4\xbd", "€œ"),
    "iso-8859-16": (b"\xa4\xba", "€ș"),
    "koi8-r": (b"\xf7\xcf\xd2", "Вор"),
    "koi8-u": (b"\xf7\xa6\xae", "Віў"),
    "macintosh": (b"\x8e\xd2\xdb", "é“€"),
    "windows-874": (b"\xbb\xc3\x80\x81", "ปร€\x81"),
    "windows-1250": (b"\xb9\x9c\x81", "ąś\x81"),
    "windows-1251": (b"\xc2\xee\x98", "Во\x98"),
    "windows-1252": (b"\x80\x92\x81\xe9", "€’\x81é"),
    "windows-1253": (b"\xd0\xfd\x81\xaa", "Πύ\x81\ufffd"),
    "windows-1254": (b"\xfe\x93\x8e", "ş“\x8e"),
    "windows-1255": (b"\xf9\x81\xd9", "ש\x81\ufffd"),
    "windows-1256": (b"\xc8\x81", "بپ"),
    "windows-1257": (b"\xe0\x81\xa1", "ą\x81\ufffd"),
    "windows-1258": (b"\xf5\x8a", "ơ\x8a"),
    "x-mac-cyrillic": (b"\x82\xb6\xff", "Вґ€"),
    "gbk": (b"\xe9F\x80\x81\x30\x84\x36\xa8\xbc", "镕€£ḿ".replace("£", "¥")),
    "gb18030": (b"\xe9F\xa6\xd9\xfeY", "镕︐龴"),
    "big5": (b"\xa4\xf4\xaa\xf9\xa1E\x87\x40\xa3\xe1", "水門‧䏰€"),
    "euc-jp": (b"\xbf\xe5\xad\xa1\xa1\xc1\x8e\xb1\x8f\xb0\xa1", "水①～ｱ丂"),
    "iso-2022-jp": (b"a\x1b$B?e-!\x1b(B b\x1b(I1\x1b(J\\", "a水① bｱ¥"),
    "shift_jis": (b"\x90\x85\x87\x40\x81\x60\xb1\xa0", "水①～ｱ\ufffd"),
    "euc-kr": (b"\xb9\xae\x81\x41", "문갂"),
    "x-user-defined": (b"a\x80\xff", "a\uf780\uf7ff"),
}
REFUSED = {label for label, encoding in LABELS.items() if encoding == "replacement"}


@pytest.mark.parametrize("label", sorted(set(LABELS) - REFUSED))
def test_a_label_of_the_standard_is_read(label: str) -> None:
    encoding = encoding_of(f" {label.upper()}\t")
    assert encoding == LABELS[label]
    value, text = SAMPLES[encoding]
    assert decoded(value, encoding) == text


def test_labels_that_mislead_are_those_of_pages() -> None:
    named = ("latin1", "ascii", "gb2312", "x-sjis", "ks_c_5601-1987", "utf-16", "tis-620")
    expected = ("windows-1252", "windows-1252", "gbk", "shift_jis", "euc-kr", "utf-16le")
    assert tuple(map(encoding_of, named)) == (*expected, "windows-874")


@pytest.mark.parametrize("label", sorted(REFUSED))
def test_what_the_standard_refuses_is_refused(label: str) -> None:
    with pytest.raises(RefusedCharsetError):
        encoding_of(label)


@pytest.mark.parametrize("label", ["utf-7", "utf-32", "rot13", "zip", "unicode_escape", "", "ü"])
def test_what_the_standard_does_not_know_is_none(label: str) -> None:
    assert encoding_of(label) is None


@pytest.mark.parametrize("encoding", sorted(SAMPLES))
def test_any_bytes_are_read_and_ascii_stays(encoding: str) -> None:
    assert decoded(bytes(range(256)) * 2, encoding).encode()
    if not encoding.startswith("utf-16"):
        assert decoded(b"Weir 7\n", encoding) == "Weir 7\n"
