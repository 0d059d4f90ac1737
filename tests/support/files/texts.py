"""E-mail, books, tables and data as text."""

import json
from email.message import EmailMessage
from email.policy import SMTP

from tests.support.files import office, pdfs
from tests.support.files import word as docx_files
from tests.support.files.made import (
    DOCX,
    EPUB,
    MAIL,
    PDF,
    MadeFile,
    sentence,
    word,
    words,
    zipped,
)


def book(*, with_font: bool = False) -> bytes:
    """Three chapters; the order of their names is not that of the book."""
    names = ("z.xhtml", "a.xhtml", "m%20m.xhtml")
    items = "".join(
        f'<item id="c{n}" href="{name}" media-type="application/xhtml+xml"/>'
        for n, name in enumerate(names)
    )
    spine = "".join(f'<itemref idref="c{n}"/>' for n in range(3))
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf" version="3.0"><metadata/>'
        f'<manifest>{items}</manifest><spine toc="x">{spine}</spine></package>'
    )
    container = (
        '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container" version="1.0"><rootfiles>'
        '<rootfile full-path="OEBPS/book.opf" media-type="application/oebps-package+xml"/>'
        "</rootfiles></container>"
    )
    members: dict[str, str | bytes] = {
        "mimetype": EPUB,
        "META-INF/container.xml": container,
        "OEBPS/book.opf": package,
    }
    for number, name in enumerate(("z.xhtml", "a.xhtml", "m m.xhtml")):
        text = sentence(words(f"part{number}x", 12))
        members[f"OEBPS/{name}"] = (
            f'<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body>'
            f"<h1>Reach {word('chapter', number)}</h1><p>{text}</p></body></html>"
        )
    if with_font:
        members["META-INF/encryption.xml"] = (
            "<encryption><CipherReference URI='OEBPS/z.xhtml'/></encryption>"
        )
    return zipped(members, stored=("mimetype",))


def _mail(subject: str) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["From"] = "Ada <ada@example.org>"
    message["To"] = "board@example.org"
    message["Date"] = "Thu, 26 Nov 2026 10:00:00 +0000"
    message["Subject"] = subject
    return message


def plain_mail() -> bytes:
    """A plain text."""
    message = _mail("Pegelstand überschritten")
    message.set_content(sentence(words("plain", 12)))
    return message.as_bytes()


def both_mail() -> bytes:
    """The same as text and as HTML."""
    message = _mail("both")
    message.set_content(sentence(words("both", 12)))
    message.add_alternative(f"<p>{sentence(words('both', 12))}</p>", subtype="html")
    return message.as_bytes()


def html_mail() -> bytes:
    """HTML alone, in another encoding."""
    message = _mail("html")
    text = f"<style>p{{}}</style><p>{sentence(words('html', 12))} Höhe</p>"
    message.set_content(text, subtype="html", charset="windows-1252")
    return message.as_bytes()


def with_picture() -> bytes:
    """HTML that shows a picture, beside the same as text."""
    message = _mail("picture")
    message.set_content(sentence(words("pictured", 4)))
    message.add_alternative("<p>The same.<img src='cid:logo'></p>", subtype="html")
    html = message.get_payload()[1]
    html.add_related(b"\x89PNG\r\n", "image", "png", cid="<logo>", filename="logo.png")
    return message.as_bytes()


def with_attachments() -> bytes:
    """Files of formats that are read, and of one that is not."""
    message = _mail("files")
    message.set_content(sentence(words("body", 6)))
    for name, kind, content in (
        ("levels.pdf", PDF, pdfs.pages(2)),
        ("report.docx", DOCX, docx_files.report()),
        ("levels.xlsx", "application/octet-stream", office.workbook()),
        ("photo.png", "image/png", b"\x89PNG\r\n\x1a\n" + bytes(2_000)),
        ("sealed.pdf", PDF, pdfs.encrypted("gate")),
        ("notes.txt", "text/plain", sentence(words("notes", 6)).encode()),
    ):
        main, _, sub = kind.partition("/")
        message.add_attachment(content, maintype=main, subtype=sub, filename=name)
    return message.as_bytes()


def forwarded() -> bytes:
    """A mail in a mail."""
    inner = _mail("inner")
    inner.set_content(sentence(words("inner", 6)))
    message = _mail("outer")
    message.set_content(sentence(words("outer", 6)))
    message.add_attachment(inner)
    return message.as_bytes()


