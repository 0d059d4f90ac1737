"""PDF files."""

from collections.abc import Callable
from io import BytesIO

import pypdfium2
from fpdf import FPDF
from fpdf.enums import AccessPermission
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.lib.units import cm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    Frame,
    PageTemplate,
    Paragraph,
    SimpleDocTemplate,
    Table,
)

from tests.support.files.made import PDF, MadeFile, repeated, sentence, words

_SECRET = "sluice"
_CATALOG = "<< /Type /Catalog /Pages 2 0 R >>"
_FONT = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
_PAGE = (
    "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 3 0 R "
    "/Resources << /Font << /F1 4 0 R >> >> >>"
)


def pages(count: int, per_page: int = 6) -> bytes:
    """A page per number, each with its own words."""
    pdf = FPDF()
    for number in range(1, count + 1):
        _page(pdf, sentence(words(f"page{number}x", per_page)))
    return bytes(pdf.output())


def _page(pdf: FPDF, text: str) -> None:
    pdf.add_page()
    pdf.set_font("Helvetica", size=11)
    pdf.multi_cell(0, 6, text)


def many_pages(count: int) -> bytes:
    """Pages that share one content stream, so that they are made quickly."""
    content = b"BT /F1 12 Tf 72 720 Td (The gauge was read again.) Tj ET"
    kids = " ".join(f"{number} 0 R" for number in range(5, 5 + count))
    pages_object = f"<< /Type /Pages /Count {count} /Kids [{kids}] >>"
    stream = f"<< /Length {len(content)} >>\nstream\n{content.decode()}\nendstream"
    return of_objects([_CATALOG, pages_object, stream, _FONT, *[_PAGE] * count])


def of_objects(objects: list[str]) -> bytes:
    """A PDF of these objects; the first is its catalog."""
    out = BytesIO(b"%PDF-1.4\n")
    out.seek(0, 2)
    offsets: list[int] = []
    for number, body in enumerate(objects, 1):
        offsets.append(out.tell())
        out.write(f"{number} 0 obj\n{body}\nendobj\n".encode("latin-1"))
    at = out.tell()
    out.write(f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode())
    out.write(b"".join(f"{offset:010d} 00000 n \n".encode() for offset in offsets))
    size = len(objects) + 1
    out.write(f"trailer << /Size {size} /Root 1 0 R >>\nstartxref\n{at}\n%%EOF\n".encode())
    return out.getvalue()


def wrapped() -> bytes:
    """A paragraph that is wrapped over lines and pages."""
    out = BytesIO()
    style = getSampleStyleSheet()["BodyText"]
    story = [Paragraph(sentence(words("wrapped", 40, first=40 * n)), style) for n in range(12)]
    SimpleDocTemplate(out, pagesize=A4).build(story)
    return out.getvalue()


def two_columns() -> bytes:
    """Two columns, the left one to be read first."""
    out = BytesIO()
    style = getSampleStyleSheet()["BodyText"]
    frames = [Frame(x * cm, 2 * cm, 8 * cm, 24 * cm) for x in (2, 11)]
    document = BaseDocTemplate(out, pagesize=A4)
    document.addPageTemplates([PageTemplate(frames=frames)])
    texts = [sentence(words("column", 12, first=12 * n)) for n in range(20)]
    document.build([Paragraph(text, style) for text in texts])
    return out.getvalue()


def table() -> bytes:
    """A table with lines around its cells."""
    out = BytesIO()
    rows = [list(words("cell", 3, first=3 * n)) for n in range(10)]
    SimpleDocTemplate(out).build([Table(rows, style=[("GRID", (0, 0), (-1, -1), 1, "black")])])
    return out.getvalue()


def drawn(draw: Callable[[Canvas], None]) -> bytes:
    """What is drawn on a canvas."""
    out = BytesIO()
    canvas = Canvas(out, pagesize=A4)
    draw(canvas)
    canvas.save()
    return out.getvalue()


def _rotated(canvas: Canvas) -> None:
    canvas.setPageRotation(90)
    canvas.drawString(100, 100, sentence(words("rotated", 4)))
    canvas.showPage()
    canvas.rotate(90)
    canvas.drawString(100, -300, sentence(words("turned", 4)))
    canvas.showPage()


def _form(canvas: Canvas) -> None:
    canvas.drawString(100, 700, sentence(words("label", 3)))
    canvas.acroForm.textfield(name="a", value=words("field", 1)[0], x=100, y=600)
    canvas.showPage()


def _scan(canvas: Canvas) -> None:
    from PIL import Image
    from reportlab.lib.utils import ImageReader

    picture = Image.effect_noise((300, 400), 40)
    canvas.drawImage(ImageReader(picture), 50, 50, 400, 600)
    canvas.showPage()


