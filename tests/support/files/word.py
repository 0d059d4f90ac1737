"""DOCX files."""

from io import BytesIO

import docx
from docx.document import Document

from tests.support.files.made import (
    DOCX,
    MadeFile,
    repeated,
    sentence,
    with_member,
    word,
    words,
    zip_of_one,
)

_W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_BODY = "word/document.xml"
_CONTENT_TYPES = "[Content_Types].xml"
_RELATIONS = "word/_rels/document.xml.rels"


def _saved(document: Document) -> bytes:
    out = BytesIO()
    document.save(out)
    return out.getvalue()


def report() -> bytes:
    """Headings, prose, lists and a table."""
    document = docx.Document()
    document.add_heading(word("title", 0), 0)
    for chapter in range(3):
        document.add_heading(f"Reach {word('chapter', chapter)}", 1)
        document.add_paragraph(sentence(words("prose", 12, first=12 * chapter)))
        for item in words("bullet", 3, first=3 * chapter):
            document.add_paragraph(item, style="List Bullet")
        document.add_paragraph(word("numbered", chapter), style="List Number")
    table = document.add_table(4, 3)
    for number, cell in enumerate(cell for row in table.rows for cell in row.cells):
        cell.text = word("cell", number)
    return _saved(document)


def nested_tables() -> bytes:
    """A table in a cell, and a cell that spans two."""
    document = docx.Document()
    outer = document.add_table(2, 2)
    outer.cell(0, 0).merge(outer.cell(0, 1)).text = word("merged", 0)
    inner = outer.cell(1, 1).add_table(2, 2)
    for number, cell in enumerate(cell for row in inner.rows for cell in row.cells):
        cell.text = word("inner", number)
    return _saved(document)


def margins() -> bytes:
    """A header and a footer, which each page repeats."""
    document = docx.Document()
    section = document.sections[0]
    section.header.paragraphs[0].text = word("header", 0)
    section.footer.paragraphs[0].text = word("footer", 0)
    document.add_paragraph(sentence(words("prose", 8)))
    return _saved(document)


def in_scripts() -> bytes:
    """Letters of other scripts."""
    document = docx.Document()
    for text in ("水位超过警戒线。", "ارتفع منسوب المياه", "Водомер показал рост", "\U0001f30a"):
        document.add_paragraph(text)
    return _saved(document)


def _with_body(inner: str) -> bytes:
    """A document with this markup at the beginning of its body."""

    def change(body: bytes) -> bytes:
        return body.replace(b"<w:body>", b"<w:body>" + inner.encode(), 1)

    document = docx.Document()
    document.add_paragraph(sentence(words("prose", 4)))
    return with_member(_saved(document), _BODY, change)


def _run(text: str, tag: str = "t") -> str:
    return f'<w:r><w:{tag} xml:space="preserve">{text}</w:{tag}></w:r>'


def _paragraph(inner: str) -> str:
    return f"<w:p>{inner}</w:p>"


def tracked_changes() -> bytes:
    """Text that was inserted, and text that was deleted."""
    inserted = f'<w:ins w:id="1" w:author="a">{_run(word("inserted", 0))}</w:ins>'
    deleted = f'<w:del w:id="2" w:author="a">{_run(word("deleted", 0), "delText")}</w:del>'
    return _with_body(_paragraph(inserted + deleted))


def links_and_fields() -> bytes:
    """A link, a field with its result, a control with content, a smart tag."""
    link = f'<w:hyperlink w:anchor="x">{_run(word("link", 0))}</w:hyperlink>'
    field = (
        '<w:r><w:fldChar w:fldCharType="begin"/></w:r>'
        f"{_run(' REF secretinstruction ', 'instrText')}"
        '<w:r><w:fldChar w:fldCharType="separate"/></w:r>'
        f'{_run(word("result", 0))}<w:r><w:fldChar w:fldCharType="end"/></w:r>'
    )
    control = f"<w:sdt><w:sdtContent>{_paragraph(_run(word('control', 0)))}</w:sdtContent></w:sdt>"
    tag = f'<w:smartTag w:element="x">{_run(word("tagged", 0))}</w:smartTag>'
    return _with_body(_paragraph(link + field + tag) + control)


def text_box() -> bytes:
    """A box that floats over the page; its text is there twice, for old readers as well."""
    content = f"<w:txbxContent>{_paragraph(_run(word('boxed', 0)))}</w:txbxContent>"
    names = (
        'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006" '
        'xmlns:wps="http://schemas.microsoft.com/office/word/2010/wordprocessingShape" '
        'xmlns:v="urn:schemas-microsoft-com:vml"'
    )
    box = (
        f"<w:r><mc:AlternateContent {names}>"
        f'<mc:Choice Requires="wps"><w:drawing><wps:txbx>{content}</wps:txbx></w:drawing></mc:Choice>'
        f"<mc:Fallback><w:pict><v:textbox>{content}</v:textbox></w:pict></mc:Fallback>"
        "</mc:AlternateContent></w:r>"
    )
    return _with_body(_paragraph(box))


