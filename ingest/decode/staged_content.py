"""The content of a document out of a staged record, which carries the record as it came."""

import base64
import json

from corpus.errors import ConfigurationError
from corpus.source import SourceSpec
from ingest.decode.decoder import decode
from ingest.event import ChangeEvent, KafkaRecord


def content_of(
    spec: SourceSpec, key: bytes | None, value: bytes, headers: str, content_sha256: bytes
) -> str:
    """A document's content out of the record as it came, by the ingest package's decoder.

    Raises:
        ConfigurationError: the record reads differently now: the source's format was changed since it was staged. The batch ends,
            and the consumer reads its records again.
    """
    pairs = tuple(
        (name, None if text is None else base64.b64decode(text))
        for name, text in json.loads(headers or "[]")
    )
    record = KafkaRecord(
        topic="", partition=0, offset=0, timestamp_ms=0, key=key, value=value, headers=pairs
    )
    decoded = decode(record, spec)
    if (
        not isinstance(decoded, ChangeEvent)
        or decoded.content is None
        or decoded.content_sha256 != content_sha256
    ):
        raise ConfigurationError(
            f"the format of source {spec.source!r} was changed since its records were staged; they are read again"
        )
    return decoded.content
