"""What a reader of a file sees is in its text, or counted: boxes, charts, embedded files, encodings, hidden text."""

import base64
import io
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import docx
import odfdo
import pytest
from pptx import Presentation
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE

from corpus.clean.account import DropRule
from corpus.clean.blocks import CleanedDocument
from corpus.clean.cleaner import Cleaner, RawDocument
from corpus.clean.files.kinds import SUFFIXES
from tests.support.files.judged import SPEC
from tests.support.files.made import with_member, zipped

_REL = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


@pytest.fixture(scope="module")
def cleaner() -> Iterator[Cleaner]:
    with Cleaner() as cleaner:
        yield cleaner


def read(cleaner: Cleaner, content: bytes, suffix: str) -> CleanedDocument:
    (document,) = cleaner.clean([RawDocument(content, SUFFIXES[suffix])], SPEC)
    assert isinstance(document, CleanedDocument), document
    return document


def saved(document: Any) -> bytes:
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


# ── ODT ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def odt(body: str) -> bytes:
    """A text document with this body, in ODF's markup."""
    document = odfdo.Document("text")
    document.body.clear()
    root = odfdo.Element.from_tag(f"<office:text>{body}</office:text>")
    for element in root.children:
        document.body.append(element)
    return saved(document)


BOX = "<draw:frame><draw:text-box><text:p>boxed words</text:p></draw:text-box></draw:frame>"
NOTE = (
    "<text:note><text:note-citation>1</text:note-citation><text:note-body>"
    "<text:p>first</text:p><text:p>second</text:p></text:note-body></text:note>"
)
CELLS = (
    "<table:table><table:table-row><table:table-cell><text:p>one</text:p><text:p>two</text:p>"
    "</table:table-cell><table:table-cell><text:p>a<text:line-break/>b</text:p>"
    "</table:table-cell></table:table-row></table:table>"
)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            '<text:p>Hello<text:line-break/>World<text:tab/>Name<text:s text:c="2"/>Value</text:p>',
            "Hello\nWorld\tName  Value",
        ),
        (CELLS, "one two | a b"),
        (f"<text:p>before{BOX}after</text:p>", "before after\n\nboxed words"),
        (f"<text:p>said{NOTE}</text:p>", "said\n\nfirst\n\nsecond"),
    ],
)
def test_words_of_odf_do_not_grow_together(cleaner: Cleaner, body: str, text: str) -> None:
    assert read(cleaner, odt(body), ".odt").text == text


def test_hidden_text_of_odf_is_counted(cleaner: Cleaner) -> None:
    hidden = '<text:hidden-text text:string-value="HID">HID</text:hidden-text>'
    section = '<text:section text:name="s" text:display="none"><text:p>away</text:p></text:section>'
    document = read(cleaner, odt(f"<text:p>shown {hidden}</text:p>{section}"), ".odt")
    assert document.text == "shown"
    assert document.account.dropped == ((DropRule.HIDDEN, 7),)


# ── Office ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def word(body: str, relation: str = "") -> bytes:
    """A document that begins with an introduction, with more in Word's markup."""
    document = docx.Document()
    document.add_paragraph("Visible intro.")
    content = with_member(
        saved(document),
        "word/document.xml",
        lambda part: part.replace(b"<w:sectPr", f"{body}<w:sectPr".encode(), 1),
    )
    return with_member(
        content,
        "word/_rels/document.xml.rels",
        lambda part: part.replace(b"</Relationships>", f"{relation}</Relationships>".encode()),
    )


def with_file(archive: bytes, name: str, content: str) -> bytes:
    return with_member(archive, name, lambda _: content.encode())


@pytest.mark.parametrize("suffix", [".html", ".rtf"])
def test_a_file_in_a_document_is_read_or_counted(cleaner: Cleaner, suffix: str) -> None:
    target = f"afchunk{suffix}"
    relation = f'<Relationship Id="rIdA" Type="{_REL}/aFChunk" Target="{target}"/>'
    body = f'<w:altChunk xmlns:r="{_REL}" r:id="rIdA"/>'
    page = "<html><body><p>The whole contract is here.</p></body></html>"
    content = with_file(word(body, relation), f"word/{target}", page)
    document = read(cleaner, content, ".docx")
    is_page = PurePosixPath(target).suffix == ".html"
    assert ("The whole contract is here." in document.text) is is_page
    assert ("[not read: an embedded file (rtf)]" in document.text) is not is_page


def test_diagrams_and_charts_of_a_document_are_counted(cleaner: Cleaner) -> None:
    drawn = '<d xmlns:a="a"><a:t>Two signatures</a:t></d>'
    content = with_file(word(""), "word/diagrams/data1.xml", drawn)
    document = read(cleaner, content, ".docx")
    assert document.text == "Visible intro.\n\n[not read: diagrams and charts]"
    assert document.account.dropped == ((DropRule.UNREAD, 13),)


def test_hidden_and_moved_text_of_a_document_is_counted(cleaner: Cleaner) -> None:
    body = (
        "<w:p><w:r><w:t>a</w:t><w:cr/><w:t>b</w:t></w:r>"
        "<w:r><w:rPr><w:vanish/></w:rPr><w:t>VANISHED</w:t></w:r>"
        '<w:r><w:rPr><w:vanish w:val="0"/></w:rPr><w:t> shown</w:t></w:r></w:p>'
        '<w:p><w:moveFrom w:id="2" w:author="x"><w:r><w:t>GONE</w:t></w:r></w:moveFrom>'
        '<w:moveTo w:id="3" w:author="x"><w:r><w:t>here</w:t></w:r></w:moveTo></w:p>'
    )
    document = read(cleaner, word(body), ".docx")
    assert document.text == "Visible intro.\n\na\nb shown\n\nhere"
    assert document.account.dropped == ((DropRule.HIDDEN, 12),)


