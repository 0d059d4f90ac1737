"""E-mail → blocks by Python's email package: subject, sender, text, and what is attached.

What is attached is read as it would be by itself, and is a part of the mail: a slice behind the mail's own text, with
its own account and its own headings. A mail in a mail is one as well, and so is what is attached to that. One that is
not read is named in the text of its mail, and counted there.
"""

import base64
import codecs
import quopri
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from email import message_from_bytes, policy
from email.headerregistry import HeaderRegistry
from email.message import EmailMessage
from pathlib import PurePosixPath
from typing import Any

from corpus.clean.blocks import CleanedDocument
from corpus.clean.files.draft import Draft, with_parts
from corpus.clean.files.kinds import SAYS_NOTHING, FileRefusedError, is_file
from corpus.clean.files.limits import FileLimits
from corpus.clean.html import clean_html
from corpus.clean.names import TEXT_SUFFIXES, type_by_name
from corpus.clean.parts import Part, harmless, part_name, path_of
from corpus.clean.text_formats import TEXT_FORMATS, clean_text
from corpus.dead_letter import DeadLetterReason

# A mail in a mail, and so on; deeper ones are not read.
_MAX_DEPTH = 10
_MAX_PARTS = 1_000
_MAIL = "message/rfc822"
_NO_SUBJECT = "(no subject)"
_WORD = re.compile(r"\w+")
_FIRST_HEADER = re.compile(rb"[!-9;-~]+:[ \t\r\n]")
_NOT_OF_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
# How a text begins that has NUL in nearly every character.
_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_HEADERS = ("From", "To", "Cc", "Date")
# Of a mail that is attached: how it may be encoded, which its standard forbids and some programs do.
_DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "base64": lambda sent: base64.b64decode(
        re.sub(rb"[^A-Za-z0-9+/]", b"", sent) + b"=="
    ),
    "quoted-printable": quopri.decodestring,
}

# Loaded here: a process that reads documents can load nothing once it is confined.
_CHARSETS = (
    *("ascii", "latin-1", "utf-8", "utf-8-sig", "utf-7", "utf-16", "utf-16-le"),
    *("utf-16-be", "utf-32", "cp437", "cp850", "cp852", "cp866", "cp874", "cp932"),
    *("cp936", "cp949", "cp950", "mac-roman", "koi8-r", "koi8-u", "unicode-escape"),
    *(f"cp{number}" for number in range(1250, 1259)),
    *(f"iso8859-{number}" for number in (*range(2, 12), *range(13, 17))),
    *("gb2312", "gbk", "gb18030", "hz", "big5", "big5hkscs", "shift_jis", "euc_jp"),
    *("iso2022_jp", "euc_kr", "johab", "iso2022_kr", "tis-620", "raw-unicode-escape"),
)
for _name in _CHARSETS:
    codecs.lookup(_name)

# Reads a file that is attached: its bytes, its stated media type, the limits; it raises FileRefusedError.
ReadAttachment = Callable[[bytes, str, FileLimits], tuple[str, CleanedDocument]]
_Attached = tuple[Part, CleanedDocument | None]


def read_mail(
    content: bytes, limits: FileLimits, read_attachment: ReadAttachment
) -> CleanedDocument:
    """Read a mail.

    Args:
        content: as it was sent.
        limits: of the mail with all that is attached.
        read_attachment: reads a file, and gives its media type as well.

    Returns:
        Subject, sender and text, with what of it is not read; behind them, as parts, what is attached.
    """
    message = _parsed(content)
    mail = _Mail(limits, read_attachment)
    own = mail.read(message, ())
    return with_parts(own, mail.attached)