def many_mails_in_one() -> bytes:
    """Mails inside each other, a hundred deep."""
    message = _mail("innermost")
    message.set_content(word("innermost", 0))
    for number in range(100):
        outer = _mail(f"level {number}")
        outer.set_content(word("level", number))
        outer.add_attachment(message)
        message = outer
    return message.as_bytes()


def csv(separator: str, encoding: str) -> bytes:
    """Rows below their names; a cell has a line's end, quotes and the separator in it."""
    lines = [separator.join(words("column", 3))]
    lines += [separator.join(words("cell", 3, first=3 * n)) for n in range(20)]
    lines.append(
        f'"{word("quoted", 0)}\n""{word("quoted", 1)}""{separator}",Höhe'.replace(",", separator)
    )
    return "\r\n".join(lines).encode(encoding)


def records() -> bytes:
    """A list of objects, with a number that a float cannot hold."""
    rows = [
        {"name": word("name", n), "levels": [n, 1.5], "more": {"owner": word("owner", n)}}
        for n in range(20)
    ]
    text = json.dumps({"weirs": rows, "big": 0}, indent=2)
    return text.replace('"big": 0', '"big": 12345678901234567890.12').encode()


def json_lines() -> bytes:
    """An object per line."""
    return "\n".join(json.dumps({"line": word("line", n)}) for n in range(20)).encode()


SOURCE = '''"""Gates."""


def open_gate(level: int) -> None:
    """Open it."""
    if level > 3:
        print("gatekaloka")


class Sluice:
    width = 4
'''


FILES = [
    MadeFile(
        "book.epub",
        EPUB,
        book,
        places={f"Reach {word('chapter', n)}": words(f"part{n}x", 12) for n in range(3)},
    ),
    MadeFile(
        "sealed.epub", EPUB, lambda: book(with_font=True), reason="encrypted", detail="encrypted"
    ),
    MadeFile("half.epub", EPUB, lambda: book()[:700], reason="damaged_file", detail="EPUB"),
    MadeFile("plain.eml", MAIL, plain_mail, (*words("plain", 12), "überschritten", "Ada")),
    MadeFile("both.eml", MAIL, both_mail, words("both", 12)),
    MadeFile("html.eml", MAIL, html_mail, (*words("html", 12), "Höhe")),
    MadeFile(
        "picture.eml", MAIL, with_picture, words("pictured", 4), unwanted=("logo", "not read")
    ),
    MadeFile(
        "attached.eml",
        MAIL,
        with_attachments,
        (*words("body", 6), "photo.png", "sealed.pdf"),
        places={
            "page 2": words("page2x", 6),
            "sheet Levels": words("row", 30, first=1),
            f"Reach {word('chapter', 1)}": words("prose", 12, first=12),
            "notes.txt": words("notes", 6),
        },
    ),
    MadeFile("forwarded.eml", MAIL, forwarded, (*words("outer", 6), *words("inner", 6))),
    MadeFile(
        "inside.eml", MAIL, many_mails_in_one, (*words("level", 4, first=96), "inside 10 others")
    ),
    MadeFile("comma.csv", "text/csv", lambda: csv(",", "utf-8"), (*words("cell", 60), "Höhe")),
    MadeFile("semicolon.csv", "text/csv", lambda: csv(";", "utf-8-sig"), words("cell", 60)),
    MadeFile("wide.csv", "text/csv", lambda: csv(",", "utf-16"), (*words("cell", 60), "Höhe")),
    MadeFile(
        "tab.tsv", "text/tab-separated-values", lambda: csv("\t", "utf-8"), words("quoted", 2)
    ),
    MadeFile(
        "records.json",
        "application/json",
        records,
        (*words("name", 20), *words("owner", 20), "12345678901234567890.12"),
    ),
    MadeFile("lines.ndjson", "application/x-ndjson", json_lines, words("line", 20)),
    MadeFile(
        "broken.json", "application/json", lambda: b'{"weir": "gatekaloka", ', ("gatekaloka",)
    ),
    MadeFile("gates.py", "text/x-python", SOURCE.encode, ("open_gate", "gatekaloka", "Sluice")),
    MadeFile(
        "gates.js", "application/javascript", lambda: b"let gatekaloka = 1;\n", ("gatekaloka",)
    ),
]
