"""How documents were fetched before, and since when events wait for theirs, or for a column."""

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from corpus.fetch.address import keepable, url_digest
from corpus.fetch.result import Fetched, StillTheSame, Validators
from corpus.prepare.events import REDRIVEN_FROM

_REDRIVEN_LETTER = re.compile("#([0-9]{1,18})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """How a document was fetched last (query `fetched_of`)."""

    document_id: str
    url_sha256: bytes
    content_sha256: bytes
    etag: str | None
    last_modified: str | None
    content_bytes: int | None

    @property
    def validators(self) -> Validators:
        """What its origin sent with it."""
        return Validators(etag=self.etag, last_modified=self.last_modified)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Since when a document, or a column, is waited for (query `waits_of`)."""

    dead_letter: int
    waits_since: datetime
    seconds: int

    @property
    def waits_since_ms(self) -> int:
        """The same as epoch milliseconds."""
        return round(self.waits_since.timestamp() * 1000)


def redriven_letters(headers: str | None) -> Iterator[int]:
    """The numbers of the dead letters that a record was; anyone may write the header, so each is looked up."""
    if not headers or REDRIVEN_FROM not in headers:
        return
    for name, value in json.loads(headers):
        if name == REDRIVEN_FROM and value is not None:
            text = base64.b64decode(value).decode("utf-8", "replace")
            yield from map(int, _REDRIVEN_LETTER.findall(text))


def fetched_json(url: str, outcome: Fetched | StillTheSame) -> str:
    """How a document was fetched, as the documents file has it."""
    return json.dumps(
        {
            "url_sha256": url_digest(url).hex(),
            "url": keepable(url),
            "host": outcome.host,
            "etag": outcome.validators.etag,
            "last_modified": outcome.validators.last_modified,
        }
    )
