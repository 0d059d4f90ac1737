"""What is attached to an e-mail: parts with their own text, names that do nothing, and accounts that add up."""

import hashlib
from collections.abc import Iterator
from email.message import EmailMessage
from email.policy import SMTP

import pytest

from corpus.chunk import Chunk
from corpus.clean.account import DropRule
from corpus.clean.blocks import CleanedDocument
from corpus.clean.cleaner import Cleaner, RawDocument
from corpus.clean.parts import MAX_NAME, Part, harmless, part_name, path_of
from corpus.dead_letter import DeadLetterReason
from corpus.embed.tokenizer import load_tokenizer
from corpus.preparation import PreparationSpec
from corpus.split.splitter import TooManyChunks, split
from tests.support.fakes import MODEL
from tests.support.files import office, pdfs, texts, word
from tests.support.files.all import made
from tests.support.files.made import DOCX, MAIL, PDF, sentence, words, zipped

SPEC = PreparationSpec(clean_timeout_seconds=40)
ZIP = "application/zip"
ARCHIVE = zipped({"notes.txt": "nothing"})
NOTES = sentence(words("notes", 6))
TOKENIZER = load_tokenizer(MODEL)
HOSTILE = {
    "control characters": ("le\x1b[31mvels\x07.pdf", "le\ufffd[31mvels\ufffd.pdf"),
    "turned round": ("invoice\u202efdp.exe", "invoice\ufffdfdp.exe"),
    "a path": ("../../etc/passwd", "passwd"),
    "a path of Windows": ("C:\\Users\\ada\\levels.pdf", "levels.pdf"),
    "lines": ("levels\r\n\tof\u2028May.pdf", "levels of May.pdf"),
    "nothing but dots and lines": ("///", "application/pdf"),
    "nothing": ("", "application/pdf"),
    "half of a character": ("levels\udcff.pdf", "levels\ufffd.pdf"),
    "letters of others": ("Pegelstände 水位.pdf", "Pegelstände 水位.pdf"),
}


@pytest.fixture(scope="module")
def cleaner() -> Iterator[Cleaner]:
    with Cleaner() as cleaner:
        yield cleaner


def mail(subject: str, *attached: tuple[str, str, bytes] | EmailMessage) -> EmailMessage:
    """A mail with a text, and what is attached: name, media type and content, or a mail."""
    message = EmailMessage(policy=SMTP)
    message["From"] = "Ada <ada@example.org>"
    message["Subject"] = subject
    message.set_content(sentence(words(subject, 6)))
    for one in attached:
        if isinstance(one, EmailMessage):
            message.add_attachment(one)
            continue
        name, kind, content = one
        main, _, sub = kind.partition("/")
        message.add_attachment(content, maintype=main, subtype=sub, filename=name)
    return message


def clean(cleaner: Cleaner, content: bytes, kind: str = MAIL) -> CleanedDocument:
    (document,) = cleaner.clean([RawDocument(content, kind)], SPEC)
    assert isinstance(document, CleanedDocument), document
    return document


def text_of(document: CleanedDocument, part: Part) -> str:
    return document.text[part.start : part.end]


def many(*attached: tuple[str, str, bytes] | EmailMessage) -> bytes:
    return mail("outer", *attached).as_bytes()


INNER = mail("inner", ("deep.txt", "text/plain", b"The deep gate."))
EVERYTHING = many(
    ("levels.pdf", PDF, pdfs.pages(2)),
    ("report.docx", DOCX, word.report()),
    ("things.zip", ZIP, ARCHIVE),
    ("notes.txt", "text/plain", NOTES.encode()),
    INNER,
    ("notes.txt", "text/plain", b"Other notes."),
    ("sealed.pdf", PDF, pdfs.encrypted("gate")),
    ("scan.pdf", PDF, made("scan.pdf").make()),
)