def footnotes() -> bytes:
    """A footnote."""
    reference = '<w:r><w:footnoteReference w:id="2"/></w:r>'
    made = _with_body(_paragraph(_run("See below") + reference))
    notes = (
        f'<w:footnotes xmlns:w="{_W}"><w:footnote w:id="2">'
        f"{_paragraph(_run(word('note', 0)))}</w:footnote></w:footnotes>"
    )
    made = with_member(made, "word/footnotes.xml", lambda _: notes.encode())
    kind = (
        '<Override PartName="/word/footnotes.xml" ContentType="application/'
        'vnd.openxmlformats-officedocument.wordprocessingml.footnotes+xml"/></Types>'
    )
    made = with_member(
        made, _CONTENT_TYPES, lambda types: types.replace(b"</Types>", kind.encode())
    )
    relation = (
        '<Relationship Id="rId99" Type="http://schemas.openxmlformats.org/officeDocument/2006/'
        'relationships/footnotes" Target="footnotes.xml"/></Relationships>'
    )
    return with_member(
        made,
        _RELATIONS,
        lambda relations: relations.replace(b"</Relationships>", relation.encode()),
    )


def formula() -> bytes:
    """A formula of Word's own markup."""
    math = 'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"'
    inner = f"<m:oMath {math}><m:r><m:t>{word('formula', 0)}</m:t></m:r></m:oMath>"
    return _with_body(_paragraph(inner))


def bomb() -> bytes:
    """A body of 2 GB in 2 MB."""
    return zip_of_one(_BODY, repeated(bytes(1_000_000), 2_000), 2_000_000_000)


def entities() -> bytes:
    """Entities that stand for more and more of each other."""
    definitions = '<!ENTITY a "lol">'
    for before, name in zip("abcdefgh", "bcdefghi", strict=True):
        definitions += f'<!ENTITY {name} "{f"&{before};" * 10}">'
    body = (
        f'<?xml version="1.0"?><!DOCTYPE d [{definitions}]><w:document xmlns:w="{_W}"><w:body>'
        f"{_paragraph(_run('&i;'))}</w:body></w:document>"
    )
    return with_member(report(), _BODY, lambda _: body.encode())


def entities_beside() -> bytes:
    """The same in a part beside the text."""
    styles = (
        b'<!DOCTYPE d [<!ENTITY a "lol">]><w:styles xmlns:w="' + _W.encode() + b'">&a;</w:styles>'
    )
    return with_member(report(), "word/styles.xml", lambda _: styles)


def deep() -> bytes:
    """Elements that nest deeper than any reader's stack."""
    depth = 200_000
    inner = "<w:smartTag>" * depth + _run("x") + "</w:smartTag>" * depth
    return _with_body(_paragraph(inner))


REPORT_WORDS = (
    *words("title", 1),
    *words("chapter", 3),
    *words("prose", 36),
    *words("bullet", 9),
    *words("numbered", 3),
    *words("cell", 12),
)

FILES = [
    MadeFile(
        "report.docx",
        DOCX,
        report,
        REPORT_WORDS,
        places={f"Reach {word('chapter', n)}": words("prose", 12, first=12 * n) for n in range(3)},
    ),
    MadeFile("tables.docx", DOCX, nested_tables, (*words("merged", 1), *words("inner", 4))),
    MadeFile("margins.docx", DOCX, margins, words("prose", 8)),
    MadeFile(
        "scripts.docx", DOCX, in_scripts, ("水位超过警戒线。", "منسوب", "Водомер", "\U0001f30a")
    ),
    MadeFile(
        "changes.docx",
        DOCX,
        tracked_changes,
        (*words("inserted", 1), *words("prose", 4)),
        unwanted=words("deleted", 1),
    ),
    MadeFile(
        "links.docx",
        DOCX,
        links_and_fields,
        (*words("link", 1), *words("result", 1), *words("control", 1), *words("tagged", 1)),
        unwanted=("secretinstruction",),
    ),
    MadeFile("box.docx", DOCX, text_box, words("boxed", 1)),
    MadeFile("notes.docx", DOCX, footnotes, words("note", 1)),
    MadeFile("formula.docx", DOCX, formula, ("[not read: formulas",)),
    MadeFile("half.docx", DOCX, lambda: report()[:9_000], reason="damaged_file", detail="DOCX"),
    MadeFile("bomb.docx", DOCX, bomb, reason="too_large", detail="unpacked"),
    MadeFile("entities.docx", DOCX, entities, reason="damaged_file", detail=""),
    MadeFile("styles.docx", DOCX, entities_beside, reason="damaged_file", detail="document type"),
    MadeFile("deep.docx", DOCX, deep, reason="damaged_file", detail=""),
]
