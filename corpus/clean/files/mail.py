"""E-mail → blocks by Python's email package: subject, sender, text, and what is attached.

An attachment is read by the reader of its kind, below a heading `attachment NAME`. One that is not read is named.
"""

import codecs
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from corpus.clean.files.draft import Draft
from corpus.clean.files.kinds import FileRefusedError, is_file
from corpus.clean.files.limits import FileLimits
from corpus.clean.html import clean_html

# A mail in a mail, and so on; deeper ones are not read.
_MAX_DEPTH = 10
_MAX_PARTS = 1_000
_HEADERS = ("From", "To", "Cc", "Date")

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

# Reads a file that is attached: its bytes, its stated media type, the draft, the limits.
ReadAttachment = Callable[[bytes, str, Draft, FileLimits], None]


def read_mail(
    content: bytes, draft: Draft, limits: FileLimits, read_attachment: ReadAttachment
) -> None:
    """Add a mail.

    Args:
        content: as it was sent.
        draft: to add it to.
        limits: of the mail with all that is attached.
        read_attachment: reads a file; it raises FileRefusedError.
    """
    message: Any = message_from_bytes(content, policy=policy.default)
    _Mail(draft, limits, read_attachment).read(message)


@dataclass(slots=True)
class _Mail:
    """Adds a mail, and the mails in it, to a draft."""

    draft: Draft
    limits: FileLimits
    read_attachment: ReadAttachment
    parts: int = 0
    """That were read so far."""

    def read(self, message: EmailMessage, depth: int = 0) -> None:
        """Add a message.

        Args:
            message: parsed.
            depth: of mails around this one.
        """
        self.draft.heading(_header(message, "Subject") or "(no subject)", 1)
        lines = [f"{name}: {_header(message, name)}" for name in _HEADERS]
        self.draft.text("\n".join(line for line in lines if not line.endswith(": ")))
        body: Any = message.get_body(("plain", "html"))
        if body is not None:
            self._read_text(body)
        for part in _attachments(message, body):
            self.parts += 1
            if self.parts > _MAX_PARTS:
                self.draft.unread(f"attachments after the first {_MAX_PARTS:,}", 1)
                return
            if part.get_content_type() == "message/rfc822":
                self._read_inner(part, depth)
            else:
                self._read_part(part)

    def _read_inner(self, part: EmailMessage, depth: int) -> None:
        inner_mails: Any = part.get_payload()
        for inner in inner_mails:
            if depth >= _MAX_DEPTH:
                self.draft.unread(f"an e-mail inside {depth} others", 1)
                continue
            inside = depth + 1
            self.draft.level += 1
            self.read(inner, inside)
            self.draft.level -= 1

    def _read_part(self, part: EmailMessage) -> None:
        """Add what is attached, or its name where it is not read."""
        content = _bytes_of(part)
        kind = part.get_content_type()
        name = part.get_filename() or kind
        what = f"{name}, {kind}, {len(content):,} bytes"
        level = self.draft.level
        self.draft.level = level + 1
        self.draft.place(f"attachment {name}")
        self.draft.level = level + 2
        try:
            if part.get_content_maintype() == "text" and not is_file(content):
                self._read_text(part)
            else:
                self.read_attachment(content, kind, self.draft, self.limits)
        except FileRefusedError as error:
            self.draft.unread(f"{what}: {error.detail}", len(content))
        finally:
            self.draft.level = level

    def _read_text(self, part: EmailMessage) -> None:
        text = _text_of(part)
        if part.get_content_subtype() != "html":
            self.draft.text(text)
            return
        nesting = self.limits.max_nesting
        document = clean_html(text, main=False, max_nesting=nesting)
        self.draft.document(document)


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
        is_mail = part.get_content_type() == "message/rfc822"
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


def _text_of(part: EmailMessage) -> str:
    content = _bytes_of(part)
    charset = part.get_content_charset("utf-8")
    with suppress(LookupError, ValueError):
        text = content.decode(charset, "replace")
        return text
    return content.decode("utf-8", "replace")


def _bytes_of(part: EmailMessage) -> bytes:
    content: Any = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def _header(message: EmailMessage, name: str) -> str:
    value = message.get(name)
    return " ".join(str(value).split()) if value is not None else ""