def test_each_attachment_is_a_part_with_its_own_text(cleaner: Cleaner) -> None:
    document = clean(cleaner, EVERYTHING)
    parts = document.parts
    assert [(part.number, part.name, part.within) for part in parts] == [
        (1, "levels.pdf", "outer"),
        (2, "report.docx", "outer"),
        (3, "things.zip", "outer"),
        (4, "notes.txt", "outer"),
        (5, "inner", "outer"),
        (6, "deep.txt", "outer > inner"),
        (7, "notes.txt", "outer"),
        (8, "sealed.pdf", "outer"),
        (9, "scan.pdf", "outer"),
    ]
    assert text_of(document, parts[0]) == clean(cleaner, pdfs.pages(2), PDF).text
    assert text_of(document, parts[1]) == clean(cleaner, word.report(), DOCX).text
    assert text_of(document, parts[3]) == NOTES
    assert text_of(document, parts[5]) == "The deep gate."
    assert text_of(document, parts[6]) == "Other notes."
    assert "deep gate" not in text_of(document, parts[4])
    assert [part.media_type for part in parts[:3]] == [PDF, DOCX, ZIP]
    assert parts[0].content_bytes == len(pdfs.pages(2))


def test_the_mails_own_text_is_before_its_parts_and_names_what_is_not_read(
    cleaner: Cleaner,
) -> None:
    document = clean(cleaner, EVERYTHING)
    own = document.text[: document.parts[0].start]
    assert own.startswith("outer\n\nFrom: Ada <ada@example.org>\n\nThe gauges")
    for name, reason in (
        ("things.zip", "unsupported_content"),
        ("sealed.pdf", "encrypted"),
        ("scan.pdf", "scanned"),
    ):
        [part] = [part for part in document.parts if part.name == name]
        assert (part.reason, part.start) == (DeadLetterReason(reason), part.end)
        assert f"[not read: {name}, {part.media_type}, {part.content_bytes:,} bytes: " in own
        assert part.detail in own
    assert "notes" not in own


def test_headings_of_a_part_are_those_of_the_file_alone(cleaner: Cleaner) -> None:
    document = clean(cleaner, many(("levels.pdf", PDF, pdfs.pages(2, per_page=200))))
    [part] = document.parts
    chunks = split(document, TOKENIZER, SPEC)
    assert {chunk.heading for chunk in chunks if chunk.start >= part.start} == {"page 1", "page 2"}
    assert {chunk.heading for chunk in chunks if chunk.start < part.start} == {"outer"}


def test_the_accounts_of_the_parts_and_of_the_mail_add_up(cleaner: Cleaner) -> None:
    document = clean(cleaner, EVERYTHING)
    own = clean(cleaner, many()).account.kept
    kept = [part.kept for part in document.parts if part.reason is None]
    unread = [part.received for part in document.parts if part.reason is not None]
    assert min(kept) > 0
    assert document.account.kept == own + sum(kept)
    assert dict(document.account.dropped) == {DropRule.UNREAD: sum(unread)}
    assert sum(unread) == sum(
        part.content_bytes for part in document.parts if part.reason is not None
    )


def chunks_by_part(document: CleanedDocument, **more: str) -> dict[str, list[Chunk]]:
    by_part: dict[str, list[Chunk]] = {}
    for chunk in split(document, TOKENIZER, SPEC, **more):  # type: ignore[arg-type]
        by_part.setdefault(chunk.part_name, []).append(chunk)
    return by_part


@pytest.mark.parametrize("context", ["none", "headings"])
def test_a_forwarded_attachment_has_the_same_chunks(cleaner: Cleaner, context: str) -> None:
    levels = ("levels.pdf", PDF, pdfs.pages(3, per_page=150))
    first = clean(cleaner, many(levels))
    forwarded = clean(
        cleaner, mail("Fwd", mail("first", ("a.txt", "text/plain", b"x"), levels)).as_bytes()
    )
    before = chunks_by_part(first, context=context, title="The first")["levels.pdf"]
    after = chunks_by_part(forwarded, context=context, title="Another")["levels.pdf"]
    assert len(before) > 3
    assert [chunk.sha256() for chunk in before] == [chunk.sha256() for chunk in after]


def test_an_attachment_has_the_chunks_of_the_file_alone(cleaner: Cleaner) -> None:
    for name, kind, content in (
        ("levels.xlsx", "application/octet-stream", office.workbook()),
        ("notes.md", "text/markdown", b"# Gauges\n\nThe level.\n\n## Weir\n\nAnother."),
        ("levels.csv", "text/csv", b"gate,level\nA,7\nB,8\n"),
        ("levels.json", "application/json", b'{"gate": "A"}'),
        ("page.html", "text/html", b"<h1>Gauges</h1><p>The level.</p>"),
    ):
        received = content.decode() if kind != "application/octet-stream" else content
        (alone,) = cleaner.clean([RawDocument(received, kind)], SPEC)
        assert isinstance(alone, CleanedDocument)
        attached = chunks_by_part(clean(cleaner, many((name, kind, content))))[name]
        expected = split(alone, TOKENIZER, SPEC)
        assert [(chunk.sha256(), chunk.heading) for chunk in attached] == [
            (chunk.sha256(), chunk.heading) for chunk in expected
        ], name