@dataclass(slots=True)
class _Mail:
    """Reads a mail, and the mails in it.

    Attributes:
        attached: parts in reading order, with what they hold; None: they are not read.
    """

    limits: FileLimits
    read_attachment: ReadAttachment
    attached: list[_Attached] = field(default_factory=list[_Attached])

    def read(self, message: EmailMessage, within: tuple[str, ...]) -> CleanedDocument:
        """Read the text of a message; what is attached to it becomes parts.

        Args:
            message: parsed.
            within: subjects of the mails around this one.
        """
        draft = Draft()
        subject = _header(message, "Subject") or _NO_SUBJECT
        draft.heading(subject, 1)
        lines = [f"{name}: {_header(message, name)}" for name in _HEADERS]
        draft.text("\n".join(line for line in lines if not line.endswith(": ")))
        body = self._read_body(message, draft)
        path = (*within, subject)
        for part in _attachments(message, body):
            if len(self.attached) >= _MAX_PARTS:
                self._refuse(draft, path, _Unread.of_too_many())
                break
            mails = _mails_in(part)
            if mails:
                self._read_mails(mails, part, draft, path)
            else:
                self._read_part(part, draft, path)
        return draft.finish()

    def _read_body(self, message: EmailMessage, draft: Draft) -> Any:
        """Add the text, and return the part that has it; None: there is none.

        Of two forms the plain one, unless it has less than half of the other's words: many mails have a plain text that
        is empty, or that only says where to look.
        """
        plain: Any = message.get_body(("plain",))
        page: Any = message.get_body(("html",))
        said = "" if plain is None else _text_of(plain)
        if page is None:
            draft.text(said)
            return plain
        nesting = self.limits.max_nesting
        shown = clean_html(_text_of(page), main=False, max_nesting=nesting)
        # A part without headers has the length 0, so it is compared with None.
        if plain is not None and _says_the_same(said, shown.text):
            draft.text(said)
            return plain
        draft.document(shown)
        return page

    def _read_mails(
        self,
        mails: list[EmailMessage],
        holder: EmailMessage,
        draft: Draft,
        path: tuple[str, ...],
    ) -> None:
        """Add the mails of a part; their attachments follow them."""
        for inner in mails:
            size = _size_of(inner)
            subject = _header(inner, "Subject") or _NO_SUBJECT
            name = part_name(_file_name(holder), instead=subject)
            if len(path) > _MAX_DEPTH:
                self._refuse(draft, path, _Unread.of_too_deep(name, size))
                continue
            place = len(self.attached)
            part = self._part(path, name, _MAIL, size)
            self.attached.append((part, None))
            document = self.read(inner, path)
            self.attached[place] = (part, document)

    def _read_part(
        self, attached: EmailMessage, draft: Draft, path: tuple[str, ...]
    ) -> None:
        """Add what is attached; of what is not read, the mail has its name."""
        content = _bytes_of(attached)
        stated = harmless(attached.get_content_type())
        name = part_name(_file_name(attached), instead=stated)
        try:
            media_type, document = self._read_content(attached, content, stated)
        except FileRefusedError as error:
            unread = _Unread(name, stated, len(content), error)
            self._refuse(draft, path, unread)
            return
        part = self._part(path, name, media_type, len(content))
        self.attached.append((part, document))

    def _read_content(
        self, attached: EmailMessage, content: bytes, stated: str
    ) -> tuple[str, CleanedDocument]:
        """The media type of what is attached, and what it holds.

        Raises:
            FileRefusedError: it is not read.
        """
        if stated in SAYS_NOTHING:
            stated = _text_by_name(attached, content) or stated
        is_text = stated.startswith("text/") or stated in TEXT_FORMATS
        if not is_text or is_file(content):
            return self.read_attachment(content, stated, self.limits)
        text = _text_of(attached)
        text_format = TEXT_FORMATS.get(stated, "plain")
        if text_format != "html":
            return stated, clean_text(text, text_format)
        nesting = self.limits.max_nesting
        return stated, clean_html(text, main=False, max_nesting=nesting)

    def _refuse(self, draft: Draft, path: tuple[str, ...], unread: "_Unread") -> None:
        """Note what is not read: as a part, and in the text and the account of its mail."""
        what = f"{unread.name}, {unread.media_type}, {unread.size:,} bytes"
        draft.unread(f"{what}: {unread.error.detail}", unread.size)
        part = self._part(path, unread.name, unread.media_type, unread.size)
        refused = replace(
            part,
            received=max(unread.size, 1),
            reason=unread.error.reason,
            detail=unread.error.detail,
        )
        self.attached.append((refused, None))

    def _part(
        self, path: tuple[str, ...], name: str, media_type: str, size: int
    ) -> Part:
        """The next part."""
        return Part(
            number=len(self.attached) + 1,
            name=name,
            within=path_of(path),
            media_type=media_type,
            content_bytes=size,
        )


@dataclass(frozen=True, slots=True)
class _Unread:
    """What is attached and not read."""

    name: str
    media_type: str
    size: int
    """In bytes."""
    error: FileRefusedError

    @classmethod
    def of_too_many(cls) -> "_Unread":
        """What comes after the last attachment that is read."""
        detail = f"a mail is read up to its attachment {_MAX_PARTS:,}"
        name = f"attachments after the first {_MAX_PARTS:,}"
        error = FileRefusedError(DeadLetterReason.TOO_LARGE, detail)
        return cls(name, "multipart/mixed", 0, error)

    @classmethod
    def of_too_deep(cls, name: str, size: int) -> "_Unread":
        """A mail inside too many others."""
        detail = f"an e-mail inside {_MAX_DEPTH} others"
        error = FileRefusedError(DeadLetterReason.TOO_LARGE, detail)
        return cls(name, _MAIL, size, error)