def test_titles_of_charts_hidden_shapes_and_layouts(cleaner: Cleaner) -> None:
    show = Presentation()
    slide = show.slides.add_slide(show.slide_layouts[5])
    slide.shapes.title.text = "Title"
    data = CategoryChartData()
    data.categories = ["East"]
    data.add_series("S", (1.5,))
    kind = XL_CHART_TYPE.COLUMN_CLUSTERED
    chart = slide.shapes.add_chart(kind, 0, 0, 100, 100, data).chart
    chart.has_title = True
    chart.chart_title.text_frame.text = "Revenue fell by half"
    chart.value_axis.has_title = True
    chart.value_axis.axis_title.text_frame.text = "Millions"
    hidden = slide.shapes.add_textbox(0, 0, 1, 1)
    hidden.text_frame.text = "hidden"
    hidden._element.nvSpPr.cNvPr.set("hidden", "1")
    box = slide.shapes.add_textbox(0, 0, 1, 1)
    box.text_frame.text = "confidential"
    slide.slide_layout.shapes._spTree.append(box._element)
    document = read(cleaner, saved(show), ".pptx")
    expected = "slide 1\n\nTitle\n\nRevenue fell by half\n\nMillions\n\nCategory | S\nEast | 1.5"
    assert document.text == expected
    dropped = dict(document.account.dropped)
    assert dropped == {DropRule.HIDDEN: 6, DropRule.BOILERPLATE: 12}


# ── EPUB ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "windows-1252", "iso-8859-1"])
def test_a_page_of_a_book_is_read_in_its_encoding(cleaner: Cleaner, encoding: str) -> None:
    declared = encoding.removesuffix("-sig")
    page = (
        f'<?xml version="1.0" encoding="{declared}"?><html><body><p>Fähre, café.</p></body></html>'
    )
    document = read(cleaner, book(page.encode(encoding)), ".epub")
    assert (document.text, document.account.dropped) == ("Fähre, café.", ())


def test_bytes_of_a_book_that_are_no_text_are_counted(cleaner: Cleaner) -> None:
    document = read(cleaner, book(b"<html><body><p>F\xe4hre</p></body></html>"), ".epub")
    assert document.account.dropped == ((DropRule.UNDECODABLE, 1),)


def book(page: bytes) -> bytes:
    container = '<container><rootfiles><rootfile full-path="c.opf"/></rootfiles></container>'
    package = (
        '<package><manifest><item id="i" href="p.xhtml"/></manifest>'
        '<spine><itemref idref="i"/></spine></package>'
    )
    return zipped(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": container,
            "c.opf": package,
            "p.xhtml": page,
        }
    )


# ── e-mail ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def alternative(plain: str, page: str) -> bytes:
    return (
        "Subject: Prices\r\nMIME-Version: 1.0\r\n"
        "Content-Type: multipart/alternative; boundary=B\r\n\r\n"
        f"--B\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{plain}\r\n"
        f"--B\r\nContent-Type: text/html; charset=utf-8\r\n\r\n{page}\r\n--B--\r\n"
    ).encode()


@pytest.mark.parametrize(
    ("plain", "text"),
    [
        ("", "The price rises to 900 EUR."),
        ("Your program shows no HTML.", "The price rises to 900 EUR."),
        ("The price rises to *900 EUR*.", "The price rises to *900 EUR*."),
    ],
)
def test_the_form_of_a_mail_that_says_it_is_read(cleaner: Cleaner, plain: str, text: str) -> None:
    document = read(cleaner, alternative(plain, "<p>The price rises to 900 EUR.</p>"), ".eml")
    assert document.text == f"Prices\n\n{text}"


@pytest.mark.parametrize(
    "header",
    [
        *(b"From: <", b'Cc: "', b"To: a@b, <", b'Content-Type: text/plain; charset="'),
        *(b"Content-Disposition: ;;=", b"Content-Transfer-Encoding: ;", b"Message-ID: ["),
    ],
)
def test_a_broken_header_costs_no_mail(cleaner: Cleaner, header: bytes) -> None:
    content = header + b"\r\nSubject: ok\r\n\r\nThe text is here.\r\n"
    assert read(cleaner, content, ".eml").text.endswith("The text is here.")


def test_an_encoded_mail_in_a_mail_is_read(cleaner: Cleaner) -> None:
    inner = b"From: x@y.z\r\nSubject: inner\r\n\r\nThe inner text is here.\r\n"
    content = (
        b"Subject: outer\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=B\r\n\r\n"
        b"--B\r\nContent-Type: text/plain\r\n\r\nsee below\r\n"
        b"--B\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + base64.encodebytes(inner)
        + b"--B--\r\n"
    )
    document = read(cleaner, content, ".eml")
    assert document.text.endswith("inner\n\nFrom: x@y.z\n\nThe inner text is here.")


def test_a_text_without_headers_of_its_own_is_the_text_of_its_mail(cleaner: Cleaner) -> None:
    content = (
        b"Subject: short\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=B\r\n\r\n"
        b"--B\r\n\r\nThe gate is shut.\r\n--B--\r\n"
    )
    document = read(cleaner, content, ".eml")
    assert (document.text, document.parts) == ("short\n\nThe gate is shut.", ())