OCTETS = "application/octet-stream"


@pytest.mark.parametrize(
    ("name", "kind", "content"),
    [
        ("levels.CSV", "text/csv", b"gate,level\nA,7\nB,8\n"),
        ("notes.md", "text/markdown", b"# Gauges\n\nThe level.\n\n## Weir\n\nAnother."),
        ("levels.json", "application/json", b'{"gate": "A"}'),
        ("read.py", "text/x-python", b"def read(gate):\n    return gate.level\n"),
        ("page.html", "text/html", b"<h1>Gauges</h1><p>The level.</p>"),
        ("notes.txt", "text/plain", "Überlauf".encode("utf-16")),
        ("empty.txt", "text/plain", b""),
    ],
)
def test_a_name_tells_the_kind_of_a_text_that_is_sent_as_octets(
    cleaner: Cleaner, name: str, kind: str, content: bytes
) -> None:
    document = clean(cleaner, many((name, OCTETS, content)))
    text = content.decode("utf-16" if content.startswith(b"\xff\xfe") else "utf-8")
    stated = clean(cleaner, many((name, kind, text.encode())))
    [part], [expected] = document.parts, stated.parts
    assert (part.reason, part.media_type) == (None, kind)
    assert text_of(document, part) == text_of(stated, expected)
    assert [(block.kind, block.level) for block in document.blocks] == [
        (block.kind, block.level) for block in stated.blocks
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("levels.csv", b"\x89PNG\r\n\x1a\n" + bytes(40)),
        ("levels.csv", b"\x1f\x8b\x08\x01\x02\x03"),
        ("levels.csv", office.workbook()[:-200]),
        ("levels.pdf", b"gate,level\nA,7\n"),
        ("levels", b"gate,level\nA,7\n"),
        ("mail.eml", b"\x89PNG: no mail"),
    ],
)
def test_a_name_counts_nothing_against_the_content(
    cleaner: Cleaner, name: str, content: bytes
) -> None:
    document = clean(cleaner, many((name, OCTETS, content)))
    [part] = document.parts
    assert part.reason is not None
    assert dict(document.account.dropped) == {DropRule.UNREAD: len(content)}


def test_a_stated_type_outranks_the_name(cleaner: Cleaner) -> None:
    document = clean(cleaner, many(("notes.md", "text/plain", b"# Gauges")))
    assert [part.media_type for part in document.parts] == ["text/plain"]
    document = clean(cleaner, many(("levels.csv", OCTETS, office.workbook())))
    assert document.parts[0].media_type.endswith("spreadsheetml.sheet")


def test_a_mail_that_is_sent_as_octets_is_one_by_its_name(cleaner: Cleaner) -> None:
    inner = mail("first", ("a.txt", "text/plain", b"The level.")).as_bytes()
    document = clean(cleaner, many(("first.eml", OCTETS, inner)))
    assert [part.media_type for part in document.parts] == ["message/rfc822", "text/plain"]
    assert document.parts[1].within == f"{document.parts[0].within} > first"


def test_no_chunk_has_text_of_two_parts(cleaner: Cleaner) -> None:
    small = [(f"{n}.txt", "text/plain", f"Note {n}.".encode()) for n in range(20)]
    document = clean(cleaner, many(*small))
    chunks = split(document, TOKENIZER, SPEC)
    assert len(chunks) == 21
    for chunk in chunks[1:]:
        [part] = [part for part in document.parts if part.start <= chunk.start < part.end]
        assert (chunk.part_name, chunk.text) == (part.name, text_of(document, part))


def test_one_chunk_per_document_is_one_per_part(cleaner: Cleaner) -> None:
    document = clean(cleaner, EVERYTHING)
    whole = PreparationSpec(chunker="whole")
    names = [chunk.part_name for chunk in split(document, TOKENIZER, whole)]
    assert names == [
        *("", "levels.pdf", "report.docx", "notes.txt", "inner", "deep.txt", "notes.txt")
    ]


