"""Documents that a record points to: the address, and what is made of the bytes that are fetched from there."""

import re
from collections.abc import Sequence
from typing import Any

from corpus.clean.blocks import CleaningFailure
from corpus.dead_letter import DeadLetterReason
from corpus.source import SourceSpec
from corpus.specs.fetch import SCHEMES
from ingest.decode.body import document_body
from ingest.decode.fields import FieldError

MAX_URL = 8_192  # characters
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_NOT_IN_URL = re.compile(r"[\x00-\x20\x7f-\xa0\ud800-\udfff\u2028\u2029]")
_SHA256 = re.compile("[0-9a-f]{64}")


def content_url(value: Any) -> str:
    """The address of a document. No message quotes it: it may hold a credential, such as a signature.

    Raises:
        FieldError: it is no address of a kind that is fetched.
    """
    if not isinstance(value, str) or not value:
        raise _invalid("text")
    if len(value) > MAX_URL:
        raise _invalid(f"of at most {MAX_URL:,} characters")
    if _NOT_IN_URL.search(value):
        raise _invalid("without spaces and control characters (write %20)")
    scheme = _SCHEME.match(value)
    if scheme is None or scheme[1].lower() not in SCHEMES:
        names = ", ".join(f"{name}://" for name in sorted(SCHEMES))
        raise _invalid(f"an address that begins with one of {names}")
    return scheme[1].lower() + value[len(scheme[1]) :]


def stated_sha256(value: Any) -> bytes | None:
    """The SHA-256 that an event states of what is fetched; None: it states none.

    Raises:
        FieldError: it is not 64 hex digits.
    """
    if value is None or value == "":
        return None
    text = value.strip().lower() if isinstance(value, str) else ""
    text = text.removeprefix("sha256:")
    if not _SHA256.fullmatch(text):
        raise FieldError(
            DeadLetterReason.INVALID_FIELD,
            "content_sha256 must be the 64 hex digits of a SHA-256",
        )
    return bytes.fromhex(text)


def _invalid(wanted: str) -> FieldError:
    detail = f"content_url must be {wanted}"
    return FieldError(DeadLetterReason.INVALID_FIELD, detail)


def fetched_content(
    spec: SourceSpec, content: bytes, content_types: Sequence[str]
) -> str | bytes | CleaningFailure:
    """What fetched bytes are: a text, a file, or none that can be read.

    Args:
        spec: of the source.
        content: the bytes.
        content_types: media types with their parameters, the one that counts most first.
    """
    stated = (spec.pipeline.content_type or "", *content_types)
    try:
        return document_body(content, stated, detect=spec.detect_charset)
    except FieldError as error:
        return CleaningFailure(error.reason, error.detail)