def printed_scan(*texts: str, resolution: int = 200, turn: float = 0.0, noise: int = 0) -> bytes:
    """Printed pages as a scanner makes them: pictures in a PDF, perhaps turned by some degrees, and noisy."""
    from PIL import Image, ImageChops

    pdf = FPDF()
    for text in texts:
        _page(pdf, text)
    document = pypdfium2.PdfDocument(bytes(pdf.output()))
    pictures = []
    for page in document:
        picture = page.render(scale=resolution / 72, grayscale=True).to_pil()
        picture = picture.rotate(turn, fillcolor=255, resample=Image.Resampling.BICUBIC)
        if noise:
            specks = Image.effect_noise(picture.size, noise)
            picture = ImageChops.add(picture, specks, offset=-128)
        pictures.append(picture)
    document.close()
    out = BytesIO()
    pictures[0].save(out, "PDF", resolution=resolution, save_all=True, append_images=pictures[1:])
    return out.getvalue()


def _partly_scanned(canvas: Canvas) -> None:
    canvas.drawString(100, 700, sentence(words("typed", 5)))
    canvas.showPage()
    _scan(canvas)


def typed_and_printed(text: str) -> bytes:
    """A page of text, and one that is a picture of this text."""
    whole = pypdfium2.PdfDocument(pages(1))
    scan = pypdfium2.PdfDocument(printed_scan(text))
    whole.import_pages(scan)
    out = BytesIO()
    whole.save(out)
    for document in (whole, scan):
        document.close()
    return out.getvalue()


def pictures(*captions: str, covered: float = 1.0) -> bytes:
    """Pages that a picture covers to this part, with a text on each."""

    def draw(canvas: Canvas) -> None:
        from PIL import Image
        from reportlab.lib.utils import ImageReader

        picture = ImageReader(Image.effect_noise((300, 400), 40))
        width, height = A4
        for caption in captions:
            canvas.drawImage(picture, 0, 0, width, covered * height)
            canvas.drawString(20, 20, caption)
            canvas.showPage()

    return drawn(draw)


def _scans(canvas: Canvas) -> None:
    _scan(canvas)
    _scan(canvas)


def encrypted(password: str) -> bytes:
    """A file that needs this password to be read; empty: none, but it is encrypted."""
    pdf = FPDF()
    pdf.set_encryption(_SECRET, password, permissions=AccessPermission.none())
    _page(pdf, sentence(words("sealed", 6)))
    return bytes(pdf.output())


def in_unicode() -> bytes:
    """Letters beyond Latin, in an embedded font that the test's library ships."""
    import reportlab

    pdf = FPDF()
    folder = reportlab.__path__[0]
    pdf.add_font("vera", fname=f"{folder}/fonts/Vera.ttf")
    pdf.add_page()
    pdf.set_font("vera", size=11)
    pdf.multi_cell(0, 6, "Der Pegelstand überschritt die Höhe; déjà vu, señor — 100 €.")
    return bytes(pdf.output())


def bomb() -> bytes:
    """A content stream of 1 GB in 1 MB."""
    block = b"BT (x) Tj ET\n" * 80_000
    packed = b"\x78\xda" + repeated(block, 1_000)
    text = packed.decode("latin-1")
    stream = f"<< /Length {len(packed)} /Filter /FlateDecode >>\nstream\n{text}\nendstream"
    return of_objects([_CATALOG, "<< /Type /Pages /Count 1 /Kids [5 0 R] >>", stream, _FONT, _PAGE])


def _places(count: int, per_page: int = 6) -> dict[str, tuple[str, ...]]:
    return {f"page {n}": words(f"page{n}x", per_page) for n in range(1, count + 1)}


FILES = [
    MadeFile("three.pdf", PDF, lambda: pages(3), places=_places(3)),
    MadeFile("100.pdf", PDF, lambda: pages(100), places=_places(100)),
    MadeFile("wrapped.pdf", PDF, wrapped, words("wrapped", 480)),
    MadeFile("columns.pdf", PDF, two_columns, words("column", 240)),
    MadeFile("table.pdf", PDF, table, words("cell", 30)),
    MadeFile(
        "rotated.pdf",
        PDF,
        lambda: drawn(_rotated),
        places={"page 1": words("rotated", 4), "page 2": words("turned", 4)},
    ),
    MadeFile("form.pdf", PDF, lambda: drawn(_form), (*words("label", 3), *words("field", 1))),
    MadeFile("unicode.pdf", PDF, in_unicode, ("Pegelstand", "überschritt", "Höhe", "déjà", "€")),
    MadeFile("no-password.pdf", PDF, lambda: encrypted(""), words("sealed", 6)),
    MadeFile("partly.pdf", PDF, lambda: drawn(_partly_scanned), words("typed", 5)),
    MadeFile(
        "scan.pdf", PDF, lambda: drawn(_scans), reason="scanned", detail="none of its 2 pages"
    ),
    MadeFile("password.pdf", PDF, lambda: encrypted("gate"), reason="encrypted", detail="password"),
    MadeFile("half.pdf", PDF, lambda: pages(3)[:400], reason="damaged_file", detail="PDF"),
    MadeFile(
        "nonsense.pdf", PDF, lambda: b"%PDF-1.7\n" + bytes(900), reason="damaged_file", detail="PDF"
    ),
    MadeFile(
        "10000.pdf", PDF, lambda: many_pages(10_000), reason="too_large", detail="10,000 pages"
    ),
    MadeFile("bomb.pdf", PDF, bomb, reason="cleaning_", detail=""),
]