def test_chunks_of_all_parts_count_for_the_limit(cleaner: Cleaner) -> None:
    small = [(f"{n}.txt", "text/plain", f"Note {n}.".encode()) for n in range(3)]
    document = clean(cleaner, many(*small))
    assert len(split(document, TOKENIZER, PreparationSpec(max_chunks=4))) == 4
    with pytest.raises(TooManyChunks, match="4 chunks"):
        split(document, TOKENIZER, PreparationSpec(max_chunks=3))


def test_another_name_or_border_is_another_document(cleaner: Cleaner) -> None:
    contents = [
        many(("a.txt", "text/plain", b"One.\n\nTwo.")),
        many(("b.txt", "text/plain", b"One.\n\nTwo.")),
        many(("a.txt", "text/plain", b"One."), ("a.txt", "text/plain", b"Two.")),
    ]
    documents = [clean(cleaner, content) for content in contents]
    assert len({document.text for document in documents}) == 1
    assert len({document.sha256() for document in documents}) == 3


@pytest.mark.parametrize(("name", "shown"), HOSTILE.values(), ids=HOSTILE)
def test_names_do_nothing_where_they_are_shown(name: str, shown: str) -> None:
    assert part_name(name, "application/pdf") == shown


def test_a_long_name_keeps_its_end() -> None:
    name = part_name("x" * 10_000 + ".tar.gz", "")
    assert len(name) == MAX_NAME
    assert name.endswith("xxx.tar.gz")
    assert len(path_of(["y" * 300] * 9)) == MAX_NAME
    assert harmless("z" * MAX_NAME) == "z" * MAX_NAME


def test_a_mail_with_hostile_names_is_read(cleaner: Cleaner) -> None:
    raw = b"\r\n".join(
        [
            b"Subject: =?utf-8?b?4oCuZXZpbA==?=",
            b"Content-Type: multipart/mixed; boundary=x",
            *(b"", b"--x", b"Content-Type: text/plain", b"", b"The body."),
            *(
                b"--x",
                b'Content-Type: text/plain; name="=?utf-8?q?a=E2=80=AEb=2Etxt?="',
                b"",
                b"One.",
            ),
            *(
                b"--x",
                b"Content-Type: text/plain",
                b"Content-Disposition: attachment; filename*=utf-8''%",
            ),
            *(b"", b"Two."),
            *(b"--x", b"Content-Type: text/plain"),
            *(
                b"Content-Disposition: attachment; filename*0*=x''%ff; filename*9*=%00",
                b"",
                b"Three.",
            ),
            *(
                b"--x",
                b"Content-Type: image/" + b"p" * 5_000,
                b"Content-Disposition: attachment; filename=\xff\x00\x1b",
            ),
            *(b"", b"Four.", b"--x--"),
        ]
    )
    document = clean(cleaner, raw)
    for part in document.parts:
        shown = part.name + part.within + part.media_type
        assert harmless(part.name) == part.name
        assert not set("\x00\x1b\u202e") & set(shown)
        assert len(part.name) <= MAX_NAME
        assert len(part.media_type) <= MAX_NAME
    assert [text_of(document, part) for part in document.parts] == ["One.", "Two.", "Three.", ""]


def test_attachments_beyond_the_limit_are_counted_as_one(cleaner: Cleaner) -> None:
    small = [(f"{n}.txt", "text/plain", b"x") for n in range(1_002)]
    document = clean(cleaner, many(*small))
    assert len(document.parts) == 1_001
    assert document.parts[-1].name == "attachments after the first 1,000"
    assert document.parts[-1].reason is DeadLetterReason.TOO_LARGE


def test_mails_too_deep_are_named(cleaner: Cleaner) -> None:
    document = clean(cleaner, texts.many_mails_in_one())
    assert len(document.parts) == 11
    assert document.parts[-1].reason is DeadLetterReason.TOO_LARGE
    assert document.parts[1].within == "level 99 > level 98"


def test_a_damaged_attachment_leaves_no_half_text(cleaner: Cleaner) -> None:
    damaged = office.workbook()[:-200]
    document = clean(cleaner, many(("levels.xlsx", "application/octet-stream", damaged)))
    [part] = document.parts
    assert part.reason is DeadLetterReason.DAMAGED_FILE
    assert dict(document.account.dropped) == {DropRule.UNREAD: len(damaged)}


def test_a_document_without_parts_has_the_hash_of_its_text() -> None:
    digest = hashlib.sha256(b"The level.").digest()
    assert CleanedDocument("The level.").sha256() == digest
