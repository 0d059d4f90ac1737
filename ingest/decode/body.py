"""The bytes of a document become its text, or stay as they are where they are a file (PDF, Office, e-mail)."""

import base64
import binascii
from collections.abc import Sequence
from typing import Any

from corpus.clean.files.kinds import KINDS, is_file
from ingest.decode.encoding import document_text
from ingest.decode.fields import invalid, repair


def document_body(
    value: bytes, content_types: Sequence[str], *, detect: bool = False
) -> str | bytes:
    """A document's text; its bytes, if its media type is that of a file, or if it begins as one.

    Args:
        value: the bytes.
        content_types: media types with their parameters, the one that counts most first; an empty one counts nothing.
        detect: whether the encoding of a text that names none may be guessed.

    Raises:
        FieldError: as `document_text`.
    """
    stated = next(filter(None, content_types), "")
    media_type, _, _ = stated.partition(";")
    media_type = media_type.strip()
    media_type = media_type.lower()
    if media_type in KINDS:
        return value
    if is_file(value):
        return value
    text = document_text(value, content_types, detect=detect)
    return repair(text)


def base64_bytes(name: str, value: Any) -> bytes:
    """What a field of a text format holds as base64; white space in it counts nothing.

    Args:
        name: of the field, for messages.
        value: as it came.

    Raises:
        FieldError: it is not base64.
    """
    if not isinstance(value, str):
        raise invalid(name, value, "text in base64")
    encoded = "".join(value.split())
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise invalid(name, value, "text in base64") from None