def _parsed(content: bytes) -> EmailMessage:
    message: Any = message_from_bytes(content, policy=_POLICY)
    return message


class _Headers:
    """Reads a header as far as it can be read: the library raises what it meets in one that is broken."""

    def __init__(self) -> None:
        self._read = HeaderRegistry()
        self._plain = HeaderRegistry(use_default_map=False)

    def __call__(self, name: str, value: str) -> Any:
        try:
            return self._read(name, value)
        except Exception:  # a dozen kinds, from its parser
            pass
        if not name.lower().startswith("content-"):
            return self._plain(name, value)
        # Others ask such a header for what only its own kind has.
        return self._read(name, "")


_POLICY = policy.EmailPolicy(header_factory=_Headers())


def _mails_in(part: EmailMessage) -> list[EmailMessage]:
    """The mails of a part that holds some; what is sent as nothing is one by its name, if it begins as one."""
    stated = part.get_content_type()
    if stated == _MAIL:
        return _inner_mails(part)
    if stated not in SAYS_NOTHING or type_by_name(_file_name(part)) != _MAIL:
        return []
    content = _bytes_of(part)
    return [_parsed(content)] if _FIRST_HEADER.match(content) else []


def _text_by_name(part: EmailMessage, content: bytes) -> str | None:
    """The media type of a text whose kind only its name tells; None: it names none, or the content is no text."""
    if _NOT_OF_TEXT.search(content) and not content.startswith(_WIDE):
        return None
    return TEXT_SUFFIXES.get(PurePosixPath(_file_name(part)).suffix.lower())


def _inner_mails(holder: EmailMessage) -> list[EmailMessage]:
    """The mails of a part; one that is encoded, which the parser takes for text, is decoded."""
    inner_mails: Any = holder.get_payload()
    encoding = str(holder.get("content-transfer-encoding", "")).strip().lower()
    decode = _DECODERS.get(encoding)
    if decode is None:
        return inner_mails
    return [_parsed(decode(_as_sent(inner))) for inner in inner_mails]


def _as_sent(message: EmailMessage) -> bytes:
    """A message that is an encoded text: its lines may look like headers to the parser."""
    raw = [f"{name}: {value}" for name, value in message.raw_items()]
    payload = message.get_payload()
    text = "\n".join([*raw, payload if isinstance(payload, str) else ""])
    return text.encode("ascii", "ignore")


def _attachments(message: EmailMessage, body: object | None) -> Iterator[EmailMessage]:
    """Yield the parts that are not the body, nor another form of it."""
    if not message.is_multipart():
        if body is None:
            yield message
        return
    kind = message.get_content_type()
    parts: Any = message.get_payload()
    for part in parts:
        if part is body:
            continue
        is_mail = part.get_content_type() == _MAIL
        if part.is_multipart() and not is_mail:
            yield from _attachments(part, body)
        elif not _is_other_form(part, kind):
            yield part


def _is_other_form(part: EmailMessage, kind: str) -> bool:
    """Whether a part says the same as the body, or is a picture that is shown inside it."""
    main = part.get_content_maintype()
    if kind == "multipart/alternative":
        return main == "text" and not part.get_filename()
    return kind == "multipart/related" and main == "image"


def _says_the_same(plain: str, page: str) -> bool:
    """Whether a plain text has at least half of the words of a page."""
    words = set(_WORD.findall(page.lower()))
    said = words.intersection(_WORD.findall(plain.lower()))
    return 2 * len(said) >= len(words)


def _text_of(part: EmailMessage) -> str:
    content = _bytes_of(part)
    charset = part.get_content_charset(
        "utf-16" if content.startswith(_WIDE) else "utf-8"
    )
    with suppress(LookupError, ValueError):
        text = content.decode(charset, "replace")
        return text
    return content.decode("utf-8", "replace")


def _bytes_of(part: EmailMessage) -> bytes:
    content: Any = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def _file_name(part: EmailMessage) -> str:
    """As the mail has it; empty: it names none, or nothing that can be read."""
    # The library raises what it meets in a header that is broken.
    with suppress(LookupError, ValueError, TypeError, AttributeError):
        return part.get_filename() or ""
    return ""


def _size_of(message: EmailMessage) -> int:
    """Bytes of a mail's bodies, as they were sent."""
    sizes = (
        len(part.get_payload()) for part in message.walk() if not part.is_multipart()
    )
    return sum(sizes)


def _header(message: EmailMessage, name: str) -> str:
    value = message.get(name)
    return " ".join(str(value).split()) if value is not None else ""
